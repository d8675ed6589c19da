-- Commands from wherever they may be called.
SET order_cqrs.tenant_id = 'callers';
\pset format unaligned
\pset tuples_only on
\set item '[{"product_id": "p", "quantity": 1, "unit_price": 1}]'

CALL order_cqrs.customer_put('c', 'C', 'c@example.org');
CALL order_cqrs.product_put('p', 'P', 'x');

-- psql: by position, by name, in any order.
CALL order_cqrs.order_create('o1', 'c', :'item');
CALL order_cqrs.order_create('o2', 'c', :'item', NULL, NULL, NULL, NULL, NULL);
CALL order_cqrs.order_create(items => :'item', customer_id => 'c', order_id => 'o3', version => NULL);
CALL order_cqrs.order_update('o1', :'item', 'r', '00000000-0000-7000-8000-000000000001', 1, '{"a": 1}', 'callers', NULL);
CALL order_cqrs.order_cancel('o1', 'r', '00000000-0000-7000-8000-000000000002', 2, '{"a": 1}', 'callers', 99);
CALL order_cqrs.order_complete('o2', NULL, 1, NULL, NULL, NULL);
-- No number by position is taken for the expected version.
SELECT tools.outcomes(
	$$CALL order_cqrs.payment_refund('o2', 30)$$,
	$$CALL order_cqrs.payment_refund('o2', 30, version => NULL)$$,
	$$CALL order_cqrs.payment_complete('o2', 'bank-1', 30)$$,
	$$CALL order_cqrs.payment_complete('o2', 30.00)$$,
	$$CALL order_cqrs.stock_receive('p', 5, 30)$$);

-- Ids of every kind of string.
CREATE DOMAIN public.order_number AS text CHECK (VALUE LIKE 'o%');
DO $$
DECLARE
	item jsonb := '[{"product_id": "p", "quantity": 1, "unit_price": 1}]';
	a varchar(20) := 'o varchar';
	b name := 'o name';
	c char(6) := 'o char';
	d public.order_number := 'o domain';
	v int;
BEGIN
	CALL order_cqrs.order_create(a, 'c', item);
	CALL order_cqrs.order_create(b, 'c', item);
	CALL order_cqrs.order_create(c, 'c', item);
	CALL order_cqrs.order_create(d, 'c', item);
	CALL order_cqrs.order_complete(a, version => v);
	CALL order_cqrs.order_complete(b, version => v);
	CALL order_cqrs.order_complete(c, version => v);
	CALL order_cqrs.order_complete(d, version => v);
	RAISE NOTICE '%', v;
END $$;
SELECT order_id, status FROM order_cqrs.order_view WHERE tenant_id = 'callers' ORDER BY 1;
DROP DOMAIN public.order_number;

-- PL/pgSQL: every command with and without the version.
DO $$
DECLARE
	item jsonb := '[{"product_id": "p", "quantity": 1, "unit_price": 1}]';
	v int;
BEGIN
	CALL order_cqrs.customer_put('d', 'D', 'd');
	CALL order_cqrs.product_put('q', 'Q', 'd');
	CALL order_cqrs.order_create('p1', 'd', item);
	CALL order_cqrs.order_update('p1', item);
	CALL order_cqrs.order_complete('p1');
	CALL order_cqrs.order_cancel('p1');
	CALL order_cqrs.event_append('Basket', 'p1', '[{"type": "T", "data": {}}]');
	CALL order_cqrs.customer_put('d', 'D2', 'd', version => v);
	RAISE NOTICE 'customer_put %', v;
	CALL order_cqrs.product_put('q', 'Q2', 'd', version => v);
	RAISE NOTICE 'product_put %', v;
	v := NULL;
	CALL order_cqrs.order_create('p2', 'd', item, version => v);
	RAISE NOTICE 'order_create %', v;
	CALL order_cqrs.order_update('p2', item, version => v, expected_version => v);
	RAISE NOTICE 'order_update %', v;
	CALL order_cqrs.order_complete('p2', NULL, v, NULL, NULL, v);
	RAISE NOTICE 'order_complete %', v;
	CALL order_cqrs.order_cancel('p2', 'r', version => v);
	RAISE NOTICE 'order_cancel %', v;
	CALL order_cqrs.event_append('Basket', 'p1', '[{"type": "T", "data": {}}, {"type": "T", "data": {}}]', version => v);
	RAISE NOTICE 'event_append %', v;
END $$;

-- Prepared by EXECUTE ... USING, many times over.
DO $$
DECLARE
	v int;
