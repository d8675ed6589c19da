-- Rows whose streams have no events, or not all of them: a restore is under way, or events were erased.  Everything
-- answers, and nothing crashes.
SET search_path = order_cqrs, public;
SET order_cqrs.tenant_id = 'empty';
\pset format unaligned
\pset tuples_only on
\set VERBOSITY terse
\set item '[{"product_id": "p", "quantity": 1, "unit_price": 1}]'
CREATE FUNCTION tools.insert_event(id text, version int, type text, data jsonb) RETURNS void LANGUAGE sql AS $$
	INSERT INTO order_cqrs.events (tenant_id, aggregate_type, aggregate_id, version, event_type, data, actor, occurred_at)
	VALUES ('empty', 'Order', id, version, type, data, session_user, clock_timestamp())
$$;
CREATE VIEW tools.left_alone AS
	SELECT order_id, step, attempts, next_attempt_at > updated_at AS is_tried_later, last_error
	  FROM order_cqrs.order_saga WHERE tenant_id = 'empty' ORDER BY order_id COLLATE "C";
CALL customer_put('c', 'C', 'c@example.org');
CALL product_put('p', 'P', 'x');
CALL stock_receive('p', 10);
CALL saga_run();

-- The saga has rows for orders that the log does not have, whatever it was doing.
INSERT INTO order_saga (tenant_id, order_id, step, attempts, next_attempt_at, version)
SELECT 'empty', 'bare ' || step, step, 2, clock_timestamp() - interval '1 s' + n * interval '1 ms', 1
  FROM unnest(ARRAY['RESERVE_INVENTORY', 'AWAIT_PAYMENT', 'COMPLETE_ORDER', 'CANCEL_ORDER', 'COMPENSATE', 'SHIPPED',
	'CANCELLED', 'ENDED', 'FAILED']) WITH ORDINALITY AS u (step, n);
INSERT INTO order_saga (tenant_id, order_id, step, attempts, version) VALUES ('empty', 'bare ended', 'SHIPPED', 0, 9);
CALL order_create('sane', 'c', :'item');
CALL saga_run();
TABLE tools.left_alone;
-- Another look does not warn again, does not count as an attempt, and comes later each time.
UPDATE order_saga SET next_attempt_at = clock_timestamp(), updated_at = clock_timestamp() - interval '40 s'
 WHERE tenant_id = 'empty' AND order_id LIKE 'bare _%' AND order_id <> 'bare ended';
CALL saga_run();
SELECT order_id, step, attempts, round(extract(epoch FROM next_attempt_at - updated_at), -1) FROM order_saga
 WHERE tenant_id = 'empty' AND order_id LIKE 'bare %' ORDER BY order_id COLLATE "C";
UPDATE order_saga SET next_attempt_at = clock_timestamp(), updated_at = clock_timestamp() - interval '1 h'
 WHERE tenant_id = 'empty' AND order_id = 'bare COMPENSATE';
CALL saga_run();
SELECT order_id, step, attempts, round(extract(epoch FROM next_attempt_at - updated_at), -1) FROM order_saga
 WHERE tenant_id = 'empty' AND order_id = 'bare COMPENSATE';
-- saga_retry has it looked at again at once.
CALL saga_retry('bare FAILED');
CALL saga_retry('bare ended');
CALL saga_run();
SELECT * FROM tools.left_alone WHERE order_id IN ('bare FAILED', 'bare ended');

-- The events of orders are gone, in the middle of the saga, or some of them are.
CALL order_create('erased', 'c', :'item');
CALL order_create('holed', 'c', :'item');
CALL saga_run();
CALL payment_complete('erased', 'x');
CALL payment_complete('holed', 'x');
ALTER TABLE events DISABLE TRIGGER events_append_only;
CREATE TABLE tools.kept AS SELECT * FROM events WHERE tenant_id = 'empty' AND aggregate_id IN ('erased', 'holed');
DELETE FROM events WHERE tenant_id = 'empty' AND aggregate_id = 'erased';
DELETE FROM events WHERE tenant_id = 'empty' AND aggregate_id = 'holed' AND version = 2;
ALTER TABLE events ENABLE ALWAYS TRIGGER events_append_only;
UPDATE order_saga SET next_attempt_at = clock_timestamp() WHERE tenant_id = 'empty' AND order_id IN ('erased', 'holed');
CALL order_create('sane too', 'c', :'item');
SET order_cqrs.saga_max_attempts = 1;
CALL saga_run();
RESET order_cqrs.saga_max_attempts;
SELECT * FROM tools.left_alone WHERE order_id IN ('erased', 'holed', 'sane', 'sane too');

