-- The contract of procedures and functions: names, arguments, defaults, results.

BEGIN;
SELECT no_plan();

-- Every command ends with these, and its answering twin with version, too.
CREATE FUNCTION pg_temp.optional(named text, answers boolean) RETURNS text
    LANGUAGE sql AS $$
    SELECT 'IN command_id uuid DEFAULT NULL::uuid, IN expected_version integer DEFAULT NULL::integer,'
           ' IN metadata jsonb DEFAULT NULL::jsonb, IN tenant_id text DEFAULT NULL::text'
           || coalesce(', ' || named, '')
           || CASE WHEN answers THEN ', INOUT version integer DEFAULT NULL::integer' ELSE '' END
$$;

CREATE TEMPORARY TABLE commands (name text, id text, arguments text, named text);
INSERT INTO commands VALUES
    ('customer_put', 'customer_id', 'IN name text, IN email text'),
    ('product_put', 'product_id', 'IN name text, IN category text'),
    ('order_create', 'order_id', 'IN customer_id text, IN items jsonb'),
    ('order_update', 'order_id', 'IN items jsonb, IN reason text DEFAULT NULL::text'),
    ('order_cancel', 'order_id', 'IN reason text DEFAULT NULL::text'),
    ('order_complete', 'order_id', NULL),
    ('stock_receive', 'product_id', 'IN quantity integer'),
    ('stock_adjust', 'product_id', 'IN quantity integer, IN reason text'),
    ('inventory_reserve', 'order_id', NULL),
    ('reservation_change', 'order_id', 'IN items jsonb'),
    ('inventory_release', 'order_id', NULL),
    ('payment_process', 'order_id', NULL),
    ('payment_complete', 'order_id', 'IN reference text DEFAULT NULL::text'),
    ('payment_fail', 'order_id', 'IN reason text DEFAULT NULL::text'),
    ('payment_refund', 'order_id', NULL),
    ('shipping_start', 'order_id', NULL),
    ('event_append', 'aggregate_type', 'IN aggregate_id text, IN events jsonb');
UPDATE commands SET named = 'IN amount numeric DEFAULT NULL::numeric'
 WHERE name IN ('payment_complete', 'payment_fail', 'payment_refund');

SELECT set_eq(format($$SELECT pg_get_function_arguments(oid) FROM pg_proc
                        WHERE pronamespace = 'order_cqrs'::regnamespace AND proname = %L AND prokind = 'p'$$, name),
           ARRAY[concat_ws(', ', 'IN ' || id || ' text', arguments, pg_temp.optional(named, false)),
                 concat_ws(', ', 'IN ' || id || ' order_cqrs.identifier', arguments, pg_temp.optional(named, true))],
           'procedure ' || name || ', without version and with it')
  FROM commands ORDER BY name;

-- A number by position, such as the amount of payment_refund('o1', 30), is no optional argument of any command.
CREATE TEMPORARY VIEW parameters AS
    SELECT p.oid::regprocedure AS command, p.oid, p.proname, n, t.typcategory, a.type, p.pronargs - p.pronargdefaults AS required,
           bool_or(a.type = 'uuid'::regtype AND n > p.pronargs - p.pronargdefaults) OVER (PARTITION BY p.oid ORDER BY n) AS is_after_uuid
      FROM pg_proc p, unnest(p.proargtypes::oid[]) WITH ORDINALITY AS a (type, n), pg_type t
     WHERE p.pronamespace = 'order_cqrs'::regnamespace AND p.prokind = 'p' AND 'command_id' = ANY (p.proargnames)
       AND t.oid = a.type;
SELECT is((SELECT count(DISTINCT oid) FROM parameters WHERE typcategory = 'N' AND n > required), (SELECT 2 * count(*) FROM commands),
          'each command has optional numbers');
SELECT is_empty($$SELECT command, n FROM parameters WHERE typcategory = 'N' AND n > required AND NOT is_after_uuid$$,
                'a uuid comes before them');
