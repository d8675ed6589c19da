-- Who may do what: USAGE on the schema makes a role a client, and gives it nothing but the commands and the queries
-- of orders.

BEGIN;
SELECT no_plan();

CREATE ROLE client;
CREATE ROLE stranger;
CREATE ROLE reader;
CREATE ROLE operator;
GRANT USAGE ON SCHEMA order_cqrs TO client, reader, operator;
GRANT SELECT ON order_cqrs.order_view, order_cqrs.payment_requests TO reader;
GRANT EXECUTE ON FUNCTION order_cqrs.event_read(bigint, int, text[]), order_cqrs.event_horizon() TO reader;
GRANT EXECUTE ON PROCEDURE order_cqrs.projection_sync(text), order_cqrs.projection_pause(text),
    order_cqrs.projection_resume(text) TO operator;
-- The test's own functions are called in every role.
GRANT USAGE, CREATE ON SCHEMA public TO client, stranger, reader, operator;

-- As granted.
SELECT is_empty($$SELECT oid::regclass, privilege FROM pg_class,
                         unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS p (privilege)
                   WHERE relnamespace = 'order_cqrs'::regnamespace AND relkind IN ('r', 'v')
                     AND has_table_privilege('client', oid, privilege)$$, 'a client has no privilege on any table or view');
SELECT ok(NOT has_sequence_privilege('client', 'order_cqrs.events_position_seq', 'USAGE, SELECT, UPDATE'),
    'nor on the sequence');
SELECT is_empty($$SELECT a.attrelid::regclass, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
                   WHERE c.relnamespace = 'order_cqrs'::regnamespace AND a.attacl IS NOT NULL$$, 'nor on a column');
SELECT set_eq($$SELECT DISTINCT proname::text FROM pg_proc WHERE pronamespace = 'order_cqrs'::regnamespace
                   AND has_function_privilege('client', oid, 'EXECUTE')$$,
    ARRAY['customer_put', 'product_put', 'order_create', 'order_update', 'order_cancel', 'order_complete',
        'stock_receive', 'stock_adjust', 'inventory_reserve', 'reservation_change', 'inventory_release', 'payment_process',
        'payment_complete', 'payment_fail', 'payment_refund', 'shipping_start', 'event_append', 'order_next_id',
        'order_get', 'order_history', 'order_as_of', 'stream_read', 'customer_orders', 'order_search', 'order_search_count',
        'inventory_check', 'command_send', 'query_send', 'command_send_async', 'query_send_async', 'future_get',
        'future_status', 'future_cancel', 'future_run', 'bus_builtin_handlers', 'cache_counters',
        'projection_aggregate_types'],
    'it may call the commands and the queries of orders, and the buses');
SELECT ok(NOT has_schema_privilege('stranger', 'order_cqrs', 'USAGE, CREATE'), 'PUBLIC has nothing on the schema');
SELECT ok(NOT has_schema_privilege('stranger', 'order_api', 'USAGE, CREATE'), 'nor on order_api');
SELECT ok(NOT has_schema_privilege('client', 'order_api', 'USAGE, CREATE'), 'USAGE on order_cqrs does not give it');
SELECT is_empty($$SELECT oid::regprocedure FROM pg_proc WHERE pronamespace = 'order_api'::regnamespace
                   AND NOT has_function_privilege('stranger', oid, 'EXECUTE')$$, 'who has it may call all that is there');
SELECT ok(NOT has_schema_privilege('pg_monitor', 'order_cqrs', 'USAGE'), 'nor has pg_monitor: USAGE lets a role send commands');

-- As it is when one does it.
SET LOCAL ROLE client;
SELECT lives_ok($$CALL order_cqrs.customer_put('ada', 'Ada', 'ada@example.org')$$, 'customer_put');
SELECT lives_ok($$CALL order_cqrs.product_put('pen', 'Pen', 'Writing', version => NULL)$$, 'product_put');
SELECT lives_ok(format($$CALL order_cqrs.order_create(%L, 'ada',
    '[{"product_id": "pen", "quantity": 1, "unit_price": 1}]')$$, id), 'order_create')
  FROM unnest(ARRAY['o1', 'o2']) AS t (id);
SELECT lives_ok($$CALL order_cqrs.order_update('o1', '[{"product_id": "pen", "quantity": 2, "unit_price": 1}]')$$,
    'order_update');
SELECT lives_ok($$CALL order_cqrs.order_complete('o1')$$, 'order_complete');
SELECT lives_ok($$CALL order_cqrs.order_cancel('o2')$$, 'order_cancel');
SELECT lives_ok($$CALL order_cqrs.stock_receive('pen', 10)$$, 'stock_receive');
SELECT lives_ok($$CALL order_cqrs.stock_adjust('pen', 1, 'found')$$, 'stock_adjust, up');
SELECT lives_ok($$CALL order_cqrs.stock_adjust('pen', -1, 'lost')$$, 'stock_adjust, down');
SELECT lives_ok($$CALL order_cqrs.inventory_reserve('o1')$$, 'inventory_reserve');
SELECT lives_ok($$CALL order_cqrs.reservation_change('o1', '[{"product_id": "pen", "quantity": 3}]')$$, 'reservation_change');
SELECT lives_ok($$CALL order_cqrs.inventory_release('o1', version => NULL)$$, 'inventory_release');
SELECT is(available, 10::bigint, 'inventory_check')
  FROM order_cqrs.inventory_check('[{"product_id": "pen", "quantity": 1}]', 'o1');
