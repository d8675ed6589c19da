-- The command bus and the query bus: types, payloads, and handlers of one's own.
SET search_path = order_cqrs, public;
SET order_cqrs.tenant_id = 'bus';
\pset format unaligned
\pset tuples_only on
CREATE ROLE regress_order_bus;
GRANT USAGE ON SCHEMA order_cqrs, tools TO regress_order_bus;

-- Every command.
SELECT command_send('PutCustomer', '{"customer_id": "c", "name": "C", "email": "c@example.org"}');
SELECT command_send('PutProduct', '{"product_id": "p", "name": "P", "category": "x"}');
SELECT command_send('CreateOrder', '{"order_id": "o1", "customer_id": "c", "items": [{"product_id": "p", "quantity": 2, "unit_price": "1.50"}]}');
SELECT command_send('CreateOrder', '{"order_id": "o2", "customer_id": "c", "items": [{"product_id": "p", "quantity": 1, "unit_price": 1}]}');
SELECT command_send('UpdateOrder', '{"order_id": "o1", "items": [{"product_id": "p", "quantity": 3, "unit_price": "1.50"}], "reason": "more"}');
SELECT command_send('UpdateOrder', '{"order_id": "o1", "items": [{"product_id": "p", "quantity": 4, "unit_price": 1}], "reason": null}');
SELECT command_send('CompleteOrder', '{"order_id": "o1", "expected_version": 3.0, "metadata": {"source": "bus"}}');
SELECT command_send('CancelOrder', '{"order_id": "o2"}');
SELECT command_send('AppendEvents', '{"aggregate_type": "Basket", "aggregate_id": "b", "events": [{"type": "T", "data": {}}, {"type": "T", "data": {}}]}');
SELECT version, event_type, data->'reason', command_id, metadata FROM order_history('o1');
SELECT kind, type, handler, is_builtin, parameters FROM bus_handlers WHERE is_builtin;

-- A query.
SELECT query_send('GetOrder', '{"order_id": "o1"}') - 'created_at' - 'updated_at';
SELECT query_send('GetOrder', '{"order_id": "o1"}') = to_jsonb(o) AS same FROM order_get('o1') o;

-- command_id and tenant_id are the sender's.
SELECT command_send('CreateOrder', '{"order_id": "o3", "customer_id": "c", "items": [{"product_id": "p", "quantity": 1, "unit_price": 1}]}', '00000000-0000-0000-0000-00000000000a');
SELECT command_send('CreateOrder', '{"order_id": "o3", "customer_id": "c", "items": [{"product_id": "p", "quantity": 1, "unit_price": 1}]}', '00000000-0000-0000-0000-00000000000a');
SELECT command_send('PutCustomer', '{"customer_id": "c", "name": "Other", "email": ""}', tenant_id => 'bus2');
SELECT tenant_id, name FROM customers WHERE tenant_id LIKE 'bus%' ORDER BY 1;
SELECT tools.outcomes(
	$$SELECT command_send('CreateOrder', '{"order_id": "o3", "customer_id": "c", "items": [{"product_id": "p", "quantity": 9, "unit_price": 1}]}', '00000000-0000-0000-0000-00000000000a')$$,
	$$SELECT query_send('GetOrder', '{"order_id": "o1"}', 'bus2')$$,
	$$SELECT query_send('GetOrder', '{"order_id": "o1"}', '')$$);

-- Types that there are not.
SELECT tools.outcomes(
	$$SELECT command_send('DropOrder', '{}')$$,
	$$SELECT command_send('createorder', '{}')$$,
	$$SELECT command_send('GetOrder', '{"order_id": "o1"}')$$,
	$$SELECT query_send('CreateOrder', '{}')$$,
	$$SELECT command_send(NULL, '{}')$$,
	$$SELECT query_send(NULL, '{}')$$);

-- Payloads.
SELECT tools.variants($$SELECT command_send('CompleteOrder', %L)$$, NULL, 'null', '[]', '"o1"', '{}', '{"order_id": null}',
	'{"order_id": 1}', '{"order_id": {}}', '{"order": "o1"}', '{"order_id": "o1", "tenant_id": "x"}',
	'{"order_id": "o1", "command_id": "x"}', '{"order_id": "o1", "Order_id": "x"}', '{"order_id": ""}',
	'{"order_id": "o1", "expected_version": "3"}', '{"order_id": "o1", "expected_version": 3.5}',
	'{"order_id": "o1", "expected_version": 2147483648}', '{"order_id": "o1", "expected_version": 1e30}',
	'{"order_id": "o1", "expected_version": true}', '{"order_id": "o1", "metadata": []}',
	'{"order_id": "o1", "expected_version": null, "metadata": null}');
