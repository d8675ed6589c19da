-- Trust nothing, count: what a projection has passed over or handled twice is found, and made good.
SET search_path = order_cqrs, public;
SET order_cqrs.tenant_id = 'audit';
\pset format unaligned
\pset tuples_only on
\set VERBOSITY terse
\set item '[{"product_id": "p", "quantity": 2, "unit_price": 1.5}]'
CALL customer_put('c', 'C', 'c@example.org');
CALL product_put('p', 'P', 'x');
CREATE FUNCTION tools.create_orders(prefix text, count int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. count LOOP
		CALL order_cqrs.order_create(prefix || i, 'c', '[{"product_id": "p", "quantity": 2, "unit_price": 1.5}]');
	END LOOP;
END $$;
\set stats 'SELECT status, orders, revenue FROM order_stats WHERE tenant_id = ''audit'' AND orders > 0 ORDER BY 1;'
CALL projection_sync();
CALL projection_audit();

-- event_count says what the log has; a consumer can compute the same of what it has handled.
SELECT event_horizon() AS start \gset
SELECT tools.create_orders('a', 20);
CALL event_append('Note', 'n', '[{"type": "T", "data": {}}, {"type": "T", "data": {}}]');
SELECT events FROM event_count(:start, event_horizon());
SELECT events FROM event_count(:start, event_horizon(), '{Note,Note}');
SELECT events FROM event_count(:start, event_horizon(), '{Order,Note}');
SELECT events, checksum FROM event_count(:start, event_horizon(), '{nothing}');
SELECT events, checksum FROM event_count(:start, :start);
SELECT (SELECT checksum FROM event_count(:start, event_horizon()))
     = (SELECT sum((position % 2147483647) * (position % 2147483647) % 2147483647) FROM events WHERE position > :start);
SELECT tools.outcomes('SELECT event_count(NULL, 1)', 'SELECT event_count(0, NULL)');
SELECT left(tools.outcome('SELECT event_count(0, event_horizon() + 1)'), 5);

-- Nothing is wrong: the ranges of order_stats are contiguous up to its checkpoint, and equal to the log.
CALL projection_sync();
CALL projection_audit();
CREATE VIEW tools.ledger AS
	SELECT l.after_position, l.to_position, l.events = c.events AND l.checksum = c.checksum AS is_true, l.verified_at IS NOT NULL AS is_verified,
	       lag(l.to_position) OVER (ORDER BY l.after_position) AS previous
	  FROM order_cqrs.projection_ledger l,
	       order_cqrs.event_count(l.after_position, l.to_position, '{Order}') c
	 WHERE l.projection_name = 'order_stats';
SELECT bool_and(is_true), bool_and(is_verified), bool_and(coalesce(after_position = previous, true)),
       max(to_position) = (SELECT last_position FROM projection_state WHERE projection_name = 'order_stats') AS reaches_checkpoint
  FROM tools.ledger;

-- An event is hidden from a batch.  Nobody notices, and then the audit does.
CREATE ROLE regress_order_owner;
GRANT regress_order_owner TO CURRENT_USER;
SELECT tools.create_orders('h', 5);
SELECT relowner::regrole AS owner FROM pg_class WHERE oid = 'order_cqrs.events'::regclass \gset
SELECT repaired_total AS repaired FROM projection_state WHERE projection_name = 'order_stats' \gset
GRANT USAGE, CREATE ON SCHEMA order_cqrs TO regress_order_owner;
GRANT ALL ON ALL TABLES IN SCHEMA order_cqrs TO regress_order_owner;
GRANT ALL ON ALL SEQUENCES IN SCHEMA order_cqrs TO regress_order_owner;
GRANT ALL ON ALL ROUTINES IN SCHEMA order_cqrs TO regress_order_owner;
ALTER TABLE events OWNER TO regress_order_owner;
ALTER TABLE events ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY hide ON events USING (aggregate_id <> 'h3');
CALL projection_sync('order_stats');
:stats
DROP POLICY hide ON events;
ALTER TABLE events NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;
ALTER TABLE events OWNER TO :owner;
REVOKE ALL ON ALL TABLES IN SCHEMA order_cqrs FROM regress_order_owner;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA order_cqrs FROM regress_order_owner;
REVOKE ALL ON ALL ROUTINES IN SCHEMA order_cqrs FROM regress_order_owner;
REVOKE ALL ON SCHEMA order_cqrs FROM regress_order_owner;
DROP ROLE regress_order_owner;
CALL projection_sync('order_stats');
:stats
CALL projection_audit('order_stats');
:stats
SELECT repaired_total > :repaired AS is_counted FROM projection_state WHERE projection_name = 'order_stats';
SELECT * FROM tools.differences();
-- It is told once.
CALL projection_audit('order_stats');

-- A checkpoint that is pushed forward passes events over.
SELECT tools.create_orders('f', 3);
UPDATE projection_state SET last_position = event_horizon() WHERE projection_name = 'order_stats';
SELECT tools.create_orders('g', 1);
CALL projection_sync('order_stats');
:stats
CALL projection_audit('order_stats');
:stats
SELECT * FROM tools.differences();

-- A checkpoint that is set back has events handled again, which is no fault, also if the audit comes first.
SELECT tools.create_orders('b', 4);
CALL projection_sync('order_stats');
SELECT repaired_total AS repaired FROM projection_state WHERE projection_name = 'order_stats' \gset
UPDATE projection_state SET last_position = last_position - 2 WHERE projection_name = 'order_stats';
CALL projection_audit('order_stats');
CALL projection_sync('order_stats');
CALL projection_audit('order_stats');
SELECT repaired_total - :repaired AS repaired FROM projection_state WHERE projection_name = 'order_stats';
SELECT * FROM tools.differences();

-- One event lost and one handled twice, in the same range: the number is right, and the checksum is not.
SELECT tools.create_orders('t', 4);
CALL projection_sync('order_stats');
DELETE FROM order_stats_applied WHERE order_id = 't2' AND tenant_id = 'audit';
UPDATE order_stats SET orders = orders + 1, revenue = revenue + 3 WHERE tenant_id = 'audit' AND status = 'PENDING';
UPDATE projection_state SET counted_checksum = counted_checksum
	- (SELECT (position % 2147483647) * (position % 2147483647) % 2147483647 FROM events WHERE aggregate_id = 't2' AND tenant_id = 'audit')::bigint
	+ (SELECT (position % 2147483647) * (position % 2147483647) % 2147483647 FROM events WHERE aggregate_id = 't3' AND tenant_id = 'audit')::bigint
 WHERE projection_name = 'order_stats';
:stats
CALL projection_audit('order_stats');
:stats
SELECT * FROM tools.differences();

-- The tables of a paused projection are left alone until it is resumed.
SELECT tools.create_orders('p', 2);
CALL projection_sync('order_stats');
CALL projection_pause('order_stats');
UPDATE order_stats SET orders = orders + 1 WHERE tenant_id = 'audit' AND status = 'PENDING';
UPDATE projection_state SET counted_checksum = counted_checksum + 1 WHERE projection_name = 'order_stats';
:stats
CALL projection_audit('order_stats');
:stats
CALL projection_resume('order_stats');
CALL projection_audit('order_stats');
:stats
SELECT * FROM tools.differences();

-- A range that is known to differ is not audited, though ranges that come after it are.
\set not_audited 'SELECT last_position - audited_position AS not_audited FROM projection_status WHERE projection_name = ''order_stats'';'
SELECT tools.create_orders('x', 2);
CALL projection_sync('order_stats');
CALL projection_pause('order_stats');
UPDATE projection_ledger SET events = NULL, checksum = NULL, verified_at = NULL WHERE projection_name = 'order_stats';
CALL projection_audit('order_stats');
SELECT p.audited_position = min(l.after_position) FILTER (WHERE l.verified_at IS NULL) AS is_before_it,
       p.last_position = max(l.to_position) FILTER (WHERE l.verified_at IS NOT NULL) AS others_are_verified
  FROM projection_status p JOIN projection_ledger l USING (projection_name)
 WHERE projection_name = 'order_stats' GROUP BY p.audited_position, p.last_position;
CALL projection_resume('order_stats');
CALL projection_audit('order_stats');
:not_audited

-- The open range is not audited, nor is one that is closed and was not compared yet; nothing is left when the log is quiet.
SELECT tools.create_orders('y', 2);
CALL projection_sync('order_stats');
:not_audited
CALL projection_set_mode('order_stats', 'sync');
:not_audited
SELECT tools.create_orders('z', 1);
CALL projection_sync('order_stats');
CALL projection_set_mode('order_stats', 'async');
CALL projection_audit('order_stats');
:not_audited
CALL projection_sync();
SELECT bool_and(audited_position = last_position) FROM projection_status;

-- No row by hand makes a worker's sums overflow.
UPDATE projection_state SET counted_events = 9223372036854775807;
UPDATE projection_state SET counted_checksum = -1;
UPDATE projection_state SET attempts = 2147483647;
UPDATE projection_state SET updated_at = 'infinity';
INSERT INTO projection_ledger (projection_name, after_position, to_position, events, checksum) VALUES ('order_stats', -2, -1, 9223372036854775807, 0);
INSERT INTO projection_ledger (projection_name, after_position, to_position, events, checksum) VALUES ('order_stats', -2, -1, 0, 9223372036854775807);
UPDATE saga_state SET missed_total = 9223372036854775807;
INSERT INTO order_saga (tenant_id, order_id, step, attempts, version) VALUES ('audit', 'x', 'SHIPPED', 2147483647, 1);
INSERT INTO restore_state (kind, part, holds) VALUES ('arrived', 'events', true);

-- No false alarm: batches of any size, events that come past the commands below the checkpoint, in a subtransaction, too,
-- rolled back or not, a checkpoint that is set back by hand, changes of mode, pauses, rebuilds, and tables that are emptied.
SELECT tools.create_orders('q', 30);
CALL projection_sync();
CALL projection_audit();
SELECT tools.create_orders('r', 30);
CALL projection_sync();
CREATE FUNCTION tools.insert_note(at bigint, id text) RETURNS void LANGUAGE sql AS $$
	INSERT INTO order_cqrs.events (position, tenant_id, aggregate_type, aggregate_id, version, event_type, data, actor, occurred_at)
	OVERRIDING SYSTEM VALUE SELECT at, 'audit', 'Order', id, 1, 'OrderCreated', data, actor, occurred_at
	  FROM order_cqrs.events WHERE tenant_id = 'audit' AND aggregate_id = 'r1' AND version = 1
$$;
BEGIN;
SAVEPOINT s;
SELECT tools.insert_note(:start - 1000000, 'low1');
ROLLBACK TO s;
SAVEPOINT s;
SELECT tools.insert_note(:start - 1000001, 'low2');
RELEASE s;
SELECT tools.insert_note(:start - 999999, 'low3');
COMMIT;
CALL projection_sync();
CALL projection_audit();
BEGIN;
SELECT tools.insert_note(:start - 999998, 'low4');
ROLLBACK;
UPDATE projection_state SET last_position = last_position - 7 WHERE projection_name = 'order_stats';
CALL projection_sync();
UPDATE projection_state SET last_position = 0 WHERE projection_name = 'order_stats';
CALL projection_sync();
CALL projection_audit();
CALL projection_set_mode('order_stats', 'sync');
SELECT tools.create_orders('s', 10);
CALL projection_set_mode('order_stats', 'async');
SELECT tools.create_orders('u', 10);
CALL projection_pause('order_stats');
SELECT tools.create_orders('v', 10);
CALL projection_resume('order_stats');
CALL projection_sync();
TRUNCATE order_stats, order_product_stats, order_stats_applied;
CALL projection_rebuild('order_stats');
CALL projection_audit();
CALL projection_set_mode('order_view', 'async');
SELECT tools.create_orders('w', 10);
CALL projection_sync();
CALL projection_set_mode('order_view', 'sync');
CALL projection_audit();
SELECT bool_and(is_true), bool_and(is_verified), bool_and(coalesce(after_position >= previous, true)) FROM tools.ledger;
SELECT * FROM tools.differences();

-- The saga: an order that its checkpoint has passed by is looked at after all.  One that somebody has passed by is not.
CALL saga_run();
SELECT missed_total AS missed FROM saga_state \gset
CALL order_create('passed', 'c', :'item');
UPDATE saga_state SET last_position = event_horizon();
CALL order_create('missed', 'c', :'item');
CALL saga_run();
DELETE FROM order_saga WHERE tenant_id = 'audit' AND order_id = 'missed';
CALL saga_run();
SELECT order_id, step FROM order_saga WHERE tenant_id = 'audit' AND order_id IN ('passed', 'missed');
SELECT missed_total - :missed AS missed FROM saga_state;
SELECT event_type FROM order_history('missed') ORDER BY version;
CALL saga_run();
SELECT missed_total - :missed AS missed FROM saga_state;
DROP VIEW tools.ledger;
DROP FUNCTION tools.insert_note, tools.create_orders;