BEGIN
	FOR n IN 1 .. 20 LOOP
		EXECUTE 'CALL order_cqrs.order_create($1, $2, $3)'
			USING 'x' || n, 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]'::jsonb;
		EXECUTE 'CALL order_cqrs.order_complete($1, expected_version => $2, version => NULL)' INTO v USING 'x' || n, 1;
	END LOOP;
	RAISE NOTICE '%', v;
END $$;
SELECT count(*), min(version), max(version) FROM order_cqrs.order_view WHERE tenant_id = 'callers' AND order_id LIKE 'x%';

-- A function, a procedure that commits, SQL functions, a trigger.
CREATE FUNCTION public.place(id text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	v int;
BEGIN
	CALL order_cqrs.order_create(id, 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]', version => v);
	RETURN v;
END $$;
SELECT public.place('f' || n) FROM generate_series(1, 3) n;
CREATE PROCEDURE public.place_many() LANGUAGE plpgsql AS $$
BEGIN
	FOR n IN 1 .. 5 LOOP
		CALL order_cqrs.order_create('m' || n, 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]');
		IF n % 2 = 0 THEN ROLLBACK; ELSE COMMIT; END IF;
	END LOOP;
END $$;
CALL public.place_many();
SELECT order_id FROM order_cqrs.order_view WHERE tenant_id = 'callers' AND order_id LIKE 'm%' ORDER BY 1;
CREATE PROCEDURE public.complete(id text) LANGUAGE sql AS 'CALL order_cqrs.order_complete(id)';
CALL public.complete('f1');
CREATE FUNCTION public.look(id text) RETURNS text LANGUAGE sql AS 'SELECT status FROM order_cqrs.order_get(id)';
SELECT public.look('f1'), public.look('f2');
CREATE TABLE public.wishes (id text);
CREATE FUNCTION public.grant_wish() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	CALL order_cqrs.order_create(NEW.id, 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]');
	RETURN NEW;
END $$;
CREATE TRIGGER grant_wish BEFORE INSERT ON public.wishes FOR EACH ROW EXECUTE FUNCTION public.grant_wish();
INSERT INTO public.wishes VALUES ('w1'), ('w2');
SELECT public.look('w1'), public.look('w2');
INSERT INTO public.wishes VALUES ('w3'), ('w1');
\echo :SQLSTATE
SELECT count(*) FROM order_cqrs.order_view WHERE tenant_id = 'callers' AND order_id LIKE 'w%';
SELECT id FROM public.wishes ORDER BY 1;

-- A command within a command: a trigger that the owner adds to a read table.
CREATE FUNCTION public.follow_up() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	CALL order_cqrs.event_append('Mail', NEW.order_id, '[{"type": "MailDue", "data": {}}, {"type": "MailDue", "data": {}}]');
	CALL order_cqrs.order_create('gift for ' || NEW.order_id, 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 0}]');
	RETURN NULL;
END $$;
CREATE TRIGGER follow_up AFTER UPDATE ON order_cqrs.order_view FOR EACH ROW
	WHEN (NEW.status = 'COMPLETED') EXECUTE FUNCTION public.follow_up();
CALL order_cqrs.order_complete('w1', version => NULL);
SELECT aggregate_type, aggregate_id, version, event_type FROM order_cqrs.events
 WHERE tenant_id = 'callers' AND aggregate_id LIKE '%w1' ORDER BY position;
SELECT order_id, status, total_amount FROM order_cqrs.order_summary_view WHERE tenant_id = 'callers' AND order_id LIKE '%w1' ORDER BY 1;
DROP TRIGGER follow_up ON order_cqrs.order_view;
DROP FUNCTION public.follow_up;
DROP TABLE public.wishes;
DROP FUNCTION public.grant_wish;
CALL order_cqrs.projection_sync();
SELECT * FROM tools.differences();

-- An exception block that ends with an error leaves nothing of what was in it.
SELECT tools.fingerprint() AS before \gset
DO $$
DECLARE
	item jsonb := '[{"product_id": "p", "quantity": 1, "unit_price": 1}]';
	v int;
BEGIN
	BEGIN
		CALL order_cqrs.order_complete('o3', version => v);
		CALL order_cqrs.order_create('e1', 'c', item);
		CALL order_cqrs.customer_put('e', 'E', 'e');
		CALL order_cqrs.order_create('e2', 'e', item);
		CALL order_cqrs.customer_put('c', 'renamed', 'c');
		CALL order_cqrs.event_append('Basket', 'e', '[{"type": "T", "data": {}}]');
		CALL order_cqrs.order_create('e3', 'nobody', item);
	EXCEPTION WHEN SQLSTATE 'OC103' THEN
		RAISE NOTICE '% %', SQLSTATE, SQLERRM;
	END;
	-- The customer of the block is gone, too.
	BEGIN
		CALL order_cqrs.order_create('e2', 'e', item);
	EXCEPTION WHEN OTHERS THEN
		RAISE NOTICE '% %', SQLSTATE, SQLERRM;
	END;
