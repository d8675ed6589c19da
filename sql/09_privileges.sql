-- USAGE on the schema is all that an application needs, and all that it gets.
SET order_cqrs.tenant_id = 'privileges';
\pset format unaligned
\pset tuples_only on
CREATE ROLE regress_order_app;
CREATE ROLE regress_order_other;
GRANT USAGE ON SCHEMA tools TO regress_order_app;
CALL order_cqrs.customer_put('c', 'C', 'c@example.org');
CALL order_cqrs.product_put('p', 'P', 'x');
CALL order_cqrs.order_create('o', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]');

-- Without it.
SET SESSION AUTHORIZATION regress_order_app;
SELECT tools.outcomes($$CALL order_cqrs.order_complete('o')$$, $$SELECT order_cqrs.order_get('o')$$);
RESET SESSION AUTHORIZATION;
GRANT USAGE ON SCHEMA order_cqrs TO regress_order_app;

-- With it: every command, by either procedure, and the queries of orders.
SET SESSION AUTHORIZATION regress_order_app;
CALL order_cqrs.customer_put('app', 'App', 'app@example.org');
CALL order_cqrs.customer_put('app', 'App Inc.', 'app@example.org', version => NULL);
CALL order_cqrs.product_put('app', 'App', 'x');
CALL order_cqrs.product_put('app', 'App XL', 'x', version => NULL);
CALL order_cqrs.order_create('app1', 'app', '[{"product_id": "app", "quantity": 1, "unit_price": 1}]');
CALL order_cqrs.order_create('app2', 'app', '[{"product_id": "app", "quantity": 1, "unit_price": 1}]', version => NULL);
CALL order_cqrs.order_update('app1', '[{"product_id": "app", "quantity": 2, "unit_price": 1}]');
CALL order_cqrs.order_update('app2', '[{"product_id": "app", "quantity": 2, "unit_price": 1}]', version => NULL);
CALL order_cqrs.order_complete('app1');
CALL order_cqrs.order_complete('app2', version => NULL);
CALL order_cqrs.order_cancel('app1');
CALL order_cqrs.order_cancel('app2', version => NULL);
CALL order_cqrs.event_append('Basket', 'app', '[{"type": "T", "data": {}}]');
CALL order_cqrs.event_append('Basket', 'app', '[{"type": "T", "data": {}}]', version => NULL);
SELECT customer_name, status, total_amount, items FROM order_cqrs.order_get('app1');
SELECT version, event_type, actor FROM order_cqrs.order_history('app1');
SELECT status, version FROM order_cqrs.order_as_of('app1', 'infinity');
SELECT order_id, status FROM order_cqrs.customer_orders('app') ORDER BY 1;
SELECT order_id, status FROM order_cqrs.order_search(customer_name => 'inc.', product_name => 'xl', sort => 'customer_name');
SELECT order_cqrs.order_search_count(customer_id => 'app', exact => true), order_cqrs.order_search_count() > 0;
SELECT length(order_cqrs.order_next_id());
SELECT tools.outcomes($$CALL order_cqrs.order_complete('app1')$$,
	$$CALL order_cqrs.order_create('app3', 'nobody', '[{"product_id": "app", "quantity": 1, "unit_price": 1}]')$$);
-- A refused command does not leave the application with its owner's rights.
SELECT current_user, session_user;
SELECT count(*) FROM order_cqrs.customers;
\echo :SQLSTATE

-- No table, no sequence, no view.
RESET SESSION AUTHORIZATION;
CREATE FUNCTION tools.privileges(role name) RETURNS TABLE (relation name, privileges text) LANGUAGE sql AS $$
	SELECT c.relname, string_agg(p.privilege, ' ')
	  FROM pg_class c, unnest(CASE c.relkind WHEN 'S' THEN '{SELECT,USAGE,UPDATE}'::text[]
	       ELSE '{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}' END) AS p (privilege)
	 WHERE c.relnamespace = 'order_cqrs'::regnamespace AND c.relkind IN ('r', 'v', 'S')
	   AND CASE c.relkind WHEN 'S' THEN has_sequence_privilege(role, c.oid, p.privilege)
	            ELSE has_table_privilege(role, c.oid, p.privilege) END
	 GROUP BY 1 ORDER BY c.relname COLLATE "C"
