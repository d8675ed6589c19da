-- Restores: what says that one is under way.

CREATE TABLE restore_state (
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('end', 'rows', 'log', 'triggers', 'sequence')),
    holds boolean NOT NULL,
    marked_at timestamptz,
    -- These are always NULL. pg_dump writes the rows of a table after those of the tables that it refers to.
    number int UNIQUE,
    position bigint REFERENCES events (position),
    tenant_id text COLLATE "C",
    order_id text COLLATE "C",
    saga_name text COLLATE "C" REFERENCES saga_state,
    handler_kind text,
    handler_type text COLLATE "C",
    FOREIGN KEY (tenant_id, order_id) REFERENCES order_saga,
    FOREIGN KEY (handler_kind, handler_type) REFERENCES bus_registration
);
COMMENT ON TABLE restore_state IS 'Signs that a dump is being restored; while one of them holds, the saga and futures wait';
COMMENT ON COLUMN restore_state.kind
    IS 'rows, log: events or saga rows came past the commands; triggers, sequence: events are not guarded, or ahead of their sequence; end: the row that each dump holds and that ends a restore';
COMMENT ON COLUMN restore_state.holds IS 'Whether the saga and futures wait because of it';
COMMENT ON COLUMN restore_state.marked_at IS 'When it was seen; it holds for order_cqrs.restore_timeout at most';
COMMENT ON COLUMN restore_state.number IS 'NULL';
COMMENT ON COLUMN restore_state.position IS 'NULL; has this table restored after events';
COMMENT ON COLUMN restore_state.tenant_id IS 'NULL, like order_id';
COMMENT ON COLUMN restore_state.order_id IS 'NULL; has this table restored after order_saga';
COMMENT ON COLUMN restore_state.saga_name IS 'NULL; has this table restored after saga_state';
COMMENT ON COLUMN restore_state.handler_kind IS 'NULL, like handler_type';
COMMENT ON COLUMN restore_state.handler_type IS 'NULL; has this table restored after bus_registration';

INSERT INTO restore_state (kind, holds) VALUES ('end', false);

SELECT pg_extension_config_dump('restore_state', $$WHERE kind = 'end'$$);

-- Futures come last of all.
ALTER TABLE bus_future ADD COLUMN restored_after int REFERENCES restore_state (number);
COMMENT ON COLUMN bus_future.restored_after IS 'NULL; has this table restored after all that futures need';

CREATE FUNCTION restore_ended() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_restore_ended';
COMMENT ON FUNCTION restore_ended() IS 'Row trigger that ends the state of a restore when the last of the rows that the saga and futures need arrives';

CREATE TRIGGER restore_ended BEFORE INSERT ON restore_state
    FOR EACH ROW WHEN (NEW.kind = 'end') EXECUTE FUNCTION restore_ended();

CREATE FUNCTION restore_project() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_restore_project';
COMMENT ON FUNCTION restore_project() IS 'Deferred row trigger that has the sync projections handle the events of a restore in batches';

CREATE CONSTRAINT TRIGGER restore_project AFTER INSERT ON restore_state
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.kind = 'log') EXECUTE FUNCTION restore_project();

CREATE PROCEDURE restore_end()
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_restore_end';
COMMENT ON PROCEDURE restore_end()
    IS 'Have the saga and futures go on at once that wait for the end of a restore, as after an INSERT into events by hand';
