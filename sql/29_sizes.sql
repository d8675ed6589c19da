-- What a command, an event and an order may hold, and that an order which holds too much still comes to its end.
SET search_path = order_cqrs, public;
SET order_cqrs.tenant_id = 'sizes';
\pset format unaligned
\pset tuples_only on
\set item '[{"product_id": "p", "quantity": 1, "unit_price": 1}]'
CALL customer_put('c', 'C', 'c@example.org');
CALL product_put('p', 'P', 'x');
CALL order_create('o', 'c', :'item');

-- Texts have 1,000 bytes at most, by procedures and over the bus.
CREATE FUNCTION tools.long(statement text, size int) RETURNS text LANGUAGE sql AS $$
	SELECT tools.outcome(replace(statement, '%', repeat('x', size)))
$$;
SELECT tools.long(s, 1001) FROM unnest(ARRAY[
	$$CALL order_update('o', '[{"product_id": "p", "quantity": 2, "unit_price": 1}]', '%')$$,
	$$CALL order_cancel('o', '%')$$,
	$$CALL payment_complete('o', '%')$$,
	$$CALL payment_fail('o', '%')$$,
	$$CALL stock_adjust('p', 1, '%')$$,
	$$CALL customer_put('c', '%', 'c@example.org')$$,
	$$CALL product_put('p', 'P', '%')$$,
	$$SELECT command_send('CancelOrder', '{"order_id": "o", "reason": "%"}')$$,
	$$SELECT command_send('FailPayment', '{"order_id": "o", "reason": "%"}')$$]) AS s;
SELECT tools.long($$CALL order_update('o', '[{"product_id": "p", "quantity": 2, "unit_price": 1}]', '%')$$, 1000);
-- It is bytes that count.
SELECT left(tools.outcome(format('CALL order_cancel(%L, %L)', 'o', repeat('주', 334))), 5);

-- Data of events, and metadata.
SET order_cqrs.max_event_size = '4kB';
SELECT tools.long(s, 4200) FROM unnest(ARRAY[
	$$CALL order_cancel('o', metadata => '{"m": "%"}')$$,
	$$CALL event_append('Note', 'n', '[{"type": "Small", "data": {}}, {"type": "Large", "data": {"d": "%"}}]')$$,
	$$SELECT command_send('CancelOrder', '{"order_id": "o", "metadata": {"m": "%"}}')$$]) AS s;
SELECT left(tools.outcome(format('CALL order_create(%L, %L, %L)', 'large', 'c', (SELECT jsonb_agg('{"product_id": "p", "quantity": 1, "unit_price": 1}'::jsonb)
	FROM generate_series(1, 100)))), 5);
SELECT tools.long($$SELECT command_send_async('CancelOrder', '{"order_id": "o", "reason": "%"}')$$, 4200);
SELECT tools.long($$SELECT query_send_async('GetOrder', '{"order_id": "%"}')$$, 4200);
SELECT count(*) FROM stream_read('Note', 'n');
-- What is there already stays, and can be worked with: what follows from it is not bounded.
RESET order_cqrs.max_event_size;
DO $$
BEGIN
	FOR i IN 1 .. 300 LOOP
		CALL order_cqrs.product_put('p' || i, 'P', 'x');
		CALL order_cqrs.stock_receive('p' || i, 10);
	END LOOP;
END $$;
SELECT jsonb_agg(jsonb_build_object('product_id', 'p' || i, 'quantity', 1, 'unit_price', 1)) AS items FROM generate_series(1, 300) i \gset
SET order_cqrs.reserve_on = 'off';
CALL order_create('large', 'c', :'items');
RESET order_cqrs.reserve_on;
SET order_cqrs.max_event_size = '4kB';
SELECT item_count, version FROM order_get('large');
CALL inventory_reserve('large');
SELECT event_type, length(data::text) > 5000 AS is_larger FROM order_history('large') WHERE version = 2;
CALL order_complete('large');
SELECT status, version FROM order_get('large');
CALL projection_rebuild('order_view');
RESET order_cqrs.max_event_size;
SELECT left(tools.outcome('SET order_cqrs.max_event_size = 0'), 5);

-- An order that holds too much: what could go on for ever is refused, and what leads to an end is not.
CALL saga_run();
SELECT step FROM order_saga WHERE tenant_id = 'sizes' AND order_id = 'o';
SET order_cqrs.max_stream_size = '1kB';
SELECT tools.outcomes(
	$$CALL order_update('o', '[{"product_id": "p", "quantity": 3, "unit_price": 1}]')$$,
	$$CALL inventory_release('o', command_id => '00000000-0000-0000-0000-000000000001')$$,
	$$CALL payment_fail('other', 'x')$$);
-- A reason of the greatest length, too, becomes the one of the cancellation.
CALL payment_fail('o', repeat('r', 1000));
CALL saga_run();
SELECT status, (SELECT length(data->>'reason') FROM order_history('o') WHERE event_type = 'OrderCancelled') FROM order_view
 WHERE tenant_id = 'sizes' AND order_id = 'o';
SELECT step, last_error IS NULL FROM order_saga WHERE tenant_id = 'sizes' AND order_id = 'o';
-- A command that was handled is known, however much there is by now.
CALL order_create('again', 'c', :'item', command_id => '00000000-0000-0000-0000-000000000002');
CALL order_update('again', '[{"product_id": "p", "quantity": 2, "unit_price": 1}]', repeat('x', 900), command_id => '00000000-0000-0000-0000-000000000003');
CALL order_update('again', '[{"product_id": "p", "quantity": 2, "unit_price": 1}]', repeat('x', 900), command_id => '00000000-0000-0000-0000-000000000003', version => NULL);
CALL order_cancel('again', 'enough', version => NULL);
RESET order_cqrs.max_stream_size;

-- They are a superuser's to set.
CREATE ROLE regress_order_sizes;
SET ROLE regress_order_sizes;
SET order_cqrs.max_event_size = '1MB';
SET order_cqrs.max_stream_size = '1MB';
RESET ROLE;
DROP ROLE regress_order_sizes;
CALL projection_sync();
SELECT * FROM tools.differences();
DROP FUNCTION tools.long;
