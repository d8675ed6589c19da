-- The items of an order: what is refused, what is taken.
SET search_path = order_cqrs, public;
SET order_cqrs.tenant_id = 'items';
\pset format unaligned
\pset tuples_only on

CALL customer_put('c', 'C', 'c@example.org');
CALL product_put('p', 'P', 'x');
CALL order_create('o', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]');
CALL projection_sync();
SELECT tools.fingerprint() AS before \gset

-- The array.
SELECT tools.variants($$CALL order_create('new', 'c', %L)$$,
	'{}', '{"product_id": "p", "quantity": 1, "unit_price": 1}', '"p"', '1', 'null', 'true', '[]',
	'[null]', '[1]', '["p"]', '[[]]', '[[{"product_id": "p", "quantity": 1, "unit_price": 1}]]',
	'[{"product_id": "p", "quantity": 1, "unit_price": 1}, true]');
SELECT tools.outcome(format($$CALL order_create('new', 'c', %L)$$,
	jsonb_agg('{"product_id": "p", "quantity": 1, "unit_price": 1}'::jsonb))) FROM generate_series(1, 1001);

-- The keys.
SELECT tools.variants($$CALL order_create('new', 'c', %L)$$,
	'[{}]',
	'[{"quantity": 1, "unit_price": 1}]',
	'[{"product_id": "p", "unit_price": 1}]',
	'[{"product_id": "p", "quantity": 1}]',
	'[{"product_id": "p", "quantity": 1, "unit_price": 1, "discount": 1}]',
	'[{"Product_id": "p", "quantity": 1, "unit_price": 1}]',
	'[{"product_id": "p", "quantity": 1, "unit_price": 1, "": 1}]');
-- A long key is cut between two characters.
SELECT '[{"x' || repeat('주', 100) || '": 1}]' AS items \gset
CALL order_create('new', 'c', :'items');
\echo :SQLSTATE

-- The product.
SELECT tools.variants($$CALL order_create('new', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}, {"product_id": %s, "quantity": 1, "unit_price": 1}]')$$,
	'null', '1', '""', '["p"]', '{}', 'true');
SELECT tools.outcome(format($$CALL order_create('new', 'c', '[{"product_id": "%s", "quantity": 1, "unit_price": 1}]')$$,
	repeat('x', 256)));

-- The quantity.
SELECT tools.variants($$CALL order_create('new', 'c', '[{"product_id": "p", "quantity": %s, "unit_price": 1}]')$$,
	'0', '-1', '1.5', '0.5', '-0.5', '0.4', '2147483647.4', '2147483647.6', '2147483648', '-2147483648', '-2147483649',
	'1e10', '1e-1', '99999999999999999999999999999999999999999999', 'null', '"1"', '"one"', 'true', '[1]', '{}');