SELECT throws_ok(format('CALL order_cqrs.%I(%s, 30)', proname, arguments), '42883', NULL,
                 format('no %s takes a number after %s arguments', command, n))
  FROM (SELECT command, proname, n, required,
               string_agg('NULL::' || type::regtype, ', ') OVER w AS arguments
          FROM parameters WINDOW w AS (PARTITION BY oid ORDER BY n ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)) c
 WHERE n >= required AND arguments NOT LIKE '%uuid%'
 ORDER BY command::text, n;

-- The others.  Results: NULL for procedures.
CREATE TEMPORARY TABLE others (name text, kind "char", arguments text, result text);
INSERT INTO others VALUES
    ('projection_sync', 'p', 'IN projection_name text DEFAULT NULL::text', NULL),
    ('projection_rebuild', 'p', 'IN projection_name text', NULL),
    ('projection_pause', 'p', 'IN projection_name text', NULL),
    ('projection_resume', 'p', 'IN projection_name text', NULL),
    ('projection_set_mode', 'p', 'IN projection_name text, IN mode text', NULL),
    ('projection_audit', 'p', 'IN projection_name text DEFAULT NULL::text', NULL),
    ('event_count', 'f', 'from_position bigint, to_position bigint, aggregate_types text[] DEFAULT NULL::text[],'
        ' OUT events bigint, OUT checksum bigint', 'record'),
    ('projection_verify', 'f', 'projection_name text, OUT tenant_id text, OUT key text, OUT expected jsonb,'
        ' OUT actual jsonb', 'SETOF record'),
    ('order_next_id', 'f', '', 'text'),
    ('order_get', 'f', 'order_id text, tenant_id text DEFAULT NULL::text, OUT tenant_id text, OUT order_id text,'
        ' OUT customer_id text, OUT customer_name text, OUT customer_email text, OUT status text,'
        ' OUT payment_status text, OUT total_amount numeric, OUT item_count integer,'
        ' OUT created_at timestamp with time zone, OUT updated_at timestamp with time zone,'
        ' OUT shipped_at timestamp with time zone, OUT version integer, OUT items jsonb', 'record'),
    ('order_history', 'f', 'order_id text, tenant_id text DEFAULT NULL::text, OUT version integer,'
        ' OUT event_type text, OUT data jsonb, OUT occurred_at timestamp with time zone,'
        ' OUT session_role text, OUT actor text, OUT command_id uuid, OUT metadata jsonb, OUT "position" bigint', 'SETOF record'),
    ('order_as_of', 'f', 'order_id text, at timestamp with time zone, tenant_id text DEFAULT NULL::text,'
        ' OUT tenant_id text, OUT order_id text, OUT customer_id text, OUT customer_name text,'
        ' OUT customer_email text, OUT status text, OUT payment_status text, OUT total_amount numeric,'
        ' OUT item_count integer, OUT created_at timestamp with time zone, OUT updated_at timestamp with time zone,'
        ' OUT shipped_at timestamp with time zone, OUT version integer, OUT items jsonb', 'record'),
    ('inventory_check', 'f', 'items jsonb, order_id text DEFAULT NULL::text, tenant_id text DEFAULT NULL::text,'
        ' OUT product_id text, OUT requested bigint, OUT available bigint, OUT ok boolean', 'SETOF record'),
    ('customer_orders', 'f', 'customer_id text,'
        ' from_time timestamp with time zone DEFAULT NULL::timestamp with time zone,'
        ' to_time timestamp with time zone DEFAULT NULL::timestamp with time zone, page integer DEFAULT 0,'
        ' page_size integer DEFAULT 20, after text DEFAULT NULL::text, tenant_id text DEFAULT NULL::text,'
        ' OUT tenant_id text, OUT order_id text, OUT customer_id text, OUT customer_name text,'
        ' OUT customer_email text, OUT status text, OUT payment_status text, OUT total_amount numeric,'
        ' OUT item_count integer, OUT created_at timestamp with time zone,'
        ' OUT updated_at timestamp with time zone, OUT shipped_at timestamp with time zone, OUT version integer,'
        ' OUT cursor text', 'SETOF record'),
    ('order_search', 'f', 'customer_id text DEFAULT NULL::text, customer_name text DEFAULT NULL::text,'
        ' status text[] DEFAULT NULL::text[], payment_status text[] DEFAULT NULL::text[],'
        ' min_total numeric DEFAULT NULL::numeric, max_total numeric DEFAULT NULL::numeric,'
        ' created_from timestamp with time zone DEFAULT NULL::timestamp with time zone,'
        ' created_to timestamp with time zone DEFAULT NULL::timestamp with time zone,'
        ' updated_from timestamp with time zone DEFAULT NULL::timestamp with time zone,'
        ' updated_to timestamp with time zone DEFAULT NULL::timestamp with time zone,'
        ' product_id text DEFAULT NULL::text, product_name text DEFAULT NULL::text,'
        ' product_category text DEFAULT NULL::text, min_items integer DEFAULT NULL::integer,'
        ' max_items integer DEFAULT NULL::integer,'
        ' sort text DEFAULT ''-created_at''::text, page integer DEFAULT 0, page_size integer DEFAULT 20,'
        ' after text DEFAULT NULL::text, tenant_id text DEFAULT NULL::text,'
        ' OUT tenant_id text, OUT order_id text, OUT customer_id text, OUT customer_name text,'
        ' OUT customer_email text, OUT status text, OUT payment_status text, OUT total_amount numeric,'
        ' OUT item_count integer, OUT created_at timestamp with time zone, OUT updated_at timestamp with time zone,'
        ' OUT shipped_at timestamp with time zone, OUT version integer, OUT cursor text', 'SETOF record'),
    ('order_search_count', 'f', 'customer_id text DEFAULT NULL::text, customer_name text DEFAULT NULL::text,'
        ' status text[] DEFAULT NULL::text[], payment_status text[] DEFAULT NULL::text[],'
        ' min_total numeric DEFAULT NULL::numeric, max_total numeric DEFAULT NULL::numeric,'
        ' created_from timestamp with time zone DEFAULT NULL::timestamp with time zone,'
        ' created_to timestamp with time zone DEFAULT NULL::timestamp with time zone,'
        ' updated_from timestamp with time zone DEFAULT NULL::timestamp with time zone,'
        ' updated_to timestamp with time zone DEFAULT NULL::timestamp with time zone,'
        ' product_id text DEFAULT NULL::text, product_name text DEFAULT NULL::text,'
        ' product_category text DEFAULT NULL::text, min_items integer DEFAULT NULL::integer,'
        ' max_items integer DEFAULT NULL::integer,'
        ' exact boolean DEFAULT false, tenant_id text DEFAULT NULL::text', 'bigint'),
    ('stream_read', 'f', 'aggregate_type text, aggregate_id text, after_version integer DEFAULT 0,'
        ' max_count integer DEFAULT 1000, tenant_id text DEFAULT NULL::text', 'SETOF order_cqrs.events'),
    ('event_read', 'f', 'after_position bigint, max_count integer DEFAULT 1000,'
        ' aggregate_types text[] DEFAULT NULL::text[]', 'SETOF order_cqrs.events'),
    ('cache_clear', 'p', '', NULL),
    ('restore_end', 'p', '', NULL),
    ('saga_run', 'p', '', NULL),
    ('saga_retry', 'p', 'IN order_id text, IN tenant_id text DEFAULT NULL::text', NULL),
    ('event_horizon', 'f', '', 'bigint'),
    ('command_send', 'f', 'command_type text, payload jsonb, command_id uuid DEFAULT NULL::uuid,'
        ' tenant_id text DEFAULT NULL::text', 'jsonb'),
    ('query_send', 'f', 'query_type text, payload jsonb, tenant_id text DEFAULT NULL::text', 'jsonb'),
    ('command_send_async', 'f', 'command_type text, payload jsonb, command_id uuid DEFAULT NULL::uuid,'
        ' tenant_id text DEFAULT NULL::text', 'uuid'),
    ('query_send_async', 'f', 'query_type text, payload jsonb, tenant_id text DEFAULT NULL::text', 'uuid'),
    ('future_get', 'f', 'id uuid, timeout interval DEFAULT NULL::interval', 'jsonb'),
    ('future_status', 'f', 'id uuid', 'text'),
    ('future_cancel', 'f', 'id uuid', 'boolean'),
    ('future_run', 'p', 'IN max_count integer DEFAULT NULL::integer', NULL),
    ('command_handler_register', 'f', 'command_type text, handler regprocedure', 'void'),
    ('command_handler_unregister', 'f', 'command_type text', 'void'),
    ('query_handler_register', 'f', 'query_type text, handler regprocedure', 'void'),
    ('query_handler_unregister', 'f', 'query_type text', 'void');

