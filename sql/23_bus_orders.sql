-- The buses and the rest of the order domain: lists, searches, stock, payment, shipping.
SET search_path = order_cqrs, tools;
SET order_cqrs.tenant_id = 'bus_orders';
\pset format unaligned
\pset tuples_only on
CALL customer_put('ada', 'Ada', 'ada@example.org');
CALL product_put('pen', 'Pen', 'Writing');
CALL product_put('ink', 'Ink', 'Supplies');

-- The life of an order, in messages.
SELECT command_send('ReceiveStock', '{"product_id": "pen", "quantity": 10}');
SELECT command_send('CreateOrder', '{"order_id": "o1", "customer_id": "ada", "items": [{"product_id": "pen", "quantity": 4, "unit_price": 2}]}');
SELECT command_send('ChangeReservation', '{"order_id": "o1", "items": [{"product_id": "pen", "quantity": 5}]}');
SELECT command_send('ReleaseInventory', '{"order_id": "o1"}');
SELECT command_send('ReserveInventory', '{"order_id": "o1"}');
SELECT command_send('ProcessPayment', '{"order_id": "o1"}');
SELECT command_send('FailPayment', '{"order_id": "o1", "reason": "no funds"}');
SELECT command_send('ProcessPayment', '{"order_id": "o1", "expected_version": 7}');
SELECT command_send('CompletePayment', '{"order_id": "o1", "reference": "r-1", "metadata": {"source": "web"}}');
SELECT command_send('CompleteOrder', '{"order_id": "o1"}');
SELECT command_send('StartShipping', '{"order_id": "o1"}');
SELECT command_send('RefundPayment', '{"order_id": "o1"}');
SELECT version, event_type, data, metadata FROM order_history('o1') WHERE event_type <> 'OrderCreated';
SELECT tools.outcomes(
	$$SELECT command_send('FailPayment', '{"order_id": "o1"}')$$,
	$$SELECT command_send('ReceiveStock', '{"product_id": "pen", "quantity": 1.5}')$$,
	$$SELECT command_send('ReceiveStock', '{"product_id": "pen"}')$$,
	$$SELECT command_send('ProcessPayment', '{"order_id": "o1", "amount": 5}')$$,
	$$SELECT command_send('CreateOrder', '{"order_id": "o2", "customer_id": "ada", "items": [{"product_id": "pen", "quantity": 400, "unit_price": 2}]}')$$);

-- Queries.
SELECT query_send('CheckInventory', '{"items": [{"product_id": "ink", "quantity": 2}, {"product_id": "pen", "quantity": 7}]}');
SELECT query_send('CheckInventory', '{"items": [{"product_id": "pen", "quantity": 6}], "order_id": "o1"}');
CALL order_create('o2', 'ada', '[{"product_id": "ink", "quantity": 1, "unit_price": 5}]');
CALL order_create('o3', 'ada', '[{"product_id": "ink", "quantity": 3, "unit_price": 5}]');
SELECT o ->> 'order_id', o ->> 'status', o ->> 'payment_status', o ->> 'total_amount'
  FROM jsonb_array_elements(query_send('GetCustomerOrders', '{"customer_id": "ada"}')) AS o;
SELECT jsonb_path_query_array(query_send('GetCustomerOrders', '{"customer_id": "ada", "pageable": {"page": 1, "page_size": 2}}'), '$[*].order_id');
SELECT jsonb_path_query_array(query_send('GetCustomerOrders', '{"customer_id": "ada", "to": "2000-01-01", "pageable": null}'), '$[*].order_id');
SELECT jsonb_path_query_array(query_send('GetCustomerOrders', '{"customer_id": "nobody"}'), '$[*].order_id');
SELECT jsonb_path_query_array(query_send('SearchOrders', '{}'), '$[*].order_id');
SELECT jsonb_path_query_array(query_send('SearchOrders', c || '{"pageable": {"sort": "total_amount"}}'), '$[*].order_id')
  FROM (VALUES ('{"criteria": {"status": ["PENDING", "CANCELLED"]}}'::jsonb), ('{"criteria": {"payment_status": ["REFUNDED"]}}'),
	('{"criteria": {"min_total": 5.0, "max_total": 8}}'), ('{"criteria": {"product_name": "iN", "customer_name": "D"}}'),
	('{"criteria": {"created_from": "2000-01-01 00:00+00", "updated_to": "infinity", "min_items": 1, "max_items": null}}'),
	('{"criteria": {"status": []}}')) AS criteria (c);
-- Page by page, by the cursor of the last row.
SELECT (query_send('SearchOrders', '{"pageable": {"sort": "-total_amount", "page_size": 2}}') -> 1) ->> 'cursor' AS cursor \gset
SELECT jsonb_path_query_array(query_send('SearchOrders', jsonb_build_object('pageable',
	jsonb_build_object('sort', '-total_amount', 'page_size', 2, 'after', :'cursor'))), '$[*].order_id');
-- The same through a future.
SELECT query_send_async('SearchOrders', '{"criteria": {"max_total": 5}}') AS id \gset
CALL future_run();
SELECT jsonb_path_query_array(future_get(:'id'), '$[*].order_id');
-- What is wrong is named, however deep.
SELECT tools.outcomes(
	$$SELECT query_send('SearchOrders', '{"criteria": {"colour": "red"}}')$$,
	$$SELECT query_send('SearchOrders', '{"criteria": []}')$$,
	$$SELECT query_send('SearchOrders', '{"criteria": {"status": "PENDING"}}')$$,
	$$SELECT query_send('SearchOrders', '{"criteria": {"status": ["PENDING", null]}}')$$,
	$$SELECT query_send('SearchOrders', '{"criteria": {"status": ["LOST"]}}')$$,
	$$SELECT query_send('SearchOrders', '{"criteria": {"min_total": "5"}}')$$,
	$$SELECT query_send('SearchOrders', '{"criteria": {"created_from": 5}}')$$,
	$$SELECT query_send('SearchOrders', '{"criteria": {"created_from": "yesterdayish"}}')$$,
	$$SELECT query_send('SearchOrders', '{"sort": "total_amount"}')$$,
	$$SELECT query_send('SearchOrders', '{"pageable": {"sort": "colour"}}')$$,
	$$SELECT query_send('SearchOrders', '{"pageable": {"page": -1}}')$$,
	$$SELECT query_send('GetCustomerOrders', '{"customer_id": "ada", "pageable": {"sort": "total_amount"}}')$$,
	$$SELECT query_send('GetCustomerOrders', '{"pageable": {}}')$$,
	$$SELECT query_send('CheckInventory', '{"items": []}')$$,
	$$SELECT query_send('CheckInventory', '{}')$$,
	$$SELECT query_send_async('SearchOrders', '{"criteria": {"colour": "red"}}')$$);