END $$;
SELECT tools.fingerprint() = :'before' AS nothing_left_behind;
SELECT tools.outcome($$CALL order_cqrs.order_create('e2', 'e', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]')$$);
-- One whose error is caught deeper keeps the rest, and the versions go on.
DO $$
DECLARE
	item jsonb := '[{"product_id": "p", "quantity": 1, "unit_price": 1}]';
	v int;
BEGIN
	CALL order_cqrs.order_create('e4', 'c', item);
	FOR n IN 1 .. 4 LOOP
		BEGIN
			CALL order_cqrs.order_update('e4', item, 'attempt ' || n, version => v);
			IF n IN (1, 3) THEN
				RAISE EXCEPTION 'no';
			END IF;
		EXCEPTION WHEN raise_exception THEN
			NULL;
		END;
		RAISE NOTICE '% %', n, v;
	END LOOP;
END $$;
SELECT version, data ->> 'reason' FROM order_cqrs.order_history('e4');
SELECT name FROM order_cqrs.customers WHERE tenant_id = 'callers' AND customer_id = 'c';

-- Savepoints.
BEGIN;
CALL order_cqrs.order_create('s1', 'c', :'item', version => NULL);
SAVEPOINT a;
CALL order_cqrs.order_complete('s1', version => NULL);
CALL order_cqrs.customer_put('s', 'S', 's');
CALL order_cqrs.order_create('s2', 's', :'item', version => NULL);
SAVEPOINT b;
CALL order_cqrs.order_create('s3', 'nobody', :'item');
\echo :SQLSTATE
ROLLBACK TO b;
CALL order_cqrs.order_cancel('s1', version => NULL);
ROLLBACK TO a;
CALL order_cqrs.order_create('s2', 's', :'item', version => NULL);
\echo :SQLSTATE
ROLLBACK TO a;
CALL order_cqrs.order_cancel('s1', version => NULL);
RELEASE a;
CALL order_cqrs.order_create('s4', 'c', :'item', version => NULL);
COMMIT;
SELECT order_id, status, version FROM order_cqrs.order_view WHERE tenant_id = 'callers' AND order_id LIKE 's%' ORDER BY 1;
SELECT aggregate_id, version, event_type FROM order_cqrs.events
 WHERE tenant_id = 'callers' AND aggregate_id LIKE 's%' ORDER BY position;

-- Several events of several orders in one transaction; and one that is rolled back.
BEGIN;
CALL order_cqrs.order_create('t1', 'c', :'item');
CALL order_cqrs.order_create('t2', 'c', :'item');
CALL order_cqrs.order_update('t1', :'item');
CALL order_cqrs.order_complete('t2');
CALL order_cqrs.customer_put('t', 'T', 't');
CALL order_cqrs.order_create('t3', 't', :'item');
CALL order_cqrs.customer_put('t', 'T, renamed', 't');
CALL order_cqrs.order_complete('t1');
COMMIT;
SELECT aggregate_id, version, event_type FROM order_cqrs.events
 WHERE tenant_id = 'callers' AND aggregate_id LIKE 't%' ORDER BY position;
SELECT order_id, customer_name, status, version FROM order_cqrs.order_view WHERE tenant_id = 'callers' AND order_id LIKE 't%' ORDER BY 1;
CALL order_cqrs.projection_sync();
SELECT * FROM tools.differences();
SELECT tools.fingerprint() AS before \gset
BEGIN;
CALL order_cqrs.order_cancel('t1');
CALL order_cqrs.order_create('t4', 'c', :'item');
CALL order_cqrs.customer_put('t', 'T, again', 't');
CALL order_cqrs.product_put('t', 'T', 't');
CALL order_cqrs.projection_sync();
SELECT count(*) FROM order_cqrs.order_stats_applied WHERE tenant_id = 'callers' AND order_id = 't4';
ROLLBACK;
SELECT tools.fingerprint() = :'before' AS nothing_left_behind;
SELECT tools.outcome($$CALL order_cqrs.order_create('t4', 'c', '[{"product_id": "t", "quantity": 1, "unit_price": 1}]')$$);

-- Nor does the session remember a customer that was rolled back.
BEGIN;
CALL order_cqrs.customer_put('u', 'U', 'u');
CALL order_cqrs.product_put('u', 'U', 'u');
CALL order_cqrs.order_create('u1', 'u', '[{"product_id": "u", "quantity": 1, "unit_price": 1}]', version => NULL);
ROLLBACK;
SELECT left(tools.outcome($$CALL order_cqrs.order_create('u1', 'u', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]')$$), 5),
       left(tools.outcome($$CALL order_cqrs.order_create('u1', 'c', '[{"product_id": "u", "quantity": 1, "unit_price": 1}]')$$), 5);
BEGIN;
CALL order_cqrs.customer_put('c', 'C, rolled back', 'c');
CALL order_cqrs.order_create('u1', 'c', :'item');
SELECT customer_name FROM order_cqrs.order_get('u1');
ROLLBACK;
CALL order_cqrs.order_create('u1', 'c', :'item');
SELECT customer_name FROM order_cqrs.order_get('u1');

-- Isolation levels; a transaction that may not write.
BEGIN ISOLATION LEVEL REPEATABLE READ;
CALL order_cqrs.order_create('i1', 'c', :'item', version => NULL);
CALL order_cqrs.order_complete('i1', version => NULL);
SELECT status FROM order_cqrs.order_get('i1');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
CALL order_cqrs.order_cancel('i1', version => NULL);
COMMIT;
BEGIN READ ONLY;
SELECT status FROM order_cqrs.order_get('i1');
SELECT count(*) FROM order_cqrs.order_history('i1');
SELECT status FROM order_cqrs.order_as_of('i1', 'infinity');
SELECT count(*) FROM order_cqrs.customer_orders('c', page_size => 1);
SELECT count(*) FROM order_cqrs.order_search(status => '{CANCELLED}', page_size => 1);
SELECT order_cqrs.order_search_count() > 0, order_cqrs.order_search_count(customer_id => 'nobody', exact => true);
SELECT count(*) > 0 FROM order_cqrs.event_read(0);
SELECT count(*) FROM order_cqrs.projection_verify('order_view');
SELECT tools.outcome($$CALL order_cqrs.order_create('i2', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]')$$);
ROLLBACK;

-- A search_path that wants to mislead, with objects that raise an error when they are used.
CREATE SCHEMA hostile;
CREATE FUNCTION hostile.trap(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE FUNCTION hostile.trap(int, int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE FUNCTION hostile.trap(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE OPERATOR hostile.= (FUNCTION = hostile.trap, LEFTARG = text, RIGHTARG = text);
CREATE OPERATOR hostile.<> (FUNCTION = hostile.trap, LEFTARG = text, RIGHTARG = text);
CREATE OPERATOR hostile.= (FUNCTION = hostile.trap, LEFTARG = int, RIGHTARG = int);
CREATE OPERATOR hostile.< (FUNCTION = hostile.trap, LEFTARG = int, RIGHTARG = int);
CREATE OPERATOR hostile.> (FUNCTION = hostile.trap, LEFTARG = bigint, RIGHTARG = bigint);
CREATE OPERATOR hostile.<= (FUNCTION = hostile.trap, LEFTARG = bigint, RIGHTARG = bigint);
CREATE FUNCTION hostile.unnest(anyarray) RETURNS SETOF anyelement LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE FUNCTION hostile.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE FUNCTION hostile.to_jsonb(anyelement) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE FUNCTION hostile.jsonb_build_object(VARIADIC "any") RETURNS jsonb LANGUAGE internal AS 'now';
CREATE AGGREGATE hostile.sum(bigint) (SFUNC = pg_catalog.int8larger, STYPE = bigint);
CREATE AGGREGATE hostile.count(*) (SFUNC = pg_catalog.int8inc, STYPE = bigint, INITCOND = '1000');
CREATE DOMAIN hostile.text AS pg_catalog.text CHECK (VALUE IS NULL);
CREATE DOMAIN hostile.jsonb AS pg_catalog.jsonb CHECK (VALUE IS NULL);
-- A new session has no plans from before.
\c -
\pset format unaligned
\pset tuples_only on
CREATE TEMP TABLE events (LIKE order_cqrs.events);
CREATE TEMP TABLE order_view (LIKE order_cqrs.order_view);
CREATE TEMP TABLE customers (LIKE order_cqrs.customers);
CREATE TEMP TABLE products (LIKE order_cqrs.products);
CREATE TEMP TABLE projection_state (LIKE order_cqrs.projection_state);
SET order_cqrs.tenant_id = 'callers';
SET search_path = hostile, pg_temp, pg_catalog;
-- The traps work.
SELECT 'a'::pg_catalog.text = 'b'::pg_catalog.text;
SELECT * FROM unnest('{1}'::int[]);
CALL order_cqrs.customer_put('h', 'H', 'h', version => NULL);
CALL order_cqrs.product_put('h', 'H', 'h', version => NULL);
CALL order_cqrs.order_create('h1', 'h', '[{"product_id": "h", "quantity": 1, "unit_price": 1}, {"product_id": "p", "quantity": 1, "unit_price": 1}]', version => NULL);
CALL order_cqrs.order_update('h1', '[{"product_id": "h", "quantity": 2, "unit_price": 1}]', version => NULL);
CALL order_cqrs.order_complete('h1', version => NULL);
CALL order_cqrs.order_cancel('h1', version => NULL);
CALL order_cqrs.order_create('h2', 'h', '[{"product_id": "h", "quantity": 2, "unit_price": 1}]', command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
CALL order_cqrs.order_create('h2', 'h', '[{"product_id": "h", "quantity": 2, "unit_price": 1}]', command_id => '00000000-0000-7000-8000-000000000001', version => NULL);
CALL order_cqrs.event_append('Hostile', 'h', '[{"type": "T", "data": {}}, {"type": "T", "data": {}}]', version => NULL);
CALL order_cqrs.customer_put('h', 'H, renamed', 'h', version => NULL);
CALL order_cqrs.product_put('h', 'H, renamed', 'h', version => NULL);
SELECT customer_name, status, items FROM order_cqrs.order_get('h1');
SELECT version, event_type FROM order_cqrs.order_history('h1');
SELECT customer_name, status, items FROM order_cqrs.order_as_of('h1', 'infinity');
SELECT event_type FROM order_cqrs.event_read(0, 1000, '{Hostile}');
CALL order_cqrs.projection_sync();
CALL order_cqrs.projection_pause('order_stats');
CALL order_cqrs.projection_resume('order_stats');
CALL order_cqrs.projection_set_mode('order_stats', 'sync');
CALL order_cqrs.projection_set_mode('order_stats', 'async');
SELECT * FROM order_cqrs.projection_verify('reference');
SELECT * FROM order_cqrs.projection_verify('order_view');
SELECT * FROM order_cqrs.projection_verify('order_summary_view');
SELECT * FROM order_cqrs.projection_verify('order_stats');
UPDATE order_cqrs.order_view SET status = 'PENDING' WHERE order_id OPERATOR(pg_catalog.=) 'h1';
UPDATE order_cqrs.order_stats_applied SET version = 1 WHERE order_id OPERATOR(pg_catalog.=) 'h1';
SELECT key FROM order_cqrs.projection_verify('order_view');
SELECT key FROM order_cqrs.projection_verify('order_stats');
CALL order_cqrs.projection_rebuild('reference');
CALL order_cqrs.projection_rebuild('order_view');
CALL order_cqrs.projection_rebuild('order_summary_view');
CALL order_cqrs.projection_rebuild('order_stats');
SELECT projection_name, status, lag_events FROM order_cqrs.projection_status;
SELECT pid FROM order_cqrs.event_horizon_wait;
SET search_path = public;
SELECT * FROM tools.differences();
SELECT (SELECT count(*) FROM pg_temp.events), (SELECT count(*) FROM pg_temp.order_view), (SELECT count(*) FROM pg_temp.customers);
SET client_min_messages = warning;
DROP SCHEMA hostile CASCADE;
RESET client_min_messages;
DISCARD TEMP;

-- An empty search_path, and settings that change how SQL reads or is planned.
SET search_path = '';
SET standard_conforming_strings = off;
SET escape_string_warning = off;
SET plan_cache_mode = force_custom_plan;
SET enable_indexscan = off;
SET enable_bitmapscan = off;
SET DateStyle = 'SQL, DMY';
SET TimeZone = 'Pacific/Kiritimati';
SET bytea_output = 'escape';
CALL order_cqrs.order_create('g1', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]', version => NULL);
CALL order_cqrs.order_update('g1', '[{"product_id": "p", "quantity": 2, "unit_price": 1}]', version => NULL);
CALL order_cqrs.projection_sync();
SET TimeZone = 'Pacific/Pago_Pago';
CALL order_cqrs.order_create('g2', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]', version => NULL);
CALL order_cqrs.projection_sync();
SELECT order_id, s.day = (v.created_at AT TIME ZONE 'UTC')::date AS utc
  FROM order_cqrs.order_view v JOIN order_cqrs.order_stats_applied s USING (tenant_id, order_id)
 WHERE tenant_id = 'callers' AND order_id LIKE 'g%' ORDER BY 1;
SELECT * FROM tools.differences();
RESET ALL;

DROP FUNCTION public.place, public.look;
DROP PROCEDURE public.place_many, public.complete;
