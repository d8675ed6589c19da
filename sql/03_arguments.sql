-- Arguments that no command can take: ids, names, tenants, metadata.  Each is
-- refused with its own SQLSTATE, detail and hint, and leaves nothing behind.
SET search_path = order_cqrs, public;
SET order_cqrs.tenant_id = 'arguments';
\pset format unaligned
\pset tuples_only on

CALL customer_put('c', 'C', 'c@example.org');
CALL product_put('p', 'P', 'x');
CALL order_create('o', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]');
CALL projection_sync();
SELECT tools.fingerprint() AS before \gset

-- NULL.
SELECT tools.outcomes(
	$$CALL customer_put(NULL, 'n', 'e')$$,
	$$CALL customer_put('c', NULL, 'e')$$,
	$$CALL customer_put('c', 'n', NULL)$$,
	$$CALL product_put(NULL, 'n', 'x')$$,
	$$CALL product_put('p', NULL, 'x')$$,
	$$CALL product_put('p', 'n', NULL)$$,
	$$CALL order_create(NULL, 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]')$$,
	$$CALL order_create('new', NULL, '[{"product_id": "p", "quantity": 1, "unit_price": 1}]')$$,
	$$CALL order_create('new', 'c', NULL)$$,
	$$CALL order_update(NULL, '[{"product_id": "p", "quantity": 1, "unit_price": 1}]')$$,
	$$CALL order_update('o', NULL)$$,
	$$CALL order_cancel(NULL)$$,
	$$CALL order_complete(NULL)$$,
	$$CALL event_append(NULL, 'b', '[{"type": "T", "data": {}}]')$$,
	$$CALL event_append('Basket', NULL, '[{"type": "T", "data": {}}]')$$,
	$$CALL event_append('Basket', 'b', NULL)$$,
	$$SELECT order_get(NULL)$$,
	$$SELECT order_history(NULL)$$,
	$$SELECT order_as_of(NULL, now())$$);
-- The same by the procedures that answer.
SELECT tools.outcomes(
	$$CALL order_create(NULL, 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]', version => NULL)$$,
	$$CALL order_cancel(NULL, version => NULL)$$);

-- Empty.
SELECT tools.outcomes(
	$$CALL customer_put('', 'n', 'e')$$,
	$$CALL product_put('', 'n', 'x')$$,
	$$CALL order_create('', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]')$$,
	$$CALL order_create('new', '', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]')$$,
	$$CALL order_update('', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]')$$,
	$$CALL order_cancel('')$$,
	$$CALL order_complete('')$$,
	$$CALL event_append('', 'b', '[{"type": "T", "data": {}}]')$$,
	$$CALL event_append('Basket', '', '[{"type": "T", "data": {}}]')$$,
	$$SELECT order_get('')$$,
	$$SELECT order_history('')$$,
	$$SELECT order_as_of('', now())$$);

-- Longer than an index has room for.
SELECT tools.outcome(format(statement, repeat('é', 500) || 'x')) LIKE E'%OC008: % is too long\nDETAIL:  It has 1001 bytes.\nHINT:  Pass at most 1000 bytes.'
  FROM (VALUES ($$CALL customer_put('c', %L, 'e')$$), ($$CALL customer_put('c', 'n', %L)$$), ($$CALL product_put('p', %L, 'x')$$),
	($$CALL product_put('p', 'n', %L)$$)) AS t (statement);

