-- Searches are exact while the projection order_search is behind.
SET search_path = order_cqrs, public;
SET order_cqrs.tenant_id = 'delta';
\pset format unaligned
\pset tuples_only on
CALL customer_put('ada', 'Ada', 'a@example.org');
CALL customer_put('bea', 'Bea', 'b@example.org');
CALL product_put('tea', 'Tea', 'Drinks');
CALL product_put('cup', 'Cup', 'Dishes');

-- What a search finds, its exact count, and how many of the orders order_search_view has as they are.
CREATE FUNCTION tools.found(arguments text DEFAULT '') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	found text;
BEGIN
	EXECUTE format($q$
		SELECT format('%%s; count %%s; followed %%s',
			(SELECT string_agg(order_id || ' ' || status || ' ' || customer_name || ' ' || total_amount, ', ') FROM order_search(%1$s)),
			order_search_count(%2$s exact => true),
			(SELECT count(*) FROM order_summary_view v JOIN order_search_view s ON s.* = v.* WHERE v.tenant_id = 'delta'))$q$,
		concat_ws(', ', nullif(arguments, ''), 'sort => ''total_amount'''), arguments || CASE WHEN arguments <> '' THEN ', ' ELSE '' END)
	INTO found;
	RETURN found;
END $$;
CREATE PROCEDURE tools.order(order_id text, customer_id text, product_id text, price int) LANGUAGE sql AS $$
	CALL order_cqrs.order_create(order_id, customer_id,
		jsonb_build_array(jsonb_build_object('product_id', product_id, 'quantity', 1, 'unit_price', price))) $$;

-- Without a worker the projection is sync.  An administrator's choice stays; the worker takes over what nobody has chosen.
SELECT mode, follows_worker FROM projection_state WHERE projection_name = 'order_search';
CALL tools.order('o1', 'ada', 'tea', 1);
SELECT tools.found();
CALL projection_set_mode('order_search', 'async');
SELECT mode, follows_worker FROM projection_state WHERE projection_name = 'order_search';

-- In the transaction of the command, and after it.
BEGIN;
CALL tools.order('o2', 'bea', 'cup', 2);
SELECT tools.found();
SAVEPOINT a;
CALL order_cancel('o1');
CALL tools.order('o3', 'ada', 'tea', 3);
SELECT tools.found(), tools.found('status => ''{CANCELLED}'''), tools.found('status => ''{PENDING}''');
ROLLBACK TO a;
SELECT tools.found();
COMMIT;
SELECT tools.found();
CALL order_cancel('o1');
SELECT tools.found('status => ''{PENDING}'''), tools.found('customer_id => ''ada'''), tools.found('product_id => ''cup'''),
	tools.found('product_category => ''Drinks'''), tools.found('product_name => ''cup'', customer_name => ''bea'', min_total => 2');
SELECT string_agg(order_id, ' ') FROM order_search(product_id => 'tea');
-- In one snapshot, and where nothing can be written.
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT tools.found();
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
CALL tools.order('o4', 'ada', 'tea', 4);
SELECT tools.found();
ROLLBACK;

-- The worker has followed; a name changes.
CALL projection_sync('order_search');
SELECT tools.found();
CALL customer_put('bea', 'Beatrix', 'b@example.org');
CALL product_put('cup', 'Mug', 'Dishes');
SELECT tools.found(), tools.found('customer_name => ''bea'''), tools.found('customer_name => ''trix'''), tools.found('product_name => ''mug''');
CALL projection_sync('order_search');
SELECT tools.found('customer_name => ''trix''');

-- Cursors lead through the orders of both tables, by every sort.
DO $$
BEGIN
	FOR n IN 5 .. 12 LOOP
		CALL tools.order('o' || n, CASE n % 2 WHEN 0 THEN 'ada' ELSE 'bea' END, CASE n % 3 WHEN 0 THEN 'cup' ELSE 'tea' END, 1 + n % 3);
		CALL order_cqrs.projection_sync('order_search');
	END LOOP;
