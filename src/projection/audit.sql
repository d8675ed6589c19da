-- Ranges of events that async projections have handled, to be compared with the log.

CREATE TABLE projection_ledger (
    projection_name text COLLATE "C" NOT NULL,
    after_position bigint NOT NULL,
    to_position bigint NOT NULL,
    events bigint,
    checksum bigint,
    closed_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    verified_at timestamptz,
    PRIMARY KEY (projection_name, after_position),
    CHECK (after_position < to_position),
    CHECK (events BETWEEN 0 AND 4000000000000000000 AND checksum BETWEEN 0 AND 4000000000000000000)
);
COMMENT ON TABLE projection_ledger IS 'Ranges of the log that each async projection has handled; the worker compares their counts with the log';
COMMENT ON COLUMN projection_ledger.projection_name IS 'Name of the projection';
COMMENT ON COLUMN projection_ledger.after_position IS 'The range begins after this position';
COMMENT ON COLUMN projection_ledger.to_position IS 'It ends with this position';
COMMENT ON COLUMN projection_ledger.events IS 'How many events were handled; NULL while a difference is being repaired';
COMMENT ON COLUMN projection_ledger.checksum IS 'Their checksum, as event_count has it';
COMMENT ON COLUMN projection_ledger.closed_at IS 'When the range was complete, or its repair failed';
COMMENT ON COLUMN projection_ledger.verified_at IS 'When it was last found equal to the log; NULL: not yet';

CREATE PROCEDURE projection_audit(projection_name text DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_projection_audit';
COMMENT ON PROCEDURE projection_audit(text)
    IS 'Compare the events that an async projection, or all, has handled with the log, at once, and repair the differences';
