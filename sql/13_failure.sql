-- What happens when a projection cannot handle an event.
SET search_path = order_cqrs, public;
SET order_cqrs.tenant_id = 'failure';
\pset format unaligned
\pset tuples_only on
\set item '[{"product_id": "p", "quantity": 1, "unit_price": 1}]'
\set poison '[{"product_id": "poison", "quantity": 1, "unit_price": 1}]'
-- Positions as distances from where the test begins.
\set states 'SELECT projection_name, status, last_position - :start AS last, failed_position - :start AS failed, attempts, last_error FROM projection_state ORDER BY 1;'
-- The details of the warnings name positions, which other tests move.
\set VERBOSITY terse
CALL customer_put('c', 'C', 'c@example.org');
CALL product_put('p', 'P', 'x');
CALL product_put('poison', 'Poison', 'x');
CALL order_create('o1', 'c', :'item');
CALL projection_sync();
SELECT event_horizon() AS start \gset
SELECT events_total AS total FROM projection_state WHERE projection_name = 'order_stats' \gset

-- An async projection: the third of five events fails.
ALTER TABLE order_product_stats ADD CONSTRAINT no_poison CHECK (product_id <> 'poison');
CALL order_create('o2', 'c', :'item');
CALL order_complete('o2');
CALL order_create('o3', 'c', :'poison');
CALL order_create('o4', 'c', :'item');
CALL order_cancel('o1');
CALL projection_sync();
:states
SELECT projection_name, status, lag_events, attempts, last_error FROM projection_status WHERE projection_name = 'order_stats';
-- What came before it is there, once; nothing of what comes after it.
SELECT order_id, version, status FROM order_stats_applied WHERE tenant_id = 'failure' ORDER BY 1;
SELECT status, sum(orders), sum(revenue) FROM order_stats WHERE tenant_id = 'failure' GROUP BY 1 ORDER BY 1;
SELECT * FROM tools.differences();
-- It is tried again, and counted; commands and the other projections go on.
CALL projection_sync('order_stats');
CALL order_create('o5', 'c', :'item', version => NULL);
CALL order_complete('o3', version => NULL);
CALL customer_put('c', 'C2', 'c@example.org', version => NULL);
CALL projection_sync();
:states
SELECT order_id, status, customer_name FROM order_view WHERE tenant_id = 'failure' ORDER BY 1;
SELECT order_id, version, status FROM order_stats_applied WHERE tenant_id = 'failure' ORDER BY 1;
-- It cannot change its mode meanwhile; it can be paused, and resumed to be tried again.
CALL projection_set_mode('order_stats', 'sync');
\echo :SQLSTATE
CALL projection_pause('order_stats');
CALL projection_sync();
:states
CALL projection_resume('order_stats');
:states
CALL projection_sync('order_stats');
:states
-- A failure is recorded in the caller's transaction, and undone with it.
BEGIN;
CALL projection_sync('order_stats');
SELECT attempts FROM projection_state WHERE projection_name = 'order_stats';
ROLLBACK;
SELECT attempts FROM projection_state WHERE projection_name = 'order_stats';
-- With the cause removed it recovers: everything once, nothing twice.
ALTER TABLE order_product_stats DROP CONSTRAINT no_poison;
CALL projection_sync();
SELECT projection_name, status, last_position = event_horizon() AS at_horizon, failed_position, attempts, last_error FROM projection_state ORDER BY 1;
SELECT events_total - :total AS events, (SELECT count(*) FROM events WHERE aggregate_type = 'Order' AND position > :start) AS there_are
  FROM projection_state WHERE projection_name = 'order_stats';
SELECT order_id, version, status FROM order_stats_applied WHERE tenant_id = 'failure' ORDER BY 1;
SELECT status, sum(orders), sum(revenue) FROM order_stats WHERE tenant_id = 'failure' GROUP BY 1 ORDER BY 1;
SELECT product_id, quantity, revenue FROM order_product_stats WHERE tenant_id = 'failure' ORDER BY 1;
SELECT * FROM tools.differences();

-- The only event fails, and the first, and the last of many.
ALTER TABLE order_product_stats ADD CONSTRAINT no_poison CHECK (product_id <> 'poison') NOT VALID;
SELECT event_horizon() AS start \gset
CALL order_cancel('o3');
CALL projection_sync('order_stats');
:states
DO $$
BEGIN
	FOR n IN 1 .. 300 LOOP
		CALL order_cqrs.order_create('row ' || n, 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]');
	END LOOP;
