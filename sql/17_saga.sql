-- The order saga, run by hand.
SET search_path = order_cqrs, public;
SET order_cqrs.tenant_id = 'saga';
\pset format unaligned
\pset tuples_only on
\set item '[{"product_id": "p", "quantity": 1, "unit_price": "2.50"}]'
\set scarce '[{"product_id": "p", "quantity": 1, "unit_price": 1}, {"product_id": "scarce", "quantity": 3, "unit_price": 1}]'
-- Warnings without their details, but for those that are shown in full.
\set VERBOSITY terse

-- How orders are doing: step, state, failed attempts, when the saga looks again by itself, the last error, and
-- their events.  Times are rounded, so that a slow machine shows the same.
CREATE FUNCTION tools.next_look(at timestamptz, since timestamptz) RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN at IS NULL THEN 'never' WHEN at <= clock_timestamp() THEN 'now'
		ELSE 'in ' || round(extract(epoch FROM at - since), -1) || ' s' END
$$;
CREATE VIEW tools.sagas AS
	SELECT s.tenant_id, left(s.order_id, 30) AS order_id, s.step, s.state, s.attempts,
		tools.next_look(s.next_attempt_at, s.updated_at) AS next_look, s.last_error,
		(SELECT string_agg(e.event_type || coalesce(' "' || (e.data ->> 'reason') || '"', ''), ', ' ORDER BY e.version)
		   FROM order_cqrs.events e WHERE e.tenant_id = s.tenant_id AND e.aggregate_type = 'Order'
		    AND e.aggregate_id = s.order_id) AS events
	  FROM order_cqrs.saga_status s;
\set sagas 'SELECT order_id, step, state, attempts, next_look, last_error, events FROM tools.sagas WHERE tenant_id = \'saga\' AND order_id'
-- What is to fail: the saga's command that would append such an event to such an order.
CREATE TABLE tools.failing (event_type text, order_id text, message text DEFAULT 'no luck');
GRANT SELECT ON tools.failing TO PUBLIC;
CREATE FUNCTION tools.fail() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	reason text := (SELECT f.message FROM tools.failing f
		WHERE f.order_id = NEW.aggregate_id AND f.event_type = NEW.event_type LIMIT 1);
BEGIN
	IF reason IS NOT NULL THEN
		RAISE EXCEPTION USING MESSAGE = reason, ERRCODE = 'XYZ01';
	END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER saga_test BEFORE INSERT ON events FOR EACH ROW WHEN (NEW.tenant_id = 'saga') EXECUTE FUNCTION tools.fail();
-- Time passes for an order.
CREATE PROCEDURE tools.make_due(id text) LANGUAGE sql AS $$
	UPDATE order_cqrs.order_saga SET next_attempt_at = clock_timestamp() WHERE order_id = id AND next_attempt_at IS NOT NULL
$$;
CREATE PROCEDURE tools.wait_for(condition text) LANGUAGE plpgsql AS $$
DECLARE
	is_met boolean;
BEGIN
	FOR i IN 1 .. 6000 LOOP
		EXECUTE 'SELECT ' || condition INTO is_met;
		IF is_met THEN RETURN; END IF;
		PERFORM pg_sleep(0.01);
	END LOOP;
	RAISE 'it did not come: %', condition;
END $$;

CALL customer_put('c', 'C', 'c@example.org');
CALL product_put('p', 'P', 'x');
CALL product_put('scarce', 'S', 'x');
CALL stock_receive('scarce', 10);

-- The orders of before are none of its business: it starts with what comes now.
CALL order_create('before', 'c', :'item');
SELECT count(*) FROM order_saga;
UPDATE saga_state SET last_position = event_horizon();
CALL saga_run();
SELECT count(*) FROM order_saga;

-- The whole way, with stock that order_create has reserved, and with unlimited stock.
CALL order_create('happy', 'c', :'scarce');
CALL order_create('free', 'c', :'item');
SELECT count(*) FROM saga_status;
CALL saga_run();
:sagas IN ('happy', 'free') ORDER BY 1;
SELECT order_id, amount FROM payment_requests WHERE tenant_id = 'saga' ORDER BY 1;
CALL payment_complete('happy', 'r1');
CALL payment_complete('free', NULL);
:sagas IN ('happy', 'free') ORDER BY 1;
CALL saga_run();
:sagas IN ('happy', 'free') ORDER BY 1;
SELECT order_id, status FROM order_get('happy');
SELECT received, reserved, shipped, available FROM inventory WHERE tenant_id = 'saga' AND product_id = 'scarce';
-- Each of its commands has an id of its own, and says whose it is.
SELECT version, event_type, command_id IS NOT NULL AS has_id, metadata FROM order_history('happy');
SELECT count(DISTINCT command_id), min(substr(command_id::text, 15, 1)), max(substr(command_id::text, 15, 1)),
       bool_and(substr(command_id::text, 20, 1) IN ('8', '9', 'a', 'b'))
  FROM events WHERE tenant_id = 'saga' AND aggregate_id IN ('happy', 'free') AND command_id IS NOT NULL;
