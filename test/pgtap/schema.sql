-- The contract of the relations: tables, columns, keys, triggers, and what a dump holds.

BEGIN;
SELECT no_plan();

CREATE FUNCTION pg_temp.columns_of(relation regclass) RETURNS SETOF text
    LANGUAGE sql AS $$
    SELECT a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
           || CASE WHEN a.attcollation = '"C"'::regcollation THEN ' C' ELSE '' END
           || CASE WHEN a.attnotnull THEN '' ELSE ' null' END
      FROM pg_attribute a
     WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
     ORDER BY a.attnum
$$;

SELECT is(extnamespace::regnamespace::text, 'order_cqrs', 'the extension lives in its schema')
  FROM pg_extension WHERE extname = 'order_cqrs';

SELECT tables_are('order_cqrs', ARRAY['events', 'projection_state', 'customers', 'products', 'order_view',
    'order_item_view', 'order_summary_view', 'order_stats', 'order_product_stats', 'order_stats_applied', 'inventory',
    'reservations', 'payments', 'bus_registration', 'bus_future',
    'order_saga', 'saga_state', 'restore_state', 'projection_ledger']);
SELECT views_are('order_cqrs', ARRAY['projection_status', 'event_horizon_wait', 'payment_requests', 'bus_handlers',
    'saga_status', 'cache_stats']);
SELECT sequences_are('order_cqrs', ARRAY['events_position_seq', 'bus_future_number_seq']);
SELECT domains_are('order_cqrs', ARRAY['identifier']);
SELECT domain_type_is('order_cqrs', 'identifier', 'pg_catalog', 'text', 'an identifier is text');

-- Columns, in order; "null" may be NULL, "C" is the collation of keys.
SELECT results_eq($$SELECT pg_temp.columns_of('order_cqrs.events')$$, ARRAY[
    'position bigint', 'tenant_id text C', 'aggregate_type text C', 'aggregate_id text C', 'version integer',
    'event_type text C', 'schema_version integer', 'data jsonb', 'command_id uuid null', 'correlation_id uuid null',
    'causation_id uuid null', 'session_role text', 'actor text', 'metadata jsonb null', 'occurred_at timestamp with time zone'],
    'columns of events');
SELECT results_eq($$SELECT pg_temp.columns_of('order_cqrs.projection_state')$$, ARRAY[
    'projection_name text C', 'mode text', 'status text', 'last_position bigint',
    'last_processed_time timestamp with time zone null', 'last_event_count bigint', 'events_total bigint',
    'repaired_total bigint', 'renewed_total bigint', 'paused_to bigint', 'last_error text null', 'failed_position bigint null', 'attempts integer',
    'updated_at timestamp with time zone', 'counted_after bigint', 'counted_to bigint', 'counted_events bigint',
    'counted_checksum bigint', 'counted_since timestamp with time zone'],
    'columns of projection_state');
SELECT results_eq($$SELECT pg_temp.columns_of('order_cqrs.customers')$$, ARRAY[
    'tenant_id text C', 'customer_id text C', 'name text', 'email text', 'version integer', 'position bigint'],
    'columns of customers');
SELECT results_eq($$SELECT pg_temp.columns_of('order_cqrs.products')$$, ARRAY[
    'tenant_id text C', 'product_id text C', 'name text', 'category text', 'version integer', 'position bigint'],
    'columns of products');
SELECT results_eq($$SELECT pg_temp.columns_of('order_cqrs.order_view')$$, ARRAY[
    'tenant_id text C', 'order_id text C', 'customer_id text C', 'customer_name text null',
    'customer_email text null', 'status text C', 'payment_status text C null', 'total_amount numeric',
    'item_count integer', 'created_at timestamp with time zone', 'updated_at timestamp with time zone',
    'shipped_at timestamp with time zone null', 'version integer', 'items jsonb'],
    'columns of order_view');
SELECT results_eq($$SELECT pg_temp.columns_of('order_cqrs.order_item_view')$$, ARRAY[
    'tenant_id text C', 'order_id text C', 'line integer', 'product_id text C', 'product_name text null',
    'product_category text null', 'quantity integer', 'unit_price numeric', 'total_price numeric',
    'created_at timestamp with time zone', 'version integer'],
    'columns of order_item_view');
