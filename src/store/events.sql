-- The log of events, and its protection.

CREATE TABLE events (
    position bigint GENERATED ALWAYS AS IDENTITY (CACHE 1) NOT NULL,
    tenant_id text COLLATE "C" NOT NULL,
    aggregate_type text COLLATE "C" NOT NULL,
    aggregate_id text COLLATE "C" NOT NULL,
    version int NOT NULL,
    event_type text COLLATE "C" NOT NULL,
    schema_version int NOT NULL DEFAULT 1,
    data jsonb NOT NULL,
    command_id uuid,
    correlation_id uuid,
    causation_id uuid,
    session_role text NOT NULL DEFAULT session_user,
    actor text NOT NULL,
    metadata jsonb,
    occurred_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, aggregate_type, aggregate_id, version),
    -- No two of their entries are equal, so looking for such on each full page is in vain.
    UNIQUE (position) WITH (deduplicate_items = off)
);
CREATE INDEX events_aggregate_type_position_idx ON events (aggregate_type, position) WITH (deduplicate_items = off);

COMMENT ON TABLE events IS 'Every event of every aggregate; rows are only ever added, by commands';
COMMENT ON COLUMN events.position IS 'Number of the event in the whole log; gaps are normal. Read in this order only up to event_horizon()';
COMMENT ON COLUMN events.tenant_id IS 'Tenant that the aggregate belongs to';
COMMENT ON COLUMN events.aggregate_type IS 'Order, Customer, Product, Inventory, or a type of the application''s own';
COMMENT ON COLUMN events.aggregate_id IS 'Id of the aggregate, unique within tenant and type';
COMMENT ON COLUMN events.version IS 'Number of the event in its stream: 1, 2, 3 ... without gaps';
COMMENT ON COLUMN events.event_type IS 'Kind of change, such as OrderCreated';
COMMENT ON COLUMN events.schema_version IS 'Version of the shape of data for this event type';
COMMENT ON COLUMN events.data IS 'The facts of the event, a JSON object';
COMMENT ON COLUMN events.command_id IS 'Id that the caller gave the command, if any; unique within the stream';
COMMENT ON COLUMN events.correlation_id IS 'The key correlation_id of metadata, if any';
COMMENT ON COLUMN events.causation_id IS 'The key causation_id of metadata, if any';
COMMENT ON COLUMN events.session_role IS 'Session user that sent the command';
COMMENT ON COLUMN events.actor IS 'Actor that the application names by order_cqrs.actor; else the session user';
COMMENT ON COLUMN events.metadata IS 'JSON object that the caller added to the command, or NULL';
COMMENT ON COLUMN events.occurred_at IS 'When the event was appended; never decreases within a stream';

COMMENT ON SEQUENCE events_position_seq IS 'Positions of events; a transaction that draws one holds a lock on the sequence until it ends';

CREATE FUNCTION events_append_only() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_events_append_only';
COMMENT ON FUNCTION events_append_only() IS 'Trigger that refuses UPDATE, DELETE and TRUNCATE of events';

CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION events_append_only();
-- Replica sessions are no exception.
ALTER TABLE events ENABLE ALWAYS TRIGGER events_append_only;

-- The identity sequence is not covered by its table's entry.
SELECT pg_catalog.pg_extension_config_dump('events', '');
SELECT pg_catalog.pg_extension_config_dump('events_position_seq', '');
