-- The log: what appends to it, what may not touch it, how it is read.
SET search_path = order_cqrs, public;
SET order_cqrs.tenant_id = 'events';
\pset format unaligned
\pset tuples_only on
CALL customer_put('c', 'C', 'c@example.org');
CALL product_put('p', 'P', 'x');
CALL order_create('o', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]');
CALL projection_sync();
SELECT event_horizon() AS start \gset
SELECT tools.fingerprint() AS before \gset

-- Append-only, the owner included, whatever the number of rows.
SELECT tools.outcomes(
	$$UPDATE events SET data = '{}' WHERE tenant_id = 'events'$$,
	$$UPDATE events SET metadata = '{}' WHERE false$$,
	$$DELETE FROM events WHERE tenant_id = 'events'$$,
	$$DELETE FROM events WHERE false$$,
	$$TRUNCATE events$$,
	$$TRUNCATE events, order_view$$,
	$$TRUNCATE events RESTART IDENTITY CASCADE$$,
	$$WITH gone AS (DELETE FROM events RETURNING *) SELECT count(*) FROM gone$$,
	$$INSERT INTO events OVERRIDING SYSTEM VALUE SELECT * FROM events ON CONFLICT (tenant_id, aggregate_type, aggregate_id, version) DO UPDATE SET data = '{}'$$,
	$$MERGE INTO events e USING (VALUES (1)) AS v ON e.tenant_id = 'events' WHEN MATCHED THEN DELETE$$);
SET session_replication_role = replica;
SELECT tools.outcomes(
	$$UPDATE events SET data = '{}' WHERE tenant_id = 'events'$$,
	$$DELETE FROM events WHERE tenant_id = 'events'$$,
	$$TRUNCATE events$$);
RESET session_replication_role;
DELETE FROM events;
\echo :SQLSTATE
-- Positions are given, not chosen; versions are unique and positive.
SELECT left(tools.outcome(s), 5) FROM (VALUES
	(1, $$INSERT INTO events VALUES (1, 'events', 'Basket', 'x', 1, 'T', 1, '{}', NULL, NULL, NULL, 'a', 'a', NULL, now())$$),
	(2, $$INSERT INTO events SELECT (e).* FROM (SELECT e FROM events e WHERE tenant_id = 'events') AS s$$),
	(3, $$INSERT INTO events OVERRIDING SYSTEM VALUE SELECT (e).* FROM (SELECT e FROM events e WHERE tenant_id = 'events') AS s$$),
	(4, $$INSERT INTO events (tenant_id, aggregate_type, aggregate_id, version, event_type, data, actor, occurred_at)
	      VALUES ('events', 'Basket', 'x', 0, 'T', '{}', 'a', now())$$)) AS v (n, s) ORDER BY n;
-- The triggers' functions are for these triggers only.
CREATE TABLE public.elsewhere (n int);
CREATE TRIGGER wrong BEFORE INSERT ON public.elsewhere FOR EACH ROW EXECUTE FUNCTION order_cqrs.events_project();
SELECT tools.outcome('INSERT INTO public.elsewhere VALUES (1)');
DROP TRIGGER wrong ON public.elsewhere;
CREATE TRIGGER wrong AFTER INSERT ON public.elsewhere FOR EACH STATEMENT EXECUTE FUNCTION order_cqrs.events_project();
SELECT tools.outcome('INSERT INTO public.elsewhere VALUES (1)');
DROP TRIGGER wrong ON public.elsewhere;
CREATE TRIGGER wrong AFTER INSERT ON public.elsewhere FOR EACH ROW EXECUTE FUNCTION order_cqrs.projection_state_restore();
SELECT tools.outcome('INSERT INTO public.elsewhere VALUES (1)');
DROP TABLE public.elsewhere;
SELECT tools.fingerprint() = :'before' AS nothing_changed;

-- event_append: what is refused.
SELECT tools.outcomes(
	$$CALL event_append('Order', 'o', '[{"type": "T", "data": {}}]')$$,
	$$CALL event_append('Customer', 'c', '[{"type": "CustomerChanged", "data": {}}]')$$,
	$$CALL event_append('Product', 'p', '[{"type": "T", "data": {}}]', version => NULL)$$);
SELECT tools.variants($$CALL event_append('Basket', 'b', %L)$$,
	'{}', '{"type": "T", "data": {}}', '"T"', '1', 'null', '[]',
	'[null]', '["T"]', '[1]', '[[]]', '[{}]',
	'[{"data": {}}]', '[{"type": "T"}]', '[{"type": "T", "data": {}, "version": 1}]',
	'[{"type": "T", "data": {}}, {"type": null, "data": {}}]', '[{"type": 1, "data": {}}]', '[{"type": "", "data": {}}]',
	'[{"type": ["T"], "data": {}}]', '[{"type": "T", "data": null}]', '[{"type": "T", "data": []}]', '[{"type": "T", "data": "{}"}]',
	'[{"type": "T", "data": 1}]', '[{"type": "T", "data": {}}, {"type": "T", "data": {}}, true]');
