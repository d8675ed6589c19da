-- Batches of an async projection: how much data one takes.
SET search_path = order_cqrs, public;
SET order_cqrs.tenant_id = 'batches';
\pset format unaligned
\pset tuples_only on
-- The details of the warnings name positions, which other tests move.
\set VERBOSITY terse
CALL customer_put('c', 'C', 'c@example.org');
CALL product_put('p', 'P', 'x');
CALL projection_sync();
-- An order as its owner might copy it from elsewhere, with as much data as is wanted.
CREATE FUNCTION tools.insert_orders(tenant text, prefix text, first_position bigint, orders int, bytes int)
	RETURNS void LANGUAGE sql AS $$
	INSERT INTO order_cqrs.events (position, tenant_id, aggregate_type, aggregate_id, version, event_type, data, actor, occurred_at)
	OVERRIDING SYSTEM VALUE
	SELECT first_position + n - 1, tenant, 'Order', prefix || n, 1, 'OrderCreated',
	       jsonb_build_object('customer_id', 'c', 'total_amount', 1, 'padding', repeat('x', bytes),
	                          'items', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]'::jsonb),
	       session_user, clock_timestamp()
	  FROM generate_series(1, orders) AS n
$$;
CREATE PROCEDURE tools.draw_positions(count int) LANGUAGE sql AS $$
	SELECT count(nextval('order_cqrs.events_position_seq')) FROM generate_series(1, count)
$$;
\set stats 'SELECT status, sum(orders), sum(revenue) FROM order_stats WHERE tenant_id = ''batches'' GROUP BY 1 ORDER BY 1;'

-- 450 events of 100 kB: a batch ends where it has 16 MB, after whole portions of 200 events.
SELECT event_horizon() AS start \gset
SELECT events_total AS total FROM projection_state WHERE projection_name = 'order_stats' \gset
CALL tools.draw_positions(450);
SELECT tools.insert_orders('batches', 'large', :start + 1, 450, 100000);
CALL projection_sync('order_stats');
SELECT last_event_count AS in_the_last_batch, events_total - :total AS events, last_position - :start AS last
  FROM projection_state WHERE projection_name = 'order_stats';
:stats
SELECT * FROM tools.differences();

-- One of them fails: those before it are there, once.
SELECT event_horizon() AS start \gset
ALTER TABLE order_stats_applied ADD CONSTRAINT not_this_one CHECK (order_id <> 'more333');
CALL tools.draw_positions(450);
SELECT tools.insert_orders('batches', 'more', :start + 1, 450, 100000);
CALL projection_sync('order_stats');
SELECT status, last_position - :start AS last, failed_position - :start AS failed, attempts
  FROM projection_state WHERE projection_name = 'order_stats';
:stats
ALTER TABLE order_stats_applied DROP CONSTRAINT not_this_one;
CALL projection_sync('order_stats');
:stats
SELECT * FROM tools.differences();

-- Few events about orders of many lines are written in parts, and each order once.
BEGIN;
SET LOCAL session_replication_role = replica;
INSERT INTO events (tenant_id, aggregate_type, aggregate_id, version, event_type, data, actor, occurred_at)
SELECT 'long', 'Order', 'long' || n, 1, 'OrderCreated',
       jsonb_build_object('customer_id', 'c', 'total_amount', 500, 'items', (
           SELECT jsonb_agg(jsonb_build_object('product_id', 'p' || i, 'quantity', 1, 'unit_price', 1)) FROM generate_series(1, 500) AS i)),
       session_user, clock_timestamp()
  FROM generate_series(1, 401) AS n;
SET LOCAL session_replication_role = origin;
CALL projection_sync('order_stats');
SELECT last_event_count FROM projection_state WHERE projection_name = 'order_stats';
SELECT status, orders, revenue FROM order_stats WHERE tenant_id = 'long';
SELECT count(*), min(quantity), max(quantity) FROM order_product_stats WHERE tenant_id = 'long';
SELECT count(*) FROM projection_verify('order_stats');
ROLLBACK;

