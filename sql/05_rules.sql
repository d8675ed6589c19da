-- What the state of the system forbids: unknown ids, the order's status, the
-- expected version.
SET search_path = order_cqrs, public;
SET order_cqrs.tenant_id = 'rules';
\pset format unaligned
\pset tuples_only on

CALL customer_put('c', 'C', 'c@example.org');
CALL product_put('p', 'P', 'x');
CALL product_put('q', 'Q', 'x');
CALL order_create('pending', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]');
CALL order_create('completed', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]');
CALL order_complete('completed');
CALL order_create('cancelled', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]');
CALL order_update('cancelled', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]');
CALL order_cancel('cancelled');
CALL projection_sync();
SELECT tools.fingerprint() AS before \gset

-- Unknown customer, product, order.
SELECT tools.outcomes(
	$$CALL order_create('new', 'nobody', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]')$$,
	$$CALL order_create('new', 'C', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]')$$,
	$$CALL order_create('new', 'c ', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]')$$,
	$$CALL order_create('new', 'c', '[{"product_id": "nothing", "quantity": 1, "unit_price": 1}]')$$,
	$$CALL order_create('new', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}, {"product_id": "q", "quantity": 1, "unit_price": 1},
	{"product_id": "nothing", "quantity": 1, "unit_price": 1}, {"product_id": "nowhere", "quantity": 1, "unit_price": 1}]')$$,
	$$CALL order_update('pending', '[{"product_id": "p", "quantity": 1, "unit_price": 1}, {"product_id": "nothing", "quantity": 1, "unit_price": 1}]')$$,
	$$CALL order_update('new', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]')$$,
	$$CALL order_cancel('new')$$,
	$$CALL order_complete('new')$$,
	$$CALL order_complete('Pending')$$);
-- A customer is not a product, nor an order.
SELECT tools.outcomes(
	$$CALL order_create('new', 'p', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]')$$,
	$$CALL order_create('new', 'c', '[{"product_id": "c", "quantity": 1, "unit_price": 1}]')$$,
	$$CALL order_complete('c')$$);

-- Each command in each status that forbids it.
SELECT tools.outcomes(
	$$CALL order_create('pending', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]')$$,
	$$CALL order_create('completed', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]')$$,
	$$CALL order_create('cancelled', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]')$$,
	$$CALL order_update('completed', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]')$$,
	$$CALL order_update('cancelled', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]')$$,
	$$CALL order_complete('completed')$$,
	$$CALL order_complete('cancelled')$$,
	$$CALL order_cancel('cancelled')$$);

-- An expected version that is not the stream's.  0 is that of a stream to be.
SELECT tools.outcomes(
	$$CALL order_create('new', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]', expected_version => 1)$$,
	$$CALL order_create('new', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]', expected_version => -1)$$,
	$$CALL order_update('pending', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]', expected_version => 0)$$,
	$$CALL order_update('pending', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]', expected_version => 2)$$,
	$$CALL order_complete('pending', expected_version => -1)$$,
	$$CALL order_complete('pending', expected_version => 2147483647)$$,
	$$CALL order_cancel('pending', expected_version => 3)$$,
	$$CALL customer_put('c', 'D', 'd', expected_version => 0)$$,
	$$CALL customer_put('d', 'D', 'd', expected_version => 1)$$,
	$$CALL product_put('p', 'D', 'd', expected_version => 2)$$,
	$$CALL event_append('Basket', 'b', '[{"type": "T", "data": {}}]', expected_version => 1)$$);

-- Which one of two reasons is told: that it does not exist or exists already
-- before the version, the version before the status.
SELECT tools.outcomes(
	$$CALL order_create('pending', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]', expected_version => 0)$$,
	$$CALL order_create('pending', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]', expected_version => 1)$$,
	$$CALL order_complete('new', expected_version => 1)$$,
	$$CALL order_complete('cancelled', expected_version => 1)$$,
	$$CALL order_complete('cancelled', expected_version => 3)$$);

-- Outside PL/pgSQL; the second of a transaction undoes the first.
CALL order_create('new', 'nobody', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]');
\echo :SQLSTATE
CALL order_complete('cancelled');
\echo :SQLSTATE
CALL order_complete('pending', expected_version => 5);
\echo :SQLSTATE
BEGIN;
CALL order_complete('pending', version => NULL);
CALL order_complete('pending');
\echo :SQLSTATE
COMMIT;
SELECT tools.fingerprint() = :'before' AS nothing_left_behind;

-- The versions that are right.
CALL order_create('new', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]', expected_version => 0, version => NULL);
CALL order_update('new', '[{"product_id": "q", "quantity": 1, "unit_price": 1}]', expected_version => 1, version => NULL);
CALL order_complete('new', expected_version => 2, version => NULL);
CALL order_cancel('new', expected_version => 3, version => NULL);
CALL customer_put('c', 'D', 'd', expected_version => 1, version => NULL);
CALL customer_put('d', 'D', 'd', expected_version => 0, version => NULL);
-- Nothing to change, and yet the version is checked.
CALL customer_put('d', 'D', 'd', expected_version => 1, version => NULL);
SELECT tools.outcome($$CALL customer_put('d', 'D', 'd', expected_version => 0)$$);
CALL product_put('p', 'D', 'd', expected_version => 1, version => NULL);
CALL event_append('Basket', 'b', '[{"type": "T", "data": {}}, {"type": "T", "data": {}}]', expected_version => 0, version => NULL);
CALL event_append('Basket', 'b', '[{"type": "T", "data": {}}]', expected_version => 2, version => NULL);
SELECT tools.outcome($$CALL event_append('Basket', 'b', '[{"type": "T", "data": {}}]', expected_version => 2)$$);

-- Pending or completed, an order can be cancelled.
CALL order_cancel('pending', version => NULL);
CALL order_cancel('completed', version => NULL);
SELECT order_id, status, version FROM order_view WHERE tenant_id = 'rules' ORDER BY 1;

CALL projection_sync();
SELECT * FROM tools.differences();