SELECT tools.outcome(format($$CALL event_append('Basket', 'b', '[{"type": "%s", "data": {}}]')$$, repeat('é', 128)));
CALL event_append('Order', 'o', '[{"type": "T", "data": {}}]');
\echo :SQLSTATE
CALL event_append('Basket', 'b', '[]');
\echo :SQLSTATE
SELECT tools.fingerprint() = :'before' AS nothing_left_behind;

-- What it takes: any number, in their order, with what the caller adds to each.
CALL event_append('Basket', 'b', '[{"type": "Filled", "data": {"n": 1, "nested": {"list": [1, 2.50, null, "x"]}}}]', version => NULL);
CALL event_append('Basket', 'b', '[{"type": "Filled", "data": {"n": 2}}, {"data": {"n": 3}, "type": "Emptied"}, {"type": "Filled", "data": {}}]',
	'00000000-0000-7000-8000-000000000001', 1, '{"correlation_id": "00000000-0000-7000-8000-00000000000a", "causation_id": "00000000-0000-7000-8000-00000000000b"}',
	version => NULL);
CALL event_append('order', 'o', '[{"type": "OrderCompleted", "data": {}}]', version => NULL);
SELECT row_number() OVER (ORDER BY position), tenant_id, aggregate_type, aggregate_id, version, event_type, schema_version, data,
       right(command_id::text, 2), right(correlation_id::text, 2), right(causation_id::text, 2), actor = session_user, metadata IS NULL,
       occurred_at BETWEEN now() - interval '1 hour' AND now()
  FROM event_read(:start);
SELECT count(DISTINCT occurred_at) AS times, min(version), max(version) FROM events
 WHERE tenant_id = 'events' AND aggregate_type = 'Basket' AND command_id IS NOT NULL;
SELECT status FROM order_get('o');
SELECT jsonb_agg(jsonb_build_object('type', 'Counted', 'data', jsonb_build_object('n', n)) ORDER BY n) AS many FROM generate_series(1, 2500) n \gset
CALL event_append('Many', 'm', :'many', version => NULL);
SELECT count(*), bool_and((data ->> 'n')::int = version), max(position) - min(position) FROM events WHERE tenant_id = 'events' AND aggregate_type = 'Many';

-- Something that drops rows does not go unnoticed.
CREATE FUNCTION public.drop_event() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER drop_event BEFORE INSERT ON order_cqrs.events FOR EACH ROW
	WHEN (NEW.event_type IN ('Lost', 'OrderCompleted', 'OrderCreated')) EXECUTE FUNCTION public.drop_event();
