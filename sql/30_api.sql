-- order_api: commands and queries as functions, called as PostgREST and drivers call them.
SET order_cqrs.tenant_id = 'api';
\pset format unaligned
\pset tuples_only on
CREATE ROLE regress_order_web;
CREATE ROLE regress_order_stranger;
GRANT USAGE ON SCHEMA order_api, tools TO regress_order_web;
GRANT USAGE ON SCHEMA tools TO regress_order_stranger;

-- Each command has a function with the parameters of its procedure, and each query one with its own and its result.
SELECT p.proname FROM pg_proc p
 WHERE p.pronamespace = 'order_cqrs'::regnamespace AND p.prokind = 'p' AND 'command_id' = ANY (p.proargnames)
   AND NOT 'version' = ANY (p.proargnames)
   AND NOT EXISTS (SELECT FROM pg_proc f WHERE f.pronamespace = 'order_api'::regnamespace AND f.proname = p.proname
	AND f.prokind = 'f' AND f.provolatile = 'v' AND f.prosrc = p.prosrc AND f.proargnames = p.proargnames
	AND f.proargtypes = p.proargtypes AND f.pronargdefaults = p.pronargdefaults AND f.prorettype = 'int'::regtype);
SELECT f.proname FROM pg_proc f
 WHERE f.pronamespace = 'order_api'::regnamespace AND f.provolatile = 's'
   AND NOT EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = 'order_cqrs'::regnamespace AND p.proname = f.proname
	AND p.prosrc = f.prosrc AND p.proargnames = f.proargnames AND p.proallargtypes IS NOT DISTINCT FROM f.proallargtypes
	AND p.proargtypes = f.proargtypes AND p.pronargdefaults = f.pronargdefaults AND p.prorettype = f.prorettype
	AND p.proretset = f.proretset);
SELECT provolatile, count(*) FROM pg_proc WHERE pronamespace = 'order_api'::regnamespace GROUP BY 1 ORDER BY 1;