-- Once the events are there, the saga goes on where it was.
INSERT INTO events OVERRIDING SYSTEM VALUE SELECT * FROM tools.kept k
 WHERE NOT EXISTS (SELECT FROM events e WHERE e.tenant_id = k.tenant_id AND e.aggregate_type = k.aggregate_type
	AND e.aggregate_id = k.aggregate_id AND e.version = k.version);
UPDATE order_saga SET next_attempt_at = clock_timestamp() WHERE tenant_id = 'empty' AND order_id IN ('erased', 'holed');
CALL saga_run();
SELECT * FROM tools.left_alone WHERE order_id IN ('erased', 'holed');
CALL projection_sync();
SELECT * FROM tools.differences();

-- Read tables have rows that no event stands behind.
INSERT INTO order_view SELECT (jsonb_populate_record(v, '{"order_id": "bare"}')).* FROM order_view v
 WHERE tenant_id = 'empty' AND order_id = 'sane';
INSERT INTO order_summary_view SELECT (jsonb_populate_record(v, '{"order_id": "bare"}')).* FROM order_summary_view v
 WHERE tenant_id = 'empty' AND order_id = 'sane';
INSERT INTO order_item_view SELECT (jsonb_populate_record(v, '{"order_id": "bare"}')).* FROM order_item_view v
 WHERE tenant_id = 'empty' AND order_id = 'sane';
INSERT INTO payments SELECT (jsonb_populate_record(v, '{"order_id": "bare"}')).* FROM payments v
 WHERE tenant_id = 'empty' AND order_id = 'sane';
INSERT INTO reservations SELECT (jsonb_populate_record(v, '{"order_id": "bare"}')).* FROM reservations v
 WHERE tenant_id = 'empty' AND order_id = 'sane';
INSERT INTO order_stats_applied SELECT (jsonb_populate_record(v, '{"order_id": "bare"}')).* FROM order_stats_applied v
 WHERE tenant_id = 'empty' AND order_id = 'sane';
INSERT INTO inventory (tenant_id, product_id, received, shipped, reserved, version) VALUES ('empty', 'bare', 5, 0, 1, 3);
INSERT INTO customers SELECT (jsonb_populate_record(c, '{"customer_id": "bare"}')).* FROM customers c WHERE tenant_id = 'empty';
INSERT INTO products SELECT (jsonb_populate_record(p, '{"product_id": "bare"}')).* FROM products p WHERE tenant_id = 'empty';
INSERT INTO order_saga (tenant_id, order_id, step, attempts, next_attempt_at, version)
VALUES ('empty', 'bare', 'AWAIT_PAYMENT', 0, clock_timestamp(), 3);
-- No command takes such an order for one.
SELECT split_part(s, '(', 1) || ': ' || left(tools.outcome(s), 5) FROM unnest(ARRAY[
	$$CALL order_update('bare', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]')$$,
	$$CALL order_cancel('bare')$$, $$CALL order_complete('bare')$$, $$CALL inventory_reserve('bare')$$,
	$$CALL reservation_change('bare', '[{"product_id": "p", "quantity": 1}]')$$, $$CALL inventory_release('bare')$$,
	$$CALL payment_process('bare')$$, $$CALL payment_complete('bare')$$, $$CALL payment_fail('bare')$$,
	$$CALL payment_refund('bare')$$, $$CALL shipping_start('bare')$$,
	$$SELECT command_send('CompleteOrder', '{"order_id": "bare"}')$$]) AS s;
-- Queries of the log do not know it; those of read tables show the row that is there.
SELECT split_part(s, '(', 1) || ': ' || left(tools.outcome(s), 5) FROM unnest(ARRAY[
	$$SELECT order_as_of('bare', now())$$, $$SELECT order_history('bare')$$, $$SELECT order_get('bare')$$]) AS s;
SELECT count(*) FROM order_search(customer_id => 'c');
SELECT count(*) FROM customer_orders('c');
SELECT count(*) FROM inventory_check('[{"product_id": "bare", "quantity": 1}]');
-- A command on a product or customer begins its stream.
SELECT left(tools.outcome(s), 20) FROM unnest(ARRAY[$$CALL stock_receive('bare', 1)$$,
	$$CALL customer_put('bare', 'B', 'b@example.org')$$, $$CALL product_put('bare', 'B', 'x')$$]) AS s;
CALL saga_run();
SELECT * FROM tools.left_alone WHERE order_id = 'bare';
SELECT projection_name, key FROM tools.differences();
CALL projection_sync();
CALL projection_rebuild('reference');
CALL projection_rebuild('inventory');
CALL projection_rebuild('payments');
CALL projection_rebuild('order_view');
CALL projection_rebuild('order_summary_view');
CALL projection_rebuild('order_stats');
SELECT * FROM tools.differences();
SELECT count(*) FROM order_view WHERE tenant_id = 'empty' AND order_id = 'bare';

