-- quickstart.sql: a small shop's life. script/quickstart runs it in a new database, where a worker keeps the
-- projections; it also runs in any other database in which the extension is not yet installed.

\pset pager off
\pset footer off
\pset format wrapped
\pset columns 120
\set ON_ERROR_STOP on
\set QUIET on

CREATE EXTENSION order_cqrs;

-- For this session, and for those that come to look around.
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
\echo === Commands: a caller that names "version" learns the version that the order has reached
\echo

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
\echo === order_view
\echo

SELECT order_id, customer_name, customer_email, status, total_amount, item_count,
       to_char(updated_at, 'HH24:MI:SS.MS') AS updated_at
FROM order_view
ORDER BY order_id;

\echo === order_item_view
\echo

SELECT order_id, product_name, product_category, quantity, unit_price, total_price
FROM order_item_view
ORDER BY order_id, product_id;

\echo === order_summary_view
\echo

SELECT order_id, customer_id, customer_name, status, total_amount, item_count
FROM order_summary_view
ORDER BY order_id;

-- The worker keeps order_stats and would get there by itself; this is how to wait for it.
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

\echo === The events of A-1001
\echo

SELECT version, event_type, regexp_replace(data::text, '(}|]), ', E'\\1,\n ', 'g') AS data,
       to_char(occurred_at, 'HH24:MI:SS.MS') AS occurred_at
FROM order_history('A-1001')
ORDER BY version;
