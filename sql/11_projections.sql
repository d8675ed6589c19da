-- Projections: sync, pause and resume, modes, status.
SET search_path = order_cqrs, public;
SET order_cqrs.tenant_id = 'projections';
\pset format unaligned
\pset tuples_only on
\set item '[{"product_id": "p", "quantity": 1, "unit_price": 1}]'
\set states 'SELECT projection_name, mode, status, last_position = event_horizon() AS at_horizon FROM projection_state ORDER BY 1;'
\set rows 'SELECT (SELECT count(*) FROM order_view WHERE tenant_id = ''projections'') AS order_view, (SELECT count(*) FROM order_item_view WHERE tenant_id = ''projections'') AS items, (SELECT count(*) FROM order_summary_view WHERE tenant_id = ''projections'') AS summaries, (SELECT coalesce(sum(orders), 0) FROM order_stats WHERE tenant_id = ''projections'') AS stats;'
CALL customer_put('c', 'C', 'c@example.org');
CALL product_put('p', 'P', 'x');
CALL order_create('o1', 'c', :'item');
CALL projection_sync();
:states
:rows

-- Names and modes that there are not.
SELECT tools.outcomes(
	$$CALL projection_sync('nothing')$$,
	$$CALL projection_rebuild('nothing')$$,
	$$CALL projection_rebuild(NULL)$$,
	$$CALL projection_pause('order_item_view')$$,
	$$CALL projection_pause(NULL)$$,
	$$CALL projection_resume('')$$,
	$$CALL projection_resume(NULL)$$,
	$$CALL projection_set_mode('Order_View', 'sync')$$,
	$$CALL projection_set_mode(NULL, 'sync')$$,
	$$SELECT projection_verify('nothing')$$,
	$$SELECT projection_verify(NULL)$$,
	$$CALL projection_set_mode('order_view', 'SYNC')$$,
	$$CALL projection_set_mode('order_view', '')$$,
	$$CALL projection_set_mode('order_view', NULL)$$,
	$$CALL projection_set_mode('reference', 'async')$$,
	$$CALL projection_pause('reference')$$);
-- NULL is "all" for projection_sync, and nothing else.
CALL projection_sync(NULL);

-- One at a time: each moves alone.
CALL order_complete('o1');
SELECT projection_name, lag_events, lag_seconds > 0 AS has_lag, unchecked_events FROM projection_status ORDER BY 1;
CALL projection_sync('order_view');
SELECT projection_name, lag_events, unchecked_events FROM projection_status ORDER BY 1;
CALL projection_sync('order_stats');
CALL customer_put('c', 'C2', 'c@example.org');
CALL product_put('p', 'P2', 'x');
CALL event_append('Basket', 'b', '[{"type": "T", "data": {}}]');
SELECT projection_name, lag_events, unchecked_events FROM projection_status ORDER BY 1;
CALL projection_sync();
SELECT projection_name, lag_events, lag_seconds, unchecked_events FROM projection_status ORDER BY 1;

-- Inside a transaction, a function, a DO block; and undone with it.
BEGIN;
CALL order_create('o2', 'c', :'item');
CALL projection_sync();
:rows
ROLLBACK;
:rows
CREATE FUNCTION public.sync() RETURNS void LANGUAGE plpgsql AS 'BEGIN CALL order_cqrs.projection_sync(); END';
CALL order_create('o2', 'c', :'item');
SELECT public.sync();
:states
:rows
CALL order_create('o3', 'c', :'item');
DO 'BEGIN CALL order_cqrs.projection_sync(); END';
:states
DROP FUNCTION public.sync;

-- Counters: as many events as there were.
SELECT projection_name, events_total AS before FROM projection_state WHERE projection_name = 'order_stats' \gset
DO $$
BEGIN
	FOR n IN 1 .. 1250 LOOP
		CALL order_cqrs.order_create('many' || n, 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 0.01}]');
		CALL order_cqrs.order_complete('many' || n);
	END LOOP;
END $$;
SELECT lag_events FROM projection_status WHERE projection_name = 'order_stats';
CALL projection_sync('order_stats');
SELECT events_total - :before AS events, last_processed_time > now() - interval '1 hour' AS now FROM projection_state
 WHERE projection_name = 'order_stats';
SELECT sum(orders), sum(revenue) FROM order_stats WHERE tenant_id = 'projections' AND status = 'COMPLETED';
-- Nothing to do is nothing done.
SELECT xmin AS before FROM projection_state WHERE projection_name = 'order_stats' \gset
CALL projection_sync('order_stats');
SELECT xmin = :'before' AS untouched FROM projection_state WHERE projection_name = 'order_stats';
SELECT * FROM tools.differences();