SELECT results_eq($$SELECT pg_temp.columns_of('order_cqrs.order_summary_view')$$, ARRAY[
    'tenant_id text C', 'order_id text C', 'customer_id text C', 'customer_name text null',
    'customer_email text null', 'status text C', 'payment_status text C null', 'total_amount numeric',
    'item_count integer', 'created_at timestamp with time zone', 'updated_at timestamp with time zone',
    'shipped_at timestamp with time zone null', 'version integer'],
    'columns of order_summary_view');
SELECT results_eq($$SELECT pg_temp.columns_of('order_cqrs.order_stats')$$, ARRAY[
    'tenant_id text C', 'day date', 'status text C', 'orders bigint', 'revenue numeric'],
    'columns of order_stats');
SELECT results_eq($$SELECT pg_temp.columns_of('order_cqrs.order_product_stats')$$, ARRAY[
    'tenant_id text C', 'product_id text C', 'quantity bigint', 'revenue numeric'],
    'columns of order_product_stats');
SELECT results_eq($$SELECT pg_temp.columns_of('order_cqrs.order_stats_applied')$$, ARRAY[
    'tenant_id text C', 'order_id text C', 'version integer', 'day date', 'status text C', 'total_amount numeric',
    'items jsonb'],
    'columns of order_stats_applied');
SELECT results_eq($$SELECT pg_temp.columns_of('order_cqrs.inventory')$$, ARRAY[
    'tenant_id text C', 'product_id text C', 'received bigint', 'adjusted bigint', 'shipped bigint', 'reserved bigint', 'on_hand bigint',
    'available bigint', 'version integer'],
    'columns of inventory');
SELECT results_eq($$SELECT pg_temp.columns_of('order_cqrs.reservations')$$, ARRAY[
    'tenant_id text C', 'order_id text C', 'status text C', 'items jsonb', 'version integer'],
    'columns of reservations');
SELECT results_eq($$SELECT pg_temp.columns_of('order_cqrs.payments')$$, ARRAY[
    'tenant_id text C', 'order_id text C', 'customer_id text C', 'status text C', 'amount numeric',
    'reference text null', 'reason text null', 'requested_at timestamp with time zone',
    'updated_at timestamp with time zone', 'version integer'],
    'columns of payments');
SELECT columns_are('order_cqrs', 'payment_requests', ARRAY['tenant_id', 'order_id', 'customer_id', 'amount',
    'requested_at', 'version']);
SELECT results_eq($$SELECT pg_temp.columns_of('order_cqrs.bus_registration')$$, ARRAY[
    'kind text', 'type text C', 'handler text', 'owner order_cqrs.role_ref', 'registered_by text', 'registered_at timestamp with time zone'],
    'columns of bus_registration');
SELECT results_eq($$SELECT pg_temp.columns_of('order_cqrs.bus_future')$$, ARRAY[
    'id uuid', 'number bigint', 'kind text', 'type text C', 'payload jsonb', 'command_id uuid null',
    'tenant_id text C', 'session_role order_cqrs.role_ref', 'role order_cqrs.role_ref', 'actor text null', 'time_zone text null', 'date_style text null',
    'interval_style text null', 'status text', 'result jsonb null', 'error jsonb null',
    'attempts integer', 'lock_timeouts integer', 'retry_at timestamp with time zone null', 'created_at timestamp with time zone', 'started_at timestamp with time zone null',
    'finished_at timestamp with time zone null'],
    'columns of bus_future');
SELECT results_eq($$SELECT pg_temp.columns_of('order_cqrs.restore_state')$$, ARRAY[
    'kind text C', 'part text C', 'holds boolean', 'marked_at timestamp with time zone null',
    'is_many boolean'],
    'columns of restore_state');
SELECT columns_are('order_cqrs', 'cache_stats', ARRAY['hits', 'misses', 'stale', 'fills', 'evictions', 'entries', 'bytes',
    'size_bytes']);
SELECT columns_are('order_cqrs', 'bus_handlers', ARRAY['kind', 'type', 'handler', 'is_builtin', 'parameters']);
SELECT columns_are('order_cqrs', 'projection_status', ARRAY['projection_name', 'mode', 'status', 'last_position',
    'lag_events', 'lag_seconds', 'unchecked_events', 'last_processed_time', 'last_event_count', 'events_total', 'repaired_total',
    'renewed_total', 'last_error', 'failed_position', 'attempts', 'audited_position', 'problem']);
SELECT columns_are('order_cqrs', 'event_horizon_wait', ARRAY['pid', 'prepared_transaction', 'user_name',
    'application_name', 'state', 'since', 'waited']);

