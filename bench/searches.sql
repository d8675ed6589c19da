-- bench/searches.sql: the named searches, for both sides.
--
-- "criteria" are arguments of the function (order_search, if nothing else is said). "peer" is the query of a good SQL
-- author against the normalised tables for the same orders, from FROM on; peer_key is their sort
-- key. bench/measure.sql adds the parts that are common to all, such as the columns and the page.
--
-- {words} are parameters of the prepared statements; their values are chosen from the data.
--
-- Searches whose names end with "deep" ask for page 1,000 by cursor, or for the page in the middle if there are
-- not that many. All others ask for the first page.

SET search_path = bench, public;

-- --- parameters --------------------------------------------------------------------------------------------

CREATE TABLE given (name text PRIMARY KEY, type text NOT NULL, value text NOT NULL);

INSERT INTO given
WITH customer AS (
	SELECT customer_id, max(customer_name) AS name, count(*) AS orders,
	       row_number() OVER (ORDER BY count(*), customer_id::int) AS number, count(*) OVER () AS customers
	  FROM order_cqrs.order_view GROUP BY customer_id
), product AS (
	SELECT product_id, max(product_name) AS name,
	       row_number() OVER (ORDER BY count(*), product_id::int) AS number, count(*) OVER () AS products
	  FROM order_cqrs.order_item_view GROUP BY product_id
), total AS (
	SELECT percentile_disc(ARRAY[0.25, 0.5, 0.995, 0.9995]) WITHIN GROUP (ORDER BY total_amount) AS at FROM order_cqrs.order_view
)
SELECT 'typical_customer', 'text', customer_id FROM customer WHERE number = (customers + 1) / 2 UNION ALL
SELECT 'biggest_customer', 'text', customer_id FROM customer WHERE number = customers UNION ALL
-- The family name of the typical one among the customers with two names.
(SELECT 'rare_name', 'text', lower(split_part(name, ' ', 2)) FROM customer
  WHERE name LIKE '% %' AND number >= (customers + 1) / 2 ORDER BY number LIMIT 1) UNION ALL
SELECT 'common_name', 'text', 'berg' UNION ALL
SELECT 'short_name', 'text', '민준' UNION ALL
SELECT 'rare_product', 'text', product_id FROM product WHERE number = 1 UNION ALL
SELECT 'frequent_product', 'text', product_id FROM product WHERE number = products UNION ALL
SELECT 'rare_product_name', 'text', name FROM product WHERE number = (products + 1) / 2 UNION ALL
SELECT 'common_product_name', 'text', 'LAMP' UNION ALL
SELECT 'tiny_category', 'text', 'curiosities' UNION ALL
SELECT 'large_category', 'text', 'kitchen' UNION ALL
SELECT 'low_total', 'numeric', at[1]::text FROM total UNION ALL
SELECT 'middle_total', 'numeric', at[2]::text FROM total UNION ALL
SELECT 'high_total', 'numeric', at[3]::text FROM total UNION ALL
SELECT 'highest_total', 'numeric', at[4]::text FROM total UNION ALL
SELECT 'many_items', 'int', '16' UNION ALL
SELECT 'few_items', 'int', '2' UNION ALL
SELECT 'pending', 'text[]', '{PENDING}' UNION ALL
SELECT 'completed', 'text[]', '{COMPLETED}' UNION ALL
SELECT 'cancelled', 'text[]', '{CANCELLED}' UNION ALL
SELECT 'failed', 'text[]', '{FAILED}' UNION ALL
SELECT 'year_begin', 'timestamptz', '2024-01-01 00:00Z' UNION ALL
SELECT 'year_end', 'timestamptz', '2025-01-01 00:00Z' UNION ALL
SELECT 'day_begin', 'timestamptz', '2025-06-03 00:00Z' UNION ALL
SELECT 'day_end', 'timestamptz', '2025-06-04 00:00Z' UNION ALL
SELECT 'hour_begin', 'timestamptz', '2025-11-05 10:00Z' UNION ALL
SELECT 'hour_end', 'timestamptz', '2025-11-05 11:00Z';

-- --- searches ------------------------------------------------------------------------------------------------

CREATE TABLE search (
	number int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	name text NOT NULL UNIQUE,
	criteria text NOT NULL,
	sort text NOT NULL DEFAULT '-created_at',
	peer_key text NOT NULL DEFAULT 'o.created_at',
	peer text NOT NULL,
	function text NOT NULL DEFAULT 'order_search',
	is_deep boolean NOT NULL GENERATED ALWAYS AS (name LIKE '% deep') STORED
);

INSERT INTO search (name, criteria, peer) VALUES
('customer, typical', 'customer_id => {typical_customer}',
	'FROM orders o WHERE o.customer_id = {typical_customer}::int'),
('customer, biggest, deep', 'customer_id => {biggest_customer}',
	'FROM orders o WHERE o.customer_id = {biggest_customer}::int'),
('customer name, rare', 'customer_name => {rare_name}', $$
	FROM orders o
	WHERE o.customer_id IN (SELECT customer_id FROM customers WHERE lower(name) LIKE '%' || {rare_name} || '%')$$),
('customer name, common', 'customer_name => {common_name}', $$
	FROM orders o JOIN customers m USING (customer_id) WHERE lower(m.name) LIKE '%' || {common_name} || '%'$$),
('customer name, two letters', 'customer_name => {short_name}', $$
	FROM orders o JOIN customers m USING (customer_id) WHERE lower(m.name) LIKE '%' || {short_name} || '%'$$),