END $$;
CALL projection_sync('order_stats');
SELECT last_position - :start AS last, failed_position - :start AS failed, attempts FROM projection_state WHERE projection_name = 'order_stats';
ALTER TABLE order_product_stats DROP CONSTRAINT no_poison;
ALTER TABLE order_stats_applied ADD CONSTRAINT not_the_last CHECK (order_id <> 'row 300');
CALL projection_sync('order_stats');
SELECT last_position - :start AS last, failed_position - :start AS failed, attempts FROM projection_state WHERE projection_name = 'order_stats';
SELECT count(*) FROM order_stats_applied WHERE tenant_id = 'failure' AND order_id LIKE 'row %';
ALTER TABLE order_stats_applied DROP CONSTRAINT not_the_last;
CALL projection_sync('order_stats');
SELECT * FROM tools.differences();

-- A sync projection that fails refuses the command, and nothing of it is left.
SELECT tools.fingerprint() AS before \gset
ALTER TABLE order_view ADD CONSTRAINT small CHECK (total_amount < 1000) NOT VALID;
CALL order_create('large', 'c', '[{"product_id": "p", "quantity": 1000, "unit_price": 1}]');
\echo :SQLSTATE
CALL order_update('o4', '[{"product_id": "p", "quantity": 1000, "unit_price": 1}]');
\echo :SQLSTATE
SELECT tools.fingerprint() = :'before' AS nothing_left_behind;
-- So does one of several commands, and no more than itself, with a savepoint.
BEGIN;
CALL order_create('large1', 'c', :'item');
SAVEPOINT s;
CALL order_create('large2', 'c', '[{"product_id": "p", "quantity": 1000, "unit_price": 1}]');
\echo :SQLSTATE
ROLLBACK TO s;
CALL order_update('large1', '[{"product_id": "p", "quantity": 2, "unit_price": 1}]', version => NULL);
COMMIT;
SELECT order_id, status, total_amount FROM order_view WHERE tenant_id = 'failure' AND order_id LIKE 'large%' ORDER BY 1;
-- What it missed while its trigger was disabled, it cannot repair either.
CALL projection_sync();
SELECT event_horizon() AS start \gset
ALTER TABLE events DISABLE TRIGGER events_project;
CALL order_create('large3', 'c', :'item');
CALL order_create('large4', 'c', '[{"product_id": "p", "quantity": 1000, "unit_price": 1}]');
CALL order_create('large5', 'c', :'item');
ALTER TABLE events ENABLE TRIGGER events_project;
CALL projection_sync();
:states
SELECT order_id, status, total_amount FROM order_view WHERE tenant_id = 'failure' AND order_id LIKE 'large%' ORDER BY 1;
-- Commands on other orders are projected as before.
CALL order_complete('large3', version => NULL);
CALL order_complete('large5', version => NULL);
SELECT order_id, status, total_amount FROM order_view WHERE tenant_id = 'failure' AND order_id LIKE 'large%' ORDER BY 1;
CALL order_complete('large4');
\echo :SQLSTATE
ALTER TABLE order_view DROP CONSTRAINT small;
CALL projection_sync();
SELECT projection_name, status, last_position = event_horizon() AS at_horizon, failed_position, attempts, last_error FROM projection_state ORDER BY 1;
SELECT order_id, status, total_amount FROM order_view WHERE tenant_id = 'failure' AND order_id LIKE 'large%' ORDER BY 1;
SELECT * FROM tools.differences();

-- Events that no command wrote, and no projection understands.
\set VERBOSITY default
CREATE FUNCTION tools.insert_event(id text, version int, type text, data jsonb) RETURNS void LANGUAGE sql AS $$
	INSERT INTO order_cqrs.events (tenant_id, aggregate_type, aggregate_id, version, event_type, data, actor, occurred_at)
	VALUES ('failure', 'Order', id, version, type, data, session_user, clock_timestamp())