-- Too long: 256 bytes, whatever the number of characters.  The message cuts
-- the id between two characters.
SELECT tools.outcome(format(statement, id)) || E'\n'
  FROM (VALUES
	(1, $$CALL customer_put(%L, 'n', 'e')$$),
	(2, $$CALL product_put(%L, 'n', 'x')$$),
	(3, $$CALL order_create(%L, 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]')$$),
	(4, $$CALL order_create('new', %L, '[{"product_id": "p", "quantity": 1, "unit_price": 1}]')$$),
	(5, $$CALL order_update(%L, '[{"product_id": "p", "quantity": 1, "unit_price": 1}]')$$),
	(6, $$CALL order_cancel(%L)$$),
	(7, $$CALL order_complete(%L)$$),
	(8, $$CALL event_append(%L, 'b', '[{"type": "T", "data": {}}]')$$),
	(9, $$CALL event_append('Basket', %L, '[{"type": "T", "data": {}}]')$$),
	(10, $$SELECT order_get(%L)$$),
	(11, $$SELECT order_history(%L)$$),
	(12, $$SELECT order_as_of(%L, now())$$)) AS s (n, statement),
	(VALUES (1, repeat('x', 256)), (2, repeat('주', 85) || 'x'), (3, repeat('é', 128))) AS i (m, id)
 WHERE m = 1 OR n IN (1, 3)
 ORDER BY n, m;

-- The tenant, as an argument.
SELECT tools.outcome(format(statement, id)) || E'\n'
  FROM (VALUES
	(1, $$CALL customer_put('c', 'n', 'e', tenant_id => %L)$$),
	(2, $$CALL product_put('p', 'n', 'x', tenant_id => %L)$$),
	(3, $$CALL order_create('new', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]', tenant_id => %L)$$),
	(4, $$CALL order_update('o', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]', tenant_id => %L)$$),
	(5, $$CALL order_cancel('o', tenant_id => %L)$$),
	(6, $$CALL order_complete('o', tenant_id => %L)$$),
	(7, $$CALL event_append('Basket', 'b', '[{"type": "T", "data": {}}]', tenant_id => %L)$$),
	(8, $$SELECT order_get('o', tenant_id => %L)$$),
	(9, $$SELECT order_history('o', tenant_id => %L)$$),
	(10, $$SELECT order_as_of('o', now(), tenant_id => %L)$$)) AS s (n, statement),
	(VALUES (1, ''), (2, repeat('é', 128))) AS i (m, id)
 ORDER BY n, m;
-- And as the setting, which stays as it was.
SELECT tools.outcome($$SET order_cqrs.tenant_id = ''$$);
SELECT replace(tools.outcome(format('SET order_cqrs.tenant_id = %L', repeat('x', 256))), repeat('x', 256), '(256 x)');
SHOW order_cqrs.tenant_id;

-- Metadata is an object, and its ids are uuids.
SELECT tools.variants($$CALL order_complete('o', metadata => %L)$$,
	'[]', '[{"correlation_id": null}]', '1', '"web"', 'null', 'true',
	'{"correlation_id": 1}', '{"correlation_id": ""}', '{"correlation_id": "no uuid"}', '{"correlation_id": {}}',
	'{"correlation_id": "00000000-0000-0000-0000-00000000000"}',
	'{"correlation_id": "00000000-0000-0000-0000-0000000000000"}',
	'{"correlation_id": "000000000000-0000-0000-0000-00000000"}',
	'{"correlation_id": "00000000-0000-0000-0000-00000000000g"}',
	'{"causation_id": "00000000000000000000000000000000"}', '{"causation_id": false}');
SELECT tools.outcomes(
	$$CALL customer_put('c', 'n', 'e', metadata => '[]')$$,
	$$CALL product_put('p', 'n', 'x', metadata => '[]')$$,
	$$CALL order_create('new', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]', metadata => '[]')$$,
	$$CALL order_update('o', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]', metadata => '[]')$$,
	$$CALL order_cancel('o', metadata => '[]')$$,
	$$CALL event_append('Basket', 'b', '[{"type": "T", "data": {}}]', metadata => '[]')$$);
SELECT tools.outcomes($$CALL order_complete('o', command_id => 'no uuid')$$,
	$$CALL order_complete('o', expected_version => 'one')$$, $$CALL order_complete('o', expected_version => 2147483648)$$);

-- Not caught by PL/pgSQL either, a refusal leaves nothing behind.
CALL order_create('', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]');
\echo :SQLSTATE
CALL order_complete('o', metadata => '[]');
\echo :SQLSTATE
SELECT tools.fingerprint() = :'before' AS nothing_left_behind;

-- What may be: 255 bytes, any characters, both metadata ids, NULL for "leave it out".
SELECT repeat('주', 85) AS id255 \gset
CALL customer_put(:'id255', 'n', 'e', tenant_id => :'id255', version => NULL);
CALL product_put(:'id255', 'n', 'x', tenant_id => :'id255', version => NULL);
CALL order_create(:'id255', :'id255', jsonb_build_array(jsonb_build_object('product_id', :'id255', 'quantity', 1, 'unit_price', 1)),
	tenant_id => :'id255', version => NULL);
CALL order_update(:'id255', jsonb_build_array(jsonb_build_object('product_id', :'id255', 'quantity', 2, 'unit_price', 1)),
	tenant_id => :'id255', version => NULL);
CALL order_complete(:'id255', tenant_id => :'id255', version => NULL);
CALL order_cancel(:'id255', tenant_id => :'id255', version => NULL);
CALL event_append(:'id255', :'id255', jsonb_build_array(jsonb_build_object('type', :'id255', 'data', '{}'::jsonb)),
	tenant_id => :'id255', version => NULL);
SELECT octet_length(order_id), order_id = repeat('주', 85), status, version FROM order_get(:'id255', :'id255');
SET order_cqrs.tenant_id = :'id255';
SELECT count(*) FROM order_history(:'id255');
SET order_cqrs.tenant_id = 'arguments';

\set strange ' "it''s" \\ 100% \n\t주문 '
CALL customer_put(:'strange', 'n', 'e');
CALL product_put(:'strange', 'n', 'x');
CALL order_create(:'strange', :'strange', jsonb_build_array(jsonb_build_object('product_id', :'strange', 'quantity', 1, 'unit_price', 1)),
	expected_version => NULL, command_id => NULL, metadata => NULL, tenant_id => NULL, version => NULL);
SELECT order_id = :'strange', customer_id = :'strange', items -> 0 ->> 'product_id' = :'strange' FROM order_get(:'strange');
CALL order_complete(:'strange', metadata => '{"correlation_id": "11111111-1111-7111-8111-111111111111",
	"causation_id": "22222222-2222-7222-8222-2222222222AB", "source": {"name": "web"}}');
CALL order_cancel(:'strange', metadata => '{"correlation_id": null}');
SELECT version, correlation_id, causation_id, metadata FROM events
 WHERE tenant_id = 'arguments' AND aggregate_type = 'Order' AND aggregate_id = :'strange' ORDER BY version;

CALL projection_sync();
SELECT * FROM tools.differences();
