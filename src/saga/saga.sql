-- The order saga.

CREATE TABLE saga_state (
    saga_name text COLLATE "C" PRIMARY KEY,
    last_position bigint NOT NULL DEFAULT 0,
    advanced_to bigint NOT NULL DEFAULT 0,
    audited_position bigint NOT NULL DEFAULT 0,
    audit_to bigint NOT NULL DEFAULT 0,
    audit_since timestamptz,
    missed_total bigint NOT NULL DEFAULT 0 CHECK (missed_total BETWEEN 0 AND 4000000000000000000),
    updated_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0);
COMMENT ON TABLE saga_state IS 'How far the saga has come in the log';
COMMENT ON COLUMN saga_state.saga_name IS 'order';
COMMENT ON COLUMN saga_state.last_position IS 'Checkpoint: the saga has looked at every event up to this position';
COMMENT ON COLUMN saga_state.advanced_to IS 'Where the saga has left its checkpoint; another one was set by hand';
COMMENT ON COLUMN saga_state.audited_position IS 'No event up to this position was missed, or it has been made good';
COMMENT ON COLUMN saga_state.audit_to IS 'Position up to which is audited next';
COMMENT ON COLUMN saga_state.audit_since IS 'When the checkpoint was there';
COMMENT ON COLUMN saga_state.missed_total IS 'Events that the audit has found missed; more than 0 means that something was wrong';
COMMENT ON COLUMN saga_state.updated_at IS 'When the row last changed';

INSERT INTO saga_state (saga_name) VALUES ('order');

CREATE TABLE order_saga (
    tenant_id text COLLATE "C" NOT NULL,
    order_id text COLLATE "C" NOT NULL,
    step text COLLATE "C" NOT NULL CHECK (step IN ('RESERVE_INVENTORY', 'AWAIT_PAYMENT', 'COMPLETE_ORDER',
        'CANCEL_ORDER', 'COMPENSATE', 'SHIPPED', 'CANCELLED', 'ENDED', 'FAILED')),
    attempts int NOT NULL CHECK (attempts BETWEEN 0 AND 1000000000),
    next_attempt_at timestamptz,
    last_error text,
    version int NOT NULL,
    started_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (tenant_id, order_id)
) WITH (fillfactor = 80);
CREATE INDEX order_saga_next_attempt_idx ON order_saga (next_attempt_at) WHERE next_attempt_at IS NOT NULL;

COMMENT ON TABLE order_saga IS 'Step and attempts of each order in the saga';
COMMENT ON COLUMN order_saga.step IS 'Step that the saga takes, or waits for, next; SHIPPED, CANCELLED, ENDED and FAILED are ends';
COMMENT ON COLUMN order_saga.attempts IS 'Failed attempts at this step in a row';
COMMENT ON COLUMN order_saga.next_attempt_at IS 'When the saga looks at the order again by itself: the next attempt, or the end of the wait for a payment';
COMMENT ON COLUMN order_saga.last_error IS 'SQLSTATE and message of the last failure, or of the failure that led to a compensation; NULL if there is none';
COMMENT ON COLUMN order_saga.version IS 'Version of the order when the saga last looked at it';
COMMENT ON COLUMN order_saga.started_at IS 'When the saga first looked at it';
COMMENT ON COLUMN order_saga.updated_at IS 'When the row last changed';

CREATE FUNCTION saga_restore() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_saga_restore';
COMMENT ON FUNCTION saga_restore() IS 'Row trigger that merges the rows of a restored dump into those that are there';

CREATE TRIGGER saga_restore BEFORE INSERT ON saga_state
    FOR EACH ROW EXECUTE FUNCTION saga_restore();
CREATE TRIGGER saga_restore BEFORE INSERT ON order_saga
    FOR EACH ROW EXECUTE FUNCTION saga_restore();

-- Steps that the saga has taken must not be taken again after a restore.
SELECT pg_catalog.pg_extension_config_dump('saga_state', '');
SELECT pg_catalog.pg_extension_config_dump('order_saga', '');

CREATE VIEW saga_status AS
    SELECT s.tenant_id, s.order_id, s.step,
           CASE WHEN s.step = 'FAILED' THEN 'failed'
                WHEN s.step IN ('SHIPPED', 'CANCELLED', 'ENDED') THEN 'done'
                WHEN s.last_error IS NOT NULL THEN 'retrying'
                WHEN s.step = 'AWAIT_PAYMENT' THEN 'waiting'
                ELSE 'running' END AS state,
           s.attempts, s.next_attempt_at, s.last_error, s.started_at, s.updated_at
      FROM order_cqrs.order_saga s
     ORDER BY s.started_at, s.order_id;
COMMENT ON VIEW saga_status IS 'How the orders are doing in the saga, oldest first';
COMMENT ON COLUMN saga_status.step IS 'Step that the saga takes, or waits for, next; SHIPPED, CANCELLED, ENDED and FAILED are ends';
COMMENT ON COLUMN saga_status.attempts IS 'Failed attempts at this step in a row';
COMMENT ON COLUMN saga_status.next_attempt_at IS 'When the saga looks at the order again by itself';
COMMENT ON COLUMN saga_status.last_error IS 'SQLSTATE and message of the last failure, or of the failure that led to a compensation';
COMMENT ON COLUMN saga_status.started_at IS 'When the saga first looked at the order';
COMMENT ON COLUMN saga_status.updated_at IS 'When it last looked at it';
COMMENT ON COLUMN saga_status.state IS 'running, waiting (for a payment), retrying, done, or failed: failed needs saga_retry';

CREATE PROCEDURE saga_run()
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_saga_run';
COMMENT ON PROCEDURE saga_run()
    IS 'Take the saga''s steps that are due by hand, as the worker does';

CREATE PROCEDURE saga_retry(order_id text, tenant_id text DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_saga_retry';
COMMENT ON PROCEDURE saga_retry(text, text)
    IS 'Have the saga repeat the step of an order at once, with all attempts, also after it has given up';
