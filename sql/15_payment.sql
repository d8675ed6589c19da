-- The payment of an order: requested here, made by a provider outside, and
-- reported by the application.
SET search_path = order_cqrs, public;
SET order_cqrs.tenant_id = 'payment';
\pset format unaligned
\pset tuples_only on

CALL customer_put('c', 'C', 'c@example.org');
CALL product_put('p', 'P', 'x');

-- From the request to the money.
CALL order_create('o1', 'c', tools.items('p:2'));
SELECT payment_status IS NULL, version FROM order_get('o1');
CALL payment_process('o1', version => NULL);
SELECT tenant_id, order_id, customer_id, amount, requested_at = updated_at, version
  FROM payment_requests JOIN (SELECT tenant_id, order_id, updated_at FROM payments) AS p USING (tenant_id, order_id) WHERE tenant_id = 'payment';
SELECT payment_status FROM order_get('o1');
CALL payment_complete('o1', 'bank-1', version => NULL);
SELECT tools.fate('o1');
SELECT count(*) FROM payment_requests WHERE tenant_id = 'payment';
CALL payment_refund('o1', version => NULL);
SELECT tools.fate('o1');
SELECT version, event_type, data FROM order_history('o1');
SELECT status, amount, reference, reason, version, requested_at < updated_at FROM payments WHERE tenant_id = 'payment' AND order_id = 'o1';
-- On the order's read tables, and at each time.
SELECT v.payment_status, s.payment_status, v.shipped_at, v.version FROM order_view v JOIN order_summary_view s USING (tenant_id, order_id)
 WHERE tenant_id = 'payment' AND order_id = 'o1';
SELECT h.version, a.status, a.payment_status, a.shipped_at, a.version FROM order_history('o1') h, order_as_of('o1', h.occurred_at) a ORDER BY 1;

-- A failed payment can be requested again.
CALL order_create('o2', 'c', tools.items('p:3'));
CALL payment_process('o2');
CALL payment_fail('o2', 'card expired', version => NULL);
SELECT tools.fate('o2');
SELECT payment_status FROM order_get('o2');
CALL payment_process('o2', version => NULL);
SELECT tools.fate('o2');
CALL payment_fail('o2', version => NULL);
SELECT tools.fate('o2');
CALL payment_process('o2');
CALL payment_complete('o2', version => NULL);
SELECT tools.fate('o2');
SELECT event_type, data FROM order_history('o2') WHERE version > 4;

-- Every command in every state of the payment, of an order that is pending, completed, cancelled.
DO $$
DECLARE
	status text;
	payment text;
	o text;
BEGIN
	FOREACH status IN ARRAY '{pending,completed,cancelled}'::text[] LOOP
		FOREACH payment IN ARRAY '{none,pending,completed,failed,refunded}'::text[] LOOP
			o := status || ' ' || payment;
			CALL order_cqrs.order_create(o, 'c', tools.items('p:1'));
			-- What is cancelled cannot be requested, and what was completed is refunded when it is cancelled.
			IF payment <> 'none' THEN CALL order_cqrs.payment_process(o); END IF;
			IF payment IN ('completed', 'refunded') THEN CALL order_cqrs.payment_complete(o, 'ref'); END IF;
			IF payment = 'failed' THEN CALL order_cqrs.payment_fail(o, 'no'); END IF;
			IF payment = 'refunded' THEN CALL order_cqrs.payment_refund(o); END IF;
			IF status = 'completed' THEN CALL order_cqrs.order_complete(o); END IF;
			IF status = 'cancelled' THEN CALL order_cqrs.order_cancel(o); END IF;
		END LOOP;
	END LOOP;
END $$;
SELECT order_id, status, payment_status, version FROM order_view WHERE tenant_id = 'payment' AND order_id LIKE '% %'
 ORDER BY array_position('{pending,completed,cancelled}', split_part(order_id, ' ', 1)), array_position('{none,pending,completed,failed,refunded}', split_part(order_id, ' ', 2));
