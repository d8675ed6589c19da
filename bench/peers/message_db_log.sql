-- The events of a file of (order, version, type, data), as Message DB would have written them.
CREATE TEMP TABLE log (position bigint GENERATED ALWAYS AS IDENTITY, order_id text, version int, type text, data jsonb);
SELECT format('COPY log (order_id, version, type, data) FROM %L', :'file') \gexec
INSERT INTO messages (stream_name, position, type, data)
    SELECT 'order-' || order_id, version - 1, type, data FROM log ORDER BY log.position;
VACUUM ANALYZE messages;