-- There is nothing more to do.
SELECT tools.fingerprint() || md5(string_agg(s::text, '' ORDER BY s::text)) AS before FROM order_saga s \gset
CALL saga_run();
SELECT tools.fingerprint() || md5(string_agg(s::text, '' ORDER BY s::text)) = :'before' AS unchanged FROM order_saga s;

-- The ids follow from the event, the step and the command alone: rolled back and done again they are the same,
-- and of all that was rolled back nothing is left.
CALL order_create('again', 'c', :'scarce');
CREATE TEMPORARY TABLE before AS SELECT * FROM saga_state;
BEGIN;
CALL saga_run();
:sagas = 'again';
CREATE TEMPORARY TABLE first_ids ON COMMIT PRESERVE ROWS AS SELECT version, command_id FROM order_history('again');
SELECT string_agg(command_id::text, ' ' ORDER BY version) AS ids FROM first_ids \gset
ROLLBACK;
:sagas = 'again';
SELECT event_type FROM order_history('again');
SELECT count(*) FROM (TABLE saga_state EXCEPT TABLE before) AS changed;
CALL saga_run();
SELECT string_agg(command_id::text, ' ' ORDER BY version) = :'ids' AS same_ids FROM order_history('again');
-- Without its table it finds its commands done.
DELETE FROM order_saga WHERE tenant_id = 'saga' AND order_id = 'again';
UPDATE saga_state SET last_position = (SELECT min(position) - 1 FROM events WHERE tenant_id = 'saga' AND aggregate_id = 'again');
CALL saga_run();
:sagas = 'again';

-- The stock is looked at when the order is created, unless that is left to the saga.
CALL order_create('much', 'c', '[{"product_id": "scarce", "quantity": 5, "unit_price": 1}]');
\echo :SQLSTATE
SET order_cqrs.reserve_on = 'saga';
CALL order_create('much', 'c', '[{"product_id": "scarce", "quantity": 5, "unit_price": 1}]');
CALL order_create('enough', 'c', '[{"product_id": "scarce", "quantity": 4, "unit_price": 1}]');
CALL saga_run();
:sagas IN ('much', 'enough') ORDER BY 1;
SELECT received, reserved, shipped, available FROM inventory WHERE tenant_id = 'saga' AND product_id = 'scarce';
-- The first come has it.
CALL stock_receive('scarce', 2);
CALL order_create('first', 'c', '[{"product_id": "scarce", "quantity": 2, "unit_price": 1}]');
CALL order_create('second', 'c', '[{"product_id": "scarce", "quantity": 1, "unit_price": 1}]');
CALL saga_run();
:sagas IN ('first', 'second') ORDER BY 1;
-- Switched off, stock does not matter.
SET order_cqrs.reserve_on = 'off';
CALL order_create('off', 'c', '[{"product_id": "scarce", "quantity": 1000, "unit_price": 1}]');
CALL saga_run();
:sagas = 'off';
RESET order_cqrs.reserve_on;

-- A payment that fails, with a reason and without: what was reserved goes back.
CALL stock_receive('scarce', 20);
CALL order_create('declined', 'c', :'scarce');
CALL order_create('unexplained', 'c', :'scarce');
CALL saga_run();
SELECT reserved FROM inventory WHERE tenant_id = 'saga' AND product_id = 'scarce';
CALL payment_fail('declined', 'card declined');
CALL payment_fail('unexplained', NULL);
CALL saga_run();
:sagas IN ('declined', 'unexplained') ORDER BY 1;
SELECT reserved FROM inventory WHERE tenant_id = 'saga' AND product_id = 'scarce';
-- A payment that was made in the end is sent back.
CALL payment_complete('declined', 'late');
CALL saga_run();
:sagas = 'declined';