SELECT lives_ok($$CALL order_cqrs.payment_process('o1')$$, 'payment_process');
SELECT lives_ok($$CALL order_cqrs.payment_fail('o1', 'no')$$, 'payment_fail');
SELECT lives_ok($$CALL order_cqrs.payment_process('o1')$$, 'payment_process again');
SELECT lives_ok($$CALL order_cqrs.payment_complete('o1', 'ref')$$, 'payment_complete');
SELECT lives_ok($$CALL order_cqrs.payment_refund('o1')$$, 'payment_refund');
SELECT lives_ok($$CALL order_cqrs.shipping_start('o1')$$, 'shipping_start');
SELECT lives_ok($$CALL order_cqrs.event_append('Cart', 'c', '[{"type": "Opened", "data": {}}]')$$, 'event_append');
SELECT lives_ok('SELECT order_cqrs.order_next_id()', 'order_next_id');
SELECT is(total_amount, 2::numeric, 'order_get') FROM order_cqrs.order_get('o1');
SELECT is(count(*), 12::bigint, 'order_history') FROM order_cqrs.order_history('o1');
SELECT lives_ok($$SELECT order_cqrs.order_as_of('o1', clock_timestamp())$$, 'order_as_of');
SELECT is(count(*), 2::bigint, 'customer_orders') FROM order_cqrs.customer_orders('ada');
SELECT is(count(*), 2::bigint, 'order_search') FROM order_cqrs.order_search(product_name => 'pen', customer_name => 'ada');
SELECT is(order_cqrs.order_search_count(exact => true), 2::bigint, 'order_search_count');
SELECT is(count(*), 1::bigint, 'stream_read') FROM order_cqrs.stream_read('Cart', 'c');
SELECT is(session_role || ' ' || actor, session_user || ' ' || session_user, 'session role and actor are the session''s user') FROM order_cqrs.order_history('o1') LIMIT 1;
SELECT is(order_cqrs.command_send('PutProduct', '{"product_id": "ink", "name": "Ink", "category": "Writing"}')->>'version', '1',
    'command_send');
SELECT is(order_cqrs.query_send('GetOrder', '{"order_id": "o1"}')->>'customer_name', 'Ada', 'query_send');
SELECT is(order_cqrs.future_status(order_cqrs.command_send_async('CompleteOrder', '{"order_id": "o1"}')), 'waiting',
    'command_send_async and future_status');
SELECT is(order_cqrs.future_cancel(order_cqrs.query_send_async('GetOrder', '{"order_id": "o1"}')), true,
    'query_send_async and future_cancel');
SELECT is(current_user::text, 'client', 'the role is the caller''s again after each of them');

SELECT throws_ok(statement, '42501', NULL, 'a client is refused: ' || statement)
  FROM unnest(ARRAY['SELECT * FROM order_cqrs.events', 'SELECT * FROM order_cqrs.order_view',
           'SELECT * FROM order_cqrs.projection_status', 'SELECT * FROM order_cqrs.event_horizon_wait',
           $$DELETE FROM order_cqrs.order_view$$, $$UPDATE order_cqrs.projection_state SET mode = 'sync'$$,
           $$SELECT nextval('order_cqrs.events_position_seq')$$,
           'SELECT order_cqrs.event_horizon()', 'SELECT order_cqrs.event_read(0)',
           'SELECT order_cqrs.event_count(0, 0)', 'CALL order_cqrs.projection_audit()', 'SELECT * FROM order_cqrs.projection_ledger',
           'SELECT * FROM order_cqrs.bus_future', 'SELECT * FROM order_cqrs.bus_registration',
           'SELECT * FROM order_cqrs.bus_handlers',
           'SELECT * FROM order_cqrs.cache_stats', 'CALL order_cqrs.cache_clear()', 'SET order_cqrs.notify = on',
           $$SELECT order_cqrs.command_handler_register('Mine', 'pg_catalog.jsonb_concat(jsonb, jsonb)')$$,
           $$SELECT order_cqrs.query_handler_register('Mine', 'pg_catalog.jsonb_concat(jsonb, jsonb)')$$,
           $$SELECT order_cqrs.command_handler_unregister('Mine')$$, $$SELECT order_cqrs.query_handler_unregister('Mine')$$,
           $$SELECT order_cqrs.projection_verify('order_view')$$, 'SELECT order_cqrs.order_fold()',
           'SELECT order_cqrs.order_view_difference()', 'SELECT * FROM order_cqrs.payment_requests',
           'SELECT * FROM order_cqrs.inventory', $$UPDATE order_cqrs.inventory SET received = 100$$,
           'SELECT order_cqrs.inventory_difference()', 'SET order_cqrs.reserve_on = off', 'CALL order_cqrs.projection_sync()',
           $$CALL order_cqrs.projection_rebuild('order_view')$$, $$CALL order_cqrs.projection_pause('order_view')$$,
           $$CALL order_cqrs.projection_resume('order_view')$$,
           'CALL order_cqrs.restore_end()', 'CALL order_cqrs.saga_run()', $$CALL order_cqrs.saga_retry('o1')$$, 'SELECT * FROM order_cqrs.saga_status',
           'SELECT * FROM order_cqrs.order_saga', 'SELECT * FROM order_cqrs.saga_state',
           $$CALL order_cqrs.projection_set_mode('order_view', 'async')$$]) AS t (statement);