-- The answers; what was accepted is undone.
CREATE FUNCTION tools.attempt(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	answer := tools.outcome(statement);
	IF answer = 'accepted' THEN
		-- The last word of the statement is the order's id.
		answer := tools.fate(substring(statement FROM $p$'([^']*)'$p$));
		RAISE EXCEPTION USING errcode = 'OC999', message = answer;
	END IF;
	RETURN regexp_replace(answer, E'\n.*', '');
EXCEPTION WHEN SQLSTATE 'OC999' THEN
	RETURN regexp_replace(answer, E'\n', ' | ', 'g');
END $$;
SELECT format('%-22s %-16s ', o, c) || tools.attempt(format('CALL %s(%L)', c, o))
  FROM unnest('{payment_process,payment_complete,payment_fail,payment_refund,order_cancel,order_complete}'::text[]) WITH ORDINALITY AS u (c, cn),
       (SELECT s || ' ' || p, sn, pn FROM unnest('{pending,completed,cancelled}'::text[]) WITH ORDINALITY AS us (s, sn),
               unnest('{none,pending,completed,failed,refunded}'::text[]) WITH ORDINALITY AS up (p, pn)) AS os (o, sn, pn)
 ORDER BY cn, sn, pn;
SELECT format('%-22s %-16s ', o, 'order_update') || tools.attempt(format('CALL order_update(%L, tools.items(%L))', o, 'p:2'))
  FROM (SELECT s || ' ' || p, sn, pn FROM unnest('{pending,completed,cancelled}'::text[]) WITH ORDINALITY AS us (s, sn),
               unnest('{none,pending,completed,failed,refunded}'::text[]) WITH ORDINALITY AS up (p, pn)) AS os (o, sn, pn)
 ORDER BY sn, pn;
-- In full.
SELECT tools.outcomes(
	$$CALL payment_process('pending pending')$$,
	$$CALL payment_process('cancelled none')$$,
	$$CALL payment_complete('pending none')$$,
	$$CALL payment_fail('pending completed')$$,
	$$CALL payment_refund('pending failed')$$,
	$$CALL order_update('pending completed', tools.items('p:2'))$$,
	$$CALL payment_process('nothing')$$,
	$$CALL payment_complete('nothing', 'r')$$,
	$$CALL payment_fail('nothing', 'r')$$,
	$$CALL payment_refund('nothing')$$,
	$$CALL payment_process('o1', tenant_id => 'payment 2')$$);

-- The amount is that of the order; while it waits it follows the items.
CALL order_create('o3', 'c', '[{"product_id": "p", "quantity": 3, "unit_price": "0.10"}]');
CALL payment_process('o3', version => NULL);
SELECT amount, version FROM payment_requests WHERE tenant_id = 'payment' AND order_id = 'o3';
SELECT requested_at AS before FROM payment_requests WHERE tenant_id = 'payment' AND order_id = 'o3' \gset
CALL order_update('o3', '[{"product_id": "p", "quantity": 1, "unit_price": "999999999999.999999"}, {"product_id": "p", "quantity": 1, "unit_price": 0}]', version => NULL);
SELECT amount, version, requested_at > :'before' FROM payment_requests WHERE tenant_id = 'payment' AND order_id = 'o3';
CALL order_complete('o3', version => NULL);
SELECT amount, version FROM payment_requests WHERE tenant_id = 'payment' AND order_id = 'o3';
-- An application that pays what it read: the version tells that the order has moved on.
SELECT tools.outcome($$CALL payment_complete('o3', 'r', expected_version => 4)$$);
CALL payment_complete('o3', 'r', expected_version => 5, amount => 999999999999.999999, version => NULL);
-- Once it has failed an update does not ask again, and the next request has the new amount.
CALL order_create('o4', 'c', tools.items('p:1'));
CALL payment_process('o4');
CALL payment_fail('o4', 'no');
CALL order_update('o4', tools.items('p:5'), version => NULL);
SELECT tools.fate('o4');
CALL payment_process('o4', version => NULL);
SELECT tools.fate('o4');
-- An order that costs nothing.
CALL order_create('o5', 'c', '[{"product_id": "p", "quantity": 3, "unit_price": 0}]');
CALL payment_process('o5', version => NULL);
CALL payment_complete('o5', version => NULL);
SELECT tools.fate('o5');

-- Cancelling: what waits has failed, what was paid is refunded.
CALL order_create('o6', 'c', tools.items('p:1'));
CALL payment_process('o6');
CALL order_cancel('o6', 'changed my mind', version => NULL);
SELECT tools.fate('o6');
SELECT count(*) FROM payment_requests WHERE order_id = 'o6';
-- The money came all the same: it is recorded, and refunded.
CALL payment_complete('o6', 'late-1', version => NULL);
SELECT tools.fate('o6');
SELECT event_type, data FROM order_history('o6') WHERE version > 4;
SELECT tools.outcomes(
	$$CALL payment_complete('o6', 'late-1')$$,
	$$CALL payment_fail('o6', 'late')$$,
	$$CALL payment_refund('o6')$$);
CALL order_create('o7', 'c', tools.items('p:1'));
CALL payment_process('o7');
CALL payment_complete('o7', 'bank-7');
CALL order_complete('o7');
CALL order_cancel('o7', version => NULL);
SELECT tools.fate('o7');
SELECT status, payment_status FROM order_get('o7');

-- With stock, in one step: all that a command leads to.
CALL product_put('s', 'S', 'x');
CALL stock_receive('s', 5);
CALL order_create('o8', 'c', tools.items('s:2'), version => NULL);
CALL payment_process('o8', version => NULL);
CALL order_update('o8', tools.items('s:5'), version => NULL);
SELECT tools.outcome($$CALL order_update('o8', tools.items('s:6'))$$);
SELECT version, event_type, data -> 'amount' AS amount FROM order_history('o8');
CALL order_cancel('o8', command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
SELECT version, event_type, right(command_id::text, 1) AS command FROM order_history('o8') WHERE version > 5;
SELECT count(DISTINCT occurred_at) FROM order_history('o8') WHERE version > 5;
SELECT tools.fate('o8');
SELECT tools.stock();

-- Arguments.
SELECT tools.outcomes(
	$$CALL payment_process(NULL)$$,
	$$CALL payment_complete('', 'r')$$,
	$$CALL payment_fail(repeat('x', 256), 'r')$$,
	$$CALL payment_refund('o4', tenant_id => '')$$,
	$$CALL payment_process('o4', metadata => '[]')$$,
	$$CALL payment_complete('o4', 'r', expected_version => 1)$$,
	$$CALL payment_refund('o4', expected_version => 1)$$,
	$$CALL payment_refund('nothing', expected_version => 1)$$,
	$$CALL payment_complete('o4', 1)$$,
	$$CALL payment_refund('o4', 30)$$);
SELECT repeat(U&'\00e9', 500) AS long \gset
CALL payment_complete(reference => :'long', order_id => 'o4', metadata => '{"provider": "bank"}', amount => 7.5, version => NULL);
SELECT length(reference), reference = :'long' FROM payments WHERE tenant_id = 'payment' AND order_id = 'o4';
SELECT event_type, metadata FROM order_history('o4') WHERE metadata IS NOT NULL;
CALL order_create(repeat('o', 255), 'c', tools.items('p:1'));
CALL payment_process(repeat('o', 255));
CALL payment_fail(repeat('o', 255), '');
SELECT length(order_id), status, reason = '' FROM payments WHERE tenant_id = 'payment' AND order_id LIKE 'oooo%';

-- The same command_id again.
CALL order_create('i1', 'c', tools.items('p:1'));
CALL payment_process('i1', command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
CALL payment_process('i1', command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
CALL payment_fail('i1', 'no', command_id => '00000000-0000-7000-8000-000000000002', version => NULL);
CALL payment_fail('i1', 'no', command_id => '00000000-0000-7000-8000-000000000002', version => NULL);
CALL payment_process('i1', command_id => '00000000-0000-7000-8000-000000000003', version => NULL);
CALL payment_fail('i1', 'no', command_id => '00000000-0000-7000-8000-000000000002', version => NULL);
CALL order_update('i1', tools.items('p:2'), command_id => '00000000-0000-7000-8000-000000000004', version => NULL);
CALL order_update('i1', tools.items('p:2'), command_id => '00000000-0000-7000-8000-000000000004', version => NULL);
CALL payment_complete('i1', 'r', amount => 3, command_id => '00000000-0000-7000-8000-000000000005', version => NULL);
CALL payment_complete('i1', 'r', expected_version => 1, command_id => '00000000-0000-7000-8000-000000000005', version => NULL);
CALL payment_process('i1', command_id => '00000000-0000-7000-8000-000000000003', version => NULL);
CALL order_update('i1', tools.items('p:2'), command_id => '00000000-0000-7000-8000-000000000004', version => NULL);
CALL payment_refund('i1', command_id => '00000000-0000-7000-8000-000000000006', version => NULL);
CALL payment_refund('i1', command_id => '00000000-0000-7000-8000-000000000006', version => NULL);
SELECT version, event_type, right(command_id::text, 1) AS command FROM order_history('i1');
SELECT tools.outcomes(
	$$CALL payment_complete('i1', 'another', command_id => '00000000-0000-7000-8000-000000000005')$$,
	$$CALL payment_complete('i1', command_id => '00000000-0000-7000-8000-000000000005')$$,
	$$CALL payment_fail('i1', command_id => '00000000-0000-7000-8000-000000000002')$$,
	$$CALL payment_fail('i1', 'r', command_id => '00000000-0000-7000-8000-000000000005')$$,
	$$CALL payment_refund('i1', command_id => '00000000-0000-7000-8000-000000000005')$$,
	$$CALL payment_process('i1', command_id => '00000000-0000-7000-8000-000000000004')$$,
	$$CALL payment_refund('i1', command_id => '00000000-0000-7000-8000-000000000007')$$);
-- A report on a cancelled order, repeated.
CALL order_create('i2', 'c', tools.items('p:1'));
CALL payment_process('i2');
CALL order_cancel('i2');
CALL payment_complete('i2', 'r', command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
CALL payment_complete('i2', 'r', command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
SELECT tools.fate('i2');

-- What is paid is what is requested.
CALL order_create('a1', 'c', tools.items('p:2'));
CALL payment_process('a1', version => NULL);
SELECT tools.variants('CALL payment_complete(''a1'', ''bank'', amount => %L)', '2', '3.000001', '0', '1e29', 'NaN', 'infinity', '-infinity',
	'-0.01', '1e30', '1e131000', '3.0000001', '1e-16000');
SELECT tools.outcomes(
	$$CALL payment_fail('a1', 'no', amount => 2)$$,
	$$CALL payment_fail('a1', 'no', amount => 'NaN')$$,
	$$CALL payment_refund('a1', amount => 3)$$,
	$$CALL payment_refund('a1', amount => -3)$$,
	$$CALL payment_process('a1', amount => 3)$$,
	$$CALL payment_complete('nothing', amount => 3)$$);
SELECT tools.fate('a1');
CALL payment_complete('a1', 'bank', amount => 3.0000000000, command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
CALL payment_complete('a1', 'bank', amount => 3, command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
CALL payment_complete('a1', 'bank', command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
SELECT tools.outcomes(
	$$CALL payment_complete('a1', 'bank', amount => 2, command_id => '00000000-0000-7000-8000-000000000001')$$,
	$$CALL payment_complete('a1', 'bank', amount => 2)$$,
	$$CALL payment_refund('a1', amount => 1.50)$$);
CALL payment_refund('a1', amount => 3, command_id => '00000000-0000-7000-8000-000000000002', version => NULL);
CALL payment_refund('a1', command_id => '00000000-0000-7000-8000-000000000002', version => NULL);
SELECT tools.outcome($$CALL payment_refund('a1', amount => 1, command_id => '00000000-0000-7000-8000-000000000002')$$);
SELECT version, event_type, data FROM order_history('a1') WHERE version > 1;
-- An order that has changed since is not completed by what was paid for it as it was, nor failed by what became of that.
CALL order_create('a2', 'c', tools.items('p:2'));
CALL payment_process('a2');
CALL order_update('a2', tools.items('p:4'), version => NULL);
SELECT tools.outcomes(
	$$CALL payment_complete('a2', 'bank')$$,
	$$CALL payment_complete('a2', 'bank', amount => 3)$$,
	$$CALL payment_fail('a2', 'expired')$$,
	$$CALL payment_fail('a2', 'expired', amount => 3)$$);
SELECT tools.fate('a2');
-- Back at the first amount: a report without an amount could still be about the second.
CALL order_update('a2', tools.items('p:2'), version => NULL);
SELECT tools.outcomes(
	$$CALL payment_complete('a2', 'bank')$$,
	$$CALL payment_complete('a2', 'bank', amount => 6)$$);
CALL payment_complete('a2', 'bank', amount => 3, version => NULL);
CALL payment_refund('a2', version => NULL);
SELECT tools.fate('a2');
-- The same where the first request had failed meanwhile.
CALL order_create('a3', 'c', tools.items('p:2'));
CALL payment_process('a3');
CALL payment_fail('a3', 'declined');
CALL order_update('a3', tools.items('p:3'));
CALL payment_process('a3', version => NULL);
SELECT tools.outcome($$CALL payment_complete('a3', 'bank')$$);
CALL payment_fail('a3', 'declined', amount => 4.5, version => NULL);
-- Items that change and cost the same need no other payment.
CALL order_create('a4', 'c', tools.items('p:2'));
CALL payment_process('a4');
CALL order_update('a4', tools.items('p:1', 'p:1'), version => NULL);
CALL payment_complete('a4', 'bank', version => NULL);
-- Cancelled: what was paid for an earlier request is not what would be refunded.
CALL order_create('a5', 'c', tools.items('p:2'));
CALL payment_process('a5');
CALL order_update('a5', tools.items('p:4'));
CALL order_cancel('a5');
SELECT tools.outcomes(
	$$CALL payment_complete('a5', 'bank')$$,
	$$CALL payment_complete('a5', 'bank', amount => 3)$$);
CALL payment_complete('a5', 'bank', amount => 6, version => NULL);
SELECT tools.fate('a5');
-- By the bus.
CALL order_create('a6', 'c', tools.items('p:2'));
CALL payment_process('a6');
SELECT tools.outcomes(
	$$SELECT command_send('CompletePayment', '{"order_id": "a6", "amount": 2.99}')$$,
	$$SELECT command_send('CompletePayment', '{"order_id": "a6", "amount": -1}')$$,
	$$SELECT command_send('CompletePayment', '{"order_id": "a6", "amount": "3"}')$$,
	$$SELECT command_send('FailPayment', '{"order_id": "a6", "amount": 2.99}')$$,
	$$SELECT command_send('ProcessPayment', '{"order_id": "a6", "amount": 3}')$$);
SELECT command_send('CompletePayment', '{"order_id": "a6", "reference": "bank", "amount": 3.0, "expected_version": 2, "metadata": {"a": 1}}',
	'00000000-0000-7000-8000-000000000001');
SELECT tools.outcomes(
	$$SELECT command_send('RefundPayment', '{"order_id": "a6", "amount": 2.99}')$$,
	$$SELECT command_send('RefundPayment', '{"order_id": "a6", "amount": 3}', '00000000-0000-7000-8000-000000000002')$$);
SELECT version, event_type, data, metadata, right(command_id::text, 1) AS command FROM order_history('a6') WHERE version > 2;
SELECT * FROM tools.differences();

-- Tenants, and another path.
CALL customer_put('c', 'C', 'c@example.org', tenant_id => 'payment 2');
CALL product_put('p', 'P', 'x', tenant_id => 'payment 2');
CALL order_create('o4', 'c', tools.items('p:7'), tenant_id => 'payment 2');
SET search_path = pg_temp;
CALL order_cqrs.payment_process('o4', tenant_id => 'payment 2', version => NULL);
SELECT tenant_id, order_id, amount FROM order_cqrs.payment_requests WHERE order_id = 'o4';
SELECT tools.fate('o4', 'payment 2');
CREATE ROLE regress_ocq_teller;
GRANT USAGE ON SCHEMA order_cqrs TO regress_ocq_teller;
GRANT USAGE ON SCHEMA tools TO regress_ocq_teller;
SET ROLE regress_ocq_teller;
CALL order_cqrs.payment_fail('o4', 'no', tenant_id => 'payment 2', version => NULL);
CALL order_cqrs.payment_process('o4', tenant_id => 'payment 2', version => NULL);
CALL order_cqrs.payment_complete('o4', 'r', tenant_id => 'payment 2', version => NULL);
CALL order_cqrs.payment_refund('o4', tenant_id => 'payment 2', version => NULL);
SELECT tools.outcomes(
	'SELECT * FROM order_cqrs.payment_requests',
	'SELECT * FROM order_cqrs.payments',
	$$UPDATE order_cqrs.payments SET status = 'COMPLETED'$$,
	'SELECT * FROM order_cqrs.payments_difference()');
RESET ROLE;
-- What an application that pays needs besides.
GRANT SELECT ON order_cqrs.payment_requests TO regress_ocq_teller;
SET ROLE regress_ocq_teller;
SELECT tenant_id, order_id, amount FROM order_cqrs.payment_requests WHERE tenant_id LIKE 'payment%' ORDER BY 1, 2;
RESET ROLE;
SET search_path = order_cqrs, public;
-- It lists the oldest first.
SELECT bool_and(ascends) FROM (SELECT requested_at >= lag(requested_at) OVER () AS ascends FROM payment_requests) AS l;

-- The statistics count orders, whoever has paid.
CALL projection_sync();
SELECT status, orders FROM order_stats WHERE tenant_id = 'payment 2' ORDER BY 1;
SELECT * FROM tools.differences();

-- Read tables that went wrong are found, and put right.
DO $$
BEGIN
	FOR n IN 1 .. 12 LOOP
		CALL order_cqrs.order_create('r' || n, 'c', tools.items('p:1'));
		CALL order_cqrs.payment_process('r' || n);
	END LOOP;
END $$;
CALL payment_fail('r11', 'no');
CALL payment_complete('r12', 'ref');
CREATE TEMP TABLE truth AS SELECT p::text AS row FROM payments p;
UPDATE payments SET status = 'COMPLETED' WHERE tenant_id = 'payment' AND order_id = 'r1';
UPDATE payments SET amount = 0 WHERE tenant_id = 'payment' AND order_id = 'r2';
UPDATE payments SET customer_id = 'd' WHERE tenant_id = 'payment' AND order_id = 'r3';
UPDATE payments SET reference = 'forged' WHERE tenant_id = 'payment' AND order_id = 'r4';
UPDATE payments SET reason = '' WHERE tenant_id = 'payment' AND order_id = 'r5';
UPDATE payments SET requested_at = 'epoch' WHERE tenant_id = 'payment' AND order_id = 'r6';
UPDATE payments SET updated_at = 'infinity' WHERE tenant_id = 'payment' AND order_id = 'r7';
UPDATE payments SET version = 9 WHERE tenant_id = 'payment' AND order_id = 'r8';
DELETE FROM payments WHERE tenant_id = 'payment' AND order_id = 'r9';
UPDATE payments SET order_id = 'ghost' WHERE tenant_id = 'payment' AND order_id = 'r10';
UPDATE payments SET reason = NULL WHERE tenant_id = 'payment' AND order_id = 'r11';
UPDATE payments SET reference = NULL WHERE tenant_id = 'payment' AND order_id = 'r12';
INSERT INTO payments VALUES ('nobody', 'r1', 'c', 'PENDING', 1, NULL, NULL, now(), now(), 2);
SELECT tenant_id, key, expected IS NOT NULL AS expected, actual IS NOT NULL AS actual FROM projection_verify('payments')
 ORDER BY tenant_id COLLATE "C", length(key), key COLLATE "C";
CALL projection_rebuild('payments');
SELECT tenant_id, key, expected, actual FROM projection_verify('payments');
SELECT p::text FROM payments p EXCEPT SELECT * FROM truth;
SELECT * FROM truth EXCEPT SELECT p::text FROM payments p;
TRUNCATE payments;
CALL projection_rebuild('payments');
SELECT p::text FROM payments p EXCEPT SELECT * FROM truth;
SELECT * FROM truth EXCEPT SELECT p::text FROM payments p;
SELECT * FROM tools.differences();

-- The trigger is disabled for a while.
CREATE TEMP TABLE repaired AS SELECT projection_name, repaired_total FROM projection_state;
ALTER TABLE events DISABLE TRIGGER events_project;
CALL payment_fail('r1', 'no', version => NULL);
CALL payment_complete('r2', 'ref', version => NULL);
CALL order_cancel('r3', version => NULL);
CALL order_update('r4', tools.items('p:4'), version => NULL);
CALL order_create('r13', 'c', tools.items('p:1'));
CALL payment_process('r13', version => NULL);
ALTER TABLE events ENABLE TRIGGER events_project;
SELECT key FROM projection_verify('payments') ORDER BY length(key), key COLLATE "C";
CALL payment_process('r1', version => NULL);
SELECT key FROM projection_verify('payments') ORDER BY length(key), key COLLATE "C";
CALL projection_sync();
SELECT s.repaired_total - r.repaired_total AS repaired FROM projection_state s JOIN repaired r USING (projection_name) WHERE projection_name = 'payments';
SELECT * FROM tools.differences();

-- It can be async, or pause, like others.
CALL projection_set_mode('payments', 'async');
CALL payment_complete('r1', 'ref', version => NULL);
CALL payment_refund('r1', version => NULL);
SELECT status FROM payments WHERE tenant_id = 'payment' AND order_id = 'r1';
SELECT payment_status FROM order_get('r1');
SELECT * FROM tools.differences();
CALL projection_sync('payments');
SELECT status FROM payments WHERE tenant_id = 'payment' AND order_id = 'r1';
CALL projection_set_mode('payments', 'sync');
CALL projection_pause('payments');
CALL payment_complete('r5', 'ref', version => NULL);
SELECT status FROM payments WHERE tenant_id = 'payment' AND order_id = 'r5';
CALL projection_resume('payments');
SELECT status FROM payments WHERE tenant_id = 'payment' AND order_id = 'r5';
CALL projection_sync();
SELECT * FROM tools.differences();

-- Money that goes back before the order is shipped takes the reservation with it.
CALL product_put('few', 'Few', 'x');
CALL stock_receive('few', 5);
CALL order_create('back', 'c', tools.items('few:5'));
CALL payment_process('back');
CALL payment_complete('back', 'ref');
SELECT reserved, available FROM inventory WHERE tenant_id = 'payment' AND product_id = 'few';
CALL payment_refund('back', version => NULL);
SELECT tools.fate('back');
SELECT reserved, available FROM inventory WHERE tenant_id = 'payment' AND product_id = 'few';
SELECT count(*) FROM reservations WHERE tenant_id = 'payment' AND order_id = 'back';
CALL projection_sync();
SELECT * FROM tools.differences();

-- Events that no command appends.
CALL order_create('m1', 'c', tools.items('p:1'));
SELECT e, d, left(tools.outcome(format('INSERT INTO order_cqrs.events (tenant_id, aggregate_type, aggregate_id, version, event_type, data, actor, occurred_at)
	VALUES (''payment'', ''Order'', ''m1'', 2, %L, %L, ''me'', now())', e, d)), 5)
  FROM (VALUES ('PaymentRequested', '{}'), ('PaymentRequested', '{"amount": "1"}'), ('PaymentCompleted', '{"reference": "r"}'),
	('PaymentFailed', '{"reason": "r"}'), ('PaymentRefunded', '{"amount": 1}')) AS v (e, d);
SELECT tools.fate('m1');
DROP FUNCTION tools.attempt;
REVOKE ALL ON payment_requests FROM regress_ocq_teller;
REVOKE ALL ON SCHEMA order_cqrs, tools FROM regress_ocq_teller;
DROP ROLE regress_ocq_teller;