-- A payment that nobody reports.
SET order_cqrs.payment_timeout = 1;
CALL order_create('forgotten', 'c', :'scarce');
CALL saga_run();
:sagas = 'forgotten';
CALL tools.wait_for($$next_attempt_at <= clock_timestamp() FROM order_cqrs.order_saga WHERE order_id = 'forgotten'$$);
CALL saga_run();
:sagas = 'forgotten';
-- Patience may grow while it waits: then it looks in vain, and waits on.
CALL order_create('patient', 'c', :'item');
CALL saga_run();
SET order_cqrs.payment_timeout = 3600;
CALL tools.wait_for($$next_attempt_at <= clock_timestamp() FROM order_cqrs.order_saga WHERE order_id = 'patient'$$);
CALL saga_run();
:sagas = 'patient';
-- Changed while its payment is pending, an order has the time for it once more, and the new amount.
CREATE TEMPORARY TABLE deadline AS SELECT next_attempt_at FROM order_saga WHERE order_id = 'patient';
CALL order_update('patient', '[{"product_id": "p", "quantity": 4, "unit_price": "2.50"}]', 'more');
CALL saga_run();
:sagas = 'patient';
SELECT s.next_attempt_at > d.next_attempt_at AS later, s.next_attempt_at = p.requested_at + '1 hour' AS an_hour, p.amount
  FROM order_saga s, deadline d, payment_requests p WHERE s.order_id = 'patient' AND p.order_id = 'patient';
RESET order_cqrs.payment_timeout;

-- Moved on by hand, before the saga has looked: cancelled, completed, shipped, paid, its payment requested or failed,
-- its stock reserved or released.
CALL stock_receive('scarce', 100);
DO $$
DECLARE
	o text;
BEGIN
	FOREACH o IN ARRAY '{a1 cancelled,a2 completed,a3 shipped,a4 requested,a5 paid,a6 failed,a7 released,a8 paid and completed,a9 refunded}'::text[] LOOP
		CALL order_cqrs.order_create(o, 'c', '[{"product_id": "scarce", "quantity": 1, "unit_price": 1}]');
	END LOOP;
END $$;
CALL order_cancel('a1 cancelled', 'by hand');
CALL order_complete('a2 completed');
CALL order_complete('a3 shipped');
CALL shipping_start('a3 shipped');
CALL payment_process('a4 requested');
CALL payment_process('a5 paid');
CALL payment_complete('a5 paid', 'x');
CALL payment_process('a6 failed');
CALL payment_fail('a6 failed', 'by hand');
CALL inventory_release('a7 released');
CALL payment_process('a8 paid and completed');
CALL payment_complete('a8 paid and completed', 'x');
CALL order_complete('a8 paid and completed');
CALL payment_process('a9 refunded');
CALL payment_complete('a9 refunded', 'x');
CALL payment_refund('a9 refunded');
CALL saga_run();
:sagas LIKE 'a_ %' ORDER BY 1;
-- While it waits for the payment.
DO $$
DECLARE
	o text;
BEGIN
	FOREACH o IN ARRAY '{b1 cancelled,b2 completed,b3 shipped,b4 released,b5 adjusted,b6 paid and cancelled,b7 paid and shipped,b8 paid and refunded,b9 completed and failed}'::text[] LOOP
		CALL order_cqrs.order_create(o, 'c', '[{"product_id": "scarce", "quantity": 1, "unit_price": 1}]');
	END LOOP;
END $$;
CALL saga_run();
CALL order_cancel('b1 cancelled', 'by hand');
CALL order_complete('b2 completed');
CALL order_complete('b3 shipped');
CALL shipping_start('b3 shipped');
CALL inventory_release('b4 released');
CALL reservation_change('b5 adjusted', '[{"product_id": "scarce", "quantity": 2}]');
CALL payment_complete('b6 paid and cancelled', 'x');
CALL order_cancel('b6 paid and cancelled', 'by hand');
CALL payment_complete('b7 paid and shipped', 'x');
CALL order_complete('b7 paid and shipped');
CALL shipping_start('b7 paid and shipped');
CALL payment_complete('b8 paid and refunded', 'x');
CALL payment_refund('b8 paid and refunded');
CALL order_complete('b9 completed and failed');
CALL payment_fail('b9 completed and failed', 'by hand');
CALL saga_run();
:sagas LIKE 'b_ %' ORDER BY 1;
-- Those that it still waits for go on as others do; the rest stays as it is.
CALL payment_complete('b2 completed', 'x');
CALL payment_complete('b4 released', 'x');
CALL payment_fail('b5 adjusted', 'x');
CALL payment_complete('b3 shipped', 'x');
CALL saga_run();
:sagas IN ('b2 completed', 'b3 shipped', 'b4 released', 'b5 adjusted') ORDER BY 1;
-- Asked for again after it has failed, before the saga has looked.
CALL order_create('second chance', 'c', :'item');
CALL saga_run();
CALL payment_fail('second chance', 'declined');
CALL payment_process('second chance');
CALL saga_run();
:sagas = 'second chance';
CALL payment_complete('second chance', 'x');
CALL saga_run();
:sagas = 'second chance';
-- Events of one order that come together are one attempt.  An order is cancelled after it was completed.
CALL order_create('returned', 'c', :'item');
CALL saga_run();
INSERT INTO tools.failing VALUES ('ShippingStarted', 'returned');
CALL payment_complete('returned', 'x');
CALL order_complete('returned');
CALL saga_run();
:sagas = 'returned';
CALL order_cancel('returned', 'by hand');
CALL saga_run();
:sagas = 'returned';