-- Objects of the caller's own do not get into what runs as the owner.
CREATE TABLE public.events (position bigint);
CREATE TABLE public.order_view (order_id text);
SET LOCAL search_path = public, order_cqrs, pg_catalog;
CREATE FUNCTION public.count(bigint) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this one'; END $$;
CREATE FUNCTION public.jsonb_agg(jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this one'; END $$;
CREATE FUNCTION public.equal(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this one'; END $$;
CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = text, FUNCTION = public.equal);
DO $$
BEGIN
    CALL order_cqrs.order_create('o3', 'ada', '[{"product_id": "pen", "quantity": 1, "unit_price": 1}]');
    CALL order_cqrs.order_cancel('o3', 'taken back');
    PERFORM order_cqrs.order_get('o3'), order_cqrs.order_history('o3'),
        order_cqrs.order_as_of('o3', pg_catalog.clock_timestamp()), order_cqrs.customer_orders('ada'),
        order_cqrs.order_search('ada', 'a', ARRAY['CANCELLED'], sort => 'customer_name',
            after => (SELECT s.cursor FROM order_cqrs.order_search(sort => 'customer_name', page_size => 1) AS s)),
        order_cqrs.order_search_count(product_id => 'pen'), order_cqrs.order_search_count(exact => true);
END
$$;
SET LOCAL search_path = public, pg_catalog;
DROP OPERATOR public.= (text, text);
DROP FUNCTION public.equal(text, text), public.count(bigint), public.jsonb_agg(jsonb);
RESET search_path;
SELECT is(status, 'CANCELLED', 'tables, functions and operators of the caller''s own are not used')
  FROM order_cqrs.order_get('o3');
DROP TABLE public.events, public.order_view;

RESET ROLE;
SET LOCAL ROLE stranger;
SELECT throws_ok($$CALL order_cqrs.order_cancel('o1')$$, '42501', NULL, 'without USAGE there are no commands');
SELECT throws_ok($$SELECT order_cqrs.order_get('o1')$$, '42501', NULL, 'nor queries');

SELECT throws_ok($$SELECT order_api.order_cancel('o1')$$, '42501', NULL, 'nor commands as functions');
RESET ROLE;
GRANT USAGE ON SCHEMA order_api TO stranger;
SET LOCAL ROLE stranger;
SELECT is(order_api.product_put('nib', 'Nib', 'Writing'), 1, 'USAGE on order_api is enough for them');
SELECT is(customer_name, 'Ada', 'and for queries') FROM order_api.order_get('o1');
SELECT is(count(*), 4::bigint, 'also those that return rows of a table') FROM order_api.stream_read('Order', 'o3');
SELECT throws_ok($$CALL order_cqrs.product_put('nib', 'Nib', 'Writing')$$, '42501', NULL, 'and for nothing of order_cqrs');

-- One by one.
RESET ROLE;
SET LOCAL ROLE reader;
SELECT is(count(*), 3::bigint, 'SELECT on a read table is enough to read it') FROM order_cqrs.order_view;
SELECT is(count(*), 26::bigint, 'EXECUTE on event_read is enough to read the log') FROM order_cqrs.event_read(0);
SELECT lives_ok('SELECT * FROM order_cqrs.payment_requests', 'SELECT on payment_requests is enough to see what waits');
SELECT throws_ok('SELECT * FROM order_cqrs.payments', '42501', NULL, 'though not to read its table');
SELECT throws_ok('SELECT * FROM order_cqrs.events', '42501', NULL, 'though not to read its table');
RESET ROLE;
SET LOCAL ROLE operator;
SELECT lives_ok($$CALL order_cqrs.projection_pause('order_view')$$, 'EXECUTE on projection_pause is enough for it');
SELECT lives_ok($$CALL order_cqrs.projection_resume('order_view')$$, 'so it is for projection_resume');
SELECT lives_ok($$CALL order_cqrs.projection_sync()$$, 'and projection_sync');

-- Monitoring by a view in another schema.
RESET ROLE;
CREATE VIEW public.projection_lag AS SELECT projection_name, status, lag_events FROM order_cqrs.projection_status;
GRANT SELECT ON public.projection_lag TO stranger;
SET LOCAL ROLE stranger;
SELECT is(count(*), 6::bigint, 'a view of one''s own shows the status to a role that may do nothing else')
  FROM public.projection_lag;

RESET ROLE;
SELECT * FROM finish();
ROLLBACK;
