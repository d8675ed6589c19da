-- Stock: receiving it, and what orders claim of it.
SET search_path = order_cqrs, public;
SET order_cqrs.tenant_id = 'inventory';
\pset format unaligned
\pset tuples_only on

CALL customer_put('c', 'C', 'c@example.org');
CALL product_put('p', 'P', 'x');
CALL product_put('q', 'Q', 'x');
CALL product_put('r', 'R', 'x');
CALL product_put('u', 'never stocked', 'x');
SHOW order_cqrs.reserve_on;

-- Before anything was received nothing is limited, and nothing reserved.
CALL order_create('early', 'c', tools.items('p:1000000'), version => NULL);
CALL inventory_reserve('early', version => NULL);
CALL inventory_release('early', version => NULL);
SELECT tools.fate('early');
SELECT * FROM inventory_check(tools.items('p:1000000', 'u:2147483647'));
SELECT count(*) FROM inventory WHERE tenant_id = 'inventory';

-- Receiving adds up, and each answers with the version of the product's stream.
CALL stock_receive('p', 5, version => NULL);
CALL stock_receive('p', 7, version => NULL);
CALL stock_receive(product_id => 'q', quantity => 10, expected_version => 0, metadata => '{"lorry": 3}', version => NULL);
SELECT tools.stock();
SELECT aggregate_id, version, event_type, data, metadata FROM events
 WHERE tenant_id = 'inventory' AND aggregate_type = 'Inventory' ORDER BY 1, 2;
SELECT received, shipped, reserved, on_hand, available, version FROM inventory WHERE tenant_id = 'inventory' AND product_id = 'p';

-- Arguments that stock_receive refuses.
SELECT tools.outcomes(
	$$CALL stock_receive(NULL, 1)$$,
	$$CALL stock_receive('', 1)$$,
	$$CALL stock_receive(repeat('x', 256), 1)$$,
	$$CALL stock_receive(repeat('x', 255), 1)$$,
	$$CALL stock_receive('nothing', 1)$$,
	$$CALL stock_receive('P', 1)$$,
	$$CALL stock_receive('p', NULL)$$,
	$$CALL stock_receive('p', 0)$$,
	$$CALL stock_receive('p', -1)$$,
	$$CALL stock_receive('p', -2147483648)$$,
	$$CALL stock_receive('p', 2147483648)$$,
	$$CALL stock_receive('p', 1.5)$$,
	$$CALL stock_receive('p', 1, metadata => '[]')$$,
	$$CALL stock_receive('p', 1, tenant_id => '')$$,
	$$CALL stock_receive('p', 1, expected_version => 1)$$,
	$$CALL stock_receive('q', 1, expected_version => 0)$$,
	$$CALL stock_receive('u', 1, expected_version => 1)$$,
	$$CALL stock_receive('p', 1, tenant_id => 'inventory 2')$$);
-- The stream is nobody else's.
SELECT tools.outcomes(
	$$CALL event_append('Inventory', 'p', '[{"type": "StockReceived", "data": {"quantity": 1, "total_received": 100}}]')$$,
	$$CALL event_append('Inventory', 'new', '[{"type": "T", "data": {}}]')$$,
	$$CALL event_append('inventory', 'p', '[{"type": "T", "data": {}}]')$$);
SELECT tools.stock();

-- Stocktaking, breakage, and what comes back to the shelf.
CALL product_put('shelf', 'S', 'x');
CALL product_put('loose', 'L', 'x');
CALL stock_receive('shelf', 10);
CALL order_create('shelf 1', 'c', tools.items('shelf:4'));
CALL stock_adjust('shelf', -3, 'breakage', version => NULL);
CALL stock_adjust('shelf', 2, 'returned by ada', version => NULL);
CALL stock_adjust(reason => 'stocktaking', quantity => -5, product_id => 'shelf', expected_version => 3, metadata => '{"shelf": 7}', version => NULL);
SELECT received, adjusted, shipped, reserved, on_hand, available, version FROM inventory WHERE tenant_id = 'inventory' AND product_id = 'shelf';
SELECT version, event_type, data, metadata FROM stream_read('Inventory', 'shelf');
-- Never below what orders hold.
SELECT tools.outcomes(
	$$CALL stock_adjust('shelf', -1, 'breakage')$$,
	$$CALL stock_adjust('shelf', -2147483648, 'flood')$$,
	$$CALL order_create('shelf 2', 'c', tools.items('shelf:1'))$$);
CALL stock_receive('shelf', 1, version => NULL);
SELECT tools.outcome($$CALL stock_adjust('shelf', -2, 'breakage')$$);
CALL stock_adjust('shelf', -1, 'breakage', version => NULL);
CALL order_cancel('shelf 1');
CALL stock_adjust('shelf', -4, 'breakage', version => NULL);
SELECT received, adjusted, shipped, reserved, on_hand, available, version FROM inventory WHERE tenant_id = 'inventory' AND product_id = 'shelf';
-- What is shipped has left.
CALL stock_adjust('shelf', 5, 'found');
CALL order_create('shelf 3', 'c', tools.items('shelf:3'));
CALL order_complete('shelf 3');
CALL shipping_start('shelf 3');
SELECT tools.outcome($$CALL stock_adjust('shelf', -3, 'breakage')$$);
CALL stock_adjust('shelf', 3, 'returned', version => NULL);
SELECT received, adjusted, shipped, reserved, on_hand, available, version FROM inventory WHERE tenant_id = 'inventory' AND product_id = 'shelf';
-- Arguments that it refuses.
SELECT tools.outcomes(
	$$CALL stock_adjust(NULL, 1, 'r')$$,
	$$CALL stock_adjust('', 1, 'r')$$,
	$$CALL stock_adjust(repeat('x', 256), 1, 'r')$$,
	$$CALL stock_adjust('nothing', 1, 'r')$$,
	$$CALL stock_adjust('loose', 1, 'r')$$,
	$$CALL stock_adjust('loose', -1, 'r')$$,
	$$CALL stock_adjust('shelf', NULL, 'r')$$,
	$$CALL stock_adjust('shelf', 0, 'r')$$,
	$$CALL stock_adjust('shelf', 1.5, 'r')$$,
	$$CALL stock_adjust('shelf', 2147483648, 'r')$$,
	$$CALL stock_adjust('shelf', 1, NULL)$$,
	$$CALL stock_adjust('shelf', 1, '')$$,
	$$CALL stock_adjust('shelf', 1, repeat('x', 1001))$$,
	$$CALL stock_adjust('shelf', 1)$$,
	$$CALL stock_adjust('shelf', 1, 'r', 30)$$,
	$$CALL stock_adjust('shelf', 1, 'r', metadata => '[]')$$,
	$$CALL stock_adjust('shelf', 1, 'r', tenant_id => '')$$,
	$$CALL stock_adjust('shelf', 1, 'r', expected_version => 1)$$,
	$$CALL stock_adjust('shelf', 1, 'r', tenant_id => 'inventory 2')$$);
