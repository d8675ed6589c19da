-- order_search against a query that is obviously right, with random criteria, sorts and pages.
SET search_path = order_cqrs, public;
SET order_cqrs.tenant_id = 'property';
\pset format unaligned
\pset tuples_only on
SELECT setseed(0.20240101);

-- One of the elements, and each as likely.
CREATE FUNCTION tools.pick(VARIADIC choices text[]) RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT choices[1 + floor(random() * cardinality(choices))::int]
$$;
CREATE FUNCTION tools.pick_time() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
	SELECT '2024-01-01Z'::timestamptz + floor(random() * 50) * interval '1 hour'
$$;
CREATE FUNCTION tools.pick_total() RETURNS numeric LANGUAGE sql VOLATILE AS $$
	SELECT tools.pick('0', '0.0', '5', '5.00', '7.25', '99.999999', '1000000', floor(random() * 100)::text)::numeric
$$;
CREATE FUNCTION tools.pick_name() RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT tools.pick(NULL, '', 'Ada Lovelace', 'ada lovelace', '김철수', '김_수', '100%', '100 per cent', 'back\slash',
		'École', 'ÉCOLE', 'O''Brien', 'Straße', '😀 smile', 'Zoë', 'a%b_c\d')
$$;
CREATE FUNCTION tools.pick_part() RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT tools.pick('', 'a', 'ADA', 'LoVe', '철', '김', '_', '%', '\', '%b', 'é', 'É', '''', 'ss', 'ß', '😀', '100', 'e l', 'nobody')
$$;

-- Of some customers and products nothing is known.
INSERT INTO customers (tenant_id, customer_id, name, email, version, position)
SELECT 'property', 'c' || n, name, '', 1, 0
  FROM (SELECT n, tools.pick_name() AS name FROM generate_series(1, 40) AS n) AS r WHERE name IS NOT NULL;
INSERT INTO products (tenant_id, product_id, name, category, version, position)
SELECT 'property', 'p' || n, name, tools.pick('Drinks', 'Dishes', 'Rest'), 1, 0
  FROM (SELECT n, tools.pick_name() AS name FROM generate_series(1, 20) AS n) AS r WHERE name IS NOT NULL;
-- So many that a search by name cannot list them; they bring nothing but that.
INSERT INTO customers (tenant_id, customer_id, name, email, version, position)
SELECT 'property', 'many' || n, 'a love 100%', '', 1, 0 FROM generate_series(1, 201) AS n;

CREATE PROCEDURE tools.add_order(order_id text) LANGUAGE sql AS $$
	INSERT INTO order_cqrs.order_summary_view (tenant_id, order_id, customer_id, customer_name, status, payment_status, total_amount,
		item_count, created_at, updated_at, version)
	SELECT 'property', add_order.order_id, o.id, c.name,
		tools.pick('PENDING', 'PENDING', 'PENDING', 'COMPLETED', 'CANCELLED'),
		tools.pick(NULL, NULL, 'PENDING', 'COMPLETED', 'FAILED', 'REFUNDED'), tools.pick_total(),
		floor(random() * 5), tools.pick_time(), tools.pick_time(), 1
	  FROM (SELECT 'c' || floor(random() * 45) AS id) AS o
	  LEFT JOIN order_cqrs.customers c ON c.tenant_id = 'property' AND c.customer_id = o.id;
$$;
DO $$
BEGIN
	-- More than a search walks through before it is planned.
	FOR n IN 1 .. 300 LOOP
		CALL tools.add_order('o' || n);
	END LOOP;
	INSERT INTO order_item_view (tenant_id, order_id, line, product_id, product_name, product_category, quantity, unit_price,
		total_price, created_at, version)
	SELECT v.tenant_id, v.order_id, v.line, v.product_id, p.name, p.category, 1, 1, 1, v.created_at, 1
	  FROM (SELECT o.*, line, 'p' || floor(random() * 22) AS product_id FROM order_summary_view o, generate_series(1, o.item_count) AS line
	         WHERE o.tenant_id = 'property') AS v
	  LEFT JOIN products p ON p.tenant_id = v.tenant_id AND p.product_id = v.product_id;
END $$;
ANALYZE customers, products, order_summary_view, order_item_view;

-- What is asked for.
CREATE TYPE tools.criteria AS (customer_id text, customer_name text, status text[], payment_status text[], min_total numeric,
	max_total numeric, created_from timestamptz, created_to timestamptz, updated_from timestamptz, updated_to timestamptz,
	product_id text, product_name text, product_category text, min_items int, max_items int, sort text);

CREATE FUNCTION tools.expected(c tools.criteria) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
	ids text[];
BEGIN
	SELECT coalesce(array_agg(v.order_id ORDER BY
			CASE ltrim(c.sort, '-') WHEN 'created_at' THEN v.created_at WHEN 'updated_at' THEN v.updated_at END,
			CASE ltrim(c.sort, '-') WHEN 'total_amount' THEN v.total_amount WHEN 'item_count' THEN v.item_count END,
			CASE ltrim(c.sort, '-') WHEN 'customer_name' THEN coalesce(v.customer_name, '') END COLLATE "C",
			v.order_id), '{}')
	  INTO ids
	  FROM order_summary_view v
	 WHERE v.tenant_id = 'property'
	   AND (c.customer_id IS NULL OR v.customer_id = c.customer_id)
	   AND (c.customer_name IS NULL OR strpos(lower(v.customer_name), lower(c.customer_name)) > 0)
	   AND (c.status IS NULL OR array_position(c.status, v.status) IS NOT NULL)
	   AND (c.payment_status IS NULL
	        OR v.payment_status IS NOT NULL AND array_position(c.payment_status, v.payment_status) IS NOT NULL)
	   AND (c.min_total IS NULL OR NOT v.total_amount < c.min_total)
	   AND (c.max_total IS NULL OR NOT v.total_amount > c.max_total)
	   AND (c.created_from IS NULL OR NOT v.created_at < c.created_from)
	   AND (c.created_to IS NULL OR NOT v.created_at >= c.created_to)
	   AND (c.updated_from IS NULL OR NOT v.updated_at < c.updated_from)
	   AND (c.updated_to IS NULL OR NOT v.updated_at >= c.updated_to)
	   AND (c.min_items IS NULL OR NOT v.item_count < c.min_items)
	   AND (c.max_items IS NULL OR NOT v.item_count > c.max_items)
	   AND (coalesce(c.product_id, c.product_name, c.product_category) IS NULL
	        OR (SELECT bool_or((c.product_id IS NULL OR i.product_id = c.product_id)
	                AND (c.product_name IS NULL OR strpos(lower(i.product_name), lower(c.product_name)) > 0)
	                AND (c.product_category IS NULL OR i.product_category = c.product_category))
	              FROM order_item_view i WHERE i.tenant_id = v.tenant_id AND i.order_id = v.order_id));
	IF c.sort LIKE '-%' THEN
		ids := array(SELECT id FROM unnest(ids) WITH ORDINALITY AS u (id, n) ORDER BY n DESC);
	END IF;
	RETURN ids;
END $$;

CREATE FUNCTION tools.search(c tools.criteria, size int, page int DEFAULT NULL, after text DEFAULT NULL,
		OUT ids text[], OUT place text) LANGUAGE sql AS $$
	SELECT coalesce(array_agg(s.order_id), '{}'), (array_agg(s.cursor))[count(*)]
	  FROM order_cqrs.order_search(c.customer_id, c.customer_name, c.status, c.payment_status, c.min_total, c.max_total,
	           c.created_from, c.created_to, c.updated_from, c.updated_to, c.product_id, c.product_name, c.product_category,
	           c.min_items, c.max_items, c.sort, page, size, after) AS s
$$;

-- By cursor, to the end, unless that does not come.
CREATE FUNCTION tools.walk(c tools.criteria, size int) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
	ids text[] := '{}';
	page_ids text[];
	place text;
BEGIN
	LOOP
		SELECT s.ids, s.place INTO page_ids, place FROM tools.search(c, size, after => place) AS s;
		EXIT WHEN place IS NULL OR cardinality(ids) > 1000;
		ids := ids || page_ids;
	END LOOP;
	RETURN ids;
END $$;

-- Criteria, each with the given probability, but the given one for certain.
CREATE FUNCTION tools.random_criteria(probability float8, sure int DEFAULT 0) RETURNS tools.criteria LANGUAGE plpgsql AS $$
DECLARE
	c tools.criteria;
	wanted boolean[] := array(SELECT n = sure OR random() < probability FROM generate_series(1, 15) AS n);
BEGIN
	IF wanted[1] THEN c.customer_id := 'c' || floor(random() * 46); END IF;
	IF wanted[2] THEN c.customer_name := tools.pick_part(); END IF;
	IF wanted[3] THEN c.status := tools.pick('{PENDING}', '{COMPLETED,CANCELLED}', '{CANCELLED,CANCELLED}', '{}',
		'{PENDING,COMPLETED,CANCELLED}')::text[]; END IF;
	IF wanted[4] THEN c.payment_status := tools.pick('{PENDING}', '{FAILED,REFUNDED}', '{COMPLETED}', '{}')::text[]; END IF;
	IF wanted[5] THEN c.min_total := tools.pick_total(); END IF;
	IF wanted[6] THEN c.max_total := coalesce(c.min_total, 0) + tools.pick_total(); END IF;
	IF wanted[7] THEN c.created_from := tools.pick_time(); END IF;
	IF wanted[8] THEN c.created_to := greatest(c.created_from, tools.pick_time()); END IF;
	IF wanted[9] THEN c.updated_from := tools.pick_time(); END IF;
	IF wanted[10] THEN c.updated_to := greatest(c.updated_from, tools.pick_time()); END IF;
	IF wanted[11] THEN c.product_id := 'p' || floor(random() * 23); END IF;
	IF wanted[12] THEN c.product_name := tools.pick_part(); END IF;
	IF wanted[13] THEN c.product_category := tools.pick('Drinks', 'Dishes', 'drinks'); END IF;
	IF wanted[14] THEN c.min_items := floor(random() * 6); END IF;
	IF wanted[15] THEN c.max_items := coalesce(c.min_items, 0) + floor(random() * 4); END IF;
	c.sort := tools.pick('', '-') || tools.pick('created_at', 'updated_at', 'total_amount', 'item_count', 'customer_name');
	RETURN c;
END $$;

CREATE TYPE tools.outcome AS (found int, differs text);
CREATE FUNCTION tools.compare(c tools.criteria) RETURNS tools.outcome LANGUAGE plpgsql AS $$
DECLARE
	expected text[] := tools.expected(c);
	size int := 1 + floor(random() * 60);
	page int := floor(random() * 4);
	differs text;
BEGIN
	differs := concat_ws(', ',
		CASE WHEN (tools.search(c, 1000)).ids <> expected THEN 'rows' END,
		CASE WHEN (tools.search(c, size, page)).ids <> expected[page * size + 1 : (page + 1) * size] THEN 'page' END,
		CASE WHEN tools.walk(c, size) <> expected THEN 'walk' END,
		CASE WHEN order_cqrs.order_search_count(c.customer_id, c.customer_name, c.status, c.payment_status, c.min_total, c.max_total,
		              c.created_from, c.created_to, c.updated_from, c.updated_to, c.product_id, c.product_name, c.product_category,
		              c.min_items, c.max_items, exact => true) <> cardinality(expected) THEN 'count' END,
		CASE WHEN order_cqrs.order_search_count(c.customer_id, c.customer_name, c.status, c.payment_status, c.min_total, c.max_total,
		              c.created_from, c.created_to, c.updated_from, c.updated_to, c.product_id, c.product_name, c.product_category,
		              c.min_items, c.max_items) < 1 THEN 'estimate' END);
	RETURN ROW(cardinality(expected), nullif(differs, ''));
END $$;

-- Each alone, in several values; then combinations.  What differs is shown, in full.
SELECT n, c, differs FROM generate_series(0, 15) AS n, generate_series(1, 10) AS k,
	LATERAL (SELECT tools.random_criteria(0 * k, n) AS c) AS r, tools.compare(c) WHERE differs IS NOT NULL LIMIT 5;
SELECT count(*) AS combinations, count(*) FILTER (WHERE found > 0) > 600 AS some_find, count(*) FILTER (WHERE found = 0) > 200 AS some_do_not,
       count(differs) AS differ, min((c || ' ' || differs)::text) AS first
  FROM (SELECT tools.random_criteria(0.02 + 0.2 * random()) AS c FROM generate_series(1, 2000)) AS r, tools.compare(c);

-- The statements of all these shapes are not all kept.
SELECT count(*) BETWEEN 60 AND 96 FROM pg_backend_memory_contexts
 WHERE name = 'CachedPlanSource' AND ident ~ '^SELECT .* FROM order_cqrs.order_summary_view v ';

-- Walks among orders that come meanwhile, before and behind the place: each that was there is met once, none is met
-- twice, all in order, and of the others those are met that came behind it.
CREATE FUNCTION tools.walk_among_inserts(sort text, size int, OUT pages int, OUT met int, OUT wrong text) LANGUAGE plpgsql AS $$
DECLARE
	c tools.criteria;
	at_first text[];
	ids text[] := '{}';
	due text[];
	page_ids text[];
	place text;
	new_id text;
	now_there text[];
BEGIN
	c.sort := walk_among_inserts.sort;
	at_first := tools.expected(c);
	due := at_first;
	pages := 0;
	LOOP
		SELECT s.ids, s.place INTO page_ids, place FROM tools.search(c, size, after => place) AS s;
		EXIT WHEN place IS NULL OR cardinality(ids) > 1000;
		ids := ids || page_ids;
		pages := pages + 1;
		FOR n IN 1 .. 2 LOOP
			new_id := format('n-%s-%s-%s', sort, pages, n);
			CALL tools.add_order(new_id);
			now_there := tools.expected(c);
			IF array_position(now_there, new_id) > array_position(now_there, page_ids[cardinality(page_ids)]) THEN
				due := due || new_id;
			END IF;
		END LOOP;
	END LOOP;
	met := cardinality(ids);
	wrong := concat_ws(', ',
		CASE WHEN cardinality(ids) <> (SELECT count(DISTINCT id) FROM unnest(ids) AS id) THEN 'met twice' END,
		CASE WHEN NOT ids @> due THEN 'missed' END,
		CASE WHEN NOT due @> ids THEN 'not due' END,
		CASE WHEN ids <> array(SELECT id FROM unnest(tools.expected(c)) WITH ORDINALITY AS u (id, n) WHERE id = ANY (ids) ORDER BY n) THEN 'order' END);
	-- A walk that nothing comes into says little.
	wrong := concat_ws(', ', nullif(wrong, ''), CASE WHEN due <@ at_first THEN 'nothing came' END);
	DELETE FROM order_summary_view WHERE tenant_id = 'property' AND order_id LIKE 'n-%';
END $$;
SELECT sort, pages > 15 AS pages, met > 200 AS met, wrong
  FROM unnest('{created_at,-created_at,updated_at,-updated_at,total_amount,-total_amount,item_count,-item_count,customer_name,-customer_name}'::text[]) AS sort,
       tools.walk_among_inserts(sort, 11);

DROP FUNCTION tools.pick, tools.pick_time, tools.pick_total, tools.pick_name, tools.pick_part, tools.expected, tools.search,
	tools.walk, tools.random_criteria, tools.compare, tools.walk_among_inserts;
DROP PROCEDURE tools.add_order;
DROP TYPE tools.outcome, tools.criteria;
DELETE FROM order_summary_view WHERE tenant_id = 'property';
DELETE FROM customers WHERE tenant_id = 'property';
DELETE FROM products WHERE tenant_id = 'property';
DELETE FROM order_item_view WHERE tenant_id = 'property';
SELECT * FROM tools.differences();