-- Each command, by name, as a role that has USAGE on order_api and nothing else.
BEGIN;
SET LOCAL ROLE regress_order_web;
SELECT order_api.customer_put(customer_id => 'c', name => 'C', email => 'c@example.org');
SELECT order_api.product_put(product_id => 'p', name => 'P', category => 'x');
SELECT order_api.stock_receive(product_id => 'p', quantity => 10);
SELECT order_api.stock_adjust(product_id => 'p', quantity => -1, reason => 'breakage');
SELECT order_api.order_create(order_id => 'o1', customer_id => 'c', items => '[{"product_id": "p", "quantity": 2, "unit_price": 1.5}]');
SELECT order_api.inventory_reserve(order_id => 'o1');
SELECT order_api.order_update(order_id => 'o1', items => '[{"product_id": "p", "quantity": 3, "unit_price": 1.5}]', reason => 'more');
SELECT order_api.inventory_release(order_id => 'o1');
SELECT order_api.reservation_change(order_id => 'o1', items => '[{"product_id": "p", "quantity": 3}]');
SELECT order_api.payment_process(order_id => 'o1');
SELECT order_api.payment_fail(order_id => 'o1', reason => 'no funds', amount => 4.5);
SELECT order_api.payment_process(order_id => 'o1');
SELECT order_api.payment_complete(order_id => 'o1', reference => 'r', amount => 4.5);
SELECT order_api.order_complete(order_id => 'o1', expected_version => 10);
SELECT order_api.shipping_start(order_id => 'o1');
SELECT order_api.payment_refund(order_id => 'o1', amount => 4.5);
SELECT order_api.order_create('o2', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]');
SELECT order_api.order_cancel(order_id => 'o2', reason => NULL);
SELECT order_api.event_append(aggregate_type => 'Basket', aggregate_id => 'b', events => '[{"type": "T", "data": {}}, {"type": "T", "data": {}}]');
SELECT current_user;
COMMIT;
SELECT version, event_type, session_role = session_user AS is_session_user FROM order_cqrs.order_history('o1');
SELECT pg_typeof(order_api.order_create('typed', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]'));

-- As PostgREST does: arguments from a JSON body, by name, and the answer as JSON; what the body leaves out has its default.
BEGIN;
SET LOCAL ROLE regress_order_web;
SELECT set_config('order_cqrs.actor', 'ada', true), set_config('order_cqrs.tenant_id', 'api2', true);
SELECT order_api.customer_put('c', 'C', 'c@example.org'), order_api.product_put('p', 'P', 'x');
WITH body AS (SELECT * FROM json_to_record('{"order_id": "o1", "customer_id": "c", "items": [{"product_id": "p", "quantity": 2, "unit_price": "1.50"}],
	"command_id": "00000000-0000-0000-0000-0000000000a1", "metadata": {"source": "web"}}')
	AS b (order_id text, customer_id text, items jsonb, command_id uuid, metadata jsonb))
SELECT json_agg(call.result) FROM body, LATERAL (SELECT order_api.order_create(order_id => body.order_id, customer_id => body.customer_id,
	items => body.items, command_id => body.command_id, metadata => body.metadata) AS result) AS call;
COMMIT;
BEGIN READ ONLY;
SET LOCAL ROLE regress_order_web;
SELECT json_agg(r) FROM (SELECT order_id, status, total_amount, items FROM order_api.order_get(order_id => 'o1', tenant_id => 'api2')) AS r;
SELECT json_agg(r) FROM (SELECT version, event_type, actor, command_id, metadata FROM order_api.order_history(order_id => 'o1', tenant_id => 'api2')) AS r;
COMMIT;

-- Every query in a read-only transaction, also as a row of its own.
BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL ROLE regress_order_web;
SELECT (order_api.order_get('o1')).status;
SELECT count(*) FROM order_api.order_history(order_id => 'o1');
SELECT status FROM order_api.order_as_of(order_id => 'o1', at => 'infinity');
SELECT order_id FROM order_api.customer_orders(customer_id => 'c', page_size => 10) ORDER BY 1;
SELECT order_id FROM order_api.order_search(product_name => 'p', min_total => 4, sort => 'total_amount');
SELECT order_api.order_search_count(customer_id => 'c', exact => true);
SELECT version, event_type FROM order_api.stream_read(aggregate_type => 'Basket', aggregate_id => 'b');
SELECT * FROM order_api.inventory_check(items => '[{"product_id": "p", "quantity": 7}]');
COMMIT;
-- They answer what those of order_cqrs do.
SELECT (SELECT o FROM order_api.order_get('o1') o)::text = (SELECT o FROM order_cqrs.order_get('o1') o)::text,
	(SELECT array_agg(s::text) FROM order_api.order_search() s) = (SELECT array_agg(s::text) FROM order_cqrs.order_search() s);
-- A query sees what the statements before it have done.
BEGIN;
SELECT order_api.order_complete('typed');
SELECT status FROM order_api.order_get('typed');
ROLLBACK;
SELECT status FROM order_api.order_get('typed');

-- A command is refused where nothing may be written, and says who refuses.
BEGIN READ ONLY;
SELECT tools.outcome($$SELECT order_api.order_complete('typed')$$);
ROLLBACK;
-- Errors are those of the procedure, without a context.
\set VERBOSITY default
SELECT order_api.order_complete('o2');
\set VERBOSITY terse
SELECT tools.outcomes(
	$$SELECT order_api.order_create(NULL, 'c', '[]')$$,
	$$SELECT order_api.order_create('o9', 'c', NULL)$$,
	$$SELECT order_api.order_create('o9', 'nobody', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]')$$,
	$$SELECT order_api.order_complete('typed', expected_version => 7)$$,
	$$SELECT order_api.order_complete('typed', tenant_id => '')$$,
	$$SELECT order_api.order_complete('typed', version => NULL)$$,
	$$SELECT order_api.payment_refund('o1', 30)$$,
	$$SELECT * FROM order_api.order_get('nobody')$$);

-- A command_id is answered once, by whatever way it comes again.
SELECT order_api.order_cancel('typed', command_id => '00000000-0000-0000-0000-0000000000a2'),
	order_api.order_cancel('typed', command_id => '00000000-0000-0000-0000-0000000000a2');
CALL order_cqrs.order_cancel('typed', command_id => '00000000-0000-0000-0000-0000000000a2', version => NULL);
SELECT order_cqrs.command_send('CancelOrder', '{"order_id": "typed"}', '00000000-0000-0000-0000-0000000000a2');

-- One statement, many commands; none of them if one fails.
SELECT order_api.order_create('m' || n, 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]') FROM generate_series(1, 3) AS n;
SELECT tools.outcome($$SELECT order_api.order_complete('m' || n) FROM generate_series(1, 4) AS n$$);
SELECT order_id, status FROM order_api.order_search(status => '{PENDING}') WHERE order_id LIKE 'm%' ORDER BY 1;

-- From PL/pgSQL, and prepared.
DO $$
DECLARE
	answer int;
BEGIN
	BEGIN
		PERFORM order_api.order_complete('m1');
		PERFORM order_api.order_complete('m1');
	EXCEPTION WHEN SQLSTATE 'OC201' THEN
		RAISE NOTICE 'refused: %', SQLERRM;
	END;
	answer := order_api.order_complete('m1');
	RAISE NOTICE 'version %', answer;
END $$;
PREPARE cancel (text, text) AS SELECT * FROM order_api.order_cancel($1, $2);
EXECUTE cancel('m2', 'changed my mind');
EXECUTE cancel('m3', NULL);
DEALLOCATE cancel;

-- Who may not use the schema calls nothing in it; EXECUTE can be taken back from one function, also apart from its procedure.
SET SESSION AUTHORIZATION regress_order_stranger;
SELECT tools.outcomes($$SELECT order_api.order_complete('m1')$$, $$SELECT order_api.order_get('m1')$$);
SET SESSION AUTHORIZATION regress_order_web;
SELECT tools.outcomes($$CALL order_cqrs.order_complete('m1')$$, $$SELECT order_cqrs.order_get('m1')$$,
	'CREATE FUNCTION order_api.mine() RETURNS int LANGUAGE sql AS $f$ SELECT 1 $f$');
RESET SESSION AUTHORIZATION;
REVOKE EXECUTE ON FUNCTION order_api.order_cancel FROM PUBLIC;
SET SESSION AUTHORIZATION regress_order_web;
SELECT tools.outcome($$SELECT order_api.order_cancel('m1')$$);
RESET SESSION AUTHORIZATION;
GRANT EXECUTE ON FUNCTION order_api.order_cancel TO PUBLIC;

-- With both schemas in the path the first one is found, and the other way of calling says so.
SET search_path = order_cqrs, order_api, public;
SELECT tools.outcomes($$CALL order_cancel('m1')$$, $$SELECT order_cancel('m1')$$, $$SELECT status FROM order_get('m1')$$);
SET search_path = order_api, order_cqrs, public;
SELECT tools.outcomes($$SELECT order_cancel('m1')$$, $$CALL order_cancel('m1')$$, $$SELECT status FROM order_get('m1')$$);
RESET search_path;
-- version is a parameter of the procedure alone, so a call that names it is never mistaken.
SET search_path = order_api, order_cqrs, public;
CALL customer_put('c', 'Other', 'c@example.org', version => NULL);
RESET search_path;

CALL order_cqrs.projection_sync();
SELECT * FROM tools.differences();
DROP OWNED BY regress_order_web, regress_order_stranger;
DROP ROLE regress_order_web, regress_order_stranger;
