-- The contract with a hostile role: it has USAGE on the schema and EXECUTE on every routine, objects of its own under all names
-- that the extension uses, and traps in all that it may pass, define or defer. Nothing that it sets a trap for ever runs as
-- anybody else, and it never reads or changes what it was not granted.
--
-- A trap notes the current user whenever it fires, and tries to become the owner. It has a database of its own, as it really
-- logs in and commits: a superuser's SET ROLE could be undone by SET ROLE, and deferred triggers fire at COMMIT.

\set QUIET on
CREATE ROLE hostile_attacker LOGIN;
CREATE ROLE hostile_operator NOLOGIN;
CREATE DATABASE hostile;
\c hostile
SET client_min_messages = warning;
CREATE EXTENSION pgtap;
CREATE EXTENSION order_cqrs CASCADE;
GRANT USAGE ON SCHEMA order_cqrs, order_api TO hostile_attacker;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA order_cqrs TO hostile_attacker;
CREATE SCHEMA lair AUTHORIZATION hostile_attacker;
CREATE SCHEMA shadow AUTHORIZATION hostile_attacker;
CALL order_cqrs.customer_put('ada', 'Ada', 'ada@example.org');
CALL order_cqrs.product_put('pen', 'Pen', 'Writing');
CALL order_cqrs.stock_receive('pen', 1000);
CREATE TABLE public.secret (word text);
INSERT INTO public.secret VALUES ('swordfish');
CREATE FUNCTION public.everybody_loses() RETURNS text LANGUAGE sql AS $$ SELECT word FROM public.secret $$;
REVOKE EXECUTE ON FUNCTION public.everybody_loses() FROM PUBLIC;
CREATE TABLE public.relations_before AS SELECT oid, relacl::text AS acl FROM pg_class WHERE relnamespace = 'order_cqrs'::regnamespace;
CREATE TABLE public.routines_before AS SELECT oid, proacl::text AS acl, proconfig::text AS config, prosecdef AS definer
  FROM pg_proc WHERE pronamespace IN ('order_cqrs'::regnamespace, 'order_api'::regnamespace);

-- --- the attacker makes ready --------------------------------------------------------------------------

\c - hostile_attacker
SET order_cqrs.actor = 'forged';
CREATE TABLE lair.loot (trap text, who name, became_owner boolean, made_at timestamptz DEFAULT clock_timestamp());
CREATE TABLE lair.attempts (statement text, sqlstate text);