-- An order can be created where nothing but the saga's row was; the saga takes it from there.
CALL order_create('bare', 'c', :'item');
UPDATE order_saga SET next_attempt_at = clock_timestamp() WHERE tenant_id = 'empty' AND order_id = 'bare';
CALL saga_run();
SELECT * FROM tools.left_alone WHERE order_id = 'bare';

-- Versions that no command can have written are a gap, too.
SET session_replication_role = replica;
SELECT tools.insert_event('zeroth', 0, 'OrderCreated', '{"customer_id": "c", "items": [], "total_amount": 1}');
SELECT tools.insert_event('last', 2147483647, 'OrderCreated', '{"customer_id": "c", "items": [], "total_amount": 1}');
RESET session_replication_role;
CALL saga_run();
SELECT * FROM tools.left_alone WHERE order_id IN ('zeroth', 'last');
SELECT split_part(s, '(', 1) || ': ' || left(tools.outcome(s), 5) FROM unnest(ARRAY[
	$$CALL order_complete('zeroth')$$, $$CALL order_complete('last')$$, $$SELECT order_as_of('zeroth', now())$$,
	$$SELECT order_as_of('last', now())$$]) AS s;

-- All that the log had of the tenant is gone.
ALTER TABLE events DISABLE TRIGGER events_append_only;
DELETE FROM events WHERE tenant_id = 'empty';
ALTER TABLE events ENABLE ALWAYS TRIGGER events_append_only;
UPDATE order_saga SET next_attempt_at = clock_timestamp() WHERE tenant_id = 'empty';
SET client_min_messages = error;
CALL saga_run();
RESET client_min_messages;
SELECT count(*), bool_and(last_error LIKE 'OC309: %'), sum(attempts) FROM order_saga WHERE tenant_id = 'empty';
SELECT split_part(s, '(', 1) || ': ' || left(tools.outcome(s), 5) FROM unnest(ARRAY[
	$$CALL order_complete('sane')$$, $$CALL order_cancel('sane')$$, $$CALL payment_complete('sane')$$,
	$$CALL order_create('new', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]')$$]) AS s;
ALTER TABLE events DISABLE TRIGGER events_append_only;
DELETE FROM events WHERE tenant_id = 'empty';
ALTER TABLE events ENABLE ALWAYS TRIGGER events_append_only;
DELETE FROM order_saga WHERE tenant_id = 'empty';
CALL projection_sync();
CALL projection_rebuild('reference');
CALL projection_rebuild('inventory');
CALL projection_rebuild('payments');
CALL projection_rebuild('order_view');
CALL projection_rebuild('order_summary_view');
CALL projection_rebuild('order_stats');
SELECT * FROM tools.differences();

-- A row that a trigger drops is not there either.
CREATE FUNCTION tools.answer(jsonb, jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION tools.drop_row() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER drops BEFORE INSERT ON bus_registration FOR EACH ROW EXECUTE FUNCTION tools.drop_row();
SELECT tools.outcome($$SELECT order_cqrs.query_handler_register('Dropped', 'tools.answer(jsonb,jsonb)')$$);
DROP TRIGGER drops ON bus_registration;
DROP FUNCTION tools.drop_row, tools.answer;

DROP TABLE tools.kept;
DROP VIEW tools.left_alone;
DROP FUNCTION tools.insert_event;

-- The rows of a restore come in any order, and the first event of an order may come last.
CALL customer_put('late', 'L', 'l@example.org', tenant_id => 'late');
CALL product_put('late', 'P', 'x', tenant_id => 'late');
CALL stock_receive('late', 20, tenant_id => 'late');
CALL order_create('late', 'late', '[{"product_id": "late", "quantity": 1, "unit_price": 2}]', tenant_id => 'late');
CALL order_update('late', '[{"product_id": "late", "quantity": 7, "unit_price": 2}]', tenant_id => 'late');
CREATE PROCEDURE tools.bring(version int) LANGUAGE sql AS $$
	INSERT INTO order_cqrs.events OVERRIDING SYSTEM VALUE
	SELECT nextval('order_cqrs.events_position_seq'), tenant_id, aggregate_type, 'late 2', version, event_type, schema_version,
	       data, command_id, correlation_id, causation_id, session_role, actor, metadata, occurred_at
	  FROM order_cqrs.events WHERE tenant_id = 'late' AND aggregate_id = 'late' AND version = bring.version $$;
CALL tools.bring(2);
SELECT order_id, reserved FROM order_view LEFT JOIN inventory USING (tenant_id) WHERE tenant_id = 'late' ORDER BY 1, 2;
CALL tools.bring(1);
SELECT order_id, status, order_view.version, reserved FROM order_view LEFT JOIN inventory USING (tenant_id) WHERE tenant_id = 'late' ORDER BY 1, 4;
CALL restore_end();
SELECT * FROM tools.differences();