-- Keys.
SELECT col_is_pk('order_cqrs', 'events', ARRAY['tenant_id', 'aggregate_type', 'aggregate_id', 'version'], 'events');
SELECT col_is_pk('order_cqrs', 'projection_state', 'projection_name', 'projection_state');
SELECT col_is_pk('order_cqrs', 'customers', ARRAY['tenant_id', 'customer_id'], 'customers');
SELECT col_is_pk('order_cqrs', 'products', ARRAY['tenant_id', 'product_id'], 'products');
SELECT col_is_pk('order_cqrs', 'order_view', ARRAY['tenant_id', 'order_id'], 'order_view');
SELECT col_is_pk('order_cqrs', 'order_item_view', ARRAY['tenant_id', 'order_id', 'line'], 'order_item_view');
SELECT col_is_pk('order_cqrs', 'order_summary_view', ARRAY['tenant_id', 'order_id'], 'order_summary_view');
SELECT col_is_pk('order_cqrs', 'order_stats', ARRAY['tenant_id', 'day', 'status'], 'order_stats');
SELECT col_is_pk('order_cqrs', 'order_product_stats', ARRAY['tenant_id', 'product_id'], 'order_product_stats');
SELECT col_is_pk('order_cqrs', 'order_stats_applied', ARRAY['tenant_id', 'order_id'], 'order_stats_applied');
SELECT col_is_pk('order_cqrs', 'inventory', ARRAY['tenant_id', 'product_id'], 'inventory');
SELECT col_is_pk('order_cqrs', 'reservations', ARRAY['tenant_id', 'order_id'], 'reservations');
SELECT col_is_pk('order_cqrs', 'payments', ARRAY['tenant_id', 'order_id'], 'payments');
SELECT col_is_pk('order_cqrs', 'bus_registration', ARRAY['kind', 'type'], 'bus_registration');
SELECT col_is_pk('order_cqrs', 'bus_future', 'id', 'bus_future');
SELECT col_is_pk('order_cqrs', 'projection_ledger', ARRAY['projection_name', 'after_position'], 'projection_ledger');
SELECT is_empty($$
    SELECT i.indexrelid::regclass FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
     WHERE c.relnamespace = 'order_cqrs'::regnamespace AND c.relname NOT IN ('events', 'projection_state', 'bus_registration', 'bus_future',
           'order_saga', 'saga_state', 'projection_ledger')
       AND i.indexrelid::regclass::text NOT IN ('order_cqrs.customers_name_idx', 'order_cqrs.products_name_idx')
       AND (SELECT attname FROM pg_attribute WHERE attrelid = c.oid AND attnum = i.indkey[0]) IS DISTINCT FROM 'tenant_id'$$,
    'every index of a read table leads with tenant_id, but for those by parts of names');
SELECT set_eq($$
    SELECT i.indexrelid::regclass::text FROM pg_index i
     WHERE i.indrelid = 'order_cqrs.order_view'::regclass
       AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
                    AND a.attname NOT IN ('tenant_id', 'order_id', 'customer_id'))$$, ARRAY[]::text[],
    'no index of order_view has a column that events change: its updates are HOT');
SELECT has_index('order_cqrs', 'events', 'events_position_key', '"position"', 'events can be read by position');
SELECT has_index('order_cqrs', 'events', 'events_aggregate_type_position_idx', ARRAY['aggregate_type', '"position"'],
    'events of a type can be read by position');
SELECT index_is_unique('order_cqrs', 'events', 'events_pkey', 'a version is there once');

-- What is on hand and available follows from the other columns, whoever writes them.
SELECT set_eq($$SELECT attname::text FROM pg_attribute
                 WHERE attrelid = 'order_cqrs.inventory'::regclass AND attgenerated = 's'$$,
    ARRAY['on_hand', 'available'], 'generated columns of inventory');
INSERT INTO order_cqrs.inventory (tenant_id, product_id, received, adjusted, shipped, reserved, version)
VALUES ('default', 'pen', 10, -1, 2, 5, 1);
SELECT results_eq($$SELECT on_hand, available FROM order_cqrs.inventory$$, 'VALUES (7::bigint, 2::bigint)',
    'on_hand is received + adjusted - shipped, available is on_hand - reserved');
DELETE FROM order_cqrs.inventory;

-- Positions come from a sequence that hands out one at a time, to nobody's choice.
SELECT is(attidentity::text, 'a', 'position is GENERATED ALWAYS AS IDENTITY')
  FROM pg_attribute WHERE attrelid = 'order_cqrs.events'::regclass AND attname = 'position';