-- The price.
SELECT tools.variants($$CALL order_create('new', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": %s}]')$$,
	'-1', '-0.01', '-1e-6', '1e-7', '0.1234567', '1.0000000', '1000000000000', '1e13', '1e100000',
	'null', 'true', '[1]', '{}',
	'"-1"', '"NaN"', '"nan"', '"Infinity"', '"-Infinity"', '"inf"', '"abc"', '""', '" "', '" 1"', '"1 "', '"1,5"', '"1."', '".5"', '"."',
	'"+"', '"-"', '"--1"', '"1e2"', '"0x10"', '"1_000"', '"1.2.3"', '"\u0661"', '"1000000000000"', '"0.1234567"');
SELECT tools.outcome(format($$CALL order_create('new', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": "%s"}]')$$, repeat('0', 64) || '1'));

-- The item is named by its number, and an update is as strict as a create.
SELECT tools.variants($$CALL order_update('o', '[{"product_id": "p", "quantity": 1, "unit_price": 1}, %s, {"product_id": "p", "quantity": 0, "unit_price": 1}]')$$,
	'1', '{}', '{"product_id": "", "quantity": 1, "unit_price": 1}', '{"product_id": "p", "quantity": 1.5, "unit_price": 1}',
	'{"product_id": "p", "quantity": 1, "unit_price": -1}', '{"product_id": "p", "quantity": 1, "unit_price": 1}');
SELECT tools.variants($$CALL order_update('o', %L)$$, '{}', '[]');
SELECT tools.outcome(format($$CALL order_update('o', %L)$$,
	jsonb_agg('{"product_id": "p", "quantity": 1, "unit_price": 1}'::jsonb))) FROM generate_series(1, 1001);

CALL order_create('new', 'c', '[]');
\echo :SQLSTATE
CALL order_update('o', '[{"product_id": "p", "quantity": 0, "unit_price": 1}]');
\echo :SQLSTATE
CALL order_create('new', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": "NaN"}]');
\echo :SQLSTATE
SELECT tools.fingerprint() = :'before' AS nothing_left_behind;

-- 1000 items.
SELECT jsonb_agg(jsonb_build_object('product_id', 'p', 'quantity', n, 'unit_price', 0.01)) AS items FROM generate_series(1, 1000) n \gset
CALL order_create('thousand', 'c', :'items', version => NULL);
SELECT item_count, total_amount, jsonb_array_length(items) FROM order_get('thousand');
SELECT count(*), min(line), max(line), sum(total_price), bool_and(line = quantity) AS in_order
  FROM order_item_view WHERE tenant_id = 'items' AND order_id = 'thousand';
CALL order_update('thousand', :'items', version => NULL);

-- Numbers in every spelling that is exact.
CREATE TEMP TABLE spelling (n serial, quantity text, price text);
INSERT INTO spelling (quantity, price) VALUES
	('1', '0'), ('1', '-0'), ('1', '"0"'), ('1', '"-0"'), ('1', '"-0.00"'), ('1', '1.5'), ('1', '"1.5"'), ('1', '"+1.5"'), ('1', '"001.5"'),
	('1', '1.50'), ('1', '1e2'), ('1', '1.5e2'), ('1', '1e-6'), ('1', '0.000001'), ('1', '"0.000001"'), ('1', '999999999999.999999'),
	('1', '"999999999999.999999"'), ('2147483647', '999999999999.999999'), ('1e2', '1'), ('1.0', '1'), ('2.00e1', '1');
DO $$
DECLARE
	s record;
BEGIN
	FOR s IN SELECT * FROM spelling LOOP
		CALL order_create('spelling ' || s.n, 'c', format('[{"product_id": "p", "quantity": %s, "unit_price": %s}]', s.quantity, s.price)::jsonb);
	END LOOP;
END $$;
SELECT s.quantity, s.price, e.data -> 'items' -> 0 AS event, v.quantity, v.unit_price, v.total_price, o.total_amount
  FROM spelling s
  JOIN events e ON e.tenant_id = 'items' AND e.aggregate_type = 'Order' AND e.aggregate_id = 'spelling ' || s.n
  JOIN order_item_view v ON v.tenant_id = 'items' AND v.order_id = e.aggregate_id
  JOIN order_view o ON o.tenant_id = 'items' AND o.order_id = e.aggregate_id
 ORDER BY s.n;

-- The last of several equal keys counts, as everywhere in jsonb.
CALL order_create('keys', 'c', '[{"product_id": "x", "product_id": "p", "quantity": 1, "unit_price": 1, "quantity": 5}]', version => NULL);
SELECT total_amount FROM order_get('keys');

-- A product may stand on several lines.
CALL product_put('q', 'Q', 'x');
CALL order_create('lines', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 3}, {"product_id": "q", "quantity": 1, "unit_price": 1},
	{"product_id": "p", "quantity": 2, "unit_price": 2.5}, {"product_id": "p", "quantity": 1, "unit_price": 3}]', version => NULL);
SELECT line, product_id, quantity, unit_price, total_price FROM order_item_view
 WHERE tenant_id = 'items' AND order_id = 'lines' ORDER BY line;
SELECT item_count, total_amount FROM order_get('lines');
CALL order_update('lines', '[{"product_id": "q", "quantity": 1, "unit_price": 1}, {"product_id": "q", "quantity": 1, "unit_price": 1}]', version => NULL);
SELECT line, product_id, quantity, unit_price, total_price FROM order_item_view
 WHERE tenant_id = 'items' AND order_id = 'lines' ORDER BY line;
CALL projection_sync();
SELECT product_id, quantity, revenue FROM order_product_stats WHERE tenant_id = 'items' AND product_id = 'q';

-- Exact: no binary fraction, no rounding, no overflow.
CALL order_create('tenths', 'c', '[{"product_id": "p", "quantity": 3, "unit_price": 0.1}]', version => NULL);
SELECT total_amount, total_amount = 0.3 AS exact FROM order_get('tenths');
SELECT jsonb_agg(jsonb_build_object('product_id', 'q', 'quantity', 1, 'unit_price', '0.000001')) AS items FROM generate_series(1, 1000) \gset
CALL order_create('small', 'c', :'items', version => NULL);
SELECT total_amount FROM order_get('small');
SELECT jsonb_agg(jsonb_build_object('product_id', 'q', 'quantity', 2147483647, 'unit_price', '999999999999.999999')) AS items FROM generate_series(1, 1000) \gset
CALL order_create('large', 'c', :'items', version => NULL);
SELECT total_amount, total_amount = 1000 * 2147483647::numeric * 999999999999.999999 AS exact FROM order_get('large');
CALL order_create('large too', 'c', :'items', version => NULL);
CALL projection_sync();
SELECT quantity, revenue FROM order_product_stats WHERE tenant_id = 'items' AND product_id = 'q';
SELECT sum(revenue) FROM order_stats WHERE tenant_id = 'items' AND status = 'PENDING';
SELECT sum(total_amount) FROM order_view WHERE tenant_id = 'items' AND status = 'PENDING';

SELECT * FROM tools.differences();
