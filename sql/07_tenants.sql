-- Tenants share nothing: the setting says which, and an argument goes before it.
SET search_path = order_cqrs, public;
\pset format unaligned
\pset tuples_only on

-- The same ids with another content in each.
CALL customer_put('c', 'default C', 'c@default');
CALL product_put('p', 'default P', 'x');
SHOW order_cqrs.tenant_id;
CALL customer_put('c', 'north C', 'c@north', tenant_id => 'north');
CALL product_put('p', 'north P', 'x', tenant_id => 'north');
SET order_cqrs.tenant_id = 'south';
CALL customer_put('c', 'south C', 'c@south');
CALL product_put('p', 'south P', 'x');
CALL order_create('o', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]', version => NULL);
CALL order_create('o', 'c', '[{"product_id": "p", "quantity": 2, "unit_price": 1}]', tenant_id => 'north', version => NULL);
CALL order_complete('o', tenant_id => 'north', version => NULL);
SET order_cqrs.tenant_id = 'default';
CALL order_create('o', 'c', '[{"product_id": "p", "quantity": 4, "unit_price": 1}]', version => NULL);
CALL order_update('o', '[{"product_id": "p", "quantity": 5, "unit_price": 1}]', tenant_id => 'south', version => NULL);
CALL order_cancel('o', version => NULL);
CALL event_append('Basket', 'b', '[{"type": "T", "data": {"of": "default"}}]', version => NULL);
CALL event_append('Basket', 'b', '[{"type": "T", "data": {"of": "north"}}]', tenant_id => 'north', version => NULL);
CALL projection_sync();

SELECT tenant_id, order_id, customer_name, customer_email, status, total_amount, version FROM order_view
 WHERE tenant_id IN ('default', 'north', 'south') ORDER BY 1;
SELECT tenant_id, product_name, quantity FROM order_item_view WHERE tenant_id IN ('default', 'north', 'south') ORDER BY 1;
SELECT tenant_id, customer_name, status FROM order_summary_view WHERE tenant_id IN ('default', 'north', 'south') ORDER BY 1;
SELECT tenant_id, status, sum(orders), sum(revenue) FROM order_stats WHERE tenant_id IN ('default', 'north', 'south') AND orders > 0 GROUP BY 1, 2 ORDER BY 1, 2;
SELECT tenant_id, product_id, quantity, revenue FROM order_product_stats WHERE tenant_id IN ('default', 'north', 'south') ORDER BY 1, 2;
SELECT tenant_id, aggregate_type, aggregate_id, version, event_type FROM events
 WHERE tenant_id IN ('default', 'north', 'south') ORDER BY 1, 2, 3, 4;

-- Queries: by setting, by argument; the log is everyone's.
SELECT tenant_id, customer_name, status, items -> 0 -> 'quantity' FROM order_get('o');
SELECT tenant_id, customer_name, status, items -> 0 -> 'quantity' FROM order_get('o', 'north');
SELECT tenant_id, customer_name, status, items -> 0 -> 'quantity' FROM order_get('o', tenant_id => 'south');
SELECT tenant_id, customer_name FROM order_get('o', NULL);
SELECT string_agg(event_type, ' ' ORDER BY version) FROM order_history('o');
SELECT string_agg(event_type, ' ' ORDER BY version) FROM order_history('o', 'north');
SELECT tenant_id, customer_name, status, items -> 0 ->> 'product_name' FROM order_as_of('o', 'infinity', 'south');
SELECT DISTINCT tenant_id FROM event_read(0, 100000) WHERE tenant_id IN ('default', 'north', 'south') ORDER BY 1;

-- What one tenant has, another has not.
CALL customer_put('only north', 'N', 'n', tenant_id => 'north');
CALL product_put('only north', 'N', 'n', tenant_id => 'north');
CALL order_create('only north', 'only north', '[{"product_id": "only north", "quantity": 1, "unit_price": 1}]', tenant_id => 'north', version => NULL);
SELECT tools.outcomes(
	$$CALL order_create('o9', 'only north', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]')$$,
	$$CALL order_create('o9', 'c', '[{"product_id": "only north", "quantity": 1, "unit_price": 1}]')$$,
	$$CALL order_update('o', '[{"product_id": "only north", "quantity": 1, "unit_price": 1}]', tenant_id => 'south')$$,
	$$CALL order_complete('only north')$$,
	$$CALL order_create('only north', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]', tenant_id => 'north')$$,
	$$CALL order_cancel('only north', tenant_id => 'nowhere')$$,
	$$SELECT order_get('only north')$$,
	$$SELECT order_history('only north', tenant_id => 'south')$$,
	$$SELECT order_as_of('only north', now())$$);

-- Tenant and id that read the same when joined are two.
CALL customer_put('bc', 'tenant a', 'x', tenant_id => 'a');
CALL customer_put('c', 'tenant ab', 'x', tenant_id => 'ab');
CALL product_put('p', 'P', 'x', tenant_id => 'a');
CALL product_put('p', 'P', 'x', tenant_id => 'ab');
CALL order_create('o', 'bc', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]', tenant_id => 'a');
CALL order_create('o', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]', tenant_id => 'ab');
SELECT tenant_id, customer_name FROM order_view WHERE tenant_id IN ('a', 'ab') ORDER BY 1;

-- Renaming stays within the tenant.
CALL customer_put('c', 'north C, renamed', 'c@north', tenant_id => 'north');
CALL product_put('p', 'south P, renamed', 'x', tenant_id => 'south');
SELECT tenant_id, v.customer_name, s.customer_name, i.product_name FROM order_view v
  JOIN order_summary_view s USING (tenant_id, order_id) JOIN order_item_view i USING (tenant_id, order_id)
 WHERE tenant_id IN ('default', 'north', 'south') AND order_id = 'o' ORDER BY 1;

-- The setting may be local to a transaction.
BEGIN;
SET LOCAL order_cqrs.tenant_id = 'north';
CALL order_cancel('o', version => NULL);
COMMIT;
SELECT tenant_id, status FROM order_get('o', 'north');
SHOW order_cqrs.tenant_id;
CALL order_update('o', '[{"product_id": "p", "quantity": 5, "unit_price": 1}]', tenant_id => 'south', expected_version => 2, version => NULL);
RESET order_cqrs.tenant_id;
SELECT tenant_id, status FROM order_get('o');

CALL projection_sync();
SELECT * FROM tools.differences();