$$;
SELECT * FROM tools.privileges('regress_order_app');
-- Routines.
SELECT p.proname, p.pronargs FROM pg_proc p
 WHERE p.pronamespace = 'order_cqrs'::regnamespace AND has_function_privilege('regress_order_app', p.oid, 'EXECUTE')
 ORDER BY p.proname COLLATE "C", 2;
SET SESSION AUTHORIZATION regress_order_app;
SELECT tools.outcomes(
	'SELECT * FROM order_cqrs.events',
	$$INSERT INTO order_cqrs.events (tenant_id, aggregate_type, aggregate_id, version, event_type, data, actor, occurred_at)
	VALUES ('privileges', 'Order', 'x', 1, 'OrderCreated', '{}', 'x', now())$$,
	'UPDATE order_cqrs.events SET data = data',
	'DELETE FROM order_cqrs.events',
	'TRUNCATE order_cqrs.events',
	$$SELECT nextval('order_cqrs.events_position_seq')$$,
	'SELECT * FROM order_cqrs.order_view',
	'DELETE FROM order_cqrs.order_view',
	'UPDATE order_cqrs.projection_state SET status = status',
	'SELECT * FROM order_cqrs.projection_status',
	'SELECT * FROM order_cqrs.event_horizon_wait',
	'SELECT * FROM order_cqrs.event_read(0)',
	'SELECT order_cqrs.event_horizon()',
	'CALL order_cqrs.projection_sync()',
	$$CALL order_cqrs.projection_rebuild('order_view')$$,
	$$CALL order_cqrs.projection_pause('order_view')$$,
	$$CALL order_cqrs.projection_resume('order_view')$$,
	$$CALL order_cqrs.projection_set_mode('order_view', 'async')$$,
	$$SELECT * FROM order_cqrs.projection_verify('order_view')$$,
	'SELECT * FROM order_cqrs.order_fold()',
	'CREATE TABLE order_cqrs.mine (n int)',
	'CREATE TRIGGER t AFTER INSERT ON order_cqrs.events FOR EACH ROW EXECUTE FUNCTION order_cqrs.events_project()',
	'ALTER TABLE order_cqrs.events DISABLE TRIGGER ALL',
	'DROP EXTENSION order_cqrs');

-- Objects of its own, earlier in its path, do not get it any further.
CREATE TEMP TABLE events (LIKE pg_class);
CREATE TEMP TABLE customers (tenant_id text, customer_id text, name text, email text);
INSERT INTO customers VALUES ('privileges', 'forged', 'F', 'f');
SET search_path = pg_temp, order_cqrs, pg_catalog;
SELECT left(tools.outcome($$CALL order_cqrs.order_create('app9', 'forged', '[{"product_id": "app", "quantity": 1, "unit_price": 1}]')$$), 5);
CALL order_cqrs.order_create('app4', 'app', '[{"product_id": "app", "quantity": 1, "unit_price": 1}]', version => NULL);
RESET search_path;
DISCARD TEMP;

-- What is granted one by one works, without any table.
RESET SESSION AUTHORIZATION;
GRANT EXECUTE ON FUNCTION order_cqrs.event_read, order_cqrs.event_horizon, order_cqrs.projection_verify TO regress_order_app;
GRANT EXECUTE ON PROCEDURE order_cqrs.projection_sync, order_cqrs.projection_rebuild, order_cqrs.projection_pause,
	order_cqrs.projection_resume, order_cqrs.projection_set_mode TO regress_order_app;
GRANT SELECT ON order_cqrs.order_view, order_cqrs.projection_status TO regress_order_app;
SET SESSION AUTHORIZATION regress_order_app;
CALL order_cqrs.projection_sync();
CALL order_cqrs.projection_pause('order_stats');
CALL order_cqrs.projection_resume('order_stats');
CALL order_cqrs.projection_set_mode('order_stats', 'sync');
CALL order_cqrs.projection_set_mode('order_stats', 'async');
CALL order_cqrs.projection_rebuild('order_view');
SELECT count(*) FROM order_cqrs.projection_verify('order_view');
SELECT count(*) FROM order_cqrs.event_read(0, 100000, '{Basket}') WHERE tenant_id = 'privileges';
SELECT order_cqrs.event_horizon() > 0;
SELECT count(*) FROM order_cqrs.order_view WHERE tenant_id = 'privileges';
SELECT count(*) FROM order_cqrs.projection_status;
SELECT tools.outcome('SELECT * FROM order_cqrs.order_item_view');