$$;
SELECT s || E'\n' || regexp_replace(tools.outcome(s), 'position \d+', 'position N') || E'\n' FROM (VALUES
	(1, $$SELECT tools.insert_event('bad', 1, 'OrderCompleted', '{}')$$),
	(2, $$SELECT tools.insert_event('bad', 1, 'OrderCreated', '{}')$$),
	(3, $$SELECT tools.insert_event('bad', 1, 'OrderCreated', '{"customer_id": 1, "items": [], "total_amount": 0}')$$),
	(4, $$SELECT tools.insert_event('bad', 1, 'OrderCreated', '{"customer_id": "c", "items": "none", "total_amount": 0}')$$),
	(5, $$SELECT tools.insert_event('bad', 1, 'OrderCreated', '{"customer_id": "c", "items": [{"product_id": "p", "quantity": 1, "unit_price": 1}], "total_amount": "1"}')$$),
	(6, $$SELECT tools.insert_event('o4', 2, 'OrderUpdated', '{"items": [{"product_id": "p", "quantity": 1, "unit_price": 1}]}')$$)) AS v (n, s)
 ORDER BY n;
SELECT left(tools.outcome($$SELECT tools.insert_event('bad', 1, 'OrderCreated', '{"customer_id": "c", "items": {"product_id": "p"}, "total_amount": 0}')$$), 5),
       left(tools.outcome($$SELECT tools.insert_event('bad', 1, 'OrderCreated', '{"customer_id": "c", "items": [1], "total_amount": 0}')$$), 5);
-- A type that it does not know is a version and no more.
SELECT tools.insert_event('o4', 2, 'OrderPainted', '{"colour": "red"}');
SELECT status, total_amount, version FROM order_get('o4');
CALL order_complete('o4', version => NULL);
CALL projection_sync();
SELECT * FROM tools.differences();
-- In the log nevertheless: the projections of orders stop there, reference does not, and says
-- what the matter is.  Only this order suffers.
\set VERBOSITY terse
SELECT event_horizon() AS start \gset
SET session_replication_role = replica;
SELECT tools.insert_event('bad', 1, 'OrderCompleted', '{}');
RESET session_replication_role;
SELECT position AS bad FROM events WHERE tenant_id = 'failure' AND aggregate_id = 'bad' \gset
CALL customer_put('c', 'C3', 'c@example.org');
SET client_min_messages = error;
CALL projection_sync();
RESET client_min_messages;
SELECT projection_name, status, last_position - :start AS last, failed_position - :start AS failed, replace(last_error, :'bad', 'N') FROM projection_state ORDER BY 1;
SELECT replace(tools.outcome($$CALL order_complete('bad')$$), :'bad', 'N');
SELECT replace(tools.outcome($$SELECT order_as_of('bad', 'infinity')$$), :'bad', 'N');
BEGIN;
SET LOCAL session_replication_role = replica;
SELECT tools.insert_event('worse', 1, 'OrderCreated', '{"customer_id": "c", "items": {"product_id": "p"}, "total_amount": 0}');
SELECT tools.outcome($$SELECT order_as_of('worse', 'infinity')$$);
ROLLBACK;
SELECT replace(tools.outcome($$SELECT projection_verify('order_view')$$), :'bad', 'N');
CALL order_create('good', 'c', :'item', version => NULL);
SELECT status FROM order_get('good');
-- Removed by an owner who knows what he does.
ALTER TABLE events DISABLE TRIGGER events_append_only;
DELETE FROM events WHERE tenant_id = 'failure' AND aggregate_id = 'bad';
ALTER TABLE events ENABLE ALWAYS TRIGGER events_append_only;
CALL projection_sync();
SELECT projection_name, status, last_position = event_horizon() AS at_horizon FROM projection_state ORDER BY 1;
SELECT * FROM tools.differences();
-- A stream with a gap.
SELECT event_horizon() AS start \gset
SET session_replication_role = replica;
SELECT tools.insert_event('good', 3, 'OrderCompleted', '{}');
RESET session_replication_role;
SET client_min_messages = error;
CALL projection_sync();
RESET client_min_messages;
:states
SELECT tools.outcomes($$CALL order_complete('good')$$, $$CALL order_cancel('good')$$, $$SELECT order_as_of('good', 'infinity')$$);
SET session_replication_role = replica;
SELECT tools.insert_event('good', 2, 'OrderUpdated', '{"items": [{"product_id": "p", "quantity": 2, "unit_price": 1}], "total_amount": 2}');
RESET session_replication_role;
CALL projection_sync();
SELECT status, total_amount, version FROM order_get('good');
SELECT projection_name, status, last_position = event_horizon() AS at_horizon FROM projection_state ORDER BY 1;
SELECT * FROM tools.differences();
DROP FUNCTION tools.insert_event;