-- A step that fails is tried again, after 100, 200, 400 s; of what it did before it failed nothing is left.  The
-- other orders go on.
SET order_cqrs.saga_retry_delay = '100s';
SET order_cqrs.saga_max_attempts = 4;
INSERT INTO tools.failing VALUES ('PaymentRequested', 'bad'), ('InventoryReserved', 'bad2');
SET order_cqrs.reserve_on = 'saga';
CALL order_create('bad', 'c', :'scarce');
CALL order_create('bad2', 'c', :'scarce');
CALL order_create('good', 'c', :'scarce');
CALL saga_run();
:sagas IN ('bad', 'bad2', 'good') ORDER BY 1;
SELECT last_position >= (SELECT max(position) FROM events WHERE event_type = 'OrderCreated') FROM saga_state;
-- Not before its time.
CALL saga_run();
SELECT attempts FROM order_saga WHERE order_id = 'bad';
CALL tools.make_due('bad');
CALL saga_run();
:sagas IN ('bad', 'bad2') ORDER BY 1;
-- In a transaction a failure is undone with it.
CALL tools.make_due('bad');
BEGIN;
CALL saga_run();
SELECT attempts FROM order_saga WHERE order_id = 'bad';
ROLLBACK;
SELECT attempts FROM order_saga WHERE order_id = 'bad';
CALL saga_run();
:sagas = 'bad';
-- It comes right at the last attempt.
DELETE FROM tools.failing WHERE order_id = 'bad';
CALL tools.make_due('bad');
CALL saga_run();
:sagas = 'bad';
-- It does not: the order is cancelled, at once.
CALL tools.make_due('bad2');
CALL saga_run();
CALL tools.make_due('bad2');
CALL saga_run();
:sagas = 'bad2';
CALL tools.make_due('bad2');
\set VERBOSITY default
CALL saga_run();
\set VERBOSITY terse
:sagas = 'bad2';
-- Attempts are those at one step.
SET order_cqrs.saga_max_attempts = 2;
INSERT INTO tools.failing VALUES ('PaymentRequested', 'stumbling'), ('ShippingStarted', 'stumbling');
CALL order_create('stumbling', 'c', :'item');
CALL saga_run();
DELETE FROM tools.failing WHERE order_id = 'stumbling' AND event_type = 'PaymentRequested';
CALL payment_process('stumbling');
CALL payment_complete('stumbling', 'x');
CALL saga_run();
:sagas = 'stumbling';
CALL tools.make_due('stumbling');
CALL saga_run();
:sagas = 'stumbling';
-- An error that says nothing about the order, such as that of a shutdown or a full disk, is no attempt.
CREATE FUNCTION tools.fail_late() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.aggregate_id = 'late' AND NEW.event_type = 'PaymentRequested' THEN RAISE 'too late'; END IF;
	IF NEW.aggregate_id = 'down' AND NEW.event_type = 'PaymentRequested' THEN RAISE 'gone' USING ERRCODE = '57P01'; END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER saga_test_down AFTER INSERT ON events
	FOR EACH ROW WHEN (NEW.aggregate_id = 'down') EXECUTE FUNCTION tools.fail_late();
