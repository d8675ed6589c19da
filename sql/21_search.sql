-- Searching orders: each criterion, sorts, pages, cursors, and what is refused.
SET search_path = order_cqrs, public;
SET order_cqrs.tenant_id = 'search';
\pset format unaligned
\pset tuples_only on

-- Rows that no event has made, as times and payments are to be known.
INSERT INTO customers (tenant_id, customer_id, name, email, version, position)
SELECT t.tenant_id, c.customer_id, c.name, c.customer_id || '@example.org', 1, 0
  FROM (VALUES ('ada', 'Ada Lovelace'), ('bea', '100% Béa'), ('kim', '김철수'), ('lee', '이_순신'), ('x', 'back\slash'), ('empty', ''))
       AS c (customer_id, name), (VALUES ('search'), ('search2')) AS t (tenant_id);
INSERT INTO products (tenant_id, product_id, name, category, version, position)
VALUES ('search', 'tea', 'Green Tea', 'Drinks', 1, 0), ('search', 'cup', 'Cup 50%_off', 'Dishes', 1, 0),
       ('search', 'cha', '녹차', 'Drinks', 1, 0);
INSERT INTO order_summary_view (tenant_id, order_id, customer_id, customer_name, customer_email, status, payment_status,
		total_amount, item_count, created_at, updated_at, shipped_at, version)
SELECT t.tenant_id, o.order_id, o.customer_id, o.customer_name, o.customer_id || '@example.org', o.status, o.payment_status,
       o.total, o.items, '2024-01-01Z'::timestamptz + o.created * interval '1 hour',
       '2024-01-02Z'::timestamptz + o.updated * interval '1 hour', NULL, o.updated
  FROM (VALUES
	('o1', 'ada', 'Ada Lovelace', 'PENDING', NULL, 10.00, 1, 1, 9),
	('o2', 'ada', 'Ada Lovelace', 'COMPLETED', 'PENDING', 20.5, 2, 2, 8),
	('o3', 'bea', '100% Béa', 'COMPLETED', 'COMPLETED', 20.50, 2, 3, 7),
	('o4', 'bea', '100% Béa', 'CANCELLED', 'REFUNDED', 0, 1, 3, 6),
	('o5', 'kim', '김철수', 'PENDING', 'FAILED', 99.999999, 3, 3, 5),
	('o6', 'lee', '이_순신', 'PENDING', NULL, 1000, 1, 4, 4),
	('o7', 'x', 'back\slash', 'CANCELLED', NULL, 5, 1, 5, 3),
	('o8', 'unknown', NULL, 'PENDING', NULL, 5, 1, 6, 2),
	('o9', 'empty', '', 'PENDING', NULL, 5.0, 1, 7, 1)
	) AS o (order_id, customer_id, customer_name, status, payment_status, total, items, created, updated),
	(VALUES ('search'), ('search2')) AS t (tenant_id)
 WHERE t.tenant_id = 'search' OR o.order_id <= 'o3';
INSERT INTO order_item_view (tenant_id, order_id, line, product_id, product_name, product_category, quantity, unit_price,
		total_price, created_at, version)
SELECT 'search', v.order_id, i.line, i.product_id, i.name, i.category, 1, 1, 1, v.created_at, 1
  FROM (VALUES
	('o1', 1, 'tea', 'Green Tea', 'Drinks'),
	('o2', 1, 'tea', 'Green Tea', 'Drinks'), ('o2', 2, 'cup', 'Cup 50%_off', 'Dishes'),
	('o3', 1, 'cup', 'Cup 50%_off', 'Dishes'), ('o3', 2, 'cup', 'Cup 50%_off', 'Dishes'),
	('o4', 1, 'cha', '녹차', 'Drinks'),
	('o5', 1, 'cha', '녹차', 'Drinks'), ('o5', 2, 'cup', 'Cup 50%_off', 'Dishes'), ('o5', 3, 'lost', NULL, NULL)
	) AS i (order_id, line, product_id, name, category)
  JOIN order_summary_view v ON v.tenant_id = 'search' AND v.order_id = i.order_id;

