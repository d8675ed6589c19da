-- Shipping: what an order holds leaves the stock, and the order stays as it is.
SET search_path = order_cqrs, public;
SET order_cqrs.tenant_id = 'shipping';
\pset format unaligned
\pset tuples_only on

-- Messages have the time at which shipping started.
CREATE FUNCTION tools.timeless(message text) RETURNS text LANGUAGE sql AS $$
	SELECT regexp_replace(message, 'started at \S+ [^.]+\.?\d*[-+][:\d]+', 'started at <time>', 'g')
$$;

CALL customer_put('c', 'C', 'c@example.org');
CALL product_put('p', 'P', 'x');
CALL product_put('q', 'Q', 'x');
CALL product_put('u', 'never stocked', 'x');
CALL stock_receive('p', 10);
CALL stock_receive('q', 5);

CALL order_create('o1', 'c', tools.items('p:3', 'q:1', 'u:7', 'p:1'));
SELECT tools.outcome($$CALL shipping_start('o1')$$);
CALL order_complete('o1');
SELECT shipped_at IS NULL FROM order_get('o1');
SELECT tools.stock();
CALL shipping_start('o1', version => NULL);
SELECT tools.fate('o1');
SELECT tools.stock();
SELECT received, shipped, reserved, on_hand, available FROM inventory WHERE tenant_id = 'shipping' AND product_id = 'p';
SELECT version, event_type, data FROM order_history('o1') WHERE version > 2;
SELECT v.status, s.status, v.shipped_at = e.occurred_at AS view, g.shipped_at = e.occurred_at AS got, g.updated_at = e.occurred_at AS updated, v.version
  FROM order_get('o1') g JOIN order_view v USING (tenant_id, order_id) JOIN order_summary_view s USING (tenant_id, order_id)
  JOIN events e ON e.tenant_id = v.tenant_id AND e.aggregate_id = order_id AND event_type = 'ShippingStarted';
SELECT h.version, a.status, a.shipped_at = h.occurred_at AS shipped FROM order_history('o1') h, order_as_of('o1', h.occurred_at) a ORDER BY 1;

-- Every command on a shipped order.
SELECT tools.timeless(t) FROM tools.outcomes(
	$$CALL shipping_start('o1')$$,
	$$CALL order_cancel('o1', 'too late')$$,
	$$CALL order_complete('o1')$$,
	$$CALL order_update('o1', tools.items('p:1'))$$,
	$$CALL order_create('o1', 'c', tools.items('p:1'))$$,
	$$CALL inventory_reserve('o1')$$,
	$$CALL reservation_change('o1', tools.items('p:1'))$$,
	$$CALL inventory_release('o1')$$) AS t;
SELECT tools.fate('o1');
SELECT tools.stock();
-- It can still be paid, and refunded.
CALL payment_process('o1', version => NULL);
CALL payment_fail('o1', 'no', version => NULL);
CALL payment_process('o1', version => NULL);
CALL payment_complete('o1', 'r', version => NULL);
SELECT tools.timeless(tools.outcome($$CALL order_cancel('o1')$$));
CALL payment_refund('o1', version => NULL);
SELECT tools.fate('o1');
SELECT * FROM inventory_check(tools.items('p:6', 'q:5'), 'o1');

-- Orders that cannot be shipped, and other bad arguments.
CALL order_create('pending', 'c', tools.items('p:1'));
CALL order_create('cancelled', 'c', tools.items('p:1'));
CALL order_complete('cancelled');
CALL order_cancel('cancelled');
SELECT tools.timeless(t) FROM tools.outcomes(
	$$CALL shipping_start('pending')$$,
	$$CALL shipping_start('cancelled')$$,
	$$CALL shipping_start('nothing')$$,
	$$CALL shipping_start('o1', tenant_id => 'shipping 2')$$,
	$$CALL shipping_start(NULL)$$,
	$$CALL shipping_start('')$$,
	$$CALL shipping_start(repeat('x', 256))$$,
	$$CALL shipping_start('o1', metadata => '[]')$$,
	$$CALL shipping_start('o1', tenant_id => '')$$,
	$$CALL shipping_start('o1', expected_version => 1)$$,
	$$CALL shipping_start('pending', expected_version => 1)$$,
	$$CALL shipping_start('pending', expected_version => 2)$$,
	$$CALL shipping_start('nothing', expected_version => 1)$$) AS t;