('status, rare', 'status => {pending}',
	'FROM orders o WHERE o.status = ANY ({pending})'),
('status, common, deep', 'status => {completed}',
	'FROM orders o WHERE o.status = ANY ({completed})'),
('payment status, rare', 'payment_status => {failed}',
	'FROM orders o WHERE o.payment_status = ANY ({failed})'),
('total, common, deep', 'min_total => {middle_total}', $$
	FROM orders o, LATERAL (SELECT sum(quantity * unit_price) AS total FROM order_items WHERE order_id = o.order_id) s
	WHERE s.total >= {middle_total}$$),
('created, a day', 'created_from => {day_begin}, created_to => {day_end}',
	'FROM orders o WHERE o.created_at >= {day_begin} AND o.created_at < {day_end}'),
('created, a year, deep', 'created_from => {year_begin}, created_to => {year_end}',
	'FROM orders o WHERE o.created_at >= {year_begin} AND o.created_at < {year_end}'),
('product, rare', 'product_id => {rare_product}', $$
	FROM orders o WHERE o.order_id IN (SELECT order_id FROM order_items WHERE product_id = {rare_product}::int)$$),
('product, frequent, deep', 'product_id => {frequent_product}', $$
	FROM orders o
	WHERE EXISTS (SELECT FROM order_items WHERE order_id = o.order_id AND product_id = {frequent_product}::int)$$),
('product name, rare', 'product_name => {rare_product_name}', $$
	FROM orders o
	WHERE o.order_id IN (SELECT i.order_id FROM order_items i JOIN products p USING (product_id)
		WHERE lower(p.name) LIKE '%' || lower({rare_product_name}) || '%')$$),
('product name, common', 'product_name => {common_product_name}', $$
	FROM orders o
	WHERE EXISTS (SELECT FROM order_items i JOIN products p USING (product_id)
		WHERE i.order_id = o.order_id AND lower(p.name) LIKE '%' || lower({common_product_name}) || '%')$$),
('category, tiny', 'product_category => {tiny_category}', $$
	FROM orders o
	WHERE o.order_id IN (SELECT i.order_id FROM order_items i JOIN products p USING (product_id)
		WHERE p.category = {tiny_category})$$),
('category, large, deep', 'product_category => {large_category}', $$
	FROM orders o
	WHERE EXISTS (SELECT FROM order_items i JOIN products p USING (product_id)
		WHERE i.order_id = o.order_id AND p.category = {large_category})$$),
('basket, deep', 'payment_status => {completed}, created_from => {year_begin}, created_to => {year_end},
	product_category => {large_category}, min_total => {low_total}, max_total => {middle_total}, max_items => {few_items}', $$
	FROM orders o,
		LATERAL (SELECT sum(quantity * unit_price) AS total, count(*) AS items FROM order_items WHERE order_id = o.order_id) s
	WHERE o.payment_status = ANY ({completed}) AND o.created_at >= {year_begin} AND o.created_at < {year_end}
		AND EXISTS (SELECT FROM order_items i JOIN products p USING (product_id)
			WHERE i.order_id = o.order_id AND p.category = {large_category})
		AND s.total BETWEEN {low_total} AND {middle_total} AND s.items <= {few_items}$$);

INSERT INTO search (name, criteria, sort, peer_key, peer) VALUES
('updated, an hour', 'updated_from => {hour_begin}, updated_to => {hour_end}', '-updated_at', 'o.updated_at',
	'FROM orders o WHERE o.updated_at >= {hour_begin} AND o.updated_at < {hour_end}'),
('updated, years, deep', 'updated_from => {year_begin}', '-updated_at', 'o.updated_at',
	'FROM orders o WHERE o.updated_at >= {year_begin}'),
('total, highest', 'min_total => {highest_total}', '-total_amount', 's.total', $$
	FROM (SELECT order_id, sum(quantity * unit_price) AS total FROM order_items GROUP BY order_id
		HAVING sum(quantity * unit_price) >= {highest_total}) s JOIN orders o USING (order_id)
	WHERE true$$),
('items, many', 'min_items => {many_items}', '-item_count', 's.items', $$
	FROM (SELECT order_id, count(*) AS items FROM order_items GROUP BY order_id HAVING count(*) >= {many_items}) s
		JOIN orders o USING (order_id)
	WHERE true$$),
('open and large', 'status => {pending}, min_total => {high_total}', '-total_amount', 's.total', $$
	FROM orders o, LATERAL (SELECT sum(quantity * unit_price) AS total FROM order_items WHERE order_id = o.order_id) s
	WHERE o.status = ANY ({pending}) AND s.total >= {high_total}$$),
('cancelled of a name', 'customer_name => {common_name}, status => {cancelled},
	created_from => {year_begin}, created_to => {year_end}', 'customer_name', 'm.name COLLATE "C"', $$
	FROM orders o JOIN customers m USING (customer_id)
	WHERE lower(m.name) LIKE '%' || {common_name} || '%' AND o.status = ANY ({cancelled})
		AND o.created_at >= {year_begin} AND o.created_at < {year_end}$$);

-- Not of order_search, but lists as well.
INSERT INTO search (name, function, criteria, peer) VALUES
('customer_orders, typical', 'customer_orders', 'customer_id => {typical_customer}',
	'FROM orders o WHERE o.customer_id = {typical_customer}::int'),
('customer_orders, biggest', 'customer_orders', 'customer_id => {biggest_customer}',
	'FROM orders o WHERE o.customer_id = {biggest_customer}::int');
