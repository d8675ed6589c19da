-- Read tables that went wrong are found, and put right: by projection_sync what
-- they have missed, by projection_rebuild whatever else happened to them.
SET search_path = order_cqrs, public;
SET order_cqrs.tenant_id = 'repair';
\pset format unaligned
\pset tuples_only on
\set item '[{"product_id": "p", "quantity": 1, "unit_price": 1}]'
CALL customer_put('c', 'C', 'c@example.org');
CALL customer_put('d', 'D', 'd@example.org');
CALL product_put('p', 'P', 'x');
CALL product_put('q', 'Q', 'x');
CALL order_create('o1', 'c', :'item');
CALL order_create('o2', 'c', :'item');
CALL order_create('o3', 'd', :'item');
CALL projection_sync();
SELECT * FROM tools.differences();

-- The trigger is disabled for a while: the sync tables miss what happens.
CREATE TEMP TABLE repaired AS SELECT projection_name, repaired_total, renewed_total FROM projection_state;
ALTER TABLE events DISABLE TRIGGER events_project;
CALL order_create('o4', 'd', '[{"product_id": "p", "quantity": 1, "unit_price": 1}, {"product_id": "q", "quantity": 2, "unit_price": 1}]', version => NULL);
CALL order_update('o1', '[{"product_id": "q", "quantity": 3, "unit_price": 1}]', version => NULL);
CALL order_complete('o1', version => NULL);
CALL order_cancel('o2', version => NULL);
CALL customer_put('c', 'C, renamed', 'c@example.org', version => NULL);
CALL customer_put('e', 'E', 'e@example.org', version => NULL);
CALL product_put('q', 'Q, renamed', 'y', version => NULL);
SELECT left(tools.outcome($$CALL order_create('o9', 'e', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]')$$), 5);
SELECT order_id, status, version, customer_name FROM order_view WHERE tenant_id = 'repair' ORDER BY 1;
SELECT projection_name, key FROM tools.differences();
ALTER TABLE events ENABLE TRIGGER events_project;
-- The next event of an order mends its rows at once, whatever they have missed.
CALL order_cancel('o1', version => NULL);
SELECT order_id, status, version, item_count, total_amount FROM order_view WHERE tenant_id = 'repair' AND order_id = 'o1';
SELECT line, product_id, quantity FROM order_item_view WHERE tenant_id = 'repair' AND order_id = 'o1';
SELECT status, version, total_amount FROM order_summary_view WHERE tenant_id = 'repair' AND order_id = 'o1';
SELECT projection_name, key FROM tools.differences();
-- A repair that is rolled back was none.
BEGIN;
CALL projection_sync();
SELECT count(*) FROM tools.differences();
ROLLBACK;
SELECT count(*) > 0 FROM tools.differences();
CALL projection_sync();
SELECT * FROM tools.differences();
SELECT order_id, status, version, customer_name, customer_email, total_amount FROM order_view WHERE tenant_id = 'repair' ORDER BY 1;
SELECT order_id, line, product_name, product_category, quantity FROM order_item_view WHERE tenant_id = 'repair' ORDER BY 1, 2;
SELECT order_id, status, version, customer_name FROM order_summary_view WHERE tenant_id = 'repair' ORDER BY 1;
SELECT customer_id, name, version FROM customers WHERE tenant_id = 'repair' ORDER BY 1;
-- Counted as repaired: o2 and o4, and three rows of reference; as renewed: the new names in o1; and never anything of an
-- async projection.
SELECT projection_name, s.repaired_total - r.repaired_total AS repaired, s.renewed_total - r.renewed_total AS renewed
  FROM projection_state s JOIN repaired r USING (projection_name) ORDER BY 1;
CALL projection_sync();
SELECT projection_name, s.repaired_total - r.repaired_total AS repaired, s.renewed_total - r.renewed_total AS renewed
  FROM projection_state s JOIN repaired r USING (projection_name) ORDER BY 1;
CALL order_create('o9', 'e', :'item', version => NULL);

-- A session that plays a replica: the trigger does not fire, the rest is the same.
SET session_replication_role = replica;
CALL order_create('replica', 'c', :'item', version => NULL);
CALL order_complete('replica', version => NULL);
RESET session_replication_role;
SELECT projection_name, key FROM tools.differences();
CALL projection_sync('order_view');
SELECT status FROM order_get('replica');
SELECT projection_name, key FROM tools.differences();
CALL projection_sync();
SELECT * FROM tools.differences();

-- Events that the owner inserts.  In order, at the end: like a command's.
CREATE FUNCTION tools.insert_event(id text, version int, type text, data jsonb, event_position bigint DEFAULT NULL)
	RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF event_position IS NULL THEN
		INSERT INTO order_cqrs.events (tenant_id, aggregate_type, aggregate_id, version, event_type, data, actor, occurred_at)
		VALUES ('repair', 'Order', id, version, type, data, session_user, clock_timestamp());
	ELSE
		INSERT INTO order_cqrs.events (position, tenant_id, aggregate_type, aggregate_id, version, event_type, data, actor, occurred_at)
		OVERRIDING SYSTEM VALUE
		VALUES (event_position, 'repair', 'Order', id, version, type, data, session_user, clock_timestamp());
	END IF;
END $$;
\set created '{"customer_id": "c", "items": [{"product_id": "p", "quantity": 7, "unit_price": 1}], "total_amount": 7}'
SELECT tools.insert_event('inserted', 1, 'OrderCreated', :'created');
SELECT tools.insert_event('inserted', 2, 'OrderCompleted', '{}');
SELECT status, total_amount FROM order_get('inserted');
CALL projection_sync();
SELECT version, status FROM order_stats_applied WHERE order_id = 'inserted';
CALL order_cancel('inserted', version => NULL);
CALL projection_sync();
SELECT * FROM tools.differences();
-- Of a customer and products that nobody knows, or that no command would accept: without names,
-- until they are put.
SELECT tools.insert_event('ghostly', 1, 'OrderCreated', jsonb_build_object('customer_id', 'ghost', 'total_amount', 2, 'items',
	'[{"product_id": "ghost", "quantity": 1, "unit_price": 1}, {"product_id": "p", "quantity": 1, "unit_price": 1}]'::jsonb));
SELECT tools.insert_event('lengthy', 1, 'OrderCreated', jsonb_build_object('customer_id', repeat('x', 2000), 'total_amount', 1, 'items',
	'[{"product_id": "p", "quantity": 1, "unit_price": 1}]'::jsonb));
SELECT v.order_id, length(v.customer_id), v.customer_name IS NULL, s.customer_name IS NULL, i.line, i.product_name
  FROM order_view v JOIN order_summary_view s USING (tenant_id, order_id) JOIN order_item_view i USING (tenant_id, order_id)
 WHERE tenant_id = 'repair' AND order_id IN ('ghostly', 'lengthy') ORDER BY 1, line;
SELECT customer_name, items FROM order_get('ghostly');
SELECT customer_name, items -> 0 ->> 'product_name' FROM order_as_of('ghostly', 'infinity');
CALL projection_sync();
SELECT * FROM tools.differences();
CALL customer_put('ghost', 'Ghost', 'g@example.org');
CALL product_put('ghost', 'Sheet', 'x');
SELECT customer_name, items -> 0 ->> 'product_name' FROM order_get('ghostly');
CALL order_complete('ghostly', version => NULL);
CALL projection_sync();
SELECT * FROM tools.differences();
-- At old positions, below every checkpoint, which are set back.
BEGIN;
CALL event_append('Gap', 'g', '[{"type": "T", "data": {}}, {"type": "T", "data": {}}, {"type": "T", "data": {}}]');
SELECT max(position) - 2 AS gap FROM events \gset
ROLLBACK;
CALL order_create('o5', 'c', :'item', version => NULL);
CALL projection_sync();
SELECT bool_and(last_position > :gap) FROM projection_state;
SELECT tools.insert_event('old', 1, 'OrderCreated', :'created', :gap);
SELECT projection_name, last_position - :gap FROM projection_state ORDER BY 1;
CALL projection_sync();
SELECT bool_and(last_position > :gap) FROM projection_state;
SELECT version, status FROM order_stats_applied WHERE order_id = 'old';
SELECT * FROM tools.differences();
-- An order's second event before its first, in position and in time of insertion.
SELECT tools.insert_event('turned', 2, 'OrderCompleted', '{}', :gap + 1);
SELECT count(*) FROM order_view WHERE order_id = 'turned';
SELECT tools.insert_event('turned', 1, 'OrderCreated', :'created', :gap + 2);
CALL projection_sync();
SELECT status, version FROM order_get('turned');
SELECT version, status FROM order_stats_applied WHERE order_id = 'turned';
SELECT * FROM tools.differences();
-- Several at once, as a restore has them, in the worst order.
BEGIN;
CALL order_create('dumped', 'c', :'item');
CALL order_update('dumped', '[{"product_id": "p", "quantity": 2, "unit_price": 1}]');
CALL order_complete('dumped');
SELECT jsonb_agg(to_jsonb(e)) AS dump FROM events e WHERE tenant_id = 'repair' AND aggregate_id = 'dumped' \gset
ROLLBACK;
CALL order_create('o6', 'c', :'item');
CALL projection_sync();
INSERT INTO events OVERRIDING SYSTEM VALUE SELECT * FROM jsonb_populate_recordset(NULL::events, :'dump') ORDER BY version DESC;
CALL projection_sync();
SELECT status, version, total_amount FROM order_get('dumped');
SELECT version, status FROM order_stats_applied WHERE order_id = 'dumped';
SELECT * FROM tools.differences();
DROP FUNCTION tools.insert_event;

-- Rows that somebody changed: verifying names each, synchronising does not touch
-- them, rebuilding mends them and no others.
DO $$
BEGIN
	FOR n IN 1 .. 30 LOOP
		CALL order_cqrs.customer_put('t' || n, 'T', 't@example.org');
		CALL order_cqrs.product_put('t' || n, 'T', 'x');
		CALL order_cqrs.order_create('t' || n, 't' || n, format('[{"product_id": "t%s", "quantity": 1, "unit_price": 2}, {"product_id": "p", "quantity": 3, "unit_price": 1}]', n)::jsonb);
	END LOOP;
END $$;
CALL projection_sync();
SELECT * FROM tools.differences();
UPDATE order_view SET status = 'COMPLETED' WHERE tenant_id = 'repair' AND order_id = 't1';
UPDATE order_view SET total_amount = 5.01 WHERE tenant_id = 'repair' AND order_id = 't2';
UPDATE order_view SET item_count = 3 WHERE tenant_id = 'repair' AND order_id = 't3';
UPDATE order_view SET customer_id = 't5' WHERE tenant_id = 'repair' AND order_id = 't4';
UPDATE order_view SET customer_name = 'wrong' WHERE tenant_id = 'repair' AND order_id = 't5';
UPDATE order_view SET customer_email = NULL WHERE tenant_id = 'repair' AND order_id = 't6';
UPDATE order_view SET created_at = created_at - interval '1 second' WHERE tenant_id = 'repair' AND order_id = 't7';
UPDATE order_view SET updated_at = updated_at + interval '1 second' WHERE tenant_id = 'repair' AND order_id = 't8';
UPDATE order_view SET version = 2 WHERE tenant_id = 'repair' AND order_id = 't9';
UPDATE order_view SET version = 0 WHERE tenant_id = 'repair' AND order_id = 't10';
DELETE FROM order_view WHERE tenant_id = 'repair' AND order_id = 't11';
INSERT INTO order_view (tenant_id, order_id, customer_id, customer_name, customer_email, status, total_amount, item_count, created_at, updated_at, version, items) SELECT tenant_id, 'extra', customer_id, customer_name, customer_email, status, total_amount, item_count, created_at, updated_at, version, items
  FROM order_view WHERE tenant_id = 'repair' AND order_id = 't12';
UPDATE order_item_view SET quantity = 2 WHERE tenant_id = 'repair' AND order_id = 't13' AND line = 1;
UPDATE order_item_view SET unit_price = 1.999999 WHERE tenant_id = 'repair' AND order_id = 't14' AND line = 1;
UPDATE order_item_view SET total_price = 9 WHERE tenant_id = 'repair' AND order_id = 't15' AND line = 2;
UPDATE order_item_view SET product_id = 'q' WHERE tenant_id = 'repair' AND order_id = 't16' AND line = 2;
UPDATE order_item_view SET product_name = 'wrong' WHERE tenant_id = 'repair' AND order_id = 't17' AND line = 1;
UPDATE order_item_view SET product_category = NULL WHERE tenant_id = 'repair' AND order_id = 't18' AND line = 2;
UPDATE order_item_view SET version = 2 WHERE tenant_id = 'repair' AND order_id = 't19' AND line = 2;
UPDATE order_item_view SET line = 3 - line + 10 WHERE tenant_id = 'repair' AND order_id = 't20';
DELETE FROM order_item_view WHERE tenant_id = 'repair' AND order_id = 't21' AND line = 2;
DELETE FROM order_item_view WHERE tenant_id = 'repair' AND order_id = 't22';
INSERT INTO order_item_view SELECT tenant_id, order_id, 3, product_id, product_name, product_category, quantity, unit_price, total_price, created_at, version
  FROM order_item_view WHERE tenant_id = 'repair' AND order_id = 't23' AND line = 2;
INSERT INTO order_item_view SELECT tenant_id, 'extra lines', line, product_id, product_name, product_category, quantity, unit_price, total_price, created_at, version
  FROM order_item_view WHERE tenant_id = 'repair' AND order_id = 't24';
INSERT INTO order_view (tenant_id, order_id, customer_id, customer_name, customer_email, status, total_amount, item_count, created_at, updated_at, version, items) SELECT 'nobody', order_id, customer_id, customer_name, customer_email, status, total_amount, item_count, created_at, updated_at, version, items
  FROM order_view WHERE tenant_id = 'repair' AND order_id = 't12';
UPDATE order_item_view SET line = line + 5 WHERE tenant_id = 'repair' AND order_id = 't25';
UPDATE order_view SET items = '[]' WHERE tenant_id = 'repair' AND order_id = 't26';
UPDATE order_view SET items = jsonb_set(items, '{0,product_name}', '"wrong"') WHERE tenant_id = 'repair' AND order_id = 't27';
UPDATE order_item_view SET created_at = 'epoch' WHERE tenant_id = 'repair' AND order_id = 't28' AND line = 1;

UPDATE order_summary_view SET status = 'CANCELLED' WHERE tenant_id = 'repair' AND order_id = 't1';
UPDATE order_summary_view SET total_amount = 0 WHERE tenant_id = 'repair' AND order_id = 't2';
UPDATE order_summary_view SET item_count = 0 WHERE tenant_id = 'repair' AND order_id = 't3';
UPDATE order_summary_view SET customer_id = 'c' WHERE tenant_id = 'repair' AND order_id = 't4';
UPDATE order_summary_view SET customer_name = NULL WHERE tenant_id = 'repair' AND order_id = 't5';
UPDATE order_summary_view SET created_at = 'epoch' WHERE tenant_id = 'repair' AND order_id = 't6';
UPDATE order_summary_view SET version = 7 WHERE tenant_id = 'repair' AND order_id = 't7';
DELETE FROM order_summary_view WHERE tenant_id = 'repair' AND order_id = 't8';
UPDATE order_summary_view SET updated_at = 'epoch' WHERE tenant_id = 'repair' AND order_id = 't10';
UPDATE order_summary_view SET shipped_at = 'epoch' WHERE tenant_id = 'repair' AND order_id = 't11';
UPDATE order_summary_view SET customer_email = '' WHERE tenant_id = 'repair' AND order_id = 't12';
INSERT INTO order_summary_view (tenant_id, order_id, customer_id, customer_name, status, total_amount, item_count, created_at, updated_at, version) SELECT tenant_id, 'extra', customer_id, customer_name, status, total_amount, item_count, created_at, updated_at, version
  FROM order_summary_view WHERE tenant_id = 'repair' AND order_id = 't9';

UPDATE order_stats_applied SET version = 2 WHERE tenant_id = 'repair' AND order_id = 't1';
UPDATE order_stats_applied SET status = 'COMPLETED' WHERE tenant_id = 'repair' AND order_id = 't2';
UPDATE order_stats_applied SET items = '[]' WHERE tenant_id = 'repair' AND order_id = 't3';
UPDATE order_stats_applied SET total_amount = 1 WHERE tenant_id = 'repair' AND order_id = 't4';
UPDATE order_stats_applied SET day = '2000-01-01' WHERE tenant_id = 'repair' AND order_id = 't5';
DELETE FROM order_stats_applied WHERE tenant_id = 'repair' AND order_id = 't6';
INSERT INTO order_stats_applied SELECT tenant_id, 'extra', version, day, status, total_amount, items
  FROM order_stats_applied WHERE tenant_id = 'repair' AND order_id = 't7';
UPDATE order_product_stats SET quantity = quantity + 1 WHERE tenant_id = 'repair' AND product_id = 't1';
UPDATE order_product_stats SET revenue = revenue - 0.01 WHERE tenant_id = 'repair' AND product_id = 't2';
DELETE FROM order_product_stats WHERE tenant_id = 'repair' AND product_id = 't8';
INSERT INTO order_product_stats VALUES ('repair', 'extra', 1, 1);
UPDATE order_stats SET orders = orders + 1 WHERE tenant_id = 'repair' AND status = 'PENDING';
DELETE FROM order_stats WHERE tenant_id = 'repair' AND status = 'CANCELLED';
INSERT INTO order_stats VALUES ('nobody', '2000-01-01', 'PENDING', 1, 1);

UPDATE customers SET name = 'wrong' WHERE tenant_id = 'repair' AND customer_id = 't25';
UPDATE products SET name = 'wrong' WHERE tenant_id = 'repair' AND product_id = 't24';
UPDATE customers SET name = 'wrong' WHERE tenant_id = 'repair' AND customer_id = 't26';
UPDATE customers SET email = 'wrong' WHERE tenant_id = 'repair' AND customer_id = 't27';
UPDATE customers SET version = 9 WHERE tenant_id = 'repair' AND customer_id = 't28';
DELETE FROM customers WHERE tenant_id = 'repair' AND customer_id = 't29';
INSERT INTO customers VALUES ('repair', 'extra', 'X', 'x', 1, 1);
UPDATE products SET name = 'wrong' WHERE tenant_id = 'repair' AND product_id = 't26';
UPDATE products SET category = 'wrong' WHERE tenant_id = 'repair' AND product_id = 't27';
UPDATE products SET position = 0 WHERE tenant_id = 'repair' AND product_id = 't28';
DELETE FROM products WHERE tenant_id = 'repair' AND product_id = 't29';
INSERT INTO products VALUES ('repair', 'extra', 'X', 'x', 1, 1);

CALL projection_sync();
SELECT tenant_id, key, expected IS NOT NULL AS expected, actual IS NOT NULL AS actual FROM projection_verify('reference')
 ORDER BY tenant_id COLLATE "C", key COLLATE "C";
SELECT key, expected ->> 'name', actual ->> 'name' FROM projection_verify('reference') WHERE key = 'Customer t26';
CALL projection_rebuild('reference');
SELECT key, expected, actual FROM projection_verify('reference');
SELECT name, email, version FROM customers WHERE tenant_id = 'repair' AND customer_id IN ('t26', 't27', 't28', 't29', 'extra') ORDER BY customer_id;

SELECT tenant_id, key, expected IS NOT NULL AS expected, actual IS NOT NULL AS actual FROM projection_verify('order_view')
 ORDER BY tenant_id COLLATE "C", length(key), key COLLATE "C";
SELECT key, expected ->> 'status', actual ->> 'status', expected ->> 'total_amount', actual ->> 'total_amount'
  FROM projection_verify('order_view') WHERE key IN ('t1', 't2') ORDER BY 1;
SELECT ctid AS untouched FROM order_view WHERE tenant_id = 'repair' AND order_id = 't30' \gset
CALL projection_rebuild('order_view');
SELECT tenant_id, key, expected, actual FROM projection_verify('order_view');
SELECT ctid = :'untouched' AS untouched FROM order_view WHERE tenant_id = 'repair' AND order_id = 't30';
SELECT order_id, status, total_amount, item_count, customer_name, version FROM order_view
 WHERE tenant_id = 'repair' AND order_id IN ('t1', 't2', 't3', 't11', 'extra') ORDER BY 1;
SELECT order_id, line, product_id, quantity, unit_price, total_price, version FROM order_item_view
 WHERE tenant_id = 'repair' AND order_id IN ('t13', 't20', 't22', 'extra lines') ORDER BY 1, 2;
SELECT count(*) FROM order_view WHERE tenant_id = 'nobody';

SELECT key, expected IS NOT NULL AS expected, actual IS NOT NULL AS actual FROM projection_verify('order_summary_view')
 ORDER BY length(key), key COLLATE "C";
CALL projection_rebuild('order_summary_view');
SELECT tenant_id, key, expected, actual FROM projection_verify('order_summary_view');

SELECT DISTINCT tenant_id, regexp_replace(key, '\d{4}-\d\d-\d\d', 'day') COLLATE "C" AS what, expected IS NOT NULL AS expected, actual IS NOT NULL AS actual
  FROM projection_verify('order_stats') ORDER BY 1, 2;
CALL projection_rebuild('order_stats');
SELECT tenant_id, key, expected, actual FROM projection_verify('order_stats');
SELECT * FROM tools.differences();
-- What was mended goes on as if nothing had been.
DO $$
BEGIN
	FOR n IN 1 .. 30 LOOP
		CALL order_cqrs.order_complete('t' || n);
	END LOOP;
END $$;
CALL projection_sync();
SELECT * FROM tools.differences();

-- Everything lost, in more streams than one transaction handles.
DO $$
BEGIN
	FOR n IN 1 .. 500 LOOP
		CALL order_cqrs.customer_put('l' || n, 'L', 'l@example.org');
		CALL order_cqrs.order_create('l' || n, 'l' || n, '[{"product_id": "p", "quantity": 3, "unit_price": 1}]');
	END LOOP;
END $$;
CALL projection_sync();
CREATE TEMP TABLE before AS
	SELECT (SELECT md5(string_agg(c::text, '' ORDER BY c::text COLLATE "C")) FROM customers c) AS customers,
	       (SELECT md5(string_agg(v::text, '' ORDER BY v::text COLLATE "C")) FROM order_view v) AS order_view,
	       (SELECT md5(string_agg(i::text, '' ORDER BY i::text COLLATE "C")) FROM order_item_view i) AS order_item_view,
	       (SELECT md5(string_agg(s::text, '' ORDER BY s::text COLLATE "C")) FROM order_summary_view s) AS order_summary_view,
	       (SELECT sum(orders)::text || ' ' || sum(revenue) FROM order_stats) AS order_stats;
TRUNCATE customers, products, order_view, order_item_view, order_summary_view, order_stats, order_product_stats, order_stats_applied;
SELECT count(*) = 0 FROM projection_verify('order_view');
CALL projection_rebuild('reference');
CALL projection_rebuild('order_view');
CALL projection_rebuild('order_summary_view');
CALL projection_rebuild('order_stats');
SELECT * FROM tools.differences();
SELECT b.customers = (SELECT md5(string_agg(c::text, '' ORDER BY c::text COLLATE "C")) FROM customers c) AS customers,
       b.order_view = (SELECT md5(string_agg(v::text, '' ORDER BY v::text COLLATE "C")) FROM order_view v) AS order_view,
       b.order_item_view = (SELECT md5(string_agg(i::text, '' ORDER BY i::text COLLATE "C")) FROM order_item_view i) AS order_item_view,
       b.order_summary_view = (SELECT md5(string_agg(s::text, '' ORDER BY s::text COLLATE "C")) FROM order_summary_view s) AS order_summary_view,
       b.order_stats = (SELECT sum(orders)::text || ' ' || sum(revenue) FROM order_stats) AS order_stats
  FROM before b;
-- The checkpoints set to nothing: everything is handled once more, and nothing changes.
SELECT md5(string_agg(v::text, '' ORDER BY v::text COLLATE "C")) AS before FROM order_view v \gset
UPDATE projection_state SET last_position = 0;
CALL projection_sync();
SELECT md5(string_agg(v::text, '' ORDER BY v::text COLLATE "C")) = :'before' AS same FROM order_view v;
SELECT * FROM tools.differences();

-- An async projection is rebuilt up to its checkpoint, and a paused one stays paused.
CALL order_create('later', 'c', :'item');
DELETE FROM order_stats_applied WHERE tenant_id = 'repair' AND order_id = 't1';
CALL projection_rebuild('order_stats');
SELECT count(*) FROM order_stats_applied WHERE tenant_id = 'repair' AND order_id IN ('t1', 'later');
SELECT * FROM tools.differences();
CALL projection_pause('order_stats');
DELETE FROM order_product_stats WHERE tenant_id = 'repair';
CALL projection_rebuild('order_stats');
SELECT status FROM projection_state WHERE projection_name = 'order_stats';
SELECT * FROM tools.differences();
CALL projection_resume('order_stats');
CALL projection_sync();
SELECT * FROM tools.differences();
