-- The orders of a customer: newest first, by interval, by page, by cursor.
SET search_path = order_cqrs, public;
SET order_cqrs.tenant_id = 'lists';
\pset format unaligned
\pset tuples_only on

CALL customer_put('ada', 'Ada', 'ada@example.org');
CALL customer_put('bea', 'Bea', 'bea@example.org');
CALL customer_put('ada', 'Other Ada', 'ada@example.org', tenant_id => 'lists2');
CALL product_put('p', 'P', 'x');
CALL product_put('p', 'P', 'x', tenant_id => 'lists2');
SELECT format('CALL order_create(%L, %L, %L)', 'o' || n, CASE WHEN n % 4 = 0 THEN 'bea' ELSE 'ada' END,
	'[{"product_id": "p", "quantity": 1, "unit_price": ' || n || '}]')
  FROM generate_series(1, 12) AS n \gexec
CALL order_create('o1', 'ada', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]', tenant_id => 'lists2');
CALL order_complete('o2');
-- Known times: o1 at 00:01, o2 and o3 both at 00:03, and so on in pairs.
UPDATE order_summary_view SET created_at = '2024-01-01 00:01Z'::timestamptz + (substr(order_id, 2)::int / 2) * interval '2 minutes'
 WHERE tenant_id = 'lists';
UPDATE order_summary_view SET payment_status = 'REFUNDED' WHERE tenant_id = 'lists' AND order_id = 'o2';
-- What is shown of each row.
CREATE FUNCTION tools.ids(VARIADIC ids text[]) RETURNS text LANGUAGE sql AS $$ SELECT array_to_string(ids, ' ') $$;

\pset tuples_only off
\pset footer off
SELECT tenant_id, order_id, customer_id, customer_name, status, payment_status, total_amount, item_count,
       created_at AT TIME ZONE 'UTC' AS created_at, version FROM customer_orders('ada', page_size => 8, page => 1);
\pset tuples_only on
SELECT tools.ids(VARIADIC array_agg(order_id)) FROM customer_orders('ada');
SELECT tools.ids(VARIADIC array_agg(order_id)) FROM customer_orders('bea');
SELECT customer_name FROM customer_orders('ada', tenant_id => 'lists2');
SELECT count(*) FROM customer_orders('nobody');
SELECT count(*) FROM customer_orders('ada', tenant_id => 'nowhere');

-- The interval is half-open; each end is optional.
SELECT tools.ids(VARIADIC array_agg(order_id)) FROM customer_orders('ada', '2024-01-01 00:03Z', '2024-01-01 00:07Z');
SELECT tools.ids(VARIADIC array_agg(order_id)) FROM customer_orders('ada', to_time => '2024-01-01 00:03Z');
SELECT tools.ids(VARIADIC array_agg(order_id)) FROM customer_orders('ada', from_time => '2024-01-01 00:11Z');
SELECT count(*) FROM customer_orders('ada', '2024-01-01 00:03Z', '2024-01-01 00:03Z');
SELECT count(*) FROM customer_orders('ada', '-infinity', 'infinity');

-- Pages; NULL stands for the default.
SELECT page, tools.ids(VARIADIC array(SELECT order_id FROM customer_orders('ada', page => page, page_size => 4)))
  FROM generate_series(0, 3) AS page;
SELECT count(*) FROM customer_orders('ada', page => NULL, page_size => NULL, after => NULL);
SELECT count(*) FROM customer_orders('ada', page => 2147483647, page_size => 1000);

-- By cursor the pages are the same, with and without an interval, one row at a time even among equal times.
CREATE FUNCTION tools.walk(size int, from_time timestamptz DEFAULT NULL, to_time timestamptz DEFAULT NULL) RETURNS SETOF text
	LANGUAGE plpgsql AS $$
DECLARE
	place text;
	ids text[];
	cursors text[];
BEGIN
	FOR page IN 1 .. 20 LOOP
		SELECT array_agg(order_id), array_agg(cursor) INTO ids, cursors
		  FROM customer_orders('ada', from_time, to_time, page_size => size, after => place);
		EXIT WHEN ids IS NULL;
		place := cursors[cardinality(cursors)];
		RETURN NEXT tools.ids(VARIADIC ids);
	END LOOP;
END $$;
SELECT * FROM tools.walk(4);
SELECT * FROM tools.walk(1);
SELECT * FROM tools.walk(2, '2024-01-01 00:03Z', '2024-01-01 00:11Z');
-- A cursor from above the interval leads into it, one from below it to nothing.
SELECT tools.ids(VARIADIC array_agg(n.order_id)) FROM (SELECT cursor FROM customer_orders('ada', page_size => 1)) AS c,
	customer_orders('ada', to_time => '2024-01-01 00:05Z', after => c.cursor) AS n;
SELECT count(n.order_id) FROM (SELECT cursor FROM customer_orders('ada', page => 8, page_size => 1)) AS c,
	customer_orders('ada', from_time => '2024-01-01 00:03Z', after => c.cursor) AS n;

-- A cursor is the same whatever the session shows times like.
SELECT cursor AS c1 FROM customer_orders('ada', page_size => 1) \gset
SET TimeZone = 'Asia/Seoul';
SET DateStyle = 'German';
SELECT cursor = :'c1' FROM customer_orders('ada', page_size => 1);
SELECT tools.ids(VARIADIC array_agg(order_id)) FROM customer_orders('ada', page_size => 3, after => :'c1');
RESET TimeZone;
RESET DateStyle;

-- Refused.
SELECT tools.outcomes(
	'SELECT * FROM customer_orders(NULL)',
	$$SELECT * FROM customer_orders('')$$,
	$$SELECT * FROM customer_orders('ada', tenant_id => '')$$,
	$$SELECT * FROM customer_orders('ada', '2024-01-02Z', '2024-01-01Z')$$,
	$$SELECT * FROM customer_orders('ada', page => -1)$$,
	$$SELECT * FROM customer_orders('ada', page_size => 0)$$,
	$$SELECT * FROM customer_orders('ada', page_size => 1001)$$,
	format($$SELECT * FROM customer_orders('ada', page => 1, after => %L)$$, :'c1'));
SELECT tools.outcome(format('SELECT count(*) FROM customer_orders(%s, after => %L)', arguments, :'c1')) || E'\n'
  FROM (VALUES ($$'bea'$$), ($$'ada', tenant_id => 'lists2'$$)) AS t (arguments);

DROP FUNCTION tools.ids, tools.walk;
DELETE FROM order_summary_view WHERE tenant_id IN ('lists');
CALL projection_rebuild('order_summary_view');
SELECT * FROM tools.differences();