SELECT tools.variants($$SELECT command_send('CreateOrder', %L)$$, '{"order_id": "o", "customer_id": "c"}',
	'{"order_id": "o", "items": []}', '{"order_id": "o", "customer_id": "c", "items": "p"}',
	'{"order_id": "o", "customer_id": "c", "items": []}', '{"order_id": "o", "customer_id": "nobody", "items": [{"product_id": "p", "quantity": 1, "unit_price": 1}]}');
SELECT tools.variants($$SELECT query_send('GetOrder', %L)$$, '{}', '{"order_id": "o", "status": "x"}', '{"order_id": "none"}');

-- The line of context that an error gains.
\set VERBOSITY default
SELECT command_send('CompleteOrder', '{"order_id": "o2"}', '00000000-0000-0000-0000-00000000000b');
\echo :SQLSTATE
SELECT command_send('CompleteOrder', '{"order_id": "o2"}');
SELECT query_send('GetOrder', '{"order_id": "none"}');
\set VERBOSITY terse

-- A handler of one's own.
CREATE SCHEMA handlers;
CREATE FUNCTION handlers.echo(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE sql
	RETURN jsonb_build_object('payload', payload, 'context', context - '{sender,actor}'::text[], 'user', current_user,
		'is_sender', context->>'sender' = session_user AND context->>'actor' = session_user, 'tenant', current_setting('order_cqrs.tenant_id'));
CREATE FUNCTION handlers.fail(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	PERFORM order_cqrs.command_send('CreateOrder', jsonb_build_object('order_id', 'half', 'customer_id', 'c',
		'items', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]'::jsonb));
	RAISE 'no such luck' USING errcode = 'MY001', detail = 'd', hint = 'h';
END $$;
CREATE FUNCTION handlers.nothing(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb';
CREATE FUNCTION handlers.commit(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE plpgsql AS 'BEGIN COMMIT; RETURN payload; END';
SELECT command_handler_register('Echo', 'handlers.echo(jsonb, jsonb)');
SELECT command_handler_register('Echo', 'handlers.echo(jsonb, jsonb)');
SELECT query_handler_register('Echo', 'handlers.echo(jsonb, jsonb)');
SELECT command_handler_register('Fail', 'handlers.fail(jsonb, jsonb)');
SELECT query_handler_register('Nothing', 'handlers.nothing(jsonb, jsonb)');
SELECT command_handler_register('Commit', 'handlers.commit(jsonb, jsonb)');
SELECT kind, type, handler, is_builtin, parameters IS NULL FROM bus_handlers WHERE NOT is_builtin;
SELECT command_send('Echo', '{"a": 1}') - 'user';
SELECT command_send('Echo', '{"a": 1}', '00000000-0000-0000-0000-00000000000c', 'bus2') - 'user';
SHOW order_cqrs.tenant_id;
SELECT query_send('Echo', '{"a": {"b": []}}') - 'user';
SELECT query_send('Nothing', '{}') IS NULL AS is_null;
SELECT tools.outcomes(
	$$SELECT command_send('Fail', '{}', '00000000-0000-0000-0000-00000000000d', 'bus2')$$,
	$$SELECT command_send('Fail', '{}')$$,
	$$SELECT command_send('Commit', '{}')$$,
	$$SELECT command_send('Echo', '[]')$$,
	$$SELECT command_send('Echo', NULL)$$,
	$$SELECT command_send('Echo', '{}', tenant_id => '')$$,
	$$SELECT command_send('None', '{}')$$,
	$$SELECT query_send('None', '{}')$$,
	$$SELECT order_get('half')$$);
SHOW order_cqrs.tenant_id;
\set VERBOSITY default
SELECT command_send('Fail', '{}');
\echo :SQLSTATE
\set VERBOSITY terse

-- It runs as the caller, with his search_path, and needs his privileges.
SET ROLE regress_order_bus;
SELECT tools.outcome($$SELECT order_cqrs.command_send('Echo', '{}')$$);
RESET ROLE;
GRANT USAGE ON SCHEMA handlers TO regress_order_bus;
REVOKE EXECUTE ON FUNCTION handlers.echo FROM PUBLIC;
SET ROLE regress_order_bus;
SELECT tools.outcome($$SELECT order_cqrs.command_send('Echo', '{}')$$);
RESET ROLE;
GRANT EXECUTE ON FUNCTION handlers.echo TO regress_order_bus;
CREATE FUNCTION handlers.path(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE sql
	AS $$ SELECT to_jsonb(current_setting('search_path')) $$;
SELECT query_handler_register('Path', 'handlers.path(jsonb, jsonb)');
SET ROLE regress_order_bus;
SELECT order_cqrs.command_send('Echo', '{}')->>'user';
SELECT order_cqrs.query_send('Path', '{}');
SELECT current_user;
-- Nobody but the owner registers.
SELECT tools.outcomes(
	$$SELECT order_cqrs.command_handler_register('Mine', 'handlers.echo(jsonb, jsonb)')$$,
	$$SELECT order_cqrs.query_handler_register('Mine', 'handlers.echo(jsonb, jsonb)')$$,
	$$SELECT order_cqrs.command_handler_unregister('Echo')$$,
	$$SELECT order_cqrs.query_handler_unregister('Echo')$$,
	'SELECT * FROM order_cqrs.bus_registration', 'SELECT * FROM order_cqrs.bus_handlers', 'SELECT * FROM order_cqrs.bus_future');
RESET ROLE;
-- What may not be called may not be sent.
REVOKE EXECUTE ON PROCEDURE order_complete(identifier, uuid, int, jsonb, text, int) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION order_get FROM PUBLIC;
SET ROLE regress_order_bus;
SELECT tools.outcomes($$SELECT order_cqrs.command_send('CompleteOrder', '{"order_id": "o3"}')$$,
	$$SELECT order_cqrs.command_send_async('CompleteOrder', '{"order_id": "o3"}')$$,
	$$SELECT order_cqrs.query_send('GetOrder', '{"order_id": "o3"}')$$,
	$$SELECT order_cqrs.command_send('CancelOrder', '{"order_id": "o3"}')$$);
RESET ROLE;
GRANT EXECUTE ON PROCEDURE order_complete(identifier, uuid, int, jsonb, text, int) TO PUBLIC;
GRANT EXECUTE ON FUNCTION order_get TO PUBLIC;

-- What cannot be registered.
CREATE FUNCTION handlers.one(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION handlers.texts(jsonb, jsonb) RETURNS text LANGUAGE sql AS 'SELECT NULL';
CREATE FUNCTION handlers.many(jsonb, jsonb) RETURNS SETOF jsonb LANGUAGE sql AS 'SELECT $1';
CREATE PROCEDURE handlers.proc(jsonb, INOUT jsonb) LANGUAGE sql AS 'SELECT $1';
SELECT tools.outcomes(
	$$SELECT command_handler_register('CreateOrder', 'handlers.echo(jsonb, jsonb)')$$,
	$$SELECT query_handler_register('GetOrder', 'handlers.echo(jsonb, jsonb)')$$,
	$$SELECT command_handler_unregister('CreateOrder')$$,
	$$SELECT command_handler_register('Echo', 'handlers.nothing(jsonb, jsonb)')$$,
	$$SELECT command_handler_register('Bad', 'handlers.one(jsonb)')$$,
	$$SELECT command_handler_register('Bad', 'handlers.texts(jsonb, jsonb)')$$,
	$$SELECT command_handler_register('Bad', 'handlers.many(jsonb, jsonb)')$$,
	$$SELECT command_handler_register('Bad', 'handlers.proc(jsonb, jsonb)')$$,
	$$SELECT command_handler_register('Bad', 'jsonb_object_agg(text, text)')$$,
	$$SELECT command_handler_register('Bad', 0)$$,
	$$SELECT command_handler_register('Bad', NULL)$$,
	$$SELECT command_handler_register('', 'handlers.echo(jsonb, jsonb)')$$,
	$$SELECT command_handler_register(NULL, 'handlers.echo(jsonb, jsonb)')$$,
	$$SELECT command_handler_unregister('Bad')$$,
	$$SELECT query_handler_unregister('Bad')$$);

-- Whose a handler is. Who may register does so for functions of his own, and touches nobody else's registration.
CREATE ROLE regress_order_bus_2;
GRANT USAGE ON SCHEMA order_cqrs, tools TO regress_order_bus_2;
GRANT CREATE, USAGE ON SCHEMA handlers TO regress_order_bus, regress_order_bus_2;
GRANT EXECUTE ON FUNCTION command_handler_register, command_handler_unregister, query_handler_register TO regress_order_bus, regress_order_bus_2;
SET ROLE regress_order_bus;
CREATE FUNCTION handlers.mine(jsonb, jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT to_jsonb('first'::text) $$;
SELECT order_cqrs.command_handler_register('Mine', 'handlers.mine(jsonb, jsonb)');
SELECT tools.outcomes(
	$$SELECT order_cqrs.command_handler_register('Theirs', 'handlers.echo(jsonb, jsonb)')$$,
	$$SELECT order_cqrs.query_handler_register('Theirs', 'jsonb_concat(jsonb, jsonb)')$$,
	$$SELECT order_cqrs.command_handler_unregister('Echo')$$,
	$$SELECT order_cqrs.command_handler_unregister('Nobody')$$,
	$$SELECT order_cqrs.command_send('Mine', '{}')$$,
	$$SELECT order_cqrs.command_send('Nobody', '{}')$$);
DROP FUNCTION handlers.mine;
SET ROLE regress_order_bus_2;
CREATE FUNCTION handlers.mine(jsonb, jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT to_jsonb(current_user::text) $$;
SELECT tools.outcomes(
	$$SELECT order_cqrs.command_send('Mine', '{}')$$,
	$$SELECT order_cqrs.command_handler_register('Mine', 'handlers.mine(jsonb, jsonb)')$$,
	$$SELECT order_cqrs.command_handler_unregister('Mine')$$);
RESET ROLE;
\set VERBOSITY default
SELECT command_send('Mine', '{}');
\set VERBOSITY terse
DROP FUNCTION handlers.mine;
SET ROLE regress_order_bus;
CREATE FUNCTION handlers.mine(jsonb, jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT to_jsonb('second'::text) $$;
RESET ROLE;
-- A role is the same under another name, and another one under the same name.
SELECT command_send('Mine', '{}');
ALTER ROLE regress_order_bus RENAME TO regress_order_bus_3;
ALTER ROLE regress_order_bus_2 RENAME TO regress_order_bus;
SELECT command_send('Mine', '{}');
ALTER FUNCTION handlers.mine OWNER TO regress_order_bus;
SELECT tools.outcome($$SELECT command_send('Mine', '{}')$$);
ALTER FUNCTION handlers.mine OWNER TO regress_order_bus_3;
-- A restore goes by the names of its time, and the role need not exist there.
UPDATE bus_registration SET owner = 'regress_order_bus'::role_ref WHERE type = 'Mine';
SELECT tools.outcome($$SELECT command_send('Mine', '{}')$$);
UPDATE bus_registration SET owner = 'regress_nobody'::role_ref WHERE type = 'Mine';
SELECT tools.outcome($$SELECT command_send('Mine', '{}')$$);
SELECT handler, owner FROM bus_registration WHERE type = 'Mine';
UPDATE bus_registration SET owner = 'regress_order_bus_3'::role_ref WHERE type = 'Mine';
ALTER ROLE regress_order_bus RENAME TO regress_order_bus_2;
ALTER ROLE regress_order_bus_3 RENAME TO regress_order_bus;
SELECT command_send('Mine', '{}');
SELECT command_handler_unregister('Mine');

-- A function that is gone; a registration that is gone.
ALTER FUNCTION handlers.nothing RENAME TO something;
SELECT tools.outcome($$SELECT query_send('Nothing', '{}')$$);
ALTER FUNCTION handlers.something RENAME TO nothing;
SELECT query_send('Nothing', '{}') IS NULL AS is_null;
SELECT query_handler_unregister('Nothing'), query_handler_unregister('Echo'), query_handler_unregister('Path'),
	command_handler_unregister('Fail'), command_handler_unregister('Commit');
SELECT tools.outcome($$SELECT query_send('Nothing', '{}')$$);
SELECT command_send('Echo', '{}') - 'user';
SELECT command_handler_unregister('Echo');
SELECT count(*) FROM bus_registration;

CALL projection_sync();
SELECT * FROM tools.differences();
DROP SCHEMA handlers CASCADE;
DROP OWNED BY regress_order_bus, regress_order_bus_2;
DROP ROLE regress_order_bus, regress_order_bus_2;
