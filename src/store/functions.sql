-- Appending to streams of the users' own, and reading the log.

-- The type of the first parameter of a command that answers (catalogue/commandlist.h).
CREATE DOMAIN identifier AS text;
COMMENT ON DOMAIN identifier IS 'Id of an aggregate, 1 to 255 bytes';

CREATE FUNCTION event_horizon() RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ocq_event_horizon';
COMMENT ON FUNCTION event_horizon()
    IS 'Greatest position below which no event can still appear; waits for the transactions that have drawn a position and not ended';

CREATE FUNCTION event_read(after_position bigint, max_count int DEFAULT 1000, aggregate_types text[] DEFAULT NULL)
    RETURNS SETOF events
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ocq_event_read';
COMMENT ON FUNCTION event_read(bigint, int, text[])
    IS 'Events after a position, in position order and never beyond the horizon; NULL types means all';

CREATE FUNCTION stream_read(aggregate_type text, aggregate_id text, after_version int DEFAULT 0,
        max_count int DEFAULT 1000, tenant_id text DEFAULT NULL)
    RETURNS SETOF events
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ocq_stream_read_function';
COMMENT ON FUNCTION stream_read(text, text, int, int, text)
    IS 'Events of one stream after a version, in version order; none if there is no such stream';

CREATE FUNCTION event_count(from_position bigint, to_position bigint, aggregate_types text[] DEFAULT NULL,
        OUT events bigint, OUT checksum bigint)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ocq_event_count';
COMMENT ON FUNCTION event_count(bigint, bigint, text[])
    IS 'Number of the events after from_position, up to and with to_position, and the sum of (position % 2147483647)^2 % 2147483647 over them; for a consumer that audits its checkpoint';

CREATE VIEW event_horizon_wait AS
    SELECT a.pid, x.gid AS prepared_transaction, a.usename AS user_name, a.application_name, a.state,
           coalesce(a.xact_start, x.prepared) AS since,
           pg_catalog.clock_timestamp() - coalesce(a.xact_start, x.prepared) AS waited
      FROM pg_catalog.pg_locks l
      LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
      LEFT JOIN pg_catalog.pg_locks t
             ON l.pid IS NULL AND t.pid IS NULL AND t.locktype = 'transactionid'
            AND t.virtualtransaction = l.virtualtransaction
      LEFT JOIN pg_catalog.pg_prepared_xacts x ON x.transaction = t.transactionid
     WHERE l.locktype = 'relation'
       AND l.relation = 'order_cqrs.events_position_seq'::regclass::oid
       AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
       AND l.mode = 'RowExclusiveLock' AND l.granted
     ORDER BY since;
COMMENT ON VIEW event_horizon_wait
    IS 'Transactions that have drawn a position and not ended: event_horizon() and the projections wait for them';
COMMENT ON COLUMN event_horizon_wait.pid IS 'Process, NULL for a prepared transaction';
COMMENT ON COLUMN event_horizon_wait.prepared_transaction IS 'Id of the prepared transaction, as COMMIT PREPARED takes it; NULL for a session';
COMMENT ON COLUMN event_horizon_wait.since IS 'Start of the transaction, or when it was prepared';
COMMENT ON COLUMN event_horizon_wait.waited IS 'Time since then';
