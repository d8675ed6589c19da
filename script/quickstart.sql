-- quickstart.sql: a small shop's life. script/quickstart runs it in a new database, where a worker keeps the
-- projections; it also runs in any other database in which the extension is not yet installed.

\pset pager off
\pset footer off
\pset format wrapped
\pset columns 120
\set ON_ERROR_STOP on
\set QUIET on

CREATE EXTENSION order_cqrs CASCADE;

-- For this session, and for later ones.
SET search_path = order_cqrs, public;
SELECT format('ALTER DATABASE %I SET search_path = order_cqrs, public', current_database()) \gexec

\echo
\echo === Customers and products
\echo

CALL customer_put('ada',   'Ada Lovelace', 'ada@example.org');
CALL customer_put('grace', 'Grace Murray', 'grace@example.org');
CALL customer_put('alan',  'Alan Turing',  'alan@example.org');

CALL product_put('keyboard', 'Keyboard with 87 keys', 'Input');
CALL product_put('monitor',  'Monitor, 27 inches',    'Displays');
CALL product_put('cable',    'Cable, 2 m',            'Accessories');

\echo 3 customers, 3 products

\echo
\echo === Commands: a caller that names "version" gets the new version of the order
\echo

-- One transaction, so that the saga sees the final state of these orders, and not the states in between.
BEGIN;

CALL order_create('A-1001', 'ada',
	'[{"product_id": "keyboard", "quantity": 1, "unit_price": "89.90"},
	  {"product_id": "cable",    "quantity": 2, "unit_price": "4.50"}]', version => NULL) \gset
\echo A-1001 created by Ada: version :version

CALL order_create('A-1002', 'grace',
	'[{"product_id": "monitor", "quantity": 1, "unit_price": "249.00"}]', version => NULL) \gset
\echo A-1002 created by Grace: version :version

CALL order_create('A-1003', 'alan',
	'[{"product_id": "keyboard", "quantity": 2, "unit_price": "89.90"},
	  {"product_id": "monitor",  "quantity": 1, "unit_price": "249.00"}]', version => NULL) \gset
\echo A-1003 created by Alan: version :version

CALL order_create('A-1004', 'ada',
	'[{"product_id": "cable", "quantity": 10, "unit_price": "3.95"}]', version => NULL) \gset
\echo A-1004 created by Ada: version :version

CALL order_update('A-1001',
	'[{"product_id": "keyboard", "quantity": 1, "unit_price": "89.90"},
	  {"product_id": "cable",    "quantity": 3, "unit_price": "4.50"}]',
	reason => 'one more cable', version => NULL) \gset
\echo A-1001 updated, one more cable: version :version

CALL order_complete('A-1001', expected_version => 2, version => NULL) \gset
\echo A-1001 completed, provided that it is at version 2: version :version

CALL order_cancel('A-1002', reason => 'has a monitor already', version => NULL) \gset
\echo A-1002 cancelled: version :version

CALL order_complete('A-1003', version => NULL) \gset
\echo A-1003 completed: version :version

COMMIT;

CALL customer_put('grace', 'Grace Hopper', 'grace@example.org');
\echo Grace has a new name

\echo
\echo === A command that is refused: A-1001 is complete and cannot change any more
\echo

\set ON_ERROR_STOP off
CALL order_update('A-1001', '[{"product_id": "cable", "quantity": 100, "unit_price": "0.01"}]');
\set ON_ERROR_STOP on
\echo SQLSTATE: :LAST_ERROR_SQLSTATE

\echo
\echo === The saga: reserve, ask for the payment, complete, ship
\echo

CALL product_put('lamp', 'Lamp, warm white', 'Lights');
CALL stock_receive('lamp', 10);
\echo 10 lamps have arrived. Products that were never received, such as cables, are unlimited

-- Let the saga reserve the stock: otherwise order_create would refuse A-1006 at once.
SET order_cqrs.reserve_on = 'saga';
CALL order_create('A-1005', 'ada',   '[{"product_id": "lamp", "quantity": 4, "unit_price": "20.00"}]');
CALL order_create('A-1006', 'grace', '[{"product_id": "lamp", "quantity": 7, "unit_price": "20.00"}]');
CALL order_create('A-1007', 'alan',  '[{"product_id": "lamp", "quantity": 2, "unit_price": "20.00"}]');
RESET order_cqrs.reserve_on;
\echo A-1005 for 4 lamps, A-1006 for 7, A-1007 for 2

-- The runner would do this by itself; saga_run does it at once.
CALL saga_run();

\echo
\echo Payments that are due now: payment_requests
\echo

SELECT order_id, customer_id, amount FROM payment_requests ORDER BY order_id;

CALL payment_complete('A-1005', reference => 'bank-4711');
CALL payment_fail('A-1007', reason => 'card declined');
\echo The provider says that A-1005 is paid, and that the card for A-1007 was declined

CALL saga_run();

\echo
\echo === saga_status
\echo

SELECT order_id, step, state, attempts, last_error,
       to_char(next_attempt_at, 'HH24:MI:SS') AS next_attempt
FROM saga_status
ORDER BY order_id;

\echo === Reasons of the two cancellations
\echo

SELECT order_id, data ->> 'reason' AS reason
FROM unnest('{A-1006, A-1007}'::text[]) AS orders (order_id), order_history(order_id)
WHERE event_type = 'OrderCancelled';

\echo === inventory: 4 lamps are on their way to Ada
\echo

SELECT product_id, on_hand, reserved, available FROM inventory ORDER BY product_id;

\echo === order_view
\echo

SELECT order_id, customer_name, status, payment_status, total_amount, item_count,
       to_char(shipped_at, 'HH24:MI:SS') AS shipped_at
FROM order_view
ORDER BY order_id;

\echo === order_item_view
\echo

SELECT order_id, product_name, product_category, quantity, unit_price, total_price
FROM order_item_view
ORDER BY order_id, product_id;

\echo === order_summary_view
\echo

SELECT order_id, customer_id, customer_name, status, payment_status, total_amount, item_count
FROM order_summary_view
ORDER BY order_id;

-- The worker would do this by itself; projection_sync does it at once.
CALL projection_sync();

\echo === order_stats and order_product_stats, kept by a background worker
\echo

SELECT day, status, orders, revenue
FROM order_stats
WHERE orders <> 0
ORDER BY day, status;

SELECT product_id, quantity, revenue
FROM order_product_stats
ORDER BY product_id;

\echo === projection_status
\echo

SELECT projection_name, mode, status, last_position, lag_events, lag_seconds, events_total, repaired_total, last_error
FROM projection_status
ORDER BY projection_name;

\echo === The events of A-1005
\echo

SELECT version, event_type, regexp_replace(data::text, '(}|]), ', E'\\1,\n ', 'g') AS data,
       metadata, to_char(occurred_at, 'HH24:MI:SS.MS') AS occurred_at
FROM order_history('A-1005')
ORDER BY version;