-- Only READ COMMITTED sees all up to the horizon.
BEGIN ISOLATION LEVEL REPEATABLE READ;
CALL projection_sync();
\echo :SQLSTATE
ROLLBACK;
SELECT tools.fingerprint() AS before \gset
SET default_transaction_isolation = 'serializable';
CALL projection_sync('order_view');
\echo :SQLSTATE
CALL projection_set_mode('order_stats', 'sync');
\echo :SQLSTATE
RESET default_transaction_isolation;
SELECT tools.fingerprint() = :'before' AS nothing_left_behind;

-- A paused sync projection stands still while commands and the others go on,
-- and is true again when it is resumed.
CALL projection_sync();
SELECT repaired_total AS before, renewed_total AS renewed_before FROM projection_state WHERE projection_name = 'order_view' \gset
CALL projection_pause('order_view');
CALL projection_pause('order_view');
CALL order_create('paused1', 'c', :'item', version => NULL);
CALL order_update('o2', '[{"product_id": "p", "quantity": 5, "unit_price": 1}]', version => NULL);
CALL order_cancel('o3', version => NULL);
CALL customer_put('c', 'C3', 'c3@example.org');
CALL product_put('p', 'P3', 'y');
CALL projection_sync();
:states
SELECT order_id, status, total_amount, customer_name FROM order_view WHERE tenant_id = 'projections' AND order_id IN ('o2', 'o3', 'paused1') ORDER BY 1;
SELECT order_id, status, total_amount, customer_name FROM order_summary_view WHERE tenant_id = 'projections' AND order_id IN ('o2', 'o3', 'paused1') ORDER BY 1;
SELECT tools.outcome($$SELECT order_get('paused1')$$);
SELECT status FROM order_as_of('paused1', 'infinity');
CALL projection_resume('order_view');
SELECT order_id, status, total_amount, customer_name FROM order_view WHERE tenant_id = 'projections' AND order_id IN ('o2', 'o3', 'paused1') ORDER BY 1;
SELECT DISTINCT customer_name, customer_email FROM order_view WHERE tenant_id = 'projections';
SELECT DISTINCT product_name, product_category FROM order_item_view WHERE tenant_id = 'projections';
-- Nothing was wrong.
SELECT repaired_total - :before AS repaired, renewed_total > :renewed_before AS renewed FROM projection_state WHERE projection_name = 'order_view';
:states
SELECT * FROM tools.differences();
CALL order_complete('paused1');
SELECT status FROM order_get('paused1');
-- Resuming what runs changes nothing.
CALL projection_resume('order_view');
:states

-- The same for an async one, which the worker takes up where it stood.
CALL projection_sync();
CALL projection_pause('order_stats');
CALL order_create('paused2', 'c', :'item');
CALL projection_sync();
CALL projection_sync('order_stats');
SELECT projection_name, status, lag_events, unchecked_events FROM projection_status WHERE projection_name = 'order_stats';
SELECT count(*) FROM order_stats_applied WHERE order_id = 'paused2';
-- Up to where it stands it is true.
SELECT count(*) FROM projection_verify('order_stats');
CALL projection_resume('order_stats');
CALL projection_sync('order_stats');
SELECT count(*) FROM order_stats_applied WHERE order_id = 'paused2';
SELECT * FROM tools.differences();

-- A pause that is rolled back was none.
BEGIN;
CALL projection_pause('order_view');
CALL projection_pause('order_summary_view');
CALL order_create('paused3', 'c', :'item');
SELECT count(*) FROM order_view WHERE order_id = 'paused3';
SELECT count(*) FROM order_summary_view WHERE order_id = 'paused3';
ROLLBACK;
CALL order_create('paused3', 'c', :'item');
SELECT count(*) FROM order_view WHERE order_id = 'paused3';
SELECT count(*) FROM order_summary_view WHERE order_id = 'paused3';
BEGIN;
CALL projection_pause('order_view');
CALL order_create('paused4', 'c', :'item');
CALL projection_resume('order_view');
SELECT count(*) FROM order_view WHERE order_id = 'paused4';
COMMIT;
CALL projection_sync();
SELECT * FROM tools.differences();