SELECT results_eq(format($$SELECT prokind, pg_get_function_arguments(oid), pg_get_function_result(oid) FROM pg_proc
                            WHERE pronamespace = 'order_cqrs'::regnamespace AND proname = %L$$, name),
           format('VALUES (%L::"char", %L, %L)', kind, arguments, result),
           CASE kind WHEN 'p' THEN 'procedure ' ELSE 'function ' END || name)
  FROM others ORDER BY name;

-- What else there is serves the extension itself, and may change.
SELECT set_eq($$SELECT DISTINCT proname::text FROM pg_proc WHERE pronamespace = 'order_cqrs'::regnamespace
                EXCEPT (SELECT name FROM commands UNION SELECT name FROM others)$$,
    ARRAY['events_append_only', 'events_project', 'projection_state_restore', 'order_fold', 'projection_bound',
        'projection_aggregate_types',
        'reference_difference', 'order_view_difference', 'order_summary_view_difference', 'order_stats_difference',
        'inventory_difference', 'payments_difference', 'bus_builtin_handlers',
        'cache_counters', 'saga_restore', 'restore_arrive', 'restore_expect', 'restore_project',
        'role_ref_in', 'role_ref_out'],
    'there are no other routines');

-- order_api has each command as a function with the parameters of the procedure without version ...
SELECT results_eq(format($$SELECT pg_get_function_arguments(oid), pg_get_function_result(oid), provolatile, proisstrict FROM pg_proc
                            WHERE pronamespace = 'order_api'::regnamespace AND proname = %L$$, name),
           format($$VALUES (%L, 'integer', 'v'::"char", false)$$,
                  replace(concat_ws(', ', 'IN ' || id || ' text', arguments, pg_temp.optional(named, false)), 'IN ', '')),
           'function order_api.' || name)
  FROM commands ORDER BY name;
