-- A position is used once, whatever becomes of the sequence, and a checkpoint of another log is recognised.
-- What is numbered here is far from the positions of other tests: each move goes to another generation.
SET search_path = order_cqrs, public;
SET order_cqrs.tenant_id = 'positions';
\pset format unaligned
\pset tuples_only on
\set note '\'[{"type": "T", "data": {}}]\''
CREATE FUNCTION tools.where_is(checkpoint bigint) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM FROM order_cqrs.event_read(checkpoint, 1);
	RETURN 'ok';
EXCEPTION WHEN SQLSTATE 'OC306' THEN
	RETURN regexp_replace(SQLERRM, '[0-9]+', 'N');
END $$;
SELECT jsonb_agg('{"type": "T", "data": {}}'::jsonb) AS many FROM generate_series(1, 60) \gset
CALL event_append('Note', 'first', :'many');
CALL projection_sync();
SELECT event_horizon() AS old_end \gset

-- Nobody can have reached what was not drawn yet.
SELECT tools.where_is(:old_end), tools.where_is(:old_end + 1), tools.where_is(9223372036854775807), tools.where_is(-1);

-- The sequence is set back.  This session has looked at it before: what it draws is taken, and the next try is right.
SELECT setval('events_position_seq', :old_end - 50) IS NOT NULL AS is_set_back;
\set VERBOSITY terse
CALL event_append('Note', 'second', :note);
CALL event_append('Note', 'second', :note);
\set VERBOSITY default
SELECT last_value / 1000000000 - :old_end / 1000000000 BETWEEN 2 AND 100002 AS has_moved_on FROM events_position_seq;
SELECT count(*), count(DISTINCT position) FROM events WHERE tenant_id = 'positions';
CALL projection_sync();
SELECT bool_and(last_position = event_horizon()) AS all_at_horizon FROM projection_state;

-- A checkpoint at the old end is one of this log, and so is the new beginning; what lies between was lost.
SELECT event_horizon() AS new_end \gset
SELECT tools.where_is(:old_end), tools.where_is(:old_end + 1), tools.where_is(:old_end + 5000), tools.where_is(:new_end - 1),
       tools.where_is(:new_end), tools.where_is(:new_end + 1);
SELECT count(*) FROM event_read(:old_end);
SELECT count(*) FROM event_read(:old_end, aggregate_types => '{Note}');

-- A session that has not appended yet looks first, under each isolation level.
SELECT setval('events_position_seq', :old_end) IS NOT NULL AS is_set_back;
\c
SET search_path = order_cqrs, public;
SET order_cqrs.tenant_id = 'positions';
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT count(*) FROM events WHERE tenant_id = 'positions';
\set VERBOSITY terse
CALL event_append('Note', 'third', :note, version => NULL);
\set VERBOSITY default
COMMIT;
SELECT last_value > :new_end AS is_further FROM events_position_seq;
-- It is done once.
SELECT last_value FROM events_position_seq \gset
\c
SET search_path = order_cqrs, public;
SET order_cqrs.tenant_id = 'positions';
CALL event_append('Note', 'third', :note, version => NULL);
SELECT last_value - :last_value FROM events_position_seq;

-- Near the greatest bigint there is no room for a gap.  A session that has not looked yet finds that out, and says so.
\c
SET search_path = order_cqrs, public;
SET order_cqrs.tenant_id = 'positions';
BEGIN;
INSERT INTO events (position, tenant_id, aggregate_type, aggregate_id, version, event_type, data, actor, occurred_at)
OVERRIDING SYSTEM VALUE
SELECT 9223372036854775000, 'positions', 'Note', 'last', 1, 'T', '{}', 'me', now();
CALL event_append('Note', 'third', :note);
ROLLBACK;

-- A position is unique, whoever writes it.
\set VERBOSITY terse
INSERT INTO events (position, tenant_id, aggregate_type, aggregate_id, version, event_type, data, actor, occurred_at)
OVERRIDING SYSTEM VALUE
SELECT position, 'positions', 'Note', 'copy', 1, 'T', '{}', 'me', now() FROM events WHERE aggregate_id = 'third' AND version = 1;
\set VERBOSITY default

-- A checkpoint beyond the end of the log is reported, and nothing is passed over.
CALL customer_put('c', 'C', 'c@example.org');
CALL product_put('p', 'P', 'x');
CALL projection_sync();
UPDATE projection_state SET last_position = 9000000000000000000 WHERE projection_name IN ('order_stats', 'order_view');
UPDATE saga_state SET last_position = 9000000000000000000;
CALL order_create('beyond', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]');
\set VERBOSITY terse
CALL projection_sync();
CALL saga_run();
\set VERBOSITY default
CALL projection_sync();
SELECT bool_and(last_position = event_horizon()) AS all_at_horizon FROM projection_state;
SELECT status, orders FROM order_stats WHERE tenant_id = 'positions';
SELECT step FROM order_saga WHERE order_id = 'beyond';
SELECT last_position <= event_horizon() AS is_in_the_log FROM saga_state;
SELECT * FROM tools.differences();
CALL projection_sync();
UPDATE projection_state SET last_position = 9000000000000000000 WHERE projection_name = 'order_stats';
UPDATE saga_state SET last_position = 9000000000000000000;
\set VERBOSITY sqlstate
CALL projection_sync();
CALL saga_run();
\set VERBOSITY default
SELECT * FROM tools.differences();
DROP FUNCTION tools.where_is;
