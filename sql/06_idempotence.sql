-- The same command_id again has its first answer, and no effect.
SET search_path = order_cqrs, public;
SET order_cqrs.tenant_id = 'idempotence';
\pset format unaligned
\pset tuples_only on

-- Every command twice.
CALL customer_put('c', 'C', 'c@example.org', command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
CALL customer_put('c', 'C', 'c@example.org', command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
CALL product_put('p', 'P', 'x', command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
CALL product_put('p', 'P', 'x', command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
CALL order_create('o', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]', command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
CALL order_create('o', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]', command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
CALL order_update('o', '[{"product_id": "p", "quantity": 2, "unit_price": 1}]', 'r', command_id => '00000000-0000-7000-8000-000000000002', version => NULL);
CALL order_update('o', '[{"product_id": "p", "quantity": 2, "unit_price": 1}]', 'r', command_id => '00000000-0000-7000-8000-000000000002', version => NULL);
CALL order_complete('o', command_id => '00000000-0000-7000-8000-000000000003', version => NULL);
CALL order_complete('o', command_id => '00000000-0000-7000-8000-000000000003', version => NULL);
CALL order_cancel('o', 'r', command_id => '00000000-0000-7000-8000-000000000004', version => NULL);
CALL order_cancel('o', 'r', command_id => '00000000-0000-7000-8000-000000000004', version => NULL);
CALL event_append('Basket', 'b', '[{"type": "A", "data": {"n": 1}}, {"type": "B", "data": {}}, {"type": "A", "data": {"n": 1}}]',
	command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
CALL event_append('Basket', 'b', '[{"type": "A", "data": {"n": 1}}, {"type": "B", "data": {}}, {"type": "A", "data": {"n": 1}}]',
	command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
CALL event_append('Basket', 'b', '[{"type": "C", "data": {}}]', command_id => '00000000-0000-7000-8000-000000000002', version => NULL);
SELECT aggregate_type, version, event_type, right(command_id::text, 2) AS command FROM events
 WHERE tenant_id = 'idempotence' ORDER BY aggregate_type, aggregate_id, version;
CALL projection_sync();
SELECT tools.fingerprint() AS before \gset

-- Late repetitions, when the stream has moved on: still the first answer, even
-- though the status forbids the command by now.
CALL order_create('o', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]', command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
CALL order_update('o', '[{"product_id": "p", "quantity": 2, "unit_price": 1}]', 'r', command_id => '00000000-0000-7000-8000-000000000002', version => NULL);
CALL order_complete('o', command_id => '00000000-0000-7000-8000-000000000003', version => NULL);
CALL event_append('Basket', 'b', '[{"type": "A", "data": {"n": 1}}, {"type": "B", "data": {}}, {"type": "A", "data": {"n": 1}}]',
	command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
-- With the expected version of then, which is over.
CALL order_create('o', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]', expected_version => 0, command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
CALL order_update('o', '[{"product_id": "p", "quantity": 2, "unit_price": 1}]', 'r', '00000000-0000-7000-8000-000000000002', 1, version => NULL);
CALL order_complete('o', '00000000-0000-7000-8000-000000000003', 2, version => NULL);
CALL order_cancel('o', 'r', '00000000-0000-7000-8000-000000000004', 3, version => NULL);
CALL event_append('Basket', 'b', '[{"type": "A", "data": {"n": 1}}, {"type": "B", "data": {}}, {"type": "A", "data": {"n": 1}}]',
	'00000000-0000-7000-8000-000000000001', 0, version => NULL);
-- Equal arguments in other words.
CALL order_create('o', 'c', '[{"unit_price": "1.0", "quantity": 1.0, "product_id": "p"}]', command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
-- Metadata is not what a command is about.
CALL order_complete('o', command_id => '00000000-0000-7000-8000-000000000003', metadata => '{"attempt": 2}', version => NULL);
SELECT tools.fingerprint() = :'before' AS nothing_done;

-- The id of one command for another.
SELECT tools.outcomes(
	$$CALL order_create('o', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 2}]', command_id => '00000000-0000-7000-8000-000000000001')$$,
	$$CALL order_update('o', '[{"product_id": "p", "quantity": 2, "unit_price": 1}]', 'another', command_id => '00000000-0000-7000-8000-000000000002')$$,
	$$CALL order_update('o', '[{"product_id": "p", "quantity": 2, "unit_price": 1}]', command_id => '00000000-0000-7000-8000-000000000002')$$,
	$$CALL order_update('o', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]', command_id => '00000000-0000-7000-8000-000000000001')$$,
	$$CALL order_complete('o', command_id => '00000000-0000-7000-8000-000000000004')$$,
	$$CALL order_cancel('o', command_id => '00000000-0000-7000-8000-000000000004')$$,
	$$CALL order_cancel('o', 'R', command_id => '00000000-0000-7000-8000-000000000004')$$,
	$$CALL customer_put('c', 'C', 'd@example.org', command_id => '00000000-0000-7000-8000-000000000001')$$,
	$$CALL product_put('p', 'P', 'y', command_id => '00000000-0000-7000-8000-000000000001')$$,
	$$CALL event_append('Basket', 'b', '[{"type": "A", "data": {"n": 1}}]', command_id => '00000000-0000-7000-8000-000000000001')$$,
	$$CALL event_append('Basket', 'b', '[{"type": "A", "data": {"n": 1}}, {"type": "B", "data": {}}]', command_id => '00000000-0000-7000-8000-000000000001')$$,
	$$CALL event_append('Basket', 'b', '[{"type": "A", "data": {"n": 1}}, {"type": "B", "data": {}}, {"type": "A", "data": {"n": 2}}]', command_id => '00000000-0000-7000-8000-000000000001')$$,
	$$CALL event_append('Basket', 'b', '[{"type": "B", "data": {}}, {"type": "A", "data": {"n": 1}}, {"type": "A", "data": {"n": 1}}]', command_id => '00000000-0000-7000-8000-000000000001')$$,
	$$CALL event_append('Basket', 'b', '[{"type": "A", "data": {"n": 1}}, {"type": "B", "data": {}}, {"type": "A", "data": {"n": 1}}, {"type": "C", "data": {}}]', command_id => '00000000-0000-7000-8000-000000000001')$$);
CALL order_cancel('o', 'R', command_id => '00000000-0000-7000-8000-000000000004');
\echo :SQLSTATE
SELECT tools.fingerprint() = :'before' AS nothing_left_behind;

-- Its scope is the stream: the same id is good for another order, tenant, type.
CALL order_create('o2', 'c', '[{"product_id": "p", "quantity": 9, "unit_price": 1}]', command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
CALL event_append('Shelf', 'b', '[{"type": "Z", "data": {}}]', command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
CALL event_append('Basket', 'b', '[{"type": "Z", "data": {}}]', command_id => '00000000-0000-7000-8000-000000000001', tenant_id => 'idempotence too', version => NULL);
CALL customer_put('c2', 'C', 'c@example.org', command_id => '00000000-0000-7000-8000-000000000001', version => NULL);

-- Without an id a repetition is a command of its own.
CALL order_update('o2', '[{"product_id": "p", "quantity": 9, "unit_price": 1}]', version => NULL);
CALL order_update('o2', '[{"product_id": "p", "quantity": 9, "unit_price": 1}]', version => NULL);
SELECT tools.outcome($$CALL order_create('o2', 'c', '[{"product_id": "p", "quantity": 9, "unit_price": 1}]')$$);

-- A command that was refused, or rolled back, was not handled: its id is free.
SELECT tools.outcome($$CALL order_complete('o2', expected_version => 1, command_id => '00000000-0000-7000-8000-000000000005')$$);
BEGIN;
CALL order_complete('o2', command_id => '00000000-0000-7000-8000-000000000005', version => NULL);
ROLLBACK;
CALL order_cancel('o2', command_id => '00000000-0000-7000-8000-000000000005', version => NULL);

-- Repeated in one transaction, and under the other isolation levels.
BEGIN ISOLATION LEVEL REPEATABLE READ;
CALL order_create('o3', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]', command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
CALL order_create('o3', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]', command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
SAVEPOINT s;
CALL order_complete('o3', command_id => '00000000-0000-7000-8000-000000000002', version => NULL);
ROLLBACK TO s;
CALL order_complete('o3', command_id => '00000000-0000-7000-8000-000000000002', version => NULL);
CALL order_complete('o3', command_id => '00000000-0000-7000-8000-000000000002', version => NULL);
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
CALL order_create('o3', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]', command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
CALL order_complete('o3', command_id => '00000000-0000-7000-8000-000000000002', version => NULL);
COMMIT;
SELECT version, event_type FROM order_history('o3');

-- Putting what is there already is a command like any other: repeated late it
-- does not undo what came after it, and its id is used up.
CALL customer_put('c3', 'first', 'e');
CALL customer_put('c3', 'first', 'e', command_id => '00000000-0000-7000-8000-000000000006');
CALL customer_put('c3', 'second', 'e', command_id => '00000000-0000-7000-8000-000000000007');
CALL customer_put('c3', 'first', 'e', command_id => '00000000-0000-7000-8000-000000000006');
SELECT name FROM customers WHERE tenant_id = 'idempotence' AND customer_id = 'c3';
SELECT left(tools.outcome($$CALL customer_put('c3', 'third', 'e', command_id => '00000000-0000-7000-8000-000000000006')$$), 5);

CALL projection_sync();
SELECT * FROM tools.differences();