-- Orders that hold nothing: unlimited products, and what was released.
CALL order_create('o2', 'c', tools.items('u:7'));
CALL order_complete('o2');
CALL shipping_start('o2', expected_version => 2, version => NULL);
SELECT tools.fate('o2');
CALL order_create('o3', 'c', tools.items('p:2'));
CALL order_complete('o3');
CALL inventory_release('o3');
CALL shipping_start('o3', version => NULL);
SELECT tools.fate('o3');
CALL order_create('o4', 'c', tools.items('p:2'));
CALL reservation_change('o4', tools.items('q:1', 'u:1'));
CALL order_complete('o4');
CALL shipping_start('o4', version => NULL);
SELECT tools.fate('o4');
SET order_cqrs.reserve_on = off;
CALL order_create('o5', 'c', tools.items('p:2'));
CALL order_complete('o5');
CALL shipping_start('o5', version => NULL);
SELECT tools.fate('o5');
RESET order_cqrs.reserve_on;
SELECT tools.stock();
-- A payment that waits goes on waiting.
CALL order_create('o6', 'c', tools.items('p:5'));
CALL payment_process('o6');
CALL order_complete('o6');
CALL shipping_start('o6', metadata => '{"carrier": "post"}', version => NULL);
SELECT tools.fate('o6');
SELECT event_type, metadata FROM order_history('o6') WHERE version = 5;
-- All has left; more comes in.
SELECT tools.stock();
SELECT tools.outcome($$CALL order_create('o7', 'c', tools.items('p:1'))$$);
CALL order_cancel('pending');
CALL order_create('o7', 'c', tools.items('p:1'));
CALL stock_receive('p', 1, version => NULL);
SELECT tools.stock();

-- The same command_id again.
CALL order_complete('o7', command_id => '00000000-0000-7000-8000-000000000001');
CALL shipping_start('o7', command_id => '00000000-0000-7000-8000-000000000002', version => NULL);
CALL shipping_start('o7', command_id => '00000000-0000-7000-8000-000000000002', version => NULL);
CALL shipping_start('o7', '00000000-0000-7000-8000-000000000002', 1, version => NULL);
SELECT tools.timeless(t) FROM tools.outcomes(
	$$CALL shipping_start('o7', command_id => '00000000-0000-7000-8000-000000000001')$$,
	$$CALL order_complete('o7', command_id => '00000000-0000-7000-8000-000000000002')$$,
	$$CALL shipping_start('o7', command_id => '00000000-0000-7000-8000-000000000003')$$) AS t;
SELECT tools.stock();

-- In a transaction; in a block that fails; by a role with USAGE alone; by another path.
BEGIN;
CALL order_create('o8', 'c', tools.items('p:1'));
CALL order_complete('o8');
CALL shipping_start('o8', version => NULL);
SELECT tools.stock();
ROLLBACK;
DO $$
DECLARE
	v int;
BEGIN
	CALL order_cqrs.order_create('o8', 'c', tools.items('p:1'));
	CALL order_cqrs.order_complete('o8');
	BEGIN
		CALL order_cqrs.shipping_start('o8', version => v);
		RAISE 'lost';
	EXCEPTION WHEN raise_exception THEN
		RAISE NOTICE 'was at version %', v;
	END;
END $$;
SELECT tools.fate('o8');
CREATE ROLE regress_ocq_carrier;
GRANT USAGE ON SCHEMA order_cqrs TO regress_ocq_carrier;
SET ROLE regress_ocq_carrier;
SET search_path = pg_temp;
CALL order_cqrs.shipping_start('o8', version => NULL);
RESET ROLE;
SET search_path = order_cqrs, public;
SELECT tools.fate('o8');
REVOKE ALL ON SCHEMA order_cqrs FROM regress_ocq_carrier;
DROP ROLE regress_ocq_carrier;
CALL customer_put('c', 'C', 'c@example.org', tenant_id => 'shipping 2');
CALL product_put('p', 'P', 'x', tenant_id => 'shipping 2');
CALL stock_receive('p', 3, tenant_id => 'shipping 2');
CALL order_create('o1', 'c', tools.items('p:2'), tenant_id => 'shipping 2');
CALL order_complete('o1', tenant_id => 'shipping 2');
CALL shipping_start('o1', tenant_id => 'shipping 2', version => NULL);
SELECT tools.stock('shipping 2');
SELECT tools.stock();

-- Read tables.
UPDATE order_view SET shipped_at = NULL WHERE tenant_id = 'shipping' AND order_id = 'o1';
UPDATE order_view SET shipped_at = now(), payment_status = 'PENDING' WHERE tenant_id = 'shipping' AND order_id = 'cancelled';
UPDATE order_view SET shipped_at = shipped_at - interval '1 s' WHERE tenant_id = 'shipping' AND order_id = 'o2';
UPDATE order_summary_view SET payment_status = 'COMPLETED' WHERE tenant_id = 'shipping' AND order_id = 'o3';
UPDATE reservations SET status = 'HELD' WHERE tenant_id = 'shipping' AND order_id = 'o4';
SELECT projection_name, key FROM tools.differences();
CALL projection_rebuild('order_view');
CALL projection_rebuild('order_summary_view');
CALL projection_rebuild('inventory');
CALL projection_sync();
SELECT * FROM tools.differences();
SELECT tools.stock();
DROP FUNCTION tools.timeless;