-- ... and each query as it is, but STABLE.
CREATE TEMPORARY TABLE queries (name text);
INSERT INTO queries VALUES ('order_get'), ('order_history'), ('order_as_of'), ('customer_orders'), ('order_search'),
    ('order_search_count'), ('stream_read'), ('inventory_check');
SELECT results_eq(format($$SELECT pg_get_function_arguments(oid), pg_get_function_result(oid), provolatile, proisstrict FROM pg_proc
                            WHERE pronamespace = 'order_api'::regnamespace AND proname = %L$$, name),
           format($$VALUES (%L, %L, 's'::"char", false)$$, arguments, result),
           'function order_api.' || name)
  FROM queries JOIN others USING (name) ORDER BY name;
SELECT set_eq($$SELECT proname::text FROM pg_proc WHERE pronamespace = 'order_api'::regnamespace$$,
    $$SELECT name FROM commands UNION ALL SELECT name FROM queries$$, 'and nothing else');

-- What a procedure that commits, or a function that writes, cannot have.
SELECT is_empty($$SELECT oid::regprocedure FROM pg_proc WHERE pronamespace IN ('order_cqrs'::regnamespace, 'order_api'::regnamespace)
                   AND (prosecdef OR (prokind = 'p' AND proconfig IS NOT NULL))$$,
    'no routine is SECURITY DEFINER, and no procedure has a SET clause');