-- The session role is who logged in, whatever roles and functions are put on; and so is the actor, unless the session says otherwise.
RESET SESSION AUTHORIZATION;
CREATE FUNCTION tools.complete(id text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
	CALL order_cqrs.order_complete(id);
END $$;
GRANT regress_order_other TO regress_order_app;
GRANT USAGE ON SCHEMA order_cqrs TO regress_order_other;
CALL order_cqrs.order_create('actors', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]');
SET ROLE regress_order_app;
CALL order_cqrs.order_update('actors', '[{"product_id": "p", "quantity": 2, "unit_price": 1}]');
SELECT current_user = 'regress_order_app' AS role_kept;
RESET ROLE;
SET SESSION AUTHORIZATION regress_order_app;
SET ROLE regress_order_other;
CALL order_cqrs.order_update('actors', '[{"product_id": "p", "quantity": 3, "unit_price": 1}]');
SELECT current_user, session_user;
RESET ROLE;
SET order_cqrs.actor = 'ada';
SELECT tools.complete('actors');
BEGIN;
SAVEPOINT s;
SET LOCAL order_cqrs.actor = 'bob';
ROLLBACK TO s;
CALL order_cqrs.event_append('Note', 'actors', '[{"type": "T", "data": {}}, {"type": "T", "data": {}}]');
COMMIT;
SELECT DISTINCT session_role, actor FROM order_cqrs.stream_read('Note', 'actors');
RESET order_cqrs.actor;
SELECT tools.outcome(format('SET order_cqrs.actor = %L', repeat('x', 256)));
SELECT tools.outcome(format('SET LOCAL order_cqrs.actor = %L', repeat('x', 255)));
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_order_other;
CALL order_cqrs.order_cancel('actors');
RESET SESSION AUTHORIZATION;
SELECT version, event_type, CASE session_role WHEN session_user THEN 'session user' ELSE session_role END,
       CASE actor WHEN session_user THEN 'session user' ELSE actor END
  FROM order_cqrs.order_history('actors');

CALL order_cqrs.projection_sync();
SELECT * FROM tools.differences();
DROP FUNCTION tools.privileges, tools.complete;
DROP OWNED BY regress_order_app, regress_order_other;
DROP ROLE regress_order_app, regress_order_other;

-- Nothing of a session's user runs as the owner: what he has deferred waits for his commit, whatever procedure he calls.
CREATE ROLE regress_order_operator;
CREATE SCHEMA operator AUTHORIZATION regress_order_operator;
GRANT USAGE ON SCHEMA order_cqrs TO regress_order_operator;
GRANT EXECUTE ON PROCEDURE order_cqrs.projection_sync(text), order_cqrs.projection_resume(text), order_cqrs.projection_pause(text),
	order_cqrs.saga_run() TO regress_order_operator;
SET SESSION AUTHORIZATION regress_order_operator;
CREATE TABLE operator.bait (fired_as name);
CREATE FUNCTION operator.fire() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE 'fired as %', current_user;
	RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER bait AFTER INSERT ON operator.bait DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION operator.fire();
BEGIN;
INSERT INTO operator.bait VALUES ('me');
CALL order_cqrs.event_append('Basket', 'bait', '[{"type": "T", "data": {}}]');
CALL order_cqrs.order_create('bait', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]');
CALL order_cqrs.projection_sync();
CALL order_cqrs.projection_pause('order_view');
CALL order_cqrs.projection_resume('order_view');
\echo not yet
COMMIT;
BEGIN;
INSERT INTO operator.bait VALUES ('me');
CALL order_cqrs.saga_run();
ROLLBACK;
RESET SESSION AUTHORIZATION;
DROP SCHEMA operator CASCADE;
REVOKE ALL ON SCHEMA order_cqrs FROM regress_order_operator;
REVOKE ALL ON ALL ROUTINES IN SCHEMA order_cqrs FROM regress_order_operator;
DROP ROLE regress_order_operator;
