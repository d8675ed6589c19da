-- The first :events events of a file of (order, version, type, data), as Emmett would have appended them.
CREATE TEMP TABLE log (position bigint GENERATED ALWAYS AS IDENTITY, order_id text, version int, type text, data jsonb);
SELECT format('COPY log (order_id, version, type, data) FROM %L', :'file') \gexec
INSERT INTO emt_messages (stream_id, stream_position, message_data, message_metadata, message_schema_version,
        message_type, message_kind, message_id, transaction_id)
    SELECT 'order-' || order_id, version, data, '{}', '1', type, 'E', gen_random_uuid()::text, pg_current_xact_id()
      FROM log WHERE position <= :events ORDER BY position;
VACUUM ANALYZE emt_messages;