CALL order_create('down', 'c', :'item');
CALL saga_run();
:sagas = 'down';
DROP TRIGGER saga_test_down ON events;
CALL saga_retry('down');
-- What is deferred fails the commit of a session, which has deferred it; the order's turn comes again. (A worker checks it
-- within the step.)
CREATE CONSTRAINT TRIGGER saga_test_late AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW WHEN (NEW.aggregate_id = 'late') EXECUTE FUNCTION tools.fail_late();
CALL order_create('late', 'c', :'item');
CALL order_create('not late', 'c', :'item');
CALL saga_run();
:sagas IN ('late', 'down', 'not late') ORDER BY 1;
DROP TRIGGER saga_test_late ON events;
DROP FUNCTION tools.fail_late;
CALL saga_run();
:sagas IN ('late', 'down', 'not late') ORDER BY 1;
-- The time between two attempts is five minutes at most.
SET order_cqrs.saga_max_attempts = 100;
INSERT INTO tools.failing VALUES ('PaymentRequested', 'slow');
CALL order_create('slow', 'c', :'item');
CALL saga_run();
CALL tools.make_due('slow');
CALL saga_run();
CALL tools.make_due('slow');
CALL saga_run();
:sagas = 'slow';
UPDATE order_saga SET attempts = 98, next_attempt_at = clock_timestamp() WHERE order_id = 'slow';
CALL saga_run();
:sagas = 'slow';
CALL tools.make_due('slow');
CALL saga_run();
:sagas = 'slow';
-- An order for which there is nothing to pay is reserved and shipped, and no payment is asked for.
CALL order_create('gift', 'c', '[{"product_id": "scarce", "quantity": 1, "unit_price": 0}]');
CALL saga_run();
:sagas = 'gift';
SELECT status, payment_status, shipped_at IS NOT NULL AS is_shipped FROM order_view WHERE tenant_id = 'saga' AND order_id = 'gift';
-- Shipped by hand while it is compensated: that is an end, once its payment has come or its time is over.
CALL order_create('shipped meanwhile', 'c', :'item');
CALL saga_run();
CALL order_complete('shipped meanwhile');
UPDATE order_saga SET step = 'COMPENSATE', next_attempt_at = clock_timestamp() + '1 hour' WHERE order_id = 'shipped meanwhile';
CALL shipping_start('shipped meanwhile');
CALL saga_run();
:sagas = 'shipped meanwhile';
CALL payment_complete('shipped meanwhile', 'x');
CALL saga_run();
:sagas = 'shipped meanwhile';
-- Compensation gives back what was paid and reserved.
SET order_cqrs.saga_max_attempts = 1;
INSERT INTO tools.failing VALUES ('ShippingStarted', 'paid'), ('OrderCompleted', 'paid2');
CALL order_create('paid', 'c', :'scarce');
CALL order_create('paid2', 'c', :'scarce');
CALL saga_run();
CALL payment_complete('paid', 'x');
CALL payment_complete('paid2', 'x');
CALL saga_run();
:sagas IN ('paid', 'paid2') ORDER BY 1;
-- A payment that cannot be failed.
SET order_cqrs.payment_timeout = 1;
INSERT INTO tools.failing VALUES ('PaymentFailed', 'stuck');
CALL order_create('stuck', 'c', :'item');
CALL saga_run();
CALL tools.wait_for($$next_attempt_at <= clock_timestamp() FROM order_cqrs.order_saga WHERE order_id = 'stuck'$$);
CALL saga_run();
:sagas = 'stuck';
RESET order_cqrs.payment_timeout;
INSERT INTO tools.failing VALUES ('PaymentRequested', 'coded');
CALL order_create('coded', 'c', :'item');
\set VERBOSITY sqlstate
CALL saga_run();
\set VERBOSITY terse
:sagas = 'coded';

-- Compensation fails as well, as often: then it is for saga_retry, once the cause is removed.
SET order_cqrs.saga_max_attempts = 2;
INSERT INTO tools.failing VALUES ('PaymentRequested', 'doomed'), ('OrderCancelled', 'doomed'),
	('PaymentRequested', 'doomed2'), ('OrderCancelled', 'doomed2'), ('PaymentRequested', 'doomed3'), ('OrderCancelled', 'doomed3');
CALL order_create('doomed', 'c', :'scarce');
CALL order_create('doomed2', 'c', :'scarce');
CALL order_create('doomed3', 'c', :'scarce');
CALL saga_run();
:sagas LIKE 'doomed%' ORDER BY 1;
UPDATE order_saga SET next_attempt_at = clock_timestamp() WHERE order_id LIKE 'doomed%';
CALL saga_run();
-- Compensation has been decided on, and is kept to although the step would succeed now.
:sagas LIKE 'doomed%' ORDER BY 1;
DELETE FROM tools.failing WHERE event_type = 'PaymentRequested' AND order_id = 'doomed2';
UPDATE order_saga SET next_attempt_at = clock_timestamp() WHERE order_id LIKE 'doomed%';
\set VERBOSITY default
CALL saga_run();
\set VERBOSITY terse
:sagas LIKE 'doomed%' ORDER BY 1;
CALL saga_run();
-- In vain.
CALL saga_retry('doomed');
:sagas = 'doomed';
CALL saga_run();
:sagas = 'doomed';
-- Mended.
DELETE FROM tools.failing WHERE order_id LIKE 'doomed%';
CALL saga_retry('doomed');
CALL saga_retry('doomed2');
CALL saga_run();
:sagas LIKE 'doomed%' ORDER BY 1;
-- An order that has failed can be ended by hand.
CALL order_cancel('doomed3', 'by hand');
CALL saga_run();
:sagas LIKE 'doomed%' ORDER BY 1;
-- A retry of what waits, or is done, changes nothing.
CALL saga_retry('doomed2');
CALL saga_retry('happy');
CALL saga_retry('declined');
CALL saga_run();
:sagas IN ('doomed2', 'happy', 'declined') ORDER BY 1;
RESET order_cqrs.reserve_on;

