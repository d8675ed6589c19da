-- The state of the projections, and the trigger that serves the synchronous ones.

CREATE FUNCTION events_project() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_events_project';
COMMENT ON FUNCTION events_project() IS 'Row trigger that hands each event to the projections whose mode is sync';

CREATE TRIGGER events_project AFTER INSERT ON events
    FOR EACH ROW EXECUTE FUNCTION events_project();

CREATE TABLE projection_state (
    projection_name text COLLATE "C" PRIMARY KEY,
    mode text NOT NULL CHECK (mode IN ('sync', 'async')),
    status text NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'paused', 'failed')),
    last_position bigint NOT NULL DEFAULT 0,
    last_processed_time timestamptz,
    last_event_count bigint NOT NULL DEFAULT 0,
    events_total bigint NOT NULL DEFAULT 0,
    repaired_total bigint NOT NULL DEFAULT 0,
    renewed_total bigint NOT NULL DEFAULT 0,
    paused_to bigint NOT NULL DEFAULT 0,
    last_error text,
    failed_position bigint,
    attempts int NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    counted_after bigint NOT NULL DEFAULT 0,
    counted_to bigint NOT NULL DEFAULT 0,
    counted_events bigint NOT NULL DEFAULT 0,
    counted_checksum bigint NOT NULL DEFAULT 0,
    counted_since timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    -- So values that are written by hand cannot make sums overflow in the worker.
    CONSTRAINT projection_state_counts_check CHECK (isfinite(updated_at) AND attempts BETWEEN 0 AND 1000000000
        AND least(last_event_count, events_total, repaired_total, renewed_total, counted_events, counted_checksum) >= 0
        AND greatest(last_event_count, events_total, repaired_total, renewed_total, counted_events, counted_checksum) <= 4000000000000000000)
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0);

COMMENT ON TABLE projection_state IS 'Mode, checkpoint and troubles of each projection; changed by the projection_... procedures and the workers';
COMMENT ON COLUMN projection_state.projection_name IS 'Name of the projection';
COMMENT ON COLUMN projection_state.mode IS 'sync: changes in the command''s transaction; async: after it, by the worker';
COMMENT ON COLUMN projection_state.status IS 'running, paused, or failed';
COMMENT ON COLUMN projection_state.last_position IS 'Checkpoint: every event up to this position is in the read tables';
COMMENT ON COLUMN projection_state.last_processed_time IS 'When the worker last handled events';
COMMENT ON COLUMN projection_state.last_event_count IS 'How many it handled then';
COMMENT ON COLUMN projection_state.events_total IS 'How many it has handled in all';
COMMENT ON COLUMN projection_state.repaired_total IS 'Rows that were found behind while it was sync, or that the audit found wrong, and that were written: more than 0 means that there was a fault';
COMMENT ON COLUMN projection_state.renewed_total IS 'Rows of a sync projection that were written as a name in them had changed, or after a pause';
COMMENT ON COLUMN projection_state.paused_to IS 'Position up to which a sync projection may lack events because it was paused';
COMMENT ON COLUMN projection_state.last_error IS 'SQLSTATE and message of the failure, NULL if there is none';
COMMENT ON COLUMN projection_state.failed_position IS 'Position of the event that could not be handled';
COMMENT ON COLUMN projection_state.attempts IS 'Failed attempts in a row';
COMMENT ON COLUMN projection_state.updated_at IS 'When the row last changed';
COMMENT ON COLUMN projection_state.counted_after IS 'Where the open range of the audit begins; it ends at the checkpoint, and is empty while the mode is sync';
COMMENT ON COLUMN projection_state.counted_to IS 'Checkpoint that the counts belong to; a checkpoint below it was set back by hand';
COMMENT ON COLUMN projection_state.counted_events IS 'How many events were handled in it';
COMMENT ON COLUMN projection_state.counted_checksum IS 'Their checksum, as event_count has it';
COMMENT ON COLUMN projection_state.counted_since IS 'When the range was opened';

INSERT INTO projection_state (projection_name, mode) VALUES
    ('reference', 'sync'),
    ('inventory', 'sync'),
    ('payments', 'sync'),
    ('order_view', 'sync'),
    ('order_summary_view', 'sync'),
    ('order_stats', 'async');

CREATE FUNCTION projection_state_restore() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_projection_state_restore';
COMMENT ON FUNCTION projection_state_restore()
    IS 'Row trigger that merges the rows of a restored dump into those that are there';

CREATE TRIGGER projection_state_restore BEFORE INSERT ON projection_state
    FOR EACH ROW EXECUTE FUNCTION projection_state_restore();

SELECT pg_catalog.pg_extension_config_dump('projection_state', '');
