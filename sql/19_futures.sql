-- Futures, run by hand.  Ids are random, so that nothing is printed that has one.
SET search_path = order_cqrs, public;
SET order_cqrs.tenant_id = 'futures';
\pset format unaligned
\pset tuples_only on
\set VERBOSITY sqlstate
SELECT future_cancel(id) FROM bus_future WHERE status = 'waiting';
CALL customer_put('c', 'C', 'c@example.org');
CALL product_put('p', 'P', 'x');
CREATE SCHEMA handlers;
CREATE FUNCTION handlers.who(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE sql
	AS $$ SELECT jsonb_build_object('user', current_user, 'tenant', context->>'tenant_id', 'setting', current_setting('order_cqrs.tenant_id')) $$;
-- Fails so many times with a lost race.
CREATE SEQUENCE handlers.tries;
CREATE FUNCTION handlers.race(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	IF nextval('handlers.tries') <= (payload->>'losses')::int THEN
		RAISE 'lost' USING errcode = '40001';
	END IF;
	RETURN to_jsonb(currval('handlers.tries'));
END $$;
CREATE TABLE handlers.log (n int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED);
CREATE FUNCTION handlers.insert(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE sql
	AS $$ INSERT INTO handlers.log VALUES ((payload->>'n')::int) RETURNING to_jsonb(n) $$;
CREATE FUNCTION handlers.commit(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE plpgsql AS 'BEGIN COMMIT; RETURN payload; END';
CREATE FUNCTION handlers.nothing(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb';
SELECT command_handler_register('Who', 'handlers.who(jsonb, jsonb)'), command_handler_register('Race', 'handlers.race(jsonb, jsonb)'),
	command_handler_register('Insert', 'handlers.insert(jsonb, jsonb)'), command_handler_register('Commit', 'handlers.commit(jsonb, jsonb)'),
	query_handler_register('Null', 'handlers.nothing(jsonb, jsonb)');

-- A command and a query, in the order in which they were sent.
SELECT command_send_async('CreateOrder', '{"order_id": "o1", "customer_id": "c", "items": [{"product_id": "p", "quantity": 2, "unit_price": 1}]}') AS create \gset
SELECT query_send_async('GetOrder', '{"order_id": "o1"}') AS get \gset
SELECT query_send_async('Null', '{}') AS null \gset
SELECT future_status(:'create'), future_status(:'get');
SELECT kind, type, payload, command_id = id, tenant_id, session_role::text = quote_ident(session_user), role::text = quote_ident(current_user), status, attempts,
       created_at IS NULL, started_at IS NULL, finished_at IS NULL
  FROM bus_future WHERE status = 'waiting' ORDER BY number;
SELECT count(*) FROM order_view WHERE order_id = 'o1' AND tenant_id = 'futures';
CALL future_run(1);
SELECT future_status(:'create'), future_status(:'get');
CALL future_run();
SELECT future_status(:'create'), future_status(:'get');
SELECT future_get(:'create'), future_get(:'get', '0')->>'total_amount', future_get(:'null') IS NULL;
SELECT future_get(:'create', '1 hour');
SELECT version, event_type, command_id = :'create' FROM order_history('o1');
SELECT status, attempts, started_at >= created_at, finished_at >= started_at, error FROM bus_future WHERE id = :'create';

-- Errors are raised again, as they were.
SELECT command_send_async('CreateOrder', '{"order_id": "o1", "customer_id": "c", "items": [{"product_id": "p", "quantity": 2, "unit_price": 1}]}') AS exists \gset
SELECT command_send_async('Commit', '{}') AS commit \gset
CALL future_run();
SELECT future_status(:'exists');
SELECT tools.outcome(format('SELECT future_get(%L)', :'exists'));
SELECT error - 'context', error->>'context' = 'command "CreateOrder" with id ' || id, result FROM bus_future WHERE id = :'exists';
SELECT tools.outcome(format('SELECT future_get(%L)', :'commit'));
-- Also those that would have failed the commit.
SELECT command_send_async('Insert', '{"n": 1}') AS first \gset
SELECT command_send_async('Insert', '{"n": 1}') AS second \gset
CALL future_run();
SELECT future_get(:'first', '10 s');
SELECT future_get(:'second', '10 s');
SELECT count(*) FROM handlers.log;

-- A lost race is run again, five times in all.
SELECT command_send_async('Race', '{"losses": 3}') AS race \gset
CALL future_run();
SELECT future_get(:'race', '10 s');
SELECT attempts, status FROM bus_future WHERE id = :'race';
SELECT command_send_async('Race', '{"losses": 100}') AS race \gset
CALL future_run();
SELECT future_get(:'race', '10 s');
SELECT attempts, status FROM bus_future WHERE id = :'race';

-- What is wrong is said when it is sent.
SELECT tools.outcomes(
	$$SELECT command_send_async('CreateOrder', '{"order_id": "o1"}')$$,
	$$SELECT command_send_async('CompleteOrder', '{"order_id": "o1", "order": 1}')$$,
	$$SELECT command_send_async('CompleteOrder', NULL)$$,
	$$SELECT command_send_async('None', '{}')$$,
	$$SELECT query_send_async('GetOrder', '{}')$$,
	$$SELECT query_send_async('None', '{}')$$,
	$$SELECT query_send_async(NULL, '{}')$$,
	$$SELECT command_send_async('Who', '[]')$$,
	$$SELECT command_send_async('Who', '{}', tenant_id => '')$$);

-- A command_id of one's own; a tenant of one's own.
SELECT command_send_async('CompleteOrder', '{"order_id": "o1"}', '00000000-0000-0000-0000-00000000000a') AS a \gset
SELECT command_send_async('CompleteOrder', '{"order_id": "o1"}', '00000000-0000-0000-0000-00000000000a') AS b \gset
SELECT command_send_async('Who', '{}', tenant_id => 'another') AS who \gset
CALL future_run();
SELECT future_get(:'a') = future_get(:'b', '10 s'), future_get(:'who', '10 s') - 'user';
SELECT version, event_type, command_id IN (:'create', '00000000-0000-0000-0000-00000000000a') FROM order_history('o1');
SHOW order_cqrs.tenant_id;

-- Waiting.
SELECT command_send_async('Who', '{}') AS waiting \gset
SELECT tools.outcome(format('SELECT future_get(%L, ''-1 s'')', :'waiting'));
SELECT tools.outcomes('SELECT future_get(NULL)', 'SELECT future_status(NULL)', 'SELECT future_cancel(NULL)');
SELECT future_get('00000000-0000-0000-0000-000000000000');
SELECT future_status('00000000-0000-0000-0000-000000000000');
SELECT future_cancel('00000000-0000-0000-0000-000000000000');
-- One's own that is not committed.
BEGIN;
SELECT command_send_async('Who', '{}') AS own \gset
SELECT future_status(:'own');
SAVEPOINT s;
SELECT future_get(:'own', '1 s');
ROLLBACK TO s;
SELECT future_cancel(:'own');
SELECT future_get(:'own');
ROLLBACK;
SELECT future_status(:'own');

-- Cancelling.
SELECT future_cancel(:'waiting');
SELECT future_cancel(:'waiting'), future_cancel(:'who'), future_status(:'waiting'), future_status(:'who');
CALL future_run();
SELECT future_get(:'waiting', '10 s');
SELECT attempts, started_at FROM bus_future WHERE id = :'waiting';

-- future_run commits, so that it has to be by itself.
SELECT tools.outcomes('CALL future_run()', 'CALL future_run(0)', 'CALL future_run(-1)');
BEGIN;
CALL future_run();
ROLLBACK;

-- Nobody else sees, or runs, a future.
CREATE ROLE regress_order_sender;
CREATE ROLE regress_order_other;
CREATE ROLE regress_order_member;
GRANT regress_order_sender TO regress_order_member;
GRANT USAGE ON SCHEMA order_cqrs, handlers, tools TO regress_order_sender, regress_order_other;
SET ROLE regress_order_sender;
SELECT command_send_async('Who', '{}') AS who \gset
SELECT future_status(:'who');
RESET ROLE;
SELECT future_status(:'who');
CALL future_run();
SELECT future_status(:'who');
SET ROLE regress_order_other;
SELECT future_status(:'who');
SELECT future_cancel(:'who');
SELECT future_get(:'who', '0');
CALL future_run();
SET ROLE regress_order_member;
SELECT future_status(:'who');
CALL future_run();
SELECT future_status(:'who');
SET ROLE regress_order_sender;
CALL future_run();
SELECT future_get(:'who', '10 s')->>'user', current_user;
-- A session that logs in as the role is not the one that has sent it.
SELECT command_send_async('Who', '{}') AS who \gset
SET SESSION AUTHORIZATION regress_order_sender;
SELECT future_status(:'who');
CALL future_run();
SELECT future_status(:'who');
RESET SESSION AUTHORIZATION;
SELECT future_cancel(:'who');
-- A role that the session user cannot take on.
CREATE FUNCTION handlers.definer() RETURNS uuid LANGUAGE sql SECURITY DEFINER
	AS $$ SELECT order_cqrs.command_send_async('Who', '{}') $$;
SET SESSION AUTHORIZATION regress_order_sender;
SELECT tools.outcome('SELECT handlers.definer()') ~ '^42501: cannot send a future as role';
RESET SESSION AUTHORIZATION;

-- The sender is a role, and not its name: under a new name he sees and runs what he has sent, and whoever is given
-- the old name does not.  One that was dropped is nobody.
CREATE ROLE regress_order_old;
GRANT USAGE ON SCHEMA order_cqrs, handlers, tools TO regress_order_old;
SET SESSION AUTHORIZATION regress_order_old;
SELECT command_send_async('Who', '{}') AS who \gset
RESET SESSION AUTHORIZATION;
ALTER ROLE regress_order_old RENAME TO regress_order_new;
CREATE ROLE regress_order_old;
GRANT USAGE ON SCHEMA order_cqrs, handlers, tools TO regress_order_old;
SELECT session_role, role FROM bus_future WHERE id = :'who';
SET SESSION AUTHORIZATION regress_order_old;
SELECT future_status(:'who');
CALL future_run();
RESET SESSION AUTHORIZATION;
SELECT future_status(:'who');
SET SESSION AUTHORIZATION regress_order_new;
CALL future_run();
SELECT future_get(:'who', '10 s')->>'user';
SELECT command_send_async('Who', '{}') AS gone \gset
RESET SESSION AUTHORIZATION;
DROP OWNED BY regress_order_new;
DROP ROLE regress_order_new;
ALTER ROLE regress_order_old RENAME TO regress_order_new;
SELECT session_role, role, status FROM bus_future WHERE id IN (:'who', :'gone') ORDER BY number;
SET SESSION AUTHORIZATION regress_order_new;
SELECT future_status(:'who');
CALL future_run();
SELECT future_status(:'gone');
RESET SESSION AUTHORIZATION;
SELECT tools.outcome(format('SELECT future_get(%L)', :'gone'));
-- The session user is there, and the role that he had is not.
CREATE ROLE regress_order_hat;
GRANT USAGE ON SCHEMA order_cqrs, handlers TO regress_order_hat;
SET ROLE regress_order_hat;
SELECT command_send_async('Who', '{}') AS hat \gset
RESET ROLE;
DROP OWNED BY regress_order_hat;
DROP ROLE regress_order_hat;
CREATE ROLE regress_order_hat;
GRANT USAGE ON SCHEMA order_cqrs TO regress_order_hat;
SET ROLE regress_order_hat;
SELECT future_status(:'hat');
CALL future_run();
RESET ROLE;
SELECT future_cancel(:'hat');
DROP OWNED BY regress_order_new, regress_order_hat;
DROP ROLE regress_order_new, regress_order_hat;

-- The text of a role_ref is what a dump holds of it.
CREATE ROLE "regress Order -";
CREATE TEMPORARY TABLE refs (r role_ref);
INSERT INTO refs VALUES ('"regress Order -"'), ('regress_order_sender'), ('regress_order_none'), ('-'), ('REGRESS_ORDER_SENDER');
DROP ROLE "regress Order -";
INSERT INTO refs SELECT oid FROM pg_roles WHERE rolname = 'regress_order_other';
SELECT r, r::oid = 0, r::oid::regrole::text = r::text FROM refs ORDER BY refs.ctid;
SELECT tools.outcomes($$SELECT 'a.b'::order_cqrs.role_ref$$, $$SELECT ''::order_cqrs.role_ref$$, $$SELECT '"a'::order_cqrs.role_ref$$);

-- Times are read, and written, as the sender does it.
CREATE FUNCTION handlers.style(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('time', (payload->>'time')::timestamptz, 'text', (payload->>'time')::timestamptz::text, 'day', '2024-03-04'::date::text,
		'interval', '1 day 02:00'::interval::text) $$;
SELECT query_handler_register('Style', 'handlers.style(jsonb, jsonb)');
SET TimeZone = 'Asia/Seoul';
SET DateStyle = 'German';
SET IntervalStyle = 'iso_8601';
SELECT query_send('Style', '{"time": "02.03.2024 10:00"}') AS now, query_send_async('Style', '{"time": "02.03.2024 10:00"}') AS style \gset
SET TimeZone = 'America/New_York';
SET DateStyle = 'SQL, MDY';
SET IntervalStyle = 'postgres';
CALL future_run();
SELECT future_get(:'style', '10 s'), future_get(:'style') = :'now';
SELECT time_zone, date_style, interval_style FROM bus_future WHERE id = :'style';
SHOW TimeZone;
SET TIME ZONE INTERVAL '-08:30' HOUR TO MINUTE;
SELECT query_send_async('Style', '{"time": "2024-03-02 10:00"}') AS style \gset
RESET TimeZone;
RESET DateStyle;
RESET IntervalStyle;
CALL future_run();
SELECT future_get(:'style', '10 s');
SELECT query_handler_unregister('Style');

-- The queue is bounded, and so is each role's share: as many as are left free.  (Other tests may have left futures
-- waiting: none here.)
SELECT count(*) FROM bus_future WHERE status = 'waiting';
SELECT (setting::int + 1) / 2 AS capacity FROM pg_settings WHERE name = 'order_cqrs.queue_capacity' \gset
-- By those that wait, and not by those that were sent once and rolled back, or deleted.
BEGIN;
SELECT count(command_send_async('Who', '{}')) FROM generate_series(1, :capacity);
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT count(command_send_async('Who', '{}')) FROM generate_series(1, :capacity);
ROLLBACK TO s;
COMMIT;
SELECT count(command_send_async('Who', '{}')) FROM generate_series(1, :capacity);
DELETE FROM bus_future WHERE status = 'waiting';
SELECT count(command_send_async('Who', '{}')) FROM generate_series(1, :capacity);
SELECT tools.outcome($$SELECT command_send_async('Who', '{}')$$);
SELECT tools.outcome($$SELECT query_send_async('GetOrder', '{"order_id": "o1"}')$$);
-- Others have a share of what is left.
SET SESSION AUTHORIZATION regress_order_sender;
SELECT count(command_send_async('Who', '{}')) = :capacity / 2 FROM generate_series(1, :capacity / 2);
SELECT tools.outcome($$SELECT command_send_async('Who', '{}')$$) ~ '^OC501: the share of role "regress_order_sender" in';
SET SESSION AUTHORIZATION regress_order_other;
SELECT count(command_send_async('Who', '{}')) = :capacity / 4 FROM generate_series(1, :capacity / 4);
SELECT tools.outcome($$SELECT command_send_async('Who', '{}')$$) ~ '^OC501: the share of role "regress_order_other" in';
-- Those of one make no room for another, but for as many as they were.
RESET SESSION AUTHORIZATION;
SELECT count(*) FROM (SELECT future_cancel(id) AS is_cancelled FROM bus_future
	WHERE status = 'waiting' AND session_role = 'regress_order_other'::role_ref OFFSET 0) AS c WHERE is_cancelled;
SELECT tools.outcome($$SELECT command_send_async('Who', '{}')$$) ~ '^OC501';
SELECT count(*) FROM (SELECT future_cancel(id) AS is_cancelled FROM bus_future
	WHERE status = 'waiting' AND session_role = 'regress_order_sender'::role_ref OFFSET 0) AS c WHERE is_cancelled;
SELECT tools.outcome($$SELECT command_send_async('Who', '{}')$$) ~ '^OC501';
-- A cancellation that is rolled back makes no room.
BEGIN;
SAVEPOINT s;
SELECT count(*) FROM (SELECT future_cancel(id) FROM bus_future WHERE status = 'waiting' LIMIT 10 OFFSET 0) AS c;
ROLLBACK TO s;
COMMIT;
SELECT tools.outcome($$SELECT command_send_async('Who', '{}')$$) ~ '^OC501';
BEGIN;
SELECT count(*) FROM (SELECT future_cancel(id) FROM bus_future WHERE status = 'waiting' LIMIT 10 OFFSET 0) AS c;
ROLLBACK;
SELECT tools.outcome($$SELECT command_send_async('Who', '{}')$$) ~ '^OC501';
CALL future_run(1);
SELECT command_send_async('Who', '{}') IS NOT NULL;
SELECT tools.outcome($$SELECT command_send_async('Who', '{}')$$) ~ '^OC501';
SELECT count(*) FROM (SELECT future_cancel(id) AS is_cancelled FROM bus_future WHERE status = 'waiting') AS c WHERE is_cancelled;
SELECT command_send_async('Who', '{}') IS NOT NULL;
CALL future_run();

-- A handler that makes the session read-only ends future_run, which says so; what comes after it waits.
CREATE FUNCTION handlers.read_only(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE sql
	AS $$ SELECT to_jsonb(set_config('default_transaction_read_only', 'on', false)) $$;
SELECT command_handler_register('ReadOnly', 'handlers.read_only(jsonb, jsonb)');
SELECT command_send_async('ReadOnly', '{}') AS read_only \gset
SELECT command_send_async('Who', '{}') AS next \gset
\set VERBOSITY terse
CALL future_run();
\set VERBOSITY sqlstate
RESET default_transaction_read_only;
SELECT future_status(:'read_only'), future_status(:'next');
CALL future_run();
SELECT future_status(:'next'), command_handler_unregister('ReadOnly');
DROP FUNCTION handlers.read_only;

-- A future that was begun, and whose process is gone, is run again; the third time that it is gone is the last.
UPDATE bus_future SET status = 'running', attempts = 2, started_at = now() - interval '1 minute' WHERE id = :'a';
UPDATE bus_future SET status = 'running', attempts = 3, started_at = now() - interval '1 minute' WHERE id = :'b';
UPDATE bus_future SET status = 'running', attempts = 1, started_at = now() WHERE id = :'get';
CALL future_run();
SELECT id = :'a' AS is_a, status, attempts, error->>'sqlstate' FROM bus_future WHERE id IN (:'a', :'b', :'get') ORDER BY attempts, 1;
SELECT future_get(:'b', '10 s');
-- Nothing came twice.
SELECT version, event_type, command_id IN (:'create', '00000000-0000-0000-0000-00000000000a') FROM order_history('o1');

-- Clean up.
DELETE FROM bus_future;
SELECT command_handler_unregister('Who'), command_handler_unregister('Race'), command_handler_unregister('Insert'),
	command_handler_unregister('Commit'), query_handler_unregister('Null');
\set VERBOSITY terse
DROP SCHEMA handlers CASCADE;
DROP OWNED BY regress_order_sender, regress_order_other, regress_order_member;
DROP ROLE regress_order_sender, regress_order_other, regress_order_member;
CALL projection_sync();
SELECT * FROM tools.differences();