-- What fails may be a table of the extension, and have much to say.
SET order_cqrs.saga_max_attempts = 5;
ALTER TABLE payments ADD CONSTRAINT not_much CHECK (amount < 1000) NOT VALID;
CALL order_create('dear', 'c', '[{"product_id": "p", "quantity": 1000, "unit_price": 1}]');
INSERT INTO tools.failing VALUES ('PaymentRequested', 'wordy', repeat('Ärger ', 100000));
CALL order_create('wordy', 'c', :'item');
CALL saga_run();
:sagas = 'dear';
SELECT step, attempts, length(last_error), left(last_error, 20) FROM order_saga WHERE order_id = 'wordy';
ALTER TABLE payments DROP CONSTRAINT not_much;
DELETE FROM tools.failing WHERE order_id = 'wordy';
CALL saga_retry('dear');
CALL saga_retry('wordy');
CALL saga_run();
:sagas IN ('dear', 'wordy') ORDER BY 1;

-- Two tenants with one id, and ids of the greatest length.
CALL customer_put('c', 'C', 'c@example.org', tenant_id => 'saga2');
CALL product_put('p', 'P', 'x', tenant_id => 'saga2');
CALL order_create('twin', 'c', :'item');
CALL order_create('twin', 'c', :'item', tenant_id => 'saga2');
CALL order_create(repeat('ä', 127) || 'x', 'c', :'item');
CALL order_create(repeat('ä', 127) || 'y', 'c', :'item');
CALL saga_run();
CALL payment_complete('twin', 'x', tenant_id => 'saga2');
CALL payment_complete(repeat('ä', 127) || 'y', 'x');
CALL saga_run();
SELECT tenant_id, right(order_id, 10), step, events FROM tools.sagas WHERE order_id = 'twin' ORDER BY 1;
SELECT right(order_id, 1), step, octet_length(order_id) FROM order_saga WHERE order_id LIKE 'ää%' ORDER BY 1;
SELECT count(command_id), count(DISTINCT command_id) FROM events
 WHERE aggregate_id = 'twin' OR aggregate_id LIKE 'ää%';
CALL saga_retry('twin', 'saga2');
CALL saga_retry(order_id => 'twin', tenant_id => NULL);
CALL saga_run();

-- Streams that no command can have written: the order fails, for itself.
CREATE FUNCTION tools.insert_event(id text, version int, type text, data jsonb) RETURNS void LANGUAGE sql AS $$
	INSERT INTO order_cqrs.events (tenant_id, aggregate_type, aggregate_id, version, event_type, data, actor, occurred_at)
	VALUES ('saga', 'Order', id, version, type, data, session_user, clock_timestamp())
$$;
SET order_cqrs.saga_max_attempts = 1;
SET session_replication_role = replica;
SELECT tools.insert_event('headless', 1, 'OrderCompleted', '{}');
SELECT tools.insert_event('gap', 1, 'OrderCreated', '{"customer_id": "c", "items": [], "total_amount": 1}');
SELECT tools.insert_event('gap', 3, 'OrderCompleted', '{}');
SELECT tools.insert_event('hollow', 1, 'OrderCreated', '{}');
SELECT tools.insert_event('odd', 1, 'OrderCreated', '{"customer_id": "c", "items": [1, {"product_id": 7}], "total_amount": 1}');
RESET session_replication_role;
CALL order_create('sane', 'c', :'item');
SET client_min_messages = error;
CALL saga_run();
RESET client_min_messages;
SELECT order_id, step, attempts, next_look, regexp_replace(last_error, 'position \d+', 'position N')
  FROM tools.sagas WHERE tenant_id = 'saga' AND order_id IN ('headless', 'gap', 'hollow', 'odd', 'sane') ORDER BY 1;
ALTER TABLE events DISABLE TRIGGER events_append_only;
DELETE FROM events WHERE tenant_id = 'saga' AND aggregate_id IN ('headless', 'gap', 'hollow', 'odd');
ALTER TABLE events ENABLE ALWAYS TRIGGER events_append_only;
DELETE FROM order_saga WHERE tenant_id = 'saga' AND order_id IN ('headless', 'gap', 'hollow', 'odd');
CALL projection_sync();
RESET order_cqrs.saga_max_attempts;