-- spring notes who runs it, and tries to get further.
CREATE FUNCTION lair.spring(trap text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    before name := current_user;
    became_owner boolean := false;
BEGIN
    BEGIN
        PERFORM set_config('role', 'postgres', true);
        PERFORM * FROM public.secret;
        became_owner := true;
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
    BEGIN
        PERFORM set_config('session_authorization', 'postgres', true);
        PERFORM * FROM public.secret;
        became_owner := true;
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
    BEGIN
        PERFORM * FROM order_cqrs.events;
        became_owner := true;
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
    INSERT INTO lair.loot (trap, who, became_owner) VALUES (trap, before, became_owner);
END $$;
-- At COMMIT it only notes: there an assertion of PostgreSQL 15 forbids exception blocks that catch something.
CREATE FUNCTION lair.fire() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO lair.loot (trap, who, became_owner)
    SELECT TG_ARGV[0], current_user, rolsuper FROM pg_roles WHERE rolname = current_user;
    RETURN NULL;
END $$;

-- attempt runs a statement and keeps its SQLSTATE.
CREATE FUNCTION lair.attempt(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    state text := '00000';
BEGIN
    BEGIN
        EXECUTE statement;
    EXCEPTION WHEN OTHERS THEN state := SQLSTATE;
    END;
    INSERT INTO lair.attempts VALUES (statement, state);
    RETURN state;
END $$;

-- Deferred: fires at COMMIT, or when somebody has constraints checked.
CREATE TABLE lair.bait (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, note text);
CREATE CONSTRAINT TRIGGER later AFTER INSERT ON lair.bait DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION lair.fire('deferred trigger');

-- Arguments whose making runs code: a domain, a cast, an index expression, a default.
CREATE FUNCTION lair.is_fine(value text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    PERFORM lair.spring('domain');
    RETURN true;
END $$;
CREATE DOMAIN lair.sly_text AS text CHECK (lair.is_fine(VALUE));
CREATE TYPE lair.sly AS (x text);
CREATE FUNCTION lair.sly_to_text(value lair.sly) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM lair.spring('cast');
    RETURN value.x;
END $$;
CREATE CAST (lair.sly AS text) WITH FUNCTION lair.sly_to_text(lair.sly) AS IMPLICIT;

-- Handlers, with a name that would break out of quotes. A handler sends on, and so runs inside of what the bus does.
CREATE FUNCTION lair."handle'""; --"(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM lair.spring('handler');
    INSERT INTO lair.bait (note) VALUES ('handler');
    RETURN order_cqrs.query_send('GetOrder', payload);
END $$;
SELECT lair.attempt(format('SELECT order_cqrs.%s_handler_register(%L, %L::regprocedure)', kind, 'Trap''"; --',
    'lair."handle''""; --"(jsonb,jsonb)')) AS state FROM unnest('{command,query}'::text[]) AS k (kind) \g /dev/null

-- Frames of the attacker's around a call: when it fails, their callbacks add to the error while we are within our scope.
CREATE TABLE lair.frames (statement text, note lair.sly_text);
CREATE TABLE lair.contexts (sqlstate text, context text);
CREATE FUNCTION lair.keep_context(statement text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    context text;
BEGIN
    EXECUTE statement;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
    INSERT INTO lair.contexts VALUES (SQLSTATE, context);
END $$;
CREATE FUNCTION lair.framed(statement text, note lair.sly_text) RETURNS void LANGUAGE sql AS $$
    SELECT lair.keep_context(statement);
    SELECT;
$$;
CREATE FUNCTION lair.call_framed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM lair.framed(NEW.statement, NEW.note);
    RETURN NEW;
END $$;
CREATE TRIGGER call_framed BEFORE INSERT ON lair.frames FOR EACH ROW EXECUTE FUNCTION lair.call_framed();

-- A shadow of every function and operator of pg_catalog on types that the extension uses.
CREATE FUNCTION lair.make_shadows() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    f record;
    types oidvector := (SELECT string_agg(t::regtype::oid::text, ' ')::oidvector FROM unnest('{text,int4,int8,jsonb,uuid,timestamptz,
        numeric,bool,text[],name,regclass,oid,int8[],anyelement,anyarray}'::text[]) AS t);
BEGIN
    FOR f IN SELECT p.proname, pg_get_function_identity_arguments(p.oid) AS arguments,
                    CASE WHEN p.prorettype = 'internal'::regtype THEN 'text' ELSE format_type(p.prorettype, NULL) END AS result
               FROM pg_proc AS p
              WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind IN ('f', 'a', 'w') AND p.pronargs <= 4
                AND NOT p.proretset AND p.prorettype = ANY (types) AND p.provariadic = 0
                AND NOT EXISTS (SELECT FROM unnest(p.proargtypes::oid[]) AS t WHERE t <> ALL (types))
    LOOP
        BEGIN
            EXECUTE format($f$CREATE FUNCTION shadow.%I(%s) RETURNS %s LANGUAGE plpgsql
                AS $s$ BEGIN PERFORM lair.spring('shadow function'); RETURN NULL; END $s$ $f$, f.proname, f.arguments, f.result);
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
    FOR f IN SELECT o.oprname, o.oprleft, o.oprright, o.oprresult::regtype AS result FROM pg_operator AS o
              WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprleft = ANY (types) AND o.oprright = ANY (types)
    LOOP
        BEGIN
            EXECUTE format($f$CREATE FUNCTION shadow.%I(%s, %s) RETURNS %s LANGUAGE plpgsql
                AS $s$ BEGIN PERFORM lair.spring('shadow operator'); RETURN NULL; END $s$ $f$,
                'op' || f.oprname, f.oprleft::regtype, f.oprright::regtype, f.result);
            EXECUTE format('CREATE OPERATOR shadow.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = shadow.%I)', f.oprname,
                f.oprleft::regtype, f.oprright::regtype, 'op' || f.oprname);
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
END $$;
SELECT lair.make_shadows() \g /dev/null
CREATE TABLE lair.shadows AS SELECT (SELECT count(*) FROM pg_proc WHERE pronamespace = 'shadow'::regnamespace) AS functions,
    (SELECT count(*) FROM pg_operator WHERE oprnamespace = 'shadow'::regnamespace) AS operators;

-- Relations of all names that the extension has, each with a trap for those who read or write it: as tables and views in the
-- schema, and as temporary ones, which come first in any path that does not say otherwise.
CREATE FUNCTION lair.trapped_row() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM lair.spring('shadow relation');
    RETURN 'x';
END $$;
CREATE FUNCTION lair.make_relations(place text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    r record;
BEGIN
    FOR r IN SELECT c.relname, c.relkind, (SELECT string_agg(format('%s::%s AS %I', CASE WHEN a.attnum = 1 AND a.atttypid = 'text'::regtype
                            THEN 'lair.trapped_row()' ELSE 'NULL' END, format_type(a.atttypid, NULL), a.attname), ', ' ORDER BY a.attnum)
                       FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0) AS columns
               FROM pg_class AS c WHERE c.relnamespace = 'order_cqrs'::regnamespace AND c.relkind IN ('r', 'v')
    LOOP
        EXECUTE format('CREATE %s VIEW %s.%I AS SELECT %s', CASE place WHEN 'pg_temp' THEN 'TEMP' ELSE '' END, place, r.relname, r.columns);
    END LOOP;
    EXECUTE format('CREATE %s SEQUENCE %s.events_position_seq', CASE place WHEN 'pg_temp' THEN 'TEMP' ELSE '' END, place);
    EXECUTE format('CREATE DOMAIN %s.identifier AS text CHECK (lair.is_fine(VALUE))', place);
END $$;
SELECT lair.make_relations('shadow') \g /dev/null

-- --- the attacker attacks ------------------------------------------------------------------------------

-- Each routine that a client may call, in a way that gets as far as its statements.
CREATE TABLE lair.calls (number int GENERATED ALWAYS AS IDENTITY, statement text);
INSERT INTO lair.calls (statement) VALUES
    ($$CALL order_cqrs.customer_put('bob'::lair.sly_text::text, 'Bob "; DROP', 'b''', version => NULL)$$),
    ($$CALL order_cqrs.product_put('pot', 'Pot', 'it''s')$$),
    ($$CALL order_cqrs.order_create('x1', 'ada', '[{"product_id": "pen", "quantity": 2, "unit_price": 1}]')$$),
    ($$CALL order_cqrs.order_create('x2', 'ada', '[{"product_id": "pen", "quantity": 2, "unit_price": 1}]', version => NULL)$$),
    ($$CALL order_cqrs.order_create('x3', 'bob', '[{"product_id": "pot", "quantity": 2, "unit_price": 1}]')$$),
    ($$CALL order_cqrs.order_update('x1', '[{"product_id": "pen", "quantity": 3, "unit_price": 1}]', 'r"'';--')$$),
    ($$CALL order_cqrs.order_cancel('x2', 'r')$$),
    ($$CALL order_cqrs.stock_receive('pen', 5)$$),
    ($$CALL order_cqrs.stock_adjust('pen', -1, 'breakage')$$),
    ($$CALL order_cqrs.inventory_reserve('x3')$$),
    ($$CALL order_cqrs.reservation_change('x1', '[{"product_id": "pen", "quantity": 4}]')$$),
    ($$CALL order_cqrs.inventory_release('x3')$$),
    ($$CALL order_cqrs.payment_process('x1')$$),
    ($$CALL order_cqrs.payment_fail('x1', 'no')$$),
    ($$CALL order_cqrs.payment_process('x1')$$),
    ($$CALL order_cqrs.payment_complete('x1', 'ref')$$),
    ($$CALL order_cqrs.order_complete('x1')$$),
    ($$CALL order_cqrs.payment_refund('x1')$$),
    ($$CALL order_cqrs.shipping_start('x1')$$),
    ($$CALL order_cqrs.event_append('Trap''"', 'a', '[{"type": "T''\"; DROP TABLE order_cqrs.events; --", "data": {"q": "''"}}]')$$),
    ($$SELECT order_cqrs.order_next_id()$$),
    ($$SELECT order_cqrs.role_ref_out(order_cqrs.role_ref_in('postgres'))$$),
    ($$SELECT * FROM order_cqrs.order_get('x1')$$),
    ($$SELECT * FROM order_cqrs.order_get(ROW('x1')::lair.sly)$$),
    ($$SELECT * FROM order_cqrs.order_history('x1')$$),
    ($$SELECT * FROM order_cqrs.order_as_of('x1', 'infinity')$$),
    ($$SELECT * FROM order_cqrs.stream_read('Trap''"', 'a')$$),
    ($$SELECT * FROM order_cqrs.inventory_check('[{"product_id": "pen", "quantity": 1}]', 'x1')$$),
    ($$SELECT * FROM order_cqrs.customer_orders('ada', from_time => '-infinity')$$),
    ($$SELECT * FROM order_cqrs.customer_orders('ada')$$),
    ($$SELECT * FROM order_cqrs.order_search('ada', 'A', '{PENDING}', product_name => '%''', sort => 'customer_name')$$),
    ($$SELECT * FROM order_cqrs.order_search(product_category => 'it''s', min_total => 0, sort => 'total_amount')$$),
    ($$SELECT order_cqrs.order_search_count(exact => true), order_cqrs.order_search_count(customer_name => 'a', product_id => 'pen')$$),
    ($$SELECT order_cqrs.command_send('CompleteOrder', '{"order_id": "x3"}')$$),
    ($$SELECT order_cqrs.command_send('Trap''"; --', '{"order_id": "x1"}')$$),
    ($$SELECT order_cqrs.query_send('Trap''"; --', '{"order_id": "x1"}')$$),
    ($$SELECT order_cqrs.query_send('SearchOrders', '{"criteria": {"customer_name": "a"}, "pageable": {"sort": "-customer_name"}}')$$),
    ($$SELECT order_cqrs.future_status(order_cqrs.command_send_async('Trap''"; --', '{"order_id": "x1"}'))$$),
    ($$SELECT order_cqrs.future_cancel(order_cqrs.query_send_async('Trap''"; --', '{"order_id": "x1"}'))$$),
    ($$SELECT order_cqrs.query_send_async('Trap''"; --', '{"order_id": "x1"}')$$),
    ($$CALL order_cqrs.future_run()$$),
    ($$SELECT order_cqrs.future_get('00000000-0000-0000-0000-000000000000', '1 ms')$$),
    ($$SELECT * FROM order_cqrs.event_read(0)$$),
    ($$SELECT order_cqrs.event_count(0, 1)$$),
    ($$SELECT order_cqrs.event_horizon()$$),
    ($$CALL order_cqrs.projection_sync()$$),
    ($$CALL order_cqrs.projection_pause('order_view')$$),
    ($$CALL order_cqrs.projection_resume('order_view')$$),
    ($$CALL order_cqrs.projection_set_mode('order_stats', 'sync')$$),
    ($$CALL order_cqrs.projection_set_mode('order_stats', 'async')$$),
    ($$CALL order_cqrs.projection_rebuild('order_view')$$),
    ($$CALL order_cqrs.projection_audit()$$),
    ($$SELECT * FROM order_cqrs.projection_verify('order_view')$$),
    ($$CALL order_cqrs.saga_run()$$),
    ($$CALL order_cqrs.saga_retry('x3')$$),
    ($$CALL order_cqrs.restore_end()$$),
    ($$CALL order_cqrs.cache_clear()$$),
    ($$SELECT order_cqrs.cache_counters(), order_cqrs.bus_builtin_handlers()$$),
    ($$SELECT * FROM order_cqrs.order_fold()$$),
    ($$SELECT order_cqrs.projection_bound('order_view'), order_cqrs.projection_aggregate_types('order_view')$$),
    ($$SELECT * FROM order_cqrs.reference_difference(), order_cqrs.order_view_difference(), order_cqrs.order_summary_view_difference(),
              order_cqrs.order_stats_difference(), order_cqrs.inventory_difference(), order_cqrs.payments_difference()$$),
    ($$SELECT order_cqrs.command_handler_unregister('Nothing'), order_cqrs.command_handler_register('Trap', 'lair.sly_to_text(lair.sly)')$$),
    ($$SELECT order_cqrs.query_handler_unregister('Nothing'), order_cqrs.query_handler_register('Trap', 'lair.sly_to_text(lair.sly)')$$);

-- Commands and queries once more, as functions.
INSERT INTO lair.calls (statement)
SELECT regexp_replace(replace(replace(statement, 'CALL ', 'SELECT '), ', version => NULL', ''),
                      'order_cqrs\.(' || names || ')\(', 'order_api.\1(', 'g')
  FROM lair.calls, (SELECT string_agg(proname, '|') FROM pg_proc WHERE pronamespace = 'order_api'::regnamespace) AS p (names)
 WHERE statement ~ ('order_cqrs\.(' || names || ')\(') ORDER BY number;

-- Many of the calls fail, as others have left nothing to do; attempt keeps that to itself. Each is in a transaction of its own,
-- with a trap for its end.
\o /dev/null
SELECT 'BEGIN', format('INSERT INTO lair.bait (note) VALUES (%L)', statement), format('SELECT lair.attempt(%L)', statement), 'COMMIT'
  FROM lair.calls ORDER BY number \gexec

-- The path leads to the attacker's objects; then temporary ones come first.
SELECT lair.make_relations('pg_temp');
SELECT 'BEGIN', 'SET LOCAL search_path = ' || path, format('INSERT INTO lair.bait (note) VALUES (%L)', statement),
       format('SELECT lair.attempt(%L)', statement), 'SAVEPOINT a', format('SELECT lair.attempt(%L)', statement), 'ROLLBACK TO a',
       'SET CONSTRAINTS ALL IMMEDIATE', 'COMMIT'
  FROM lair.calls, unnest('{"shadow, lair, order_cqrs, pg_catalog","pg_temp, shadow, order_cqrs, pg_catalog"}'::text[]) AS p (path)
 ORDER BY path, number \gexec

-- Once more with other settings and new plans.
DISCARD PLANS;
SET row_security = off;
SET lair.anything = 'postgres';
SET plan_cache_mode = force_generic_plan;
SET check_function_bodies = off;
SELECT lair.attempt(statement) FROM lair.calls ORDER BY number;
RESET ALL;

-- Its errors and warnings go through all these frames, and through a conversion to its encoding that it has named itself.
CREATE DEFAULT CONVERSION shadow.to_client FOR 'UTF8' TO 'LATIN1' FROM utf8_to_iso8859_1;
SET search_path = shadow, order_cqrs, pg_catalog;
SET client_encoding = 'LATIN1';
COPY lair.frames FROM STDIN;
CALL order_cqrs.order_create('framed', 'nobody', '[{"product_id": "pen", "quantity": 1, "unit_price": 1}]')	n
CALL order_cqrs.order_cancel('missing', 'r')	n
\.
RESET client_encoding;
RESET search_path;

-- What commits does so here, in a path of the attacker's, with traps that have not fired before it.
SET search_path = pg_temp, shadow, order_cqrs, pg_catalog;
SELECT lair.attempt($$SELECT order_cqrs.command_send_async('Trap''"; --', '{"order_id": "x1"}')$$);
SELECT statement FROM lair.calls WHERE statement ~ '^CALL order_cqrs.(future_run|projection_|saga_run|restore_end|cache_clear)' ORDER BY number \gexec
RESET search_path;
DELETE FROM lair.attempts;

-- --- what it may not at all ----------------------------------------------------------------------------

SET client_min_messages = error;
SELECT lair.attempt(format(statement, 'order_cqrs.' || quote_ident(c.relname)))
  FROM pg_class AS c,
       unnest(ARRAY['SELECT * FROM %s', 'SELECT count(*) FROM %s', 'TABLE %s', 'INSERT INTO %s DEFAULT VALUES', 'UPDATE %s SET tableoid = 0', 'DELETE FROM %s',
           'TRUNCATE %s', 'LOCK TABLE %s', 'COPY %s TO STDOUT', 'CREATE TRIGGER t AFTER INSERT ON %s FOR EACH ROW EXECUTE FUNCTION lair.fire(1)',
           'CREATE RULE r AS ON INSERT TO %s DO ALSO SELECT lair.spring(1::text)', 'ALTER TABLE %s OWNER TO hostile_attacker', 'ALTER TABLE %s ADD COLUMN x text DEFAULT lair.trapped_row()',
           'ALTER TABLE %s DISABLE TRIGGER ALL', 'ALTER TABLE %s ENABLE ROW LEVEL SECURITY', 'CREATE POLICY p ON %s USING (lair.is_fine(''x''))',
           'CREATE INDEX ON %s ((lair.is_fine(''x'')))', 'CREATE STATISTICS lair.s ON (lair.is_fine(''x'')) FROM %s', 'CREATE TABLE lair.child () INHERITS (%s)',
           'ALTER TABLE lair.bait INHERIT %s', 'DROP TABLE %s CASCADE', 'COMMENT ON TABLE %s IS ''mine''', 'GRANT SELECT ON %s TO hostile_attacker',
           'ALTER TABLE %s RENAME TO mine', 'ALTER TABLE %s SET SCHEMA lair', 'CLUSTER %s', 'REINDEX TABLE %s', 'CREATE PUBLICATION p FOR TABLE %s',
           'SECURITY LABEL ON TABLE %s IS ''x''', 'SELECT * FROM %s FOR UPDATE', 'SELECT 1 FROM %s LIMIT 0']) AS s (statement)
 WHERE c.relnamespace = 'order_cqrs'::regnamespace AND c.relkind IN ('r', 'v');
SELECT lair.attempt(format('CREATE TABLE lair.child_of (LIKE order_cqrs.%1$I); ALTER TABLE lair.child_of ADD FOREIGN KEY (tenant_id) REFERENCES order_cqrs.%1$I',
    c.relname)) FROM pg_class AS c WHERE c.relnamespace = 'order_cqrs'::regnamespace AND c.relkind = 'r';
SELECT lair.attempt(format(statement, 'order_cqrs.' || quote_ident(c.relname)))
  FROM pg_class AS c,
       unnest(ARRAY['SELECT nextval(%L)', 'SELECT setval(%L, 1)', 'SELECT currval(%L)', 'SELECT * FROM %s', 'ALTER SEQUENCE %s RESTART',
           'DROP SEQUENCE %s', 'ALTER SEQUENCE %s OWNED BY lair.bait.id']) AS s (statement)
 WHERE c.relnamespace = 'order_cqrs'::regnamespace AND c.relkind = 'S';
SELECT lair.attempt(format(statement, p.oid::regprocedure))
  FROM pg_proc AS p,
       unnest(ARRAY['ALTER ROUTINE %s OWNER TO hostile_attacker', 'ALTER ROUTINE %s SET search_path = lair', 'ALTER ROUTINE %s SECURITY DEFINER',
           'DROP ROUTINE %s CASCADE', 'ALTER ROUTINE %s RENAME TO mine', 'ALTER ROUTINE %s SET SCHEMA lair', 'COMMENT ON ROUTINE %s IS ''mine''']) AS s (statement)
 WHERE p.pronamespace IN ('order_cqrs'::regnamespace, 'order_api'::regnamespace);
SELECT lair.attempt(format('GRANT EXECUTE ON ROUTINE %s TO PUBLIC', p.oid::regprocedure)) FROM pg_proc AS p
 WHERE p.pronamespace IN ('order_cqrs'::regnamespace, 'order_api'::regnamespace);
SELECT lair.attempt(format(statement, t.oid::regtype))
  FROM pg_type AS t, unnest(ARRAY['DROP TYPE %s CASCADE', 'ALTER TYPE %s OWNER TO hostile_attacker', 'ALTER TYPE %s SET SCHEMA lair',
           'CREATE CAST (%s AS text) WITH INOUT AS IMPLICIT']) AS s (statement)
 WHERE t.typnamespace = 'order_cqrs'::regnamespace AND t.typtype = 'd';
SELECT lair.attempt(format('CREATE FUNCTION lair.convert(int, int, cstring, internal, int, boolean) RETURNS int LANGUAGE %I AS %L', lanname, 'int4pl'))
  FROM pg_language;
SELECT lair.attempt(statement) FROM unnest(ARRAY[
    'ALTER DOMAIN order_cqrs.identifier ADD CHECK (lair.is_fine(VALUE))', 'CREATE TABLE order_cqrs.mine (x int)',
    'CREATE FUNCTION order_cqrs.order_get(int) RETURNS int LANGUAGE sql AS ''SELECT 1''', 'CREATE DOMAIN order_cqrs.mine AS text',
    'CREATE FUNCTION order_api.order_get(int) RETURNS int LANGUAGE sql AS ''SELECT 1''', 'DROP SCHEMA order_api CASCADE',
    'DROP EXTENSION order_cqrs CASCADE', 'ALTER EXTENSION order_cqrs UPDATE', 'ALTER EXTENSION order_cqrs ADD TABLE lair.bait',
    'DROP SCHEMA order_cqrs CASCADE', 'ALTER SCHEMA order_cqrs RENAME TO mine', 'GRANT ALL ON SCHEMA order_cqrs TO PUBLIC',
    'CREATE EVENT TRIGGER t ON ddl_command_start EXECUTE FUNCTION lair.fire()', 'CREATE CAST (jsonb AS bytea) WITH FUNCTION lair.sly_to_text(lair.sly)',
    'CREATE OPERATOR CLASS lair.o DEFAULT FOR TYPE text USING btree AS OPERATOR 1 pg_catalog.<', 'ALTER SYSTEM SET order_cqrs.notify = on',
    'SET ROLE postgres', 'SET SESSION AUTHORIZATION postgres', 'SET ROLE hostile_operator', 'SET session_replication_role = replica',
    'SET order_cqrs.notify = on', 'SET order_cqrs.reserve_on = off', 'SET order_cqrs.payment_timeout = 1', 'SET order_cqrs.saga_max_attempts = 1',
    'SET order_cqrs.databases = ''x''', 'ALTER DATABASE hostile SET order_cqrs.reserve_on = off', 'ALTER ROLE postgres SET search_path = lair',
    'GRANT postgres TO hostile_attacker', 'SELECT public.everybody_loses()', 'SELECT * FROM public.secret',
    'ALTER FUNCTION lair.spring(text) OWNER TO postgres', 'LOAD ''order_cqrs''']) AS s (statement);
\o

-- --- the verdict ---------------------------------------------------------------------------------------

\c - postgres
\set ON_ERROR_STOP on
SET client_min_messages = warning;
SELECT no_plan();
SELECT is_empty($$SELECT trap, who, became_owner, count(*) FROM lair.loot WHERE who <> 'hostile_attacker' OR became_owner GROUP BY 1, 2, 3$$,
    'no trap fired as anybody else, or got further');
SELECT set_has('SELECT DISTINCT trap FROM lair.loot', $$VALUES ('deferred trigger'), ('domain'), ('cast'), ('handler')$$,
    'traps of each kind did fire, as the attacker');
SELECT cmp_ok(count(*), '>', 100::bigint, 'the deferred trigger fired at the commits') FROM lair.loot WHERE trap = 'deferred trigger';
SELECT ok(functions > 500 AND operators > 100, format('there were shadows: %s functions, %s operators', functions, operators)) FROM lair.shadows;
SELECT is_empty($$SELECT DISTINCT p.pronamespace::regnamespace, p.proname FROM pg_proc AS p
                   WHERE p.pronamespace IN ('order_cqrs'::regnamespace, 'order_api'::regnamespace) AND p.prorettype <> 'trigger'::regtype
                     AND NOT EXISTS (SELECT FROM lair.calls WHERE statement LIKE '%' || p.pronamespace::regnamespace || '.' || p.proname || '(%')$$,
    'each routine was called');
-- Some are refused for another reason first. To grant what one has not is a warning.
SELECT is_empty($$SELECT statement, sqlstate FROM lair.attempts
                   WHERE sqlstate NOT IN ('42501', '0A000', '22023', '25001', '42809', '55000', '55P02') AND statement !~ '^GRANT'
                     AND (sqlstate <> '42P13' OR statement !~ 'lair.convert.*LANGUAGE sql')$$, 'what it may not, it is refused');
SELECT cmp_ok(count(*), '>=', 4::bigint, 'a function of a conversion, in any language') FROM lair.attempts WHERE statement ~ 'lair.convert';
SELECT results_eq($$SELECT sqlstate, context ~ 'function lair.keep_context.*SQL function "framed".*function lair.call_framed.*COPY frames'
                      FROM lair.contexts ORDER BY 1$$, $$VALUES ('OC101', true), ('OC103', true)$$, 'errors from within a scope went through the attacker''s frames');
SELECT results_eq('SELECT oid, relacl::text FROM pg_class WHERE relnamespace = $$order_cqrs$$::regnamespace ORDER BY 1',
    'SELECT oid, acl FROM public.relations_before ORDER BY 1', 'nobody has been granted anything on a relation');
SELECT results_eq('SELECT oid, proacl::text, proconfig::text, prosecdef FROM pg_proc WHERE pronamespace IN ($$order_cqrs$$::regnamespace, $$order_api$$::regnamespace) ORDER BY 1',
    'SELECT oid, acl, config, definer FROM public.routines_before ORDER BY 1', 'nor on a routine, and those are as they were');
SELECT cmp_ok(count(*), '>', 1000::bigint, 'in many attempts') FROM lair.attempts;
SELECT is_empty($$SELECT c.oid::regclass FROM pg_class AS c WHERE c.relnamespace = 'order_cqrs'::regnamespace AND c.relowner <> 10
                  UNION ALL SELECT tgrelid::regclass FROM pg_trigger WHERE tgfoid = 'lair.fire'::regproc AND tgrelid <> 'lair.bait'::regclass$$,
    'everything is still its owner''s, without a trigger of the attacker''s');
SELECT is_empty($$SELECT DISTINCT session_role FROM order_cqrs.events WHERE session_role NOT IN ('postgres', 'hostile_attacker')$$, 'and all events say who appended them');
SELECT is_empty($$SELECT position FROM order_cqrs.events WHERE actor = 'forged' AND session_role <> 'hostile_attacker'$$,
    'also those that claim to be somebody else''s');
SELECT isnt_empty($$SELECT position FROM order_cqrs.events WHERE actor = 'forged'$$, 'which there are');
SELECT is_empty($$SELECT v.* FROM order_cqrs.projection_state AS s, order_cqrs.projection_verify(s.projection_name) AS v$$, 'the read tables are true');
SELECT * FROM finish();

\c postgres
DROP DATABASE hostile;
DROP ROLE hostile_attacker, hostile_operator;