SELECT is_empty($$SELECT oid::regprocedure FROM pg_proc WHERE pronamespace IN ('order_cqrs'::regnamespace, 'order_api'::regnamespace)
                   AND proparallel <> 'u'$$, 'no routine runs in a parallel worker');

-- Calls as they are made: by position, by name, with version and without.
CALL order_cqrs.customer_put('ada', 'Ada', 'ada@example.org');
CALL order_cqrs.product_put(product_id => 'pen', name => 'Pen', category => 'Writing');
CALL order_cqrs.order_create('o1', 'ada', '[{"product_id": "pen", "quantity": 2, "unit_price": "1.10"}]');
CALL order_cqrs.order_update('o1', '[{"product_id": "pen", "quantity": 3, "unit_price": 1.10}]', version => NULL) \gset
SELECT is(:version, 2, 'a command that is asked answers with the version');
CALL order_cqrs.order_complete(order_id => 'o1', expected_version => 2,
    command_id => '00000000-0000-0000-0000-000000000001', metadata => '{"source": "test"}', tenant_id => 'default',
    version => NULL) \gset
SELECT is(:version, 3, 'also with every argument by name');
SELECT results_eq($$SELECT version, event_type, command_id, metadata FROM order_cqrs.order_history('o1')$$,
    $$VALUES (1, 'OrderCreated', NULL::uuid, NULL::jsonb), (2, 'OrderUpdated', NULL, NULL),
        (3, 'OrderCompleted', '00000000-0000-0000-0000-000000000001', '{"source": "test"}')$$,
    'the events say what was called');
SELECT results_eq($$SELECT order_id, customer_name, status, total_amount, item_count FROM order_cqrs.order_get('o1')$$,
    $$VALUES ('o1', 'Ada', 'COMPLETED', 3.30, 1)$$, 'and order_get what came of it');
SELECT is(jsonb_typeof(items) || ' ' || items::text, 'array ' || '[{"quantity": 3, "product_id": "pen", "unit_price": 1.10,'
    ' "total_price": 3.30, "product_name": "Pen", "product_category": "Writing"}]', 'items of order_get')
  FROM order_cqrs.order_get('o1');
SELECT results_eq($$SELECT event_type, jsonb_object_keys(data) FROM order_cqrs.order_history('o1') ORDER BY 1, 2$$,
    $$VALUES ('OrderCreated', 'customer_id'), ('OrderCreated', 'items'), ('OrderCreated', 'total_amount'),
        ('OrderUpdated', 'items'), ('OrderUpdated', 'reason'), ('OrderUpdated', 'total_amount')$$,
    'events of an order carry these keys');
SELECT results_eq($$SELECT s::text FROM order_cqrs.order_search(status => '{COMPLETED}', product_name => 'PEN') s$$,
    $$SELECT ROW(v.*, s.cursor)::text FROM order_cqrs.order_summary_view v, order_cqrs.order_search() s$$,
    'order_search returns rows of order_summary_view, and a cursor');
SELECT results_eq($$SELECT s::text FROM order_cqrs.customer_orders('ada', from_time => '-infinity', page_size => 1) s$$,
    $$SELECT ROW(v.*, s.cursor)::text FROM order_cqrs.order_summary_view v, order_cqrs.customer_orders('ada') s$$,
    'customer_orders returns rows of order_summary_view, and a cursor');
SELECT is(order_cqrs.order_search_count(customer_id => 'ada', exact => true), 1::bigint, 'order_search_count counts them');
SELECT matches(order_cqrs.order_next_id(), '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$',
    'order_next_id returns a UUID of version 7');

SELECT * FROM finish();
ROLLBACK;