SELECT count(*) FROM inventory WHERE product_id = 'loose';
-- The same command_id again.
CALL stock_adjust('shelf', -1, 'lost', command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
CALL stock_adjust('shelf', -1, 'lost', command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
SELECT tools.outcomes(
	$$CALL stock_adjust('shelf', -2, 'lost', command_id => '00000000-0000-7000-8000-000000000001')$$,
	$$CALL stock_adjust('shelf', -1, 'found', command_id => '00000000-0000-7000-8000-000000000001')$$,
	$$CALL stock_receive('shelf', 1, command_id => '00000000-0000-7000-8000-000000000001')$$);
-- By the bus.
SELECT command_send('AdjustStock', '{"product_id": "shelf", "quantity": -1, "reason": "stolen"}');
SELECT tools.outcomes(
	$$SELECT command_send('AdjustStock', '{"product_id": "shelf", "quantity": -1}')$$,
	$$SELECT command_send('AdjustStock', '{"product_id": "shelf", "quantity": -100, "reason": "stolen"}')$$);
-- The read table follows, and is made anew from the events.
SELECT * FROM tools.differences();
UPDATE inventory SET adjusted = 1 WHERE tenant_id = 'inventory' AND product_id = 'shelf';
SELECT key, expected ->> 'adjusted' AS expected, actual ->> 'adjusted' AS actual FROM projection_verify('inventory');
CALL projection_rebuild('inventory');
SELECT * FROM tools.differences();
SELECT received, adjusted, shipped, reserved, on_hand, available, version FROM inventory WHERE tenant_id = 'inventory' AND product_id = 'shelf';
CALL stock_adjust('shelf', -3, 'moved');

-- Sums are larger than what one call can bring.
CALL product_put('bulk', 'B', 'x');
CALL stock_receive('bulk', 2147483647);
CALL stock_receive('bulk', 2147483647);
CALL order_create('bulk', 'c', tools.items('bulk:2147483647', 'bulk:2147483647'), version => NULL);
SELECT tools.stock();
SELECT tools.fate('bulk');
SELECT tools.outcome($$CALL order_create('bulk 2', 'c', tools.items('bulk:1'))$$);
CALL order_cancel('bulk');

-- Creating an order reserves, of what is stocked.
CALL order_create('o1', 'c', tools.items('q:2', 'u:9', 'p:3'), version => NULL);
SELECT tools.fate('o1');
SELECT version, event_type, data -> 'items' AS items FROM order_history('o1');
SELECT version, item_count FROM order_get('o1');
SELECT items, version FROM reservations WHERE tenant_id = 'inventory' AND order_id = 'o1';
SELECT tools.stock();
-- Nothing but unlimited products: there is no reservation.
CALL order_create('o2', 'c', tools.items('u:1000'), version => NULL);
SELECT tools.fate('o2');
-- One product on several lines, counted together.
CALL order_create('o3', 'c', tools.items('p:1', 'q:1', 'p:2', 'p:1'), version => NULL);
SELECT tools.fate('o3');
SELECT tools.stock();
SELECT tools.outcomes(
	-- p has 5 left, q 7
	$$CALL order_create('short', 'c', tools.items('p:6'))$$,
	$$CALL order_create('short', 'c', tools.items('p:3', 'p:3'))$$,
	$$CALL order_create('short', 'c', tools.items('q:8', 'u:1', 'p:2147483647', 'p:2147483647'))$$,
	$$CALL order_create('short', 'c', tools.items('q:7', 'p:6'))$$,
	-- other reasons first
	$$CALL order_create('o1', 'c', tools.items('p:6'))$$,
	$$CALL order_create('short', 'c', tools.items('p:6'), expected_version => 1)$$,
	$$CALL order_create('short', 'nobody', tools.items('p:6'))$$,
	$$CALL order_create('short', 'c', tools.items('p:6', 'nothing:1'))$$);
SELECT tools.fate('short') IS NULL AS nothing_left_behind;
SELECT tools.stock();
CALL order_create('o4', 'c', tools.items('p:5', 'q:7'), version => NULL);
SELECT tools.stock();
SELECT tools.outcome($$CALL order_create('short', 'c', tools.items('p:1'))$$);
\set VERBOSITY sqlstate
CALL order_create('short', 'c', tools.items('p:1'));
\echo :SQLSTATE
\set VERBOSITY default

-- Updating adjusts the reservation; the order's own counts as available to it.
CALL order_update('o4', tools.items('p:5', 'q:7'), 'the same', version => NULL);
SELECT tools.fate('o4');
CALL order_update('o4', tools.items('p:4', 'q:6', 'q:1'), version => NULL);
SELECT tools.fate('o4');
SELECT tools.outcomes(
	$$CALL order_update('o4', tools.items('p:6'))$$,
	$$CALL order_update('o3', tools.items('p:6'))$$,
	$$CALL order_update('o3', tools.items('p:5', 'q:2'))$$);
CALL order_update('o3', tools.items('p:5', 'u:1'), version => NULL);
SELECT tools.fate('o3');
SELECT tools.stock();
-- To unlimited products alone, and back.
CALL order_update('o3', tools.items('u:1'), version => NULL);
SELECT tools.fate('o3');
CALL order_update('o3', tools.items('q:1'), version => NULL);
SELECT tools.fate('o3');
-- An order that holds nothing, as it had only unlimited products.
CALL order_update('o2', tools.items('p:1'), version => NULL);
SELECT tools.fate('o2');
SELECT tools.stock();

-- Cancelling releases, also what is completed.
CALL order_cancel('o4', version => NULL);
SELECT tools.fate('o4');
CALL order_complete('o1');
CALL order_cancel('o1', 'r', version => NULL);
SELECT tools.fate('o1');
SELECT tools.stock();
SELECT data FROM order_history('o1') WHERE event_type = 'InventoryReleased';
SELECT tools.outcomes(
	$$CALL order_cancel('o1')$$,
	$$CALL order_update('o1', tools.items('p:1'))$$,
	$$CALL order_update('nothing', tools.items('p:1'))$$);
CALL projection_sync();
SELECT * FROM tools.differences();

-- inventory_reserve: reserving twice reserves once.
CALL order_create('o5', 'c', tools.items('p:2', 'q:3', 'u:1'), version => NULL);
CALL inventory_reserve('o5', version => NULL);
CALL inventory_reserve('o5', expected_version => 2, version => NULL);
SELECT tools.fate('o5');
-- What was released can be reserved again, if it is still there.
CALL inventory_release('o5', version => NULL);
SELECT tools.fate('o5');
CALL inventory_release('o5', version => NULL);
CALL inventory_reserve('o5', version => NULL);
SELECT tools.fate('o5');
CALL inventory_release('o5');
CALL order_create('o6', 'c', tools.items('q:7'));
SELECT tools.outcome($$CALL inventory_reserve('o5')$$);
-- An update takes what it needs as well.
SELECT tools.outcome($$CALL order_update('o5', tools.items('q:4'))$$);
CALL order_update('o5', tools.items('q:1', 'p:1'), version => NULL);
SELECT tools.fate('o5');
CALL inventory_release('o5');
-- What it shall hold is for reservation_change to say, whatever the order's items are.
CALL reservation_change('o5', '[{"product_id": "p", "quantity": 1}, {"product_id": "q", "quantity": 1}, {"product_id": "p", "quantity": 1}]', version => NULL);
SELECT tools.fate('o5');
CALL reservation_change('o5', '[{"quantity": 1.0, "product_id": "q"}, {"product_id": "p", "quantity": 2, "unit_price": "of an item"}]', version => NULL);
CALL reservation_change('o5', tools.items('u:100'), version => NULL);
SELECT tools.fate('o5');
CALL reservation_change('o5', tools.items('p:11'), version => NULL);
SELECT tools.fate('o5');
SELECT tools.stock();
SELECT tools.outcomes(
	$$CALL reservation_change('o5', tools.items('p:12'))$$,
	$$CALL reservation_change('o5', tools.items('p:1', 'q:3'))$$,
	$$CALL reservation_change('o5', NULL)$$,
	$$CALL reservation_change('o5', 'null')$$,
	$$CALL reservation_change('o5', '{}')$$,
	$$CALL reservation_change('o5', '[]')$$,
	$$CALL reservation_change('o5', '1')$$,
	$$CALL reservation_change('o5', '[1]')$$,
	$$CALL reservation_change('o5', '[[]]')$$,
	$$CALL reservation_change('o5', '[{}]')$$,
	$$CALL reservation_change('o5', '[{"product_id": "p", "quantity": 1}, {"product_id": "p"}]')$$,
	$$CALL reservation_change('o5', '[{"quantity": 1}]')$$,
	$$CALL reservation_change('o5', '[{"product_id": null, "quantity": 1}]')$$,
	$$CALL reservation_change('o5', '[{"product_id": 7, "quantity": 1}]')$$,
	$$CALL reservation_change('o5', '[{"product_id": "", "quantity": 1}]')$$,
	$$CALL reservation_change('o5', jsonb_build_array(jsonb_build_object('product_id', repeat('x', 256), 'quantity', 1)))$$,
	$$CALL reservation_change('o5', '[{"product_id": "p", "quantity": "1"}]')$$,
	$$CALL reservation_change('o5', '[{"product_id": "p", "quantity": null}]')$$,
	$$CALL reservation_change('o5', '[{"product_id": "p", "quantity": 0}]')$$,
	$$CALL reservation_change('o5', '[{"product_id": "p", "quantity": -1}]')$$,
	$$CALL reservation_change('o5', '[{"product_id": "p", "quantity": 0.5}]')$$,
	$$CALL reservation_change('o5', '[{"product_id": "p", "quantity": 2147483648}]')$$,
	$$CALL reservation_change('o5', '[{"product_id": "p", "quantity": -1e300}]')$$,
	$$CALL reservation_change('o5', '[{"product_id": "p", "quantity": 1, "colour": "red"}]')$$);
SELECT tools.outcome(format('CALL reservation_change(%L, %L)', 'o5', (SELECT tools.items(VARIADIC array_agg('u:1'::text)) FROM generate_series(1, 1001))));
SELECT tools.fate('o5');

-- Orders that are not there, and other bad arguments.
SELECT tools.outcomes(
	$$CALL inventory_reserve('nothing')$$,
	$$CALL reservation_change('nothing', tools.items('p:1'))$$,
	$$CALL inventory_release('nothing')$$,
	$$CALL inventory_reserve('o5', tenant_id => 'inventory 2')$$,
	$$CALL inventory_reserve(NULL)$$,
	$$CALL reservation_change('', tools.items('p:1'))$$,
	$$CALL inventory_release(repeat('x', 256))$$,
	$$CALL inventory_release(repeat('x', 255))$$,
	$$CALL inventory_reserve('o5', tenant_id => '')$$,
	$$CALL inventory_reserve('o5', metadata => '1')$$);
-- The expected version, also where there is nothing to do.
SELECT tools.outcomes(
	$$CALL inventory_reserve('o5', expected_version => 2)$$,
	$$CALL reservation_change('o5', tools.items('p:11'), expected_version => 2)$$,
	$$CALL reservation_change('o5', tools.items('p:12'), expected_version => 2)$$,
	$$CALL inventory_release('o5', expected_version => 2)$$,
	$$CALL inventory_release('o2', expected_version => 0)$$,
	$$CALL order_update('o5', tools.items('p:1000'), expected_version => 2)$$,
	$$CALL inventory_reserve('nothing', expected_version => 2)$$);
-- A cancelled order has no claims.
SELECT tools.outcomes(
	$$CALL inventory_reserve('o4')$$,
	$$CALL reservation_change('o4', tools.items('p:1'))$$,
	$$CALL inventory_release('o4')$$);
-- A completed one has.
CALL order_complete('o5');
CALL reservation_change('o5', tools.items('p:2'), version => NULL);
CALL inventory_release('o5', version => NULL);
CALL inventory_reserve('o5', version => NULL);
SELECT tools.fate('o5');
-- Stock that was received after an order was created: it holds nothing until it is asked to.
SELECT tools.fate('early');
SELECT tools.outcome($$CALL inventory_reserve('early')$$);
CALL stock_receive('u', 20);
CALL inventory_reserve('o3', version => NULL);
CALL inventory_reserve('o5', version => NULL);
SELECT tools.fate('o5');
CALL reservation_change('o5', tools.items('p:1', 'u:1'), version => NULL);
SELECT tools.fate('o5');
CALL order_cancel('early', version => NULL);
SELECT tools.fate('early');

-- inventory_check.
SELECT tools.stock();
SELECT * FROM inventory_check(tools.items('q:1', 'p:9', 'r:5'));
SELECT product_id, ok FROM inventory_check(tools.items('p:9', 'p:9', 'u:20', 'nothing:1', 'u:1'));
-- What the order holds counts as available to it.
SELECT * FROM inventory_check(tools.items('p:11', 'u:20', 'q:1'), 'o5');
SELECT * FROM inventory_check(tools.items('p:1'), 'o1');
SELECT * FROM inventory_check(tools.items('p:1'), 'nothing');
SELECT * FROM inventory_check(items => tools.items('p:1'), order_id => NULL, tenant_id => 'inventory 2');
SELECT * FROM inventory_check('[{"product_id": "p", "quantity": 1, "unit_price": null}]');
SELECT pg_typeof(product_id), pg_typeof(requested), pg_typeof(available), pg_typeof(ok) FROM inventory_check(tools.items('p:1'));
SELECT tools.outcomes(
	$$SELECT inventory_check(NULL)$$,
	$$SELECT inventory_check('[]')$$,
	$$SELECT inventory_check('{}')$$,
	$$SELECT inventory_check('"p"')$$,
	$$SELECT inventory_check('[{"product_id": "p"}]')$$,
	$$SELECT inventory_check('[{"product_id": "p", "quantity": 0}]')$$,
	$$SELECT inventory_check('[{"product_id": "p", "quantity": 1, "x": 1}]')$$,
	$$SELECT inventory_check(tools.items('p:1'), '')$$,
	$$SELECT inventory_check(tools.items('p:1'), repeat('x', 256))$$,
	$$SELECT inventory_check(tools.items('p:1'), tenant_id => '')$$);
-- It is what a reservation would find, also within a transaction.
BEGIN;
CALL stock_receive('r', 3);
SELECT * FROM inventory_check(tools.items('r:4'));
CALL order_create('o7', 'c', tools.items('r:2'));
SELECT * FROM inventory_check(tools.items('r:2'));
SELECT * FROM inventory_check(tools.items('r:2'), 'o7');
SELECT tools.outcome($$CALL order_create('o8', 'c', tools.items('r:2'))$$);
SAVEPOINT s;
CALL order_cancel('o7');
CALL order_create('o8', 'c', tools.items('r:3'));
SELECT tools.stock();
ROLLBACK TO s;
SELECT tools.stock();
ROLLBACK;
SELECT * FROM inventory_check(tools.items('r:4'));
CALL order_create('o7', 'c', tools.items('r:4'), version => NULL);

-- A session that knows a tenant without stock.
SET order_cqrs.tenant_id = 'inventory 2';
CALL customer_put('c', 'C', 'c@example.org');
CALL product_put('p', 'P', 'x');
CALL order_create('o1', 'c', tools.items('p:1'), version => NULL);
BEGIN;
CALL stock_receive('p', 1);
SELECT tools.outcome($$CALL order_create('o2', 'c', tools.items('p:2'))$$);
ROLLBACK;
CALL order_create('o2', 'c', tools.items('p:2'), version => NULL);
BEGIN;
SAVEPOINT s;
CALL stock_receive('p', 1);
ROLLBACK TO s;
CALL order_create('o3', 'c', tools.items('p:2'), version => NULL);
CALL stock_receive('p', 1);
SELECT tools.outcome($$CALL order_create('o4', 'c', tools.items('p:2'))$$);
COMMIT;
SELECT tools.outcome($$CALL order_create('o4', 'c', tools.items('p:2'))$$);
CALL order_create('o4', 'c', tools.items('p:1'), version => NULL);
SELECT tools.stock();
SELECT tenant_id, on_hand FROM inventory WHERE product_id = 'p' ORDER BY 1;
-- By name, whatever the setting says.
CALL stock_receive('p', 4, tenant_id => 'inventory 2');
SET order_cqrs.tenant_id = 'inventory';
CALL reservation_change('o4', tools.items('p:3'), tenant_id => 'inventory 2', version => NULL);
SELECT tools.stock('inventory 2');
SELECT * FROM inventory_check(tools.items('p:3'), 'o4', 'inventory 2');

-- Long ids, and ids that sort in bytes.
SELECT repeat(U&'\00e9', 127) || 'x' AS long \gset
SET order_cqrs.tenant_id = :'long';
CALL customer_put(:'long', 'L', 'l@example.org');
CALL product_put(:'long', 'L', 'x');
CALL product_put('Z', 'Z', 'x');
CALL product_put('a', 'a', 'x');
CALL order_create('before', :'long', tools.items('Z:1'));
CALL stock_receive(:'long', 3, version => NULL);
CALL stock_receive('Z', 1);
CALL stock_receive('a', 1);
CALL order_create(:'long', :'long', tools.items(:'long' || ':2', 'a:1', 'Z:1'), version => NULL);
SELECT replace(tools.fate(:'long'), :'long', '<long>');
SELECT replace(tools.outcome(format($$CALL order_create('o', %L, tools.items(%L || ':2', 'a:1', 'Z:2'))$$, :'long', :'long')), :'long', '<long>');
SELECT replace(tools.stock(), :'long', '<long>');
SET order_cqrs.tenant_id = 'inventory';

-- 1000 lines of 1000 products, and of one.
DO $$
BEGIN
	FOR n IN 1 .. 1000 LOOP
		CALL order_cqrs.product_put('n' || n, 'N', 'x', tenant_id => 'inventory 3');
		CALL order_cqrs.stock_receive('n' || n, n, tenant_id => 'inventory 3');
	END LOOP;
	CALL order_cqrs.customer_put('c', 'C', 'c@example.org', tenant_id => 'inventory 3');
END $$;
SET order_cqrs.tenant_id = 'inventory 3';
SELECT tools.items(VARIADIC array_agg('n' || n || ':' || n)) AS all_of_all FROM generate_series(1000, 1, -1) n \gset
SELECT tools.items(VARIADIC array_agg('n' || n || ':1')) AS one_of_each, tools.items(VARIADIC array_agg('n1000:1'::text)) AS last,
       tools.items(VARIADIC array_agg('n999:1'::text)) AS last_but_one FROM generate_series(1, 1000) n \gset
CALL order_create('wide', 'c', :'all_of_all', version => NULL);
SELECT count(*), sum(on_hand), sum(reserved), sum(available) FROM inventory WHERE tenant_id = 'inventory 3';
SELECT jsonb_array_length(items), items -> 0, items -> 999 FROM reservations WHERE tenant_id = 'inventory 3';
SELECT count(*), count(*) FILTER (WHERE ok), sum(available) FROM inventory_check(:'one_of_each');
SELECT count(*), count(*) FILTER (WHERE ok), sum(available) FROM inventory_check(:'one_of_each', 'wide');
SELECT count(*) FROM regexp_matches(tools.outcome(format('CALL order_create(%L, %L, %L)', 'wide 2', 'c', :'one_of_each')),
	'product "n\d+": 1 requested, 0 available', 'g');
CALL order_update('wide', :'last', version => NULL);
SELECT items, version FROM reservations WHERE tenant_id = 'inventory 3';
SELECT tools.outcome(format('CALL order_update(%L, %L)', 'wide', :'last_but_one'));
CALL order_cancel('wide', version => NULL);
SELECT count(*), sum(on_hand), sum(reserved), sum(available) FROM inventory WHERE tenant_id = 'inventory 3';
CALL projection_sync();
SELECT * FROM tools.differences();

-- order_cqrs.reserve_on = saga: create and update leave it to the saga, unless there is a reservation to adjust.
SET order_cqrs.tenant_id = 'inventory 4';
CALL customer_put('c', 'C', 'c@example.org');
CALL product_put('p', 'P', 'x');
CALL product_put('q', 'Q', 'x');
CALL stock_receive('p', 5);
CALL stock_receive('q', 5);
SET order_cqrs.reserve_on = saga;
CALL order_create('s1', 'c', tools.items('p:9'), version => NULL);
CALL order_update('s1', tools.items('p:3', 'p:3'), version => NULL);
SELECT tools.fate('s1');
SELECT tools.outcome($$CALL inventory_reserve('s1')$$);
CALL order_update('s1', tools.items('p:2', 'q:1'), version => NULL);
CALL inventory_reserve('s1', version => NULL);
CALL inventory_reserve('s1', version => NULL);
SELECT tools.fate('s1');
CALL order_update('s1', tools.items('p:5'), version => NULL);
SELECT tools.outcome($$CALL order_update('s1', tools.items('p:6'))$$);
SELECT tools.fate('s1');
CALL order_create('s2', 'c', tools.items('p:6'), version => NULL);
CALL order_cancel('s1', version => NULL);
SELECT tools.fate('s1');
CALL order_cancel('s2', version => NULL);
SELECT tools.fate('s2');
SELECT tools.stock();
-- off: the same, without a saga.
SET order_cqrs.reserve_on = off;
CALL order_create('f1', 'c', tools.items('p:9'), version => NULL);
CALL order_update('f1', tools.items('p:8'), version => NULL);
SELECT tools.fate('f1');
CALL order_update('f1', tools.items('p:4'));
CALL inventory_reserve('f1', version => NULL);
CALL order_update('f1', tools.items('p:3'), version => NULL);
CALL order_complete('f1', version => NULL);
SELECT tools.fate('f1');
SELECT tools.stock();
-- Back to create: an update takes what an order has lacked so far.
CALL order_create('f2', 'c', tools.items('q:9'), version => NULL);
RESET order_cqrs.reserve_on;
SELECT tools.outcome($$CALL order_update('f2', tools.items('q:9'))$$);
CALL order_update('f2', tools.items('q:5'), version => NULL);
SELECT tools.fate('f2');
-- It is a superuser's to set.
SELECT tools.outcomes(
	'SET order_cqrs.reserve_on = sometimes',
	$$SET order_cqrs.reserve_on = ''$$,
	$$SET order_cqrs.reserve_on = 'CREATE'$$,
	'RESET order_cqrs.reserve_on');
CREATE ROLE regress_ocq_clerk;
GRANT USAGE ON SCHEMA order_cqrs TO regress_ocq_clerk;
GRANT USAGE ON SCHEMA tools TO regress_ocq_clerk;
SET ROLE regress_ocq_clerk;
SELECT tools.outcomes(
	'SET order_cqrs.reserve_on = off',
	$$SELECT set_config('order_cqrs.reserve_on', 'off', true)$$);
SHOW order_cqrs.reserve_on;

-- USAGE on the schema is all that the commands and inventory_check need, and no path.
SET search_path = pg_temp;
CALL order_cqrs.stock_receive('p', 1, version => NULL);
CALL order_cqrs.order_create('r1', 'c', tools.items('p:2'), version => NULL);
CALL order_cqrs.reservation_change('r1', tools.items('p:1'), version => NULL);
CALL order_cqrs.inventory_release('r1', version => NULL);
CALL order_cqrs.inventory_reserve('r1', version => NULL);
SELECT * FROM order_cqrs.inventory_check(tools.items('p:2'), 'r1');
SELECT tools.outcomes(
	'SELECT * FROM order_cqrs.inventory',
	'SELECT * FROM order_cqrs.reservations',
	'UPDATE order_cqrs.inventory SET received = 100',
	'SELECT * FROM order_cqrs.inventory_difference()');
RESET ROLE;
SET search_path = order_cqrs, public;
-- A reference to a path of one's own would be found out here.
CREATE SCHEMA trap;
CREATE TABLE trap.inventory (LIKE inventory);
CREATE TABLE trap.reservations (LIKE reservations);
CREATE FUNCTION trap.jsonb_to_recordset(jsonb) RETURNS SETOF record LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
CREATE FUNCTION trap.unnest(anyarray) RETURNS SETOF anyelement LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
SET search_path = trap, pg_catalog;
CALL order_cqrs.order_update('r1', '[{"product_id": "p", "quantity": 2, "unit_price": 1}]', version => NULL);
SELECT available FROM order_cqrs.inventory_check('[{"product_id": "p", "quantity": 2}]', 'r1');
SET search_path = order_cqrs, public;
\set VERBOSITY terse
DROP SCHEMA trap CASCADE;
\set VERBOSITY default
SELECT tools.stock();

-- The same command_id again has its first answer, and no effect.
SET order_cqrs.tenant_id = 'inventory 5';
CALL customer_put('c', 'C', 'c@example.org');
CALL product_put('p', 'P', 'x');
CALL product_put('q', 'Q', 'x');
CALL product_put('u', 'U', 'x');
CALL stock_receive('p', 5, command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
CALL stock_receive('p', 5, command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
CALL stock_receive('p', 5, command_id => '00000000-0000-7000-8000-000000000002', version => NULL);
CALL stock_receive('p', 5, expected_version => 0, command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
SELECT tools.outcomes(
	$$CALL stock_receive('p', 6, command_id => '00000000-0000-7000-8000-000000000001')$$,
	$$CALL stock_receive('p', 5, expected_version => 0, command_id => '00000000-0000-7000-8000-000000000003')$$);
SELECT tools.stock();
-- A create that is repeated after it, or others, took the last of it.
CALL order_create('i1', 'c', tools.items('p:9'), command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
CALL order_create('i1', 'c', tools.items('p:9'), command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
CALL order_create('i2', 'c', tools.items('p:1'));
CALL order_create('i1', 'c', tools.items('p:9'), expected_version => 0, command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
CALL order_update('i1', tools.items('p:8'), command_id => '00000000-0000-7000-8000-000000000002', version => NULL);
CALL order_update('i2', tools.items('p:2'));
CALL order_update('i1', tools.items('p:8'), command_id => '00000000-0000-7000-8000-000000000002', version => NULL);
CALL order_create('i1', 'c', tools.items('p:9'), command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
SELECT tools.fate('i1');
-- One whose product was unlimited then, and is stocked now; and the other way about.
CALL order_create('i3', 'c', tools.items('u:9'), command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
CALL stock_receive('u', 1);
CALL order_create('i3', 'c', tools.items('u:9'), command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
CALL stock_receive('u', 100);
CALL order_create('i3', 'c', tools.items('u:9'), command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
SELECT tools.outcome($$CALL order_create('i3', 'c', tools.items('u:9'))$$);
SELECT tools.outcome($$CALL order_create('i3', 'c', tools.items('u:8'), command_id => '00000000-0000-7000-8000-000000000001')$$);
SELECT tools.fate('i3');
SET order_cqrs.reserve_on = off;
CALL order_create('i1', 'c', tools.items('p:9'), command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
CALL order_update('i1', tools.items('p:8'), command_id => '00000000-0000-7000-8000-000000000002', version => NULL);
RESET order_cqrs.reserve_on;
-- A cancel, which releases.
CALL order_cancel('i1', command_id => '00000000-0000-7000-8000-000000000003', version => NULL);
CALL order_cancel('i1', command_id => '00000000-0000-7000-8000-000000000003', version => NULL);
SELECT tools.stock();
-- The commands of the inventory.
CALL inventory_release('i2', command_id => '00000000-0000-7000-8000-000000000004', version => NULL);
CALL inventory_reserve('i2', command_id => '00000000-0000-7000-8000-000000000005', version => NULL);
CALL reservation_change('i2', tools.items('p:3'), command_id => '00000000-0000-7000-8000-000000000006', version => NULL);
CALL inventory_release('i2', command_id => '00000000-0000-7000-8000-000000000004', version => NULL);
CALL inventory_reserve('i2', command_id => '00000000-0000-7000-8000-000000000005', version => NULL);
CALL reservation_change('i2', tools.items('p:3'), command_id => '00000000-0000-7000-8000-000000000006', version => NULL);
CALL reservation_change('i2', '[{"quantity": 3.00, "product_id": "p"}]', command_id => '00000000-0000-7000-8000-000000000006', version => NULL);
SELECT tools.fate('i2');
SELECT tools.outcomes(
	$$CALL reservation_change('i2', tools.items('p:4'), command_id => '00000000-0000-7000-8000-000000000006')$$,
	$$CALL reservation_change('i2', tools.items('p:3', 'q:1'), command_id => '00000000-0000-7000-8000-000000000006')$$,
	$$CALL reservation_change('i2', tools.items('p:2'), command_id => '00000000-0000-7000-8000-000000000005')$$,
	$$CALL inventory_release('i2', command_id => '00000000-0000-7000-8000-000000000005')$$,
	$$CALL inventory_reserve('i2', command_id => '00000000-0000-7000-8000-000000000004')$$,
	$$CALL inventory_release('i1', command_id => '00000000-0000-7000-8000-000000000003')$$,
	$$CALL inventory_reserve('i1', command_id => '00000000-0000-7000-8000-000000000001')$$,
	$$CALL order_cancel('i2', command_id => '00000000-0000-7000-8000-000000000004')$$);
-- One that had nothing to do has had its answer, too.
CALL inventory_reserve('i2', command_id => '00000000-0000-7000-8000-000000000007');
CALL inventory_release('i2');
CALL inventory_reserve('i2', command_id => '00000000-0000-7000-8000-000000000007');
SELECT split_part(split_part(tools.fate('i2'), E'\n', 2), ' ', 1);
CALL inventory_release('i2', command_id => '00000000-0000-7000-8000-000000000008');
CALL inventory_reserve('i2');
CALL inventory_release('i2', command_id => '00000000-0000-7000-8000-000000000008');
SELECT split_part(split_part(tools.fate('i2'), E'\n', 2), ' ', 1);
CALL reservation_change('i2', tools.items('p:2'), command_id => '00000000-0000-7000-8000-000000000009');
CALL reservation_change('i2', tools.items('p:3'));
CALL reservation_change('i2', tools.items('p:2'), command_id => '00000000-0000-7000-8000-000000000009');
SELECT split_part(tools.fate('i2'), E'\n', 2);

-- Transactions that are rolled back, or prepared.
BEGIN;
CALL order_create('t1', 'c', tools.items('p:1'));
CALL inventory_release('i2');
ROLLBACK;
SELECT tools.stock();
BEGIN;
CALL order_create('t1', 'c', tools.items('p:1'));
PREPARE TRANSACTION 'inventory';
SELECT tools.stock();
SET lock_timeout = '10ms';
SELECT left(tools.outcome($$CALL order_create('t2', 'c', tools.items('p:1'))$$), 5);
RESET lock_timeout;
COMMIT PREPARED 'inventory';
SELECT tools.stock();
CALL projection_sync();
SELECT * FROM tools.differences();
SELECT DISTINCT tenant_id, product_id FROM inventory WHERE reserved > on_hand OR reserved < 0 OR available <> received + adjusted - shipped - reserved;

-- Read tables that went wrong are found, and put right.
SET order_cqrs.tenant_id = 'inventory 6';
CALL customer_put('c', 'C', 'c@example.org');
DO $$
BEGIN
	FOR n IN 1 .. 10 LOOP
		CALL order_cqrs.product_put('p' || n, 'P', 'x');
		CALL order_cqrs.stock_receive('p' || n, 20);
		CALL order_cqrs.order_create('o' || n, 'c', tools.items('p' || n || ':2', 'p1:1'));
	END LOOP;
	CALL order_cqrs.order_complete('o9');
	CALL order_cqrs.shipping_start('o9');
	CALL order_cqrs.order_cancel('o10');
END $$;
CALL product_put('free', 'F', 'x');
CALL projection_sync();
SELECT * FROM tools.differences();
CREATE TEMP TABLE truth AS
	SELECT 'i' AS kind, i::text AS row FROM inventory i UNION ALL SELECT 'r', r::text FROM reservations r;
UPDATE inventory SET received = 99 WHERE tenant_id = 'inventory 6' AND product_id = 'p2';
UPDATE inventory SET version = 9 WHERE tenant_id = 'inventory 6' AND product_id = 'p3';
UPDATE inventory SET reserved = reserved + 1 WHERE tenant_id = 'inventory 6' AND product_id = 'p4';
UPDATE inventory SET shipped = 1 WHERE tenant_id = 'inventory 6' AND product_id = 'p5';
DELETE FROM inventory WHERE tenant_id = 'inventory 6' AND product_id = 'p6';
UPDATE inventory SET received = 0, shipped = -2, reserved = 0, version = 0 WHERE tenant_id = 'inventory 6' AND product_id = 'p7';
INSERT INTO inventory (tenant_id, product_id, received, shipped, reserved, version) VALUES
	('inventory 6', 'free', 5, 0, 0, 1), ('inventory 6', 'nothing', 5, 2, 3, 7), ('inventory 6', 'nought', 0, 0, 0, 0),
	('nobody', 'p1', 5, 0, 1, 1);
UPDATE reservations SET status = 'RELEASED' WHERE tenant_id = 'inventory 6' AND order_id = 'o1';
UPDATE reservations SET items = '[{"product_id": "p2", "quantity": 1}, {"product_id": "free", "quantity": 1}]' WHERE tenant_id = 'inventory 6' AND order_id = 'o2';
UPDATE reservations SET version = 1 WHERE tenant_id = 'inventory 6' AND order_id = 'o3';
DELETE FROM reservations WHERE tenant_id = 'inventory 6' AND order_id IN ('o4', 'o9');
UPDATE reservations SET status = 'HELD', version = 12 WHERE tenant_id = 'inventory 6' AND order_id = 'o10';
INSERT INTO reservations VALUES
	('inventory 6', 'ghost', 'HELD', '[{"product_id": "p8", "quantity": 1}, {"product_id": "nothing", "quantity": 1}]', 1),
	('inventory 6', 'shipped ghost', 'SHIPPED', '[{"product_id": "p8", "quantity": 1}]', 1),
	('nobody', 'o1', 'HELD', '[]', 1);
SELECT tenant_id, key, expected IS NOT NULL AS expected, actual IS NOT NULL AS actual FROM projection_verify('inventory')
 ORDER BY tenant_id COLLATE "C", key COLLATE "C";
SELECT key, expected ->> 'received' AS expected, actual ->> 'received' AS actual FROM projection_verify('inventory') WHERE key = 'stock p2';
SELECT key, expected ->> 'status' AS expected, actual ->> 'status' AS actual FROM projection_verify('inventory') WHERE key = 'order o1' AND tenant_id = 'inventory 6';
-- A product that a wrong row limits.
SELECT left(tools.outcome($$CALL order_create('o12', 'c', tools.items('free:6'))$$), 5);
CALL projection_rebuild('inventory');
SELECT tenant_id, key, expected, actual FROM projection_verify('inventory');
SELECT * FROM (SELECT 'i' AS kind, i::text AS row FROM inventory i UNION ALL SELECT 'r', r::text FROM reservations r) AS now
EXCEPT SELECT * FROM truth;
SELECT * FROM truth
EXCEPT (SELECT 'i' AS kind, i::text AS row FROM inventory i UNION ALL SELECT 'r', r::text FROM reservations r);
CALL order_create('o12', 'c', tools.items('free:6'), version => NULL);
-- All of it lost.
TRUNCATE inventory, reservations;
SELECT count(*) > 0 FROM projection_verify('inventory');
CALL projection_rebuild('inventory');
SELECT tenant_id, key, expected, actual FROM projection_verify('inventory');
SELECT * FROM (SELECT 'i' AS kind, i::text AS row FROM inventory i UNION ALL SELECT 'r', r::text FROM reservations r) AS now
EXCEPT SELECT * FROM truth;
SELECT * FROM truth
EXCEPT (SELECT 'i' AS kind, i::text AS row FROM inventory i UNION ALL SELECT 'r', r::text FROM reservations r);
-- Everything handled once more: nothing changes.
UPDATE projection_state SET last_position = 0 WHERE projection_name IN ('inventory', 'payments');
CALL projection_sync();
SELECT * FROM truth
EXCEPT (SELECT 'i' AS kind, i::text AS row FROM inventory i UNION ALL SELECT 'r', r::text FROM reservations r);
SELECT * FROM tools.differences();

-- The trigger is disabled for a while.
CREATE TEMP TABLE repaired AS SELECT projection_name, repaired_total FROM projection_state;
ALTER TABLE events DISABLE TRIGGER events_project;
CALL stock_receive('p2', 1, version => NULL);
CALL product_put('p11', 'P', 'x');
CALL projection_sync('reference');
CALL stock_receive('p11', 4, version => NULL);
CALL order_create('d1', 'c', tools.items('p3:2'), version => NULL);
CALL order_update('o3', tools.items('p4:1'), version => NULL);
CALL order_cancel('o5', version => NULL);
CALL order_complete('o6');
CALL shipping_start('o6', version => NULL);
CALL inventory_release('o7', version => NULL);
ALTER TABLE events ENABLE TRIGGER events_project;
SELECT key FROM projection_verify('inventory') ORDER BY key COLLATE "C";
-- The next event about a reservation, or stock, mends what is its own.
CALL stock_receive('p2', 1, version => NULL);
CALL reservation_change('o3', tools.items('p4:2'), version => NULL);
SELECT key FROM projection_verify('inventory') ORDER BY key COLLATE "C";
CALL projection_sync('inventory');
SELECT key FROM projection_verify('inventory') ORDER BY key COLLATE "C";
SELECT s.repaired_total - r.repaired_total AS repaired FROM projection_state s JOIN repaired r USING (projection_name) WHERE projection_name = 'inventory';
CALL projection_sync();
SELECT * FROM tools.differences();
SELECT tools.outcome($$CALL order_create('d2', 'c', tools.items('p11:5'))$$);
SELECT tools.stock();

-- Commands rely on it: it stays sync, and does not pause.
SELECT tools.outcomes(
	$$CALL projection_pause('inventory')$$,
	$$CALL projection_resume('inventory')$$);
CALL projection_set_mode('inventory', 'async');
SELECT mode, status FROM projection_state WHERE projection_name = 'inventory';
-- order_view may be async.
CALL projection_set_mode('order_view', 'async');
CALL projection_set_mode('order_summary_view', 'async');
CALL order_create('a1', 'c', tools.items('free:1'), command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
CALL stock_receive('free', 10);
CALL order_create('a1', 'c', tools.items('free:1'), command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
CALL order_create('a2', 'c', tools.items('free:10'), version => NULL);
CALL order_update('a2', tools.items('free:9'), version => NULL);
CALL projection_set_mode('order_view', 'sync');
CALL projection_set_mode('order_summary_view', 'sync');
SELECT tools.fate('a1');
SELECT tools.fate('a2');
CALL projection_sync();
SELECT * FROM tools.differences();

-- A session that plays a replica.
SET session_replication_role = replica;
CALL order_create('replica', 'c', tools.items('p4:1'), version => NULL);
RESET session_replication_role;
SELECT key FROM projection_verify('inventory') ORDER BY key COLLATE "C";
CALL projection_sync();
SELECT * FROM tools.differences();

-- Events that no command appends.
CREATE FUNCTION tools.inserted(type text, id text, event text, data jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT left(tools.outcome(format('INSERT INTO order_cqrs.events (tenant_id, aggregate_type, aggregate_id, version, event_type, data, actor, occurred_at)
		SELECT current_setting(''order_cqrs.tenant_id''), %L, %L, coalesce(max(version), 0) + 1, %L, %L, ''me'', now()
		  FROM order_cqrs.events WHERE tenant_id = current_setting(''order_cqrs.tenant_id'') AND aggregate_type = %1$L AND aggregate_id = %2$L',
		type, id, event, data)), 5)
$$;
CALL order_create('m1', 'c', tools.items('p4:1'));
CALL product_put('m', 'M', 'x');
CALL order_create('m3', 'c', tools.items('m:1'));
SELECT i, tools.inserted('Inventory', i, 'StockReceived', d) FROM (VALUES ('p4', '{}'::jsonb), ('p4', '{"total_received": "7", "total_adjusted": 0}'), ('p4', '{"total_received": 7}'), ('m', '{"quantity": 5}'), ('m', '[]')) AS v (i, d);
SELECT d, tools.inserted('Order', 'm1', 'ReservationChanged', d)
  FROM unnest('{"{}", "{\"items\": null}", "{\"items\": {}}", "{\"items\": 1}", "{\"items\": [1]}", "{\"items\": [{}]}", "{\"items\": [{\"product_id\": \"p4\"}]}", "[]"}'::jsonb[]) AS d;
-- It holds nothing that could be released: so does a release with a command_id say.
SELECT tools.inserted('Order', 'm3', 'InventoryReleased', '{}');
SELECT * FROM tools.differences();
-- Those that are like a command's.
SELECT tools.inserted('Order', 'm1', 'ReservationChanged', '{"items": [{"product_id": "p4", "quantity": 2}]}');
SELECT tools.fate('m1');
SELECT tools.inserted('Order', 'm1', 'InventoryReleased', '{}');
SELECT tools.inserted('Inventory', 'm', 'StockReceived', '{"quantity": 2, "total_received": 2, "total_adjusted": 0}');
SELECT tools.fate('m1');
SELECT * FROM inventory_check(tools.items('m:3'));
CALL projection_sync();
SELECT * FROM tools.differences();
DROP FUNCTION tools.inserted;
REVOKE ALL ON SCHEMA order_cqrs, tools FROM regress_ocq_clerk;
DROP ROLE regress_ocq_clerk;