SELECT is(seqcache, 1::bigint, 'its sequence has CACHE 1')
  FROM pg_sequence WHERE seqrelid = 'order_cqrs.events_position_seq'::regclass;
SELECT is(pg_get_serial_sequence('order_cqrs.events', 'position'), 'order_cqrs.events_position_seq',
    'its sequence is events_position_seq');

-- Triggers; 'A' fires always, 'O' not in a replica session.
SELECT set_eq($$
    SELECT format('%s %s %s %s', c.relname, t.tgname, t.tgenabled, t.tgtype)
      FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
     WHERE c.relnamespace = 'order_cqrs'::regnamespace AND NOT t.tgisinternal$$,
    -- tgtype: 58 is BEFORE UPDATE OR DELETE OR TRUNCATE, statement; 5 is AFTER INSERT, row; 7 is BEFORE INSERT, row
    ARRAY['events events_append_only A 58', 'events events_project O 5',
        'projection_state projection_state_restore O 7',
        'order_saga saga_restore A 7', 'saga_state saga_restore O 7',
        'bus_future restore_arrive A 7', 'bus_registration restore_arrive O 7',
        'restore_state restore_expect O 7', 'restore_state restore_project O 5'],
    'triggers, and when they fire');

CALL order_cqrs.customer_put('ada', 'Ada', 'ada@example.org');
SELECT throws_ok($$UPDATE order_cqrs.events SET actor = 'nobody'$$, 'OC301', NULL, 'UPDATE of events is refused');
SELECT throws_ok('DELETE FROM order_cqrs.events', 'OC301', NULL, 'DELETE of events is refused');
SELECT throws_ok('TRUNCATE order_cqrs.events', 'OC301', NULL, 'TRUNCATE of events is refused');
SELECT throws_ok('DELETE FROM order_cqrs.events WHERE false', 'OC301', NULL, 'also where it would do nothing');
SET LOCAL session_replication_role = replica;
SELECT throws_ok('DELETE FROM order_cqrs.events', 'OC301', NULL, 'also in a replica session');
RESET session_replication_role;

-- A row of events or of projection_state that cannot be true is refused.
SELECT throws_ok($$
    INSERT INTO order_cqrs.events (tenant_id, aggregate_type, aggregate_id, version, event_type, data, actor, occurred_at)
    VALUES ('default', 'Cart', 'c', 0, 'Opened', '{}', 'me', now())$$, 'OC303', NULL, 'versions begin with 1');
SELECT throws_ok($$UPDATE order_cqrs.projection_state SET mode = 'later'$$, '23514', NULL, 'modes are checked');
SELECT throws_ok($$UPDATE order_cqrs.projection_state SET status = 'odd'$$, '23514', NULL, 'statuses are checked');

-- Projections, as they are installed.
SELECT set_eq($$SELECT projection_name || ' ' || mode || ' ' || status FROM order_cqrs.projection_state$$,
    ARRAY['inventory sync running', 'order_stats async running', 'order_summary_view sync running',
        'order_view sync running', 'payments sync running', 'reference sync running'], 'projections, and their modes');

-- What pg_dump takes along: the events and the settings, not what is derived.
SELECT set_eq($$
    SELECT c.relation::regclass::text, c.condition
      FROM pg_extension e, unnest(e.extconfig, e.extcondition) AS c (relation, condition)
     WHERE e.extname = 'order_cqrs'$$,
    $$VALUES ('order_cqrs.events', ''), ('order_cqrs.events_position_seq', ''), ('order_cqrs.projection_state', ''),
        ('order_cqrs.bus_registration', ''), ('order_cqrs.bus_future', ''), ('order_cqrs.bus_future_number_seq', ''),
        ('order_cqrs.order_saga', ''), ('order_cqrs.saga_state', ''),
        ('order_cqrs.restore_state', (SELECT format('WHERE kind = ''content'' AND CASE part%s END',
            string_agg(format(E'\n    WHEN %L THEN EXISTS (SELECT FROM order_cqrs.%I)', part, part), '' ORDER BY n))
           FROM unnest('{events,saga_state,order_saga,bus_registration,bus_future}'::text[]) WITH ORDINALITY AS p (part, n)))$$,
    'a dump holds events, the state of projections, of the saga, handlers and futures, and the sequences');
SELECT is_empty($$
    SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'order_cqrs'::regnamespace
       AND c.relkind IN ('r', 'v', 'S')
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype IN ('e', 'i'))$$,
    'every relation belongs to the extension');

SELECT * FROM finish();
ROLLBACK;