-- The statistics in the command's transaction, and back.
CALL order_create('mode1', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1000}]');
CALL projection_set_mode('order_stats', 'sync');
:states
SELECT count(*) FROM order_stats_applied WHERE order_id = 'mode1';
CALL order_create('mode2', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1000}]');
CALL order_complete('mode2');
SELECT version, status FROM order_stats_applied WHERE order_id = 'mode2';
BEGIN;
CALL order_cancel('mode2');
SELECT version, status FROM order_stats_applied WHERE order_id = 'mode2';
ROLLBACK;
SELECT version, status FROM order_stats_applied WHERE order_id = 'mode2';
SELECT * FROM tools.differences();
CALL projection_set_mode('order_stats', 'sync');
CALL projection_sync();
SELECT * FROM tools.differences();
CALL projection_set_mode('order_stats', 'async');
CALL order_cancel('mode2');
SELECT version, status FROM order_stats_applied WHERE order_id = 'mode2';
CALL projection_sync();
SELECT version, status FROM order_stats_applied WHERE order_id = 'mode2';
SELECT * FROM tools.differences();

-- The views after it, and back.
CALL projection_set_mode('order_view', 'async');
CALL projection_set_mode('order_summary_view', 'async');
CALL projection_set_mode('reference', 'sync');
CALL order_create('mode3', 'c', :'item');
CALL order_cancel('mode1');
CALL customer_put('c', 'C4', 'c4@example.org');
CALL product_put('p', 'P4', 'z');
SELECT count(*) FROM order_view WHERE order_id = 'mode3';
SELECT count(*) FROM order_summary_view WHERE order_id = 'mode3';
SELECT status, customer_name, items -> 0 ->> 'product_name' FROM order_get('mode1');
-- Names that are due are not a difference.
SELECT * FROM tools.differences();
CALL projection_sync();
SELECT count(*) FROM order_view WHERE order_id = 'mode3';
SELECT count(*) FROM order_summary_view WHERE order_id = 'mode3';
SELECT status, customer_name, items -> 0 ->> 'product_name' FROM order_get('mode1');
SELECT * FROM tools.differences();
CALL order_create('mode4', 'c', :'item');
CALL order_cancel('mode3');
CALL customer_put('c', 'C5', 'c5@example.org');
CALL projection_set_mode('order_view', 'sync');
CALL projection_set_mode('order_summary_view', 'sync');
SELECT status, customer_name FROM order_get('mode3');
SELECT status, customer_name FROM order_get('mode4');
SELECT status, customer_name FROM order_summary_view WHERE order_id = 'mode4';
CALL order_complete('mode4');
SELECT status FROM order_get('mode4');
CALL projection_sync();
:states
SELECT * FROM tools.differences();

-- Changing the mode takes transactions of its own, and a projection that runs.
BEGIN;
CALL projection_set_mode('order_stats', 'sync');
\echo :SQLSTATE
ROLLBACK;
SELECT tools.outcome($$CALL order_cqrs.projection_set_mode('order_stats', 'sync')$$);
SELECT tools.outcome($$CALL order_cqrs.projection_rebuild('order_view')$$);
BEGIN;
CALL projection_rebuild('order_view');
\echo :SQLSTATE
ROLLBACK;
CALL projection_pause('order_stats');
CALL projection_set_mode('order_stats', 'sync');
\echo :SQLSTATE
CALL projection_resume('order_stats');
:states
DO $$ BEGIN CALL order_cqrs.projection_set_mode('order_stats', 'sync'); END $$;
DO $$ BEGIN CALL order_cqrs.projection_rebuild('order_stats'); END $$;
:states
CALL projection_set_mode('order_stats', 'async');

-- A row of projection_state that is lost can be put back, and all is found again.
DELETE FROM projection_state WHERE projection_name = 'order_stats';
SELECT tools.outcomes($$CALL order_cqrs.projection_sync('order_stats')$$, $$CALL order_cqrs.projection_pause('order_stats')$$);
CALL order_create('lost1', 'c', :'item', version => NULL);
INSERT INTO projection_state (projection_name, mode) VALUES ('order_stats', 'sync');
CALL projection_sync();
CALL projection_set_mode('order_stats', 'async');
:states
SELECT * FROM tools.differences();
-- One that is there takes over what a dump says of it, but not where it stood.
BEGIN;
INSERT INTO projection_state (projection_name, mode, status, last_position, events_total, repaired_total)
VALUES ('order_stats', 'async', 'paused', 999999999, 42, 43);
SELECT mode, status, last_position < 999999999, events_total, repaired_total FROM projection_state WHERE projection_name = 'order_stats';
ROLLBACK;
SELECT left(tools.outcome($$INSERT INTO order_cqrs.projection_state (projection_name, mode) VALUES ('order_stats', 'lazy')$$), 5),
       left(tools.outcome($$UPDATE order_cqrs.projection_state SET status = 'tired' WHERE projection_name = 'order_stats'$$), 5);

SELECT * FROM tools.differences();