SELECT tools.outcomes(
	$$CALL event_append('Basket', 'lost', '[{"type": "Lost", "data": {}}]')$$,
	$$CALL event_append('Basket', 'lost', '[{"type": "T", "data": {}}, {"type": "Lost", "data": {}}, {"type": "T", "data": {}}]')$$,
	$$CALL order_complete('o')$$,
	$$CALL order_create('lost', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]')$$);
DROP TRIGGER drop_event ON order_cqrs.events;
DROP FUNCTION public.drop_event;

-- Reading: by pages, by types.
SELECT count(*) FROM event_read(:start);
SELECT count(*), max(version) FROM event_read(:start, 7, '{Many}');
DO $$
DECLARE
	after bigint := 0;
	page record;
	pages int := 0;
	events int := 0;
	in_order boolean := true;
BEGIN
	LOOP
		SELECT count(*) AS n, max(position) AS last, min(position) AS first,
		       array_agg(position) = array_agg(position ORDER BY position) AS in_order INTO page
		  FROM event_read(after, 100, '{Basket,Many,order}');
		EXIT WHEN page.n = 0;
		pages := pages + 1;
		events := events + page.n;
		in_order := in_order AND page.in_order AND page.first > after;
		after := page.last;
	END LOOP;
	RAISE NOTICE 'all: %, in order: %, several pages: %',
		events = (SELECT count(*) FROM events WHERE aggregate_type IN ('Basket', 'Many', 'order')), in_order, pages > 20;
END $$;
SELECT array_agg(position) = (SELECT array_agg(position ORDER BY position) FROM events) AS everything FROM event_read(0, 2147483647);
SELECT count(*) = (SELECT count(*) FROM events) FROM event_read(-9223372036854775808, 2147483647);
SELECT aggregate_type, count(*) FROM event_read(:start, 100000, '{Basket,order}') GROUP BY 1 ORDER BY 1;
SELECT aggregate_type, count(*) FROM event_read(:start, 100000, '{order,Basket,order,Basket}') GROUP BY 1 ORDER BY 1;
SELECT aggregate_type, event_type FROM event_read(:start, 3, '{order,Basket}');
SELECT count(*) FROM event_read(:start, 100000, '{}');
SELECT count(*) FROM event_read(:start, 100000, '{NULL}');
SELECT count(*) FROM event_read(:start, 100000, '{NULL,order}');
SELECT count(*) FROM event_read(:start, 100000, '{nothing}');
SELECT count(*) FROM event_read(:start, 100000, '{{Basket},{order}}');
SELECT count(*) FROM event_read(:start, aggregate_types => '{Order}', max_count => 5);
SELECT count(*) FROM event_read(event_horizon());
SELECT tools.outcomes('SELECT * FROM event_read(NULL)', 'SELECT * FROM event_read(0, 0)', 'SELECT * FROM event_read(0, -1)',
	'SELECT * FROM event_read(0, NULL)', 'SELECT event_read(NULL, 1, NULL)');
SELECT (event_read(:start, 1, '{order}')).event_type;

-- The horizon is the last position that was drawn; gaps are below it.
SELECT event_horizon() = (SELECT last_value FROM events_position_seq) AS is_last_value;
SELECT event_horizon() AS before_gap \gset
BEGIN;
CALL event_append('Gap', 'g', '[{"type": "T", "data": {}}, {"type": "T", "data": {}}]');
-- Its own events a transaction may read, and is not waited for by itself.
SELECT aggregate_type, version FROM event_read(:before_gap);
SELECT event_horizon() - :before_gap;
SELECT pid = pg_backend_pid() AS is_me, prepared_transaction, user_name = current_user AS my_name, state, since = now() AS since_begin, waited >= '0' AS waited
  FROM event_horizon_wait;
ROLLBACK;
SELECT count(*) FROM event_horizon_wait;
SELECT event_horizon() - :before_gap AS gap, (SELECT count(*) FROM event_read(:before_gap)) AS events;
BEGIN;
SAVEPOINT s;
CALL event_append('Gap', 'g', '[{"type": "T", "data": {}}]');
ROLLBACK TO s;
-- What was rolled back to a savepoint still holds the horizon.
SELECT pid = pg_backend_pid() AS is_me FROM event_horizon_wait;
SELECT count(*) FROM event_read(:before_gap);
COMMIT;
CALL event_append('Gap', 'g', '[{"type": "T", "data": {}}]', version => NULL);
SELECT position - :before_gap, version FROM event_read(:before_gap);

CALL projection_sync();
SELECT bool_and(last_position = event_horizon()) AS all_at_horizon FROM projection_state;
SELECT sum(lag_events + unchecked_events) AS lag FROM projection_status;
SELECT * FROM tools.differences();

-- Columns of row types are in the way of updates; the query of the reference finds them, whatever holds them.
CREATE SCHEMA kept;
CREATE DOMAIN kept.several AS order_cqrs.events[];
CREATE TYPE kept.pair AS (n int, o order_cqrs.order_view);
CREATE TABLE kept.one (e order_cqrs.events);
CREATE TYPE kept.span AS RANGE (subtype = order_cqrs.order_stats);
CREATE TYPE kept.other_span AS RANGE (subtype = order_cqrs.order_stats);
CREATE TABLE kept.many (e order_cqrs.events[], d kept.several, p kept.pair, pp kept.pair[], r kept.span, m kept.other_span_multirange, harmless jsonb);
CREATE TEMPORARY TABLE passing (e order_cqrs.events);
CREATE MATERIALIZED VIEW kept.copy AS SELECT s FROM order_cqrs.order_stats s;
WITH RECURSIVE uses AS (
    SELECT t.oid FROM pg_type t JOIN pg_class c ON c.reltype = t.oid
     WHERE c.relnamespace = 'order_cqrs'::regnamespace AND c.relkind = 'r'
    UNION
    SELECT t.oid FROM uses u, pg_type t
     WHERE t.typelem = u.oid OR t.typbasetype = u.oid
        OR EXISTS (SELECT FROM pg_range r WHERE (r.rngsubtype = u.oid AND r.rngtypid = t.oid) OR (r.rngtypid = u.oid AND r.rngmultitypid = t.oid))
        OR t.typrelid IN (SELECT a.attrelid FROM pg_attribute a WHERE a.atttypid = u.oid AND NOT a.attisdropped))
SELECT c.oid::regclass AS relation, a.attname AS column, a.atttypid::regtype AS type
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
 WHERE a.atttypid IN (SELECT oid FROM uses) AND c.relkind IN ('r', 'm', 'p') AND NOT a.attisdropped
 ORDER BY c.relname, a.attnum;
SELECT left(tools.outcome('ALTER TABLE order_cqrs.events ADD COLUMN more int DEFAULT 1'), 5);
DROP TABLE kept.many, passing;
ALTER TABLE kept.one ALTER e TYPE jsonb USING to_jsonb(e);
BEGIN;
ALTER TABLE order_cqrs.events ADD COLUMN more int DEFAULT 1;
ROLLBACK;
\set VERBOSITY terse
DROP SCHEMA kept CASCADE;