-- The ids that a search finds, in its order.
CREATE FUNCTION tools.found(arguments text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	ids text;
BEGIN
	EXECUTE format('SELECT string_agg(order_id, '' '') FROM order_search(%s)', arguments) INTO ids;
	RETURN coalesce(ids, 'none');
END $$;
CREATE FUNCTION tools.searches(VARIADIC arguments text[]) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT a || ': ' || tools.found(a || CASE WHEN a ~ 'sort =>' THEN '' WHEN a = '' THEN 'sort => ''created_at'''
	           ELSE ', sort => ''created_at''' END)
	  FROM unnest(arguments) WITH ORDINALITY AS u (a, n) ORDER BY n
$$;

\pset tuples_only off
\pset footer off
SELECT tenant_id, order_id, customer_id, customer_name, customer_email, status, payment_status, total_amount, item_count,
       created_at AT TIME ZONE 'UTC' AS created_at, updated_at AT TIME ZONE 'UTC' AS updated_at, shipped_at, version
  FROM order_search(product_category => 'Drinks');
\pset tuples_only on

-- Each criterion.
SELECT tools.searches('',
	$$customer_id => 'ada'$$, $$customer_id => 'ADA'$$,
	$$customer_name => 'LOVE'$$, $$customer_name => ''$$, $$customer_name => 'Ada Lovelace, Countess'$$,
	$$status => '{COMPLETED}'$$, $$status => '{CANCELLED,COMPLETED}'$$, $$status => '{}'$$,
	$$payment_status => '{PENDING,REFUNDED}'$$, $$payment_status => '{FAILED}'$$, $$payment_status => '{COMPLETED}'$$,
	$$min_total => 20.5$$, $$max_total => 5$$, $$min_total => 5, max_total => 5$$,
	$$created_from => '2024-01-01 03:00Z'$$, $$created_to => '2024-01-01 03:00Z'$$,
	$$created_from => '2024-01-01 03:00Z', created_to => '2024-01-01 03:00Z'$$,
	$$updated_from => '2024-01-02 05:00Z'$$, $$updated_to => '2024-01-02 05:00Z'$$,
	$$product_id => 'cup'$$, $$product_name => 'gREEN'$$, $$product_category => 'Dishes'$$, $$product_category => 'dish'$$,
	$$min_items => 2$$, $$max_items => 2$$, $$min_items => 2, max_items => 2$$,
	$$tenant_id => 'search2'$$, $$tenant_id => 'nowhere'$$);
-- Those on items are about one item.
SELECT tools.searches($$product_id => 'tea', product_category => 'Drinks'$$, $$product_id => 'tea', product_category => 'Dishes'$$,
	$$product_name => 'tea', customer_name => 'ada', status => '{COMPLETED}'$$);
-- What means something to LIKE means itself here; a character is not cut into bytes, whatever its case.
SELECT tools.searches($$customer_name => '%'$$, $$customer_name => '_'$$, $$customer_name => E'\\'$$, $$customer_name => 'k\s'$$,
	$$customer_name => 'k\\s'$$, $$customer_name => '0%_B'$$, $$customer_name => '0% B'$$, $$customer_name => '철'$$, $$customer_name => '김_수'$$,
	$$customer_name => '_순'$$, $$customer_name => '%''; DROP TABLE order_view; --'$$,
	$$product_name => '%_'$$, $$product_name => '_%'$$, $$product_name => '차'$$, $$product_name => 'Cup\'$$);
SELECT count(*) = CASE lower('É') WHEN 'é' THEN 2 ELSE 0 END FROM order_search(customer_name => 'BÉA');
-- Names of few customers and products are looked up first, those of many are not; what is found is the same.
BEGIN;
INSERT INTO customers (tenant_id, customer_id, name, email, version, position)
SELECT 'search', 'bulk' || n, 'Bulk ' || n, '', 1, 0 FROM generate_series(1, 201) AS n;
INSERT INTO products (tenant_id, product_id, name, category, version, position)
SELECT 'search', 'bulk' || n, 'Bulk ' || n, 'Bulk', 1, 0 FROM generate_series(1, 201) AS n;
INSERT INTO order_summary_view (tenant_id, order_id, customer_id, customer_name, status, total_amount, item_count, created_at, updated_at, version)
SELECT 'search', 'b' || n, 'bulk' || n, 'Bulk ' || n, 'PENDING', 1, 2, '2025-01-01Z'::timestamptz + n * interval '1 hour', '2025-01-01Z', 1
  FROM generate_series(1, 201, 50) AS n;
INSERT INTO order_item_view (tenant_id, order_id, line, product_id, product_name, product_category, quantity, unit_price,
		total_price, created_at, version)
SELECT 'search', v.order_id, line, v.customer_id, v.customer_name, 'Bulk', 1, 1, 1, v.created_at, 1
  FROM order_summary_view v, generate_series(1, 2) AS line WHERE v.tenant_id = 'search' AND v.order_id LIKE 'b%';
SELECT tools.searches($$customer_name => 'bulk'$$, $$customer_name => 'LK 1'$$, $$customer_name => 'bulk 101'$$,
	$$product_name => 'bulk'$$, $$product_name => 'LK 1'$$, $$product_name => 'bulk 101'$$, $$product_category => 'Bulk'$$,
	$$product_category => 'Bulk', product_name => 'bulk 15'$$, $$product_category => 'Dishes', product_name => 'bulk'$$,
	$$customer_id => 'bulk1', customer_name => 'bulk'$$, $$customer_id => 'bulk1', customer_name => 'ada'$$,
	$$product_id => 'bulk51', product_name => '51', product_category => 'Bulk'$$, $$product_id => 'bulk51', product_name => '52'$$,
	$$product_id => 'bulk51', created_from => '2025-01-03 03:00Z', created_to => '2025-01-03 04:00Z'$$,
	$$product_id => 'bulk51', created_from => '2025-01-03 04:00Z'$$, $$product_id => 'bulk51', created_to => '2025-01-03 03:00Z'$$,
	$$product_id => 'bulk51', status => '{COMPLETED}'$$, $$product_id => 'bulk51', sort => 'total_amount'$$);
SELECT count(*) FROM order_search(product_name => 'bulk', sort => 'customer_name');
ROLLBACK;
-- NULL is not applied.
SELECT count(*) FROM order_search(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
	NULL, NULL, NULL, NULL, NULL);

-- Sorts; ids break ties in the same direction, and a name that is not there is like an empty one.
SELECT tools.searches($$sort => 'created_at'$$, $$sort => '-created_at'$$, $$sort => 'updated_at'$$, $$sort => '-updated_at'$$,
	$$sort => 'total_amount'$$, $$sort => '-total_amount'$$, $$sort => 'item_count'$$, $$sort => '-item_count'$$,
	$$sort => 'customer_name'$$, $$sort => '-customer_name'$$, $$sort => NULL$$);

-- Pages, by number and by cursor.
CREATE FUNCTION tools.walk(sort text, size int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	place text;
	ids text[];
	cursors text[];
	walked text := '';
BEGIN
	LOOP
		SELECT array_agg(s.order_id), array_agg(s.cursor) INTO ids, cursors
		  FROM order_search(sort => walk.sort, page_size => size, after => place) AS s;
		EXIT WHEN ids IS NULL OR length(walked) > 1000;
		place := cursors[cardinality(cursors)];
		walked := concat_ws(' | ', nullif(walked, ''), array_to_string(ids, ' '));
	END LOOP;
	RETURN walked;
END $$;
SELECT sort || ': ' || tools.walk(sort, 2) FROM unnest('{created_at,-created_at,updated_at,-updated_at,total_amount,-total_amount,
	item_count,-item_count,customer_name,-customer_name}'::text[]) AS sort;
SELECT replace(tools.walk(sort, 1), ' | ', ' ') = tools.found(format('sort => %L', sort)),
       replace(tools.walk(sort, 4), ' | ', ' ') = tools.found(format('sort => %L', sort))
  FROM unnest('{-total_amount,customer_name,-customer_name}'::text[]) AS sort;
SELECT page, tools.found(format('page_size => 4, page => %s, sort => ''customer_name''', page)) FROM generate_series(0, 3) AS page;
SELECT tools.searches('page_size => 1000', 'page_size => 1000, page => 2147483647', 'page => 2147483647, page_size => 1');

-- A cursor stays good when the row that it is of has gone, with other criteria, and in a session with other settings.
SELECT cursor AS by_time FROM order_search(page_size => 1, page => 3) \gset
SELECT cursor AS by_total FROM order_search(page_size => 1, page => 3, sort => '-total_amount') \gset
SELECT cursor AS by_name FROM order_search(page_size => 1, page => 3, sort => 'customer_name') \gset
SET TimeZone = 'Asia/Seoul';
SET DateStyle = 'German';
SET extra_float_digits = 0;
SET client_encoding = 'SQL_ASCII';
SELECT cursor = :'by_time' FROM order_search(page_size => 1, page => 3);
SELECT tools.searches(format('sort => ''-created_at'', after => %L', :'by_time'),
	format('sort => ''-created_at'', after => %L, status => ''{COMPLETED}''', :'by_time'));
RESET TimeZone;
RESET DateStyle;
RESET client_encoding;
BEGIN;
DELETE FROM order_summary_view WHERE tenant_id = 'search' AND order_id = (SELECT order_id FROM order_search(page_size => 1, page => 3));
SELECT tools.searches(format('sort => ''-created_at'', after => %L', :'by_time'));
ROLLBACK;

-- Cursors that are none.
CREATE FUNCTION tools.refusal(after text, sort text DEFAULT '-created_at', tenant_id text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
	SELECT tools.outcome(format('SELECT * FROM order_search(sort => %L, after => %L, tenant_id => %L)', sort, after, tenant_id)) || E'\n'
$$;
SELECT tools.refusal(:'by_time', 'created_at');
SELECT tools.refusal(:'by_time', '-updated_at');
SELECT tools.refusal(:'by_total');
SELECT tools.refusal(:'by_time', '-created_at', 'search2');
SELECT tools.refusal(overlay(:'by_time' PLACING '02' FROM 1 FOR 2));
SELECT tools.refusal('');
SELECT tools.refusal('o3');
SELECT tools.refusal('0110');
-- One that somebody has made himself, with the right check sum of all but the key that it ends with.
CREATE FUNCTION tools.crc32c(bytes bytea) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	crc bigint := x'ffffffff'::bigint;
BEGIN
	FOR i IN 0 .. length(bytes) - 1 LOOP
		crc := crc # get_byte(bytes, i);
		FOR bit IN 1 .. 8 LOOP
			crc := CASE WHEN crc & 1 = 1 THEN (crc >> 1) # x'82f63b78'::bigint ELSE crc >> 1 END;
		END LOOP;
	END LOOP;
	RETURN crc # x'ffffffff'::bigint;
END $$;
CREATE FUNCTION tools.forge(cursor text, key text, tenant_id text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	bytes bytea := decode(cursor, 'hex');
	body bytea;
BEGIN
	body := substring(bytes FROM 7 FOR 4) || substring(bytes FROM 11 FOR get_byte(bytes, 9)) || key::bytea;
	RETURN encode(substring(bytes FOR 2) || decode(lpad(to_hex(tools.crc32c(substring(bytes FOR 2) || body
		|| decode(lpad(to_hex(length(tenant_id)), 8, '0'), 'hex') || tenant_id::bytea || '\xffffffff')), 8, '0'), 'hex') || body, 'hex');
END $$;
SELECT key, tools.outcome(format('SELECT * FROM order_search(sort => ''-total_amount'', after => %L)', tools.forge(:'by_total', key, 'search')))
  FROM unnest('{10,-1.5,0,nonsense,"",NaN,Infinity,1e5,1.,.5,--1,0x10}'::text[]) AS key;
SELECT tools.outcome(format('SELECT * FROM order_search(sort => ''-total_amount'', after => %L)', tools.forge(:'by_total', repeat('9', 131073), 'search')));
SELECT tools.refusal(upper(:'by_name'), 'customer_name');
-- Cut anywhere, and with any one digit changed.
SELECT DISTINCT left(tools.refusal(left(:'by_time', n), '-created_at'), 5)
  FROM generate_series(0, length(:'by_time') - 1) AS n;
SELECT DISTINCT left(tools.refusal(c || '00', s), 5) FROM (VALUES (:'by_time', '-created_at'), (:'by_name', 'customer_name'), (:'by_total', '-total_amount')) AS t (c, s);
SELECT DISTINCT left(tools.refusal(overlay(c PLACING d FROM n FOR 1), s), 5)
  FROM (VALUES (:'by_time', '-created_at'), (:'by_name', 'customer_name'), (:'by_total', '-total_amount')) AS t (c, s),
       generate_series(1, length(c)) AS n, regexp_split_to_table('0123456789abcdefg_%', '') AS d
 WHERE substr(c, n, 1) <> d;
-- Of another function, either way.
SELECT tools.outcome(format('SELECT * FROM customer_orders(''ada'', after => %L)', :'by_time'));
SELECT DISTINCT left(tools.refusal(cursor), 5) FROM customer_orders('ada');

-- Other arguments that are refused.
SELECT tools.outcomes(
	$$SELECT * FROM order_search(sort => 'price')$$,
	$$SELECT * FROM order_search(sort => '')$$,
	$$SELECT * FROM order_search(sort => '-')$$,
	$$SELECT * FROM order_search(sort => '--created_at')$$,
	$$SELECT * FROM order_search(sort => 'created_at; DROP TABLE order_view')$$,
	$$SELECT * FROM order_search(sort => 'Created_at')$$,
	$$SELECT * FROM order_search(page => -1)$$,
	$$SELECT * FROM order_search(page_size => 0)$$,
	$$SELECT * FROM order_search(page_size => 1001)$$,
	format('SELECT * FROM order_search(page => 1, after => %L)', :'by_time'),
	$$SELECT * FROM order_search(status => '{PENDING,SHIPPED}')$$,
	$$SELECT * FROM order_search(status => '{pending}')$$,
	$$SELECT * FROM order_search(status => '{NULL}')$$,
	$$SELECT * FROM order_search(payment_status => '{{PENDING},{CANCELLED}}')$$,
	$$SELECT * FROM order_search(min_total => 2, max_total => 1.99)$$,
	$$SELECT * FROM order_search(created_from => '2024-01-02Z', created_to => '2024-01-01Z')$$,
	$$SELECT * FROM order_search(updated_from => 'infinity', updated_to => '-infinity')$$,
	$$SELECT * FROM order_search(min_items => 2, max_items => 1)$$,
	$$SELECT * FROM order_search(tenant_id => '')$$,
	$$SELECT order_search_count(status => '{SHIPPED}')$$,
	$$SELECT order_search_count(min_items => 2, max_items => 1)$$,
	$$SELECT order_search_count(tenant_id => '')$$);
SELECT tools.found(format('sort => %L, after => %L', '-total_amount', :'by_total'));

-- Counts.  The estimate is the planner's: by these statistics it knows statuses of tenants.
SELECT order_search_count(exact => true), order_search_count(customer_id => 'ada', exact => true),
       order_search_count(product_id => 'cup', exact => true), order_search_count(status => '{}', exact => true),
       order_search_count(tenant_id => 'search2', exact => true), order_search_count(tenant_id => 'nowhere', exact => true);
BEGIN;
INSERT INTO order_summary_view (tenant_id, order_id, customer_id, status, total_amount, item_count, created_at, updated_at, version)
SELECT 'search', 'n' || n, 'many', CASE WHEN n % 100 = 0 THEN 'CANCELLED' ELSE 'PENDING' END, n, 1, now(), now(), 1
  FROM generate_series(1, 10000) AS n;
ANALYZE order_summary_view;
SELECT abs(order_search_count() - 10009) < 500, order_search_count(status => '{PENDING}') BETWEEN 5000 AND 10500,
       order_search_count(status => '{CANCELLED}') BETWEEN 50 AND 500,
       order_search_count(status => '{CANCELLED}', exact => NULL) = order_search_count(status => '{CANCELLED}'),
       order_search_count(customer_id => 'nobody') BETWEEN 1 AND 100;
SELECT order_search_count(status => '{CANCELLED}', exact => true), order_search_count(min_total => 9999.5, exact => true);
ROLLBACK;

-- A statement outlives the type of a column, a wrong result does not.
BEGIN;
ALTER TABLE order_summary_view ALTER COLUMN total_amount TYPE float8;
SELECT tools.outcome('SELECT * FROM order_search()');
ROLLBACK;
SELECT count(*) FROM order_search();

DROP FUNCTION tools.found, tools.searches, tools.walk, tools.refusal;
DELETE FROM order_summary_view WHERE tenant_id IN ('search', 'search2');
DELETE FROM customers WHERE tenant_id IN ('search', 'search2');
DELETE FROM products WHERE tenant_id = 'search';
DELETE FROM order_item_view WHERE tenant_id = 'search';
SELECT * FROM tools.differences();
