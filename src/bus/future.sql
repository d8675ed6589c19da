-- Futures.

CREATE TABLE bus_future (
    id uuid PRIMARY KEY,
    number bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    kind text NOT NULL CHECK (kind IN ('command', 'query')),
    type text COLLATE "C" NOT NULL,
    payload jsonb NOT NULL,
    command_id uuid,
    tenant_id text COLLATE "C" NOT NULL,
    session_role role_ref NOT NULL,
    role role_ref NOT NULL,
    actor text,
    time_zone text,
    date_style text,
    interval_style text,
    status text NOT NULL DEFAULT 'waiting'
        CHECK (status IN ('waiting', 'running', 'done', 'failed', 'cancelled')),
    result jsonb,
    error jsonb,
    attempts int NOT NULL DEFAULT 0 CHECK (attempts BETWEEN 0 AND 1000000000),
    lock_timeouts int NOT NULL DEFAULT 0 CHECK (lock_timeouts BETWEEN 0 AND 1000000000),
    retry_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    started_at timestamptz,
    finished_at timestamptz
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0.02);

-- A row is in one of these at a time; together they serve every statement that does not know an id.
CREATE INDEX bus_future_waiting_idx ON bus_future (session_role, role, number)
    WHERE status = 'waiting' AND retry_at IS NULL;
CREATE INDEX bus_future_retry_idx ON bus_future (retry_at) WHERE status = 'waiting' AND retry_at IS NOT NULL;
CREATE INDEX bus_future_running_idx ON bus_future (started_at) WHERE status = 'running';
CREATE INDEX bus_future_finished_idx ON bus_future (finished_at) WHERE status IN ('done', 'failed', 'cancelled');

COMMENT ON TABLE bus_future IS 'Commands and queries that were sent by command_send_async and query_send_async, and their outcomes';
COMMENT ON COLUMN bus_future.id IS 'Id that command_send_async or query_send_async returned';
COMMENT ON COLUMN bus_future.number IS 'Order in which futures were sent';
COMMENT ON COLUMN bus_future.kind IS 'command or query';
COMMENT ON COLUMN bus_future.type IS 'Name of the command or query';
COMMENT ON COLUMN bus_future.payload IS 'As it was sent';
COMMENT ON COLUMN bus_future.command_id IS 'As it was sent, else the id; NULL for a query';
COMMENT ON COLUMN bus_future.tenant_id IS 'Tenant of the sender';
COMMENT ON COLUMN bus_future.session_role IS 'Session user of the sender: the role that the worker logs in as';
COMMENT ON COLUMN bus_future.role IS 'Current user of the sender: the role that the worker sets for it';
COMMENT ON COLUMN bus_future.actor IS 'order_cqrs.actor of the sender; NULL if it was empty';
COMMENT ON COLUMN bus_future.time_zone IS 'TimeZone of the sender, in which it is run; NULL is that of the worker''s session';
COMMENT ON COLUMN bus_future.date_style IS 'DateStyle of the sender, likewise';
COMMENT ON COLUMN bus_future.interval_style IS 'IntervalStyle of the sender, likewise';
COMMENT ON COLUMN bus_future.status IS 'waiting, running, done, failed, or cancelled';
COMMENT ON COLUMN bus_future.result IS 'Result that the handler returned';
COMMENT ON COLUMN bus_future.error IS 'Error that the handler raised: {"sqlstate", "message", "detail", "hint", "context"}';
COMMENT ON COLUMN bus_future.attempts IS 'How often it was begun, without those that ended with lock_timeouts';
COMMENT ON COLUMN bus_future.lock_timeouts IS 'How often it waited for a lock for longer than order_cqrs.bus_lock_timeout, and went back to the queue';
COMMENT ON COLUMN bus_future.retry_at IS 'When it is in turn again, after such a wait';
COMMENT ON COLUMN bus_future.created_at IS 'When it was sent';
COMMENT ON COLUMN bus_future.started_at IS 'When it was last begun';
COMMENT ON COLUMN bus_future.finished_at IS 'When it was done, failed or cancelled; it is kept for order_cqrs.result_retention from then on';
COMMENT ON SEQUENCE bus_future_number_seq IS 'Numbers of futures';

SELECT pg_catalog.pg_extension_config_dump('bus_future', '');
SELECT pg_catalog.pg_extension_config_dump('bus_future_number_seq', '');

CREATE FUNCTION command_send_async(command_type text, payload jsonb, command_id uuid DEFAULT NULL,
        tenant_id text DEFAULT NULL) RETURNS uuid
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ocq_command_send_async';
COMMENT ON FUNCTION command_send_async(text, jsonb, uuid, text)
    IS 'The same as command_send, by a worker once the transaction has committed; returns the id of a future at once';

CREATE FUNCTION query_send_async(query_type text, payload jsonb, tenant_id text DEFAULT NULL) RETURNS uuid
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ocq_query_send_async';
COMMENT ON FUNCTION query_send_async(text, jsonb, text)
    IS 'The same as query_send, by a worker once the transaction has committed; returns the id of a future at once';

CREATE FUNCTION future_get(id uuid, timeout interval DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ocq_future_get';
COMMENT ON FUNCTION future_get(uuid, interval)
    IS 'Wait for a future and return its result, or raise its error; a NULL timeout is no limit';

CREATE FUNCTION future_status(id uuid) RETURNS text
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ocq_future_status';
COMMENT ON FUNCTION future_status(uuid) IS 'waiting, running, done, failed, or cancelled';

CREATE FUNCTION future_cancel(id uuid) RETURNS boolean
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ocq_future_cancel';
COMMENT ON FUNCTION future_cancel(uuid)
    IS 'Take back a future that is waiting; false if it is running or finished already';

CREATE PROCEDURE future_run(max_count int DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_future_run';
COMMENT ON PROCEDURE future_run(int)
    IS 'Run futures that the caller has sent, oldest first, in the caller''s session, as the workers do; all of them, or at most max_count';
