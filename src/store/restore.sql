-- Restores: the signs that one is under way.

CREATE TABLE restore_state (
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('content', 'expected', 'arrived', 'sign')),
    part text COLLATE "C" NOT NULL,
    holds boolean NOT NULL DEFAULT false,
    marked_at timestamptz CHECK (isfinite(marked_at)),
    is_many boolean NOT NULL DEFAULT false,
    CHECK (NOT holds OR marked_at IS NOT NULL)
);
COMMENT ON TABLE restore_state IS 'Parts of a dump, and signs that one is being restored: while they hold, the saga and futures wait';
COMMENT ON COLUMN restore_state.kind
    IS 'content: a table that a dump of this database names if it has rows; expected: the same of a dump that is being restored; arrived: rows came past the commands; sign: another sign of a restore';
COMMENT ON COLUMN restore_state.part
    IS 'Name of a table; of a sign triggers (they do not fire always) or sequence (it is behind the events)';
COMMENT ON COLUMN restore_state.holds IS 'Whether the saga and futures wait because of it';
COMMENT ON COLUMN restore_state.marked_at IS 'When it was seen; it holds for order_cqrs.restore_timeout at most';
COMMENT ON COLUMN restore_state.is_many IS 'Whether events came that are projected in batches when the transaction ends';

-- The tables that a dump holds if they have rows: the condition is part of the query by which pg_dump reads restore_state.
INSERT INTO restore_state (kind, part)
SELECT 'content', pg_catalog.unnest('{events,saga_state,order_saga,bus_registration,bus_future}'::text[]);

SELECT pg_catalog.pg_extension_config_dump('restore_state', $$WHERE kind = 'content' AND CASE part
    WHEN 'events' THEN EXISTS (SELECT FROM order_cqrs.events)
    WHEN 'saga_state' THEN EXISTS (SELECT FROM order_cqrs.saga_state)
    WHEN 'order_saga' THEN EXISTS (SELECT FROM order_cqrs.order_saga)
    WHEN 'bus_registration' THEN EXISTS (SELECT FROM order_cqrs.bus_registration)
    WHEN 'bus_future' THEN EXISTS (SELECT FROM order_cqrs.bus_future) END$$);

CREATE FUNCTION restore_expect() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_restore_expect';
COMMENT ON FUNCTION restore_expect() IS 'Row trigger that expects the parts of a dump that the dump itself names';

CREATE TRIGGER restore_expect BEFORE INSERT ON restore_state
    FOR EACH ROW WHEN (NEW.kind = 'content') EXECUTE FUNCTION restore_expect();

CREATE FUNCTION restore_arrive() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_restore_arrive';
COMMENT ON FUNCTION restore_arrive() IS 'Row trigger that marks rows which came past the commands';

CREATE TRIGGER restore_arrive BEFORE INSERT ON bus_registration
    FOR EACH ROW EXECUTE FUNCTION restore_arrive();
CREATE TRIGGER restore_arrive BEFORE INSERT ON bus_future
    FOR EACH ROW EXECUTE FUNCTION restore_arrive();

-- If they do not fire always any more, ALTER TABLE ... ENABLE TRIGGER ALL was run, as by a restore without triggers.
ALTER TABLE bus_future ENABLE ALWAYS TRIGGER restore_arrive;
ALTER TABLE order_saga ENABLE ALWAYS TRIGGER saga_restore;

CREATE FUNCTION restore_project() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_restore_project';
COMMENT ON FUNCTION restore_project() IS 'Deferred row trigger that has the sync projections handle the events of a restore in batches';

CREATE CONSTRAINT TRIGGER restore_project AFTER INSERT ON restore_state
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.is_many) EXECUTE FUNCTION restore_project();

CREATE PROCEDURE restore_end()
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_restore_end';
COMMENT ON PROCEDURE restore_end()
    IS 'End the wait of the saga and of futures for the end of a restore, as after an INSERT into events by hand';