-- An order that is created, changed and cancelled in one transaction is looked at as it is.
BEGIN;
CALL order_create('brief', 'c', :'item');
CALL order_update('brief', :'item');
CALL order_cancel('brief', 'by hand');
COMMIT;
BEGIN;
CALL order_create('undone', 'c', :'item');
ROLLBACK;
CALL saga_run();
:sagas IN ('brief', 'undone') ORDER BY 1;
-- More orders than it takes at a time.
DO $$
BEGIN
	FOR n IN 1 .. 250 LOOP
		CALL order_cqrs.order_create('row ' || n, 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]');
	END LOOP;
END $$;
CALL saga_run();
SELECT step, count(*), count(DISTINCT order_id) FROM order_saga WHERE order_id LIKE 'row %' GROUP BY 1;
DO $$
BEGIN
	FOR n IN 1 .. 250 LOOP
		CALL order_cqrs.payment_complete('row ' || n, 'x');
	END LOOP;
END $$;
-- In a function, too.
DO 'BEGIN CALL order_cqrs.saga_run(); END';
SELECT step, count(*), count(DISTINCT order_id) FROM order_saga WHERE order_id LIKE 'row %' GROUP BY 1;

-- Every command of the saga has taken effect once: of the events that an order has one of, it has one.
SELECT tenant_id, aggregate_id, event_type, count(*) FROM events
 WHERE tenant_id LIKE 'saga%' AND aggregate_type = 'Order' AND metadata ->> 'saga' = 'order'
 GROUP BY 1, 2, 3 HAVING count(*) > 1;
-- No id is there for two orders.
SELECT count(*) FROM (SELECT command_id FROM events WHERE tenant_id LIKE 'saga%' AND metadata ->> 'saga' = 'order'
 GROUP BY 1 HAVING count(DISTINCT (tenant_id, aggregate_id)) > 1) AS shared;
-- Each order is where its state says, and none is forgotten.
SELECT e.aggregate_id FROM events e LEFT JOIN order_saga s ON s.tenant_id = e.tenant_id AND s.order_id = e.aggregate_id
 WHERE e.tenant_id LIKE 'saga%' AND e.aggregate_type = 'Order' AND e.version = 1 AND s.order_id IS NULL;
SELECT s.step, v.status, p.status, r.status, count(*) > 0
  FROM order_saga s JOIN order_view v USING (tenant_id, order_id)
  LEFT JOIN payments p USING (tenant_id, order_id) LEFT JOIN reservations r USING (tenant_id, order_id)
 WHERE s.tenant_id LIKE 'saga%' GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4;
SELECT state, count(*) > 0 FROM saga_status WHERE tenant_id = 'saga' GROUP BY 1 ORDER BY 1;
SELECT * FROM tools.differences();

-- What is done with projections is nothing to the saga.
SELECT md5(string_agg(s::text, '' ORDER BY s::text)) || (SELECT last_position FROM saga_state) || (SELECT count(*) FROM events) AS before FROM order_saga s \gset
CALL projection_rebuild('order_view');
CALL projection_rebuild('payments');
CALL projection_rebuild('inventory');
CALL projection_rebuild('order_stats');
CALL projection_sync();
CALL saga_run();
SELECT md5(string_agg(s::text, '' ORDER BY s::text)) || (SELECT last_position FROM saga_state) || (SELECT count(*) FROM events) = :'before' AS unchanged FROM order_saga s;

-- Refusals.
\set VERBOSITY default
CALL saga_retry('nowhere');
\echo :SQLSTATE
CALL saga_retry('before');
\echo :SQLSTATE
CALL saga_retry('twin', 'nobody');
\echo :SQLSTATE
CALL saga_retry(NULL);
\echo :SQLSTATE
CALL saga_retry('');
\echo :SQLSTATE
CALL saga_retry('twin', '');
\echo :SQLSTATE
BEGIN;
CALL saga_retry('twin');
\echo :SQLSTATE
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
CALL saga_run();
\echo :SQLSTATE
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
CALL saga_run();
\echo :SQLSTATE
ROLLBACK;
CALL order_create('unseen', 'c', :'item');
BEGIN READ ONLY;
SELECT left(tools.outcome('CALL order_cqrs.saga_run()'), 5);
ROLLBACK;
SET default_transaction_isolation = 'repeatable read';
CALL saga_run();
\echo :SQLSTATE
RESET default_transaction_isolation;
\set VERBOSITY terse
-- Without its row the saga does not know where it is; the hint's statement mends that.
DELETE FROM saga_state;
CALL order_create('lost', 'c', :'item');
SELECT tools.outcome('CALL order_cqrs.saga_run()');
INSERT INTO order_cqrs.saga_state (saga_name, last_position) VALUES ('order', order_cqrs.event_horizon());
CALL order_create('found', 'c', :'item');
CALL saga_run();
:sagas IN ('lost', 'found') ORDER BY 1;
-- Rows of a dump are merged: the checkpoint never goes back, and rows that are there stay.
SELECT last_position AS before FROM saga_state \gset
INSERT INTO saga_state (saga_name, last_position) VALUES ('order', 1);
SELECT last_position = :before FROM saga_state;
INSERT INTO order_saga (tenant_id, order_id, step, attempts, version) VALUES ('saga', 'found', 'RESERVE_INVENTORY', 3, 1);
:sagas = 'found';
SELECT left(tools.outcome($$INSERT INTO order_cqrs.order_saga (tenant_id, order_id, step, attempts, version) VALUES ('saga', 'x', 'NOWHERE', 0, 1)$$), 5);
SELECT tools.outcome('SELECT order_cqrs.saga_restore()');