-- An order that begins behind the checkpoint is taken for new.  Where the checkpoint was set back that is wrong: rows
-- are in the way, some of them older than the events, and with lines that are not theirs any more.
CALL projection_set_mode('order_view', 'async');
CALL projection_set_mode('order_summary_view', 'async');
SELECT event_horizon() AS start \gset
CALL order_create('back-1', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]');
CALL order_create('back-2', 'c', '[{"product_id": "p", "quantity": 2, "unit_price": 1}, {"product_id": "p", "quantity": 3, "unit_price": 1}]');
CALL projection_sync('order_view');
CALL projection_sync('order_summary_view');
CALL order_update('back-2', '[{"product_id": "p", "quantity": 4, "unit_price": 1}]');
CALL order_create('back-3', 'c', '[{"product_id": "p", "quantity": 5, "unit_price": 1}]');
UPDATE projection_state SET last_position = :start WHERE projection_name IN ('order_view', 'order_summary_view');
CALL projection_sync('order_view');
CALL projection_sync('order_summary_view');
SELECT projection_name, status, attempts, last_position = event_horizon() AS at_horizon
  FROM projection_state WHERE projection_name IN ('order_view', 'order_summary_view') ORDER BY 1;
SELECT order_id, line, quantity, version FROM order_item_view WHERE order_id LIKE 'back-%' ORDER BY 1, 2;
SELECT * FROM tools.differences();

-- One batch has new orders and a change of an older one.
CALL order_create('mixed-2', 'c', '[{"product_id": "p", "quantity": 6, "unit_price": 1}]');
CALL order_update('back-1', '[{"product_id": "p", "quantity": 7, "unit_price": 1}, {"product_id": "p", "quantity": 8, "unit_price": 1}]');
CALL order_create('mixed-1', 'c', '[{"product_id": "p", "quantity": 9, "unit_price": 1}]');
CALL projection_sync('order_view');
CALL projection_sync('order_summary_view');
SELECT order_id, line, quantity, version FROM order_item_view WHERE order_id ~ '^(mixed|back-1)' ORDER BY 1, 2;
SELECT * FROM tools.differences();

-- A trigger of the user's keeps some rows out of the table: their lines stay out, too.
CREATE FUNCTION tools.suppress() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN CASE WHEN NEW.order_id <> ''kept-out'' THEN NEW END; END';
CREATE TRIGGER suppress BEFORE INSERT ON order_view FOR EACH ROW EXECUTE FUNCTION tools.suppress();
CALL order_create('kept-out', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]');
CALL order_create('let-in', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]');
CALL projection_sync('order_view');
CALL projection_rebuild('order_view');
SELECT v.order_id, i.line FROM order_view v FULL JOIN order_item_view i USING (tenant_id, order_id) WHERE order_id IN ('kept-out', 'let-in');
DROP TRIGGER suppress ON order_view;
DROP FUNCTION tools.suppress;
CALL projection_rebuild('order_view');
CALL projection_sync('order_summary_view');
SELECT * FROM tools.differences();

-- Tables of which all rows are gone are made anew, also where one of two has kept its own.
TRUNCATE order_view, order_summary_view, order_stats_applied;
CALL projection_rebuild('order_view');
CALL projection_rebuild('order_summary_view');
CALL projection_rebuild('order_stats');
SELECT count(*) FROM order_view WHERE tenant_id = 'batches';
SELECT * FROM tools.differences();
TRUNCATE order_view, order_item_view;
CALL projection_rebuild('order_view');
SELECT * FROM tools.differences();
SET default_transaction_isolation = 'repeatable read';
CALL projection_rebuild('order_view');
RESET default_transaction_isolation;
CALL projection_set_mode('order_view', 'sync');
CALL projection_set_mode('order_summary_view', 'sync');
DROP FUNCTION tools.insert_orders;
DROP PROCEDURE tools.draw_positions;