END $$;
CALL order_cancel('o6');
CALL order_update('o7', '[{"product_id": "tea", "quantity": 2, "unit_price": 1}, {"product_id": "cup", "quantity": 1, "unit_price": 0}]');
CALL tools.order('o13', 'ada', 'cup', 2);
CALL tools.order('o14', 'ada', 'tea', 9);
CREATE FUNCTION tools.walk(sort text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	place text;
	ids text[];
	cursors text[];
	walked text;
BEGIN
	LOOP
		SELECT array_agg(s.order_id), array_agg(s.cursor) INTO ids, cursors FROM order_search(sort => walk.sort, page_size => 3, after => place) AS s;
		EXIT WHEN ids IS NULL OR length(walked) > 1000;
		place := cursors[cardinality(cursors)];
		walked := concat_ws(' ', walked, array_to_string(ids, ' '));
	END LOOP;
	RETURN walked;
END $$;
SELECT sort, tools.walk(sort) = (SELECT string_agg(order_id, ' ') FROM order_search(sort => sort)) AS by_cursor,
       (SELECT string_agg(order_id, ' ') FROM order_search(sort => sort)) = concat_ws(' ',
           (SELECT string_agg(order_id, ' ') FROM order_search(sort => sort, page_size => 5)),
           (SELECT string_agg(order_id, ' ') FROM order_search(sort => sort, page_size => 5, page => 1)),
           (SELECT string_agg(order_id, ' ') FROM order_search(sort => sort, page_size => 5, page => 2))) AS by_page
  FROM unnest('{created_at,-created_at,updated_at,-updated_at,total_amount,-total_amount,item_count,-item_count,customer_name,-customer_name}'::text[]) AS sort;
SELECT tools.walk('total_amount'), tools.walk('-item_count');

-- Another tenant's events are not in the way.
SELECT tools.found('tenant_id => ''elsewhere''');
-- A projection that is paused, or that fails, is only behind.
CALL projection_pause('order_search');
CALL tools.order('o15', 'ada', 'tea', 15);
SELECT tools.found('min_total => 5');
CALL projection_resume('order_search');
ALTER TABLE order_search_view ADD CONSTRAINT small CHECK (tenant_id <> 'delta' OR total_amount < 16);
CALL tools.order('o16', 'ada', 'tea', 16);
CALL tools.order('o17', 'ada', 'tea', 17);
SET client_min_messages = error;
CALL projection_sync('order_search');
RESET client_min_messages;
SELECT status, failed_position IS NOT NULL FROM projection_state WHERE projection_name = 'order_search';
SELECT tools.found('min_total => 15');
ALTER TABLE order_search_view DROP CONSTRAINT small;
-- A checkpoint that was set back, and rows that are gone until the projection has begun anew.
BEGIN;
TRUNCATE order_search_view;
UPDATE projection_state SET last_position = 0 WHERE projection_name = 'order_search';
SELECT tools.found('min_total => 15');
ROLLBACK;
CALL projection_sync('order_search');
SELECT * FROM projection_verify('order_search');
SELECT tools.found('min_total => 15');

-- A sync projection is exact but for a pause: what it has missed is in the delta until it has caught up.
CALL projection_set_mode('order_search', 'sync');
CALL projection_pause('order_search');
CALL tools.order('o18', 'bea', 'tea', 18);
SELECT tools.found('min_total => 17');
UPDATE projection_state SET status = 'running', paused_to = 9223372036854775807 WHERE projection_name = 'order_search';
SELECT tools.found('min_total => 17');
UPDATE projection_state SET status = 'paused' WHERE projection_name = 'order_search';
CALL projection_resume('order_search');
SELECT tools.found('min_total => 17');
CALL tools.order('o19', 'bea', 'tea', 19);
SELECT tools.found('min_total => 17');

-- Where order_summary_view is behind itself, orders are found as order_search_view has them.
CALL projection_set_mode('order_search', 'async');
CALL projection_set_mode('order_summary_view', 'async');
CALL tools.order('o20', 'bea', 'tea', 20);
CALL order_cancel('o19');
SELECT tools.found('min_total => 19');
CALL projection_sync('order_search');
SELECT string_agg(order_id || ' ' || status, ', ') FROM order_search(min_total => 19);
CALL projection_set_mode('order_summary_view', 'sync');

-- The mode of a projection that follows the worker is this database's, not the dump's.
CALL projection_set_mode('order_search', 'sync');
BEGIN;
INSERT INTO projection_state (projection_name, mode, follows_worker) VALUES ('order_search', 'async', true);
SELECT mode, follows_worker FROM projection_state WHERE projection_name = 'order_search';
INSERT INTO projection_state (projection_name, mode, follows_worker) VALUES ('order_search', 'async', false);
SELECT mode, follows_worker FROM projection_state WHERE projection_name = 'order_search';
ROLLBACK;
UPDATE projection_state SET follows_worker = true WHERE projection_name = 'order_search';
DROP FUNCTION tools.found, tools.walk;
DROP PROCEDURE tools.order;
CALL projection_sync();
SELECT * FROM tools.differences();