-- Settings.
SELECT name, setting, unit, context, min_val, max_val FROM pg_settings
 WHERE name LIKE 'order\_cqrs.saga%' OR name = 'order_cqrs.payment_timeout' ORDER BY 1;
SELECT left(tools.outcome(s), 30) FROM unnest(ARRAY['SET order_cqrs.saga_max_attempts = 0', 'SET order_cqrs.saga_retry_delay = 0',
	'SET order_cqrs.payment_timeout = 0', 'SET order_cqrs.saga = off']) AS s;

-- An order that was all unlimited when the saga reserved: a later update claims its stock itself.
SET order_cqrs.reserve_on = 'saga';
CALL product_put('late', 'Late', 'x');
CALL order_create('updated', 'c', '[{"product_id": "late", "quantity": 1, "unit_price": 1}]');
CALL saga_run();
CALL stock_receive('late', 5);
SELECT tools.outcome($$CALL order_update('updated', '[{"product_id": "late", "quantity": 6, "unit_price": 1}]')$$);
CALL order_update('updated', '[{"product_id": "late", "quantity": 5, "unit_price": 1}]');
SELECT left(tools.outcome($$CALL payment_complete('updated')$$), 5), left(tools.outcome($$CALL payment_complete('updated', amount => 1)$$), 5),
       left(tools.outcome($$CALL payment_fail('updated', 'expired', amount => 1)$$), 5);
CALL payment_complete('updated', amount => 5);
CALL saga_run();
:sagas = 'updated';
SELECT on_hand, reserved FROM inventory WHERE tenant_id = 'saga' AND product_id = 'late';
RESET order_cqrs.reserve_on;
-- One that has come to cost nothing is not waited for.
CALL order_create('emptied', 'c', :'item');
CALL saga_run();
CALL order_update('emptied', '[{"product_id": "p", "quantity": 1, "unit_price": 0}]');
CALL saga_run();
:sagas = 'emptied';
SELECT data FROM order_history('emptied') WHERE event_type = 'PaymentCompleted';

-- It is the owner's.
CREATE ROLE saga_client;
GRANT USAGE ON SCHEMA order_cqrs TO saga_client;
GRANT USAGE ON SCHEMA tools TO saga_client;
SET ROLE saga_client;
SELECT left(tools.outcome(s), 80) FROM unnest(ARRAY['CALL order_cqrs.saga_run()', $$CALL order_cqrs.saga_retry('twin')$$,
	'TABLE order_cqrs.order_saga', 'TABLE order_cqrs.saga_state', 'TABLE order_cqrs.saga_status',
	'SET order_cqrs.saga_max_attempts = 3', 'SET order_cqrs.saga_retry_delay = 3', 'SET order_cqrs.payment_timeout = 3']) AS s;
-- Whose order it is does not matter to the saga.
CALL order_create('clients', 'c', :'item');
RESET ROLE;
CALL saga_run();
:sagas = 'clients';
-- One who may run it needs no more than that.
GRANT EXECUTE ON PROCEDURE saga_run(), saga_retry(text, text) TO saga_client;
SET ROLE saga_client;
CALL payment_complete('clients', 'x');
CALL saga_run();
CALL saga_retry('clients');
RESET ROLE;
:sagas = 'clients';
REVOKE ALL ON PROCEDURE saga_run(), saga_retry(text, text) FROM saga_client;
REVOKE USAGE ON SCHEMA order_cqrs, tools FROM saga_client;
DROP ROLE saga_client;

DROP TRIGGER saga_test ON events;
DROP VIEW tools.sagas;
DROP TABLE tools.failing;
DROP FUNCTION tools.fail, tools.next_look, tools.insert_event;
DROP PROCEDURE tools.make_due, tools.wait_for;
