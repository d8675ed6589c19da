-- bench/measure.sql: makes statements of the searches, checks that both sides answer alike, and times them.

SET search_path = bench, public;

-- The deep searches begin after this row.
CREATE TABLE place (number int PRIMARY KEY REFERENCES search, page int, cursor text, key timestamptz, order_id uuid);

-- ours_sql is the call of order_cqrs; peer_sql chooses the orders first and computes the shown values for these only.
CREATE FUNCTION ours_sql(s search) RETURNS text LANGUAGE sql STABLE AS $$
	SELECT format('SELECT * FROM order_cqrs.%I(%s%s%s)', s.function, s.criteria,
		CASE WHEN s.sort <> '-created_at' THEN format(', sort => %L', s.sort) END,
		CASE WHEN s.is_deep THEN ', after => {cursor}' END)
$$;

CREATE FUNCTION peer_sql(s search) RETURNS text LANGUAGE sql STABLE AS $$
	SELECT format('WITH chosen AS (SELECT o.*, %1$s AS key %2$s%3$s ORDER BY %1$s%4$s, o.order_id%4$s LIMIT 20)'
		' SELECT o.order_id, o.customer_id, c.name AS customer_name, c.email AS customer_email, o.status,'
		' o.payment_status, t.total_amount, t.item_count, o.created_at, o.updated_at, o.shipped_at, o.version'
		' FROM chosen o JOIN customers c USING (customer_id), LATERAL (SELECT sum(quantity * unit_price) AS total_amount,'
		' count(*) AS item_count FROM order_items WHERE order_id = o.order_id) t ORDER BY o.key%4$s, o.order_id%4$s',
		s.peer_key, s.peer, CASE WHEN s.is_deep THEN format(' AND (%s, o.order_id) < ({key}, {order})', s.peer_key) END,
		CASE WHEN s.sort LIKE '-%' THEN ' DESC' END)
$$;

CREATE FUNCTION parameters(s search) RETURNS SETOF given LANGUAGE sql STABLE AS $$
	SELECT * FROM given
	UNION ALL SELECT g.* FROM place p, LATERAL (VALUES ('cursor', 'text', cursor), ('key', 'timestamptz', key::text),
		('order', 'uuid', order_id::text)) g WHERE p.number = s.number
$$;

-- with_literals is for statements that are run once, prepare for statements that are timed: it returns the statement to execute.
CREATE FUNCTION with_literals(s search, sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	p given;
BEGIN
	FOR p IN SELECT * FROM parameters(s) LOOP
		sql := replace(sql, '{' || p.name || '}', format('%L::%s', p.value, p.type));
	END LOOP;
	RETURN sql;
END
$$;

CREATE FUNCTION prepare(s search, side text, sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	p given;
	statement text := side || s.number;
	types text[] := '{}';
	literals text[] := '{}';
BEGIN
	FOR p IN SELECT * FROM parameters(s) LOOP
		CONTINUE WHEN position('{' || p.name || '}' IN sql) = 0;
		types := types || p.type;
		literals := literals || format('%L', p.value);
		sql := replace(sql, '{' || p.name || '}', '$' || cardinality(types));
	END LOOP;
	EXECUTE format('PREPARE %I (%s) AS %s', statement, array_to_string(types, ', '), sql);
	RETURN format('EXECUTE %I (%s)', statement, array_to_string(literals, ', '));
END
$$;

CREATE PROCEDURE find_places() LANGUAGE plpgsql AS $$
DECLARE
	s search;
	pages int;
BEGIN
	FOR s IN SELECT * FROM search WHERE is_deep LOOP
		EXECUTE with_literals(s, format('SELECT order_cqrs.order_search_count(%s, exact => true) / 20', s.criteria)) INTO pages;
		pages := least(998, pages / 2);
		EXECUTE with_literals(s, format('INSERT INTO place SELECT %s, %s, cursor, %I, order_id::uuid'
			' FROM (SELECT *, row_number() OVER () FROM order_cqrs.order_search(%s, sort => %L, page => %s)) f'
			' ORDER BY row_number DESC LIMIT 1',
			s.number, pages + 2, substr(s.sort, 2), s.criteria, s.sort, pages));
	END LOOP;
END
$$;

-- answer is a page as text, with the columns that both sides have.
CREATE FUNCTION answer(s search, sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE with_literals(s, format('SELECT string_agg((to_jsonb(a) - ''{tenant_id,cursor}''::text[]'
		' || jsonb_build_object(''customer_id'', a.customer_id::text))::text, E''\n'') FROM (%s) a', sql)) INTO result;
	RETURN result;
END
$$;

CREATE PROCEDURE check_answers() LANGUAGE plpgsql AS $$
DECLARE
	s search;
	ours text;
	peer text;
BEGIN
	FOR s IN SELECT * FROM search ORDER BY number LOOP
		ours := answer(s, ours_sql(s));
		peer := answer(s, peer_sql(s));
		IF ours IS DISTINCT FROM peer THEN
			RAISE EXCEPTION 'the two sides of the search "%" differ', s.name
				USING DETAIL = format(E'order_cqrs:\n%s\npeer:\n%s', ours, peer);
		END IF;
		IF ours IS NULL THEN
			RAISE WARNING 'the search "%" finds nothing', s.name;
		END IF;
	END LOOP;
END
$$;

-- --- timing --------------------------------------------------------------------------------------------------

CREATE UNLOGGED TABLE run (number int, side text, plan_cache_mode text, microseconds float8);

-- time_runs executes a statement so many times, but stops when the time is up; it returns microseconds.
CREATE FUNCTION time_runs(statement text, most int, seconds float8) RETURNS float8[] LANGUAGE plpgsql AS $$
DECLARE
	began timestamptz := clock_timestamp();
	start timestamptz;
	result float8[] := '{}';
BEGIN
	FOR i IN 1..most LOOP
		start := clock_timestamp();
		EXECUTE statement;
		result := result || 1000000 * extract(epoch FROM clock_timestamp() - start)::float8;
		EXIT WHEN clock_timestamp() - began > make_interval(secs => seconds);
	END LOOP;
	RETURN result;
END
$$;

CREATE FUNCTION median(numbers float8[]) RETURNS float8 LANGUAGE sql IMMUTABLE AS
	'SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY n) FROM unnest(numbers) n';

-- The peer gets the better of generic and custom plans.
CREATE FUNCTION better_mode(statement text, seconds float8) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	mode text;
	medians float8[];
BEGIN
	FOREACH mode IN ARRAY '{force_custom_plan,force_generic_plan}'::text[] LOOP
		PERFORM set_config('plan_cache_mode', mode, false), time_runs(statement, 2, seconds / 10);
		medians := medians || median(time_runs(statement, 5, seconds / 10));
	END LOOP;
	RESET plan_cache_mode;
	RETURN CASE WHEN medians[1] < medians[2] THEN 'force_custom_plan' ELSE 'force_generic_plan' END;
END
$$;

-- time_search lets the two sides take turns, each for at most so many seconds.
CREATE PROCEDURE time_search(s search, seconds float8) LANGUAGE plpgsql AS $$
DECLARE
	ours text := prepare(s, 'ours', ours_sql(s));
	peer text := prepare(s, 'peer', peer_sql(s));
	peer_mode text := better_mode(peer, seconds);
	taken float8;
BEGIN
	PERFORM time_runs(ours, 3, seconds);
	FOR round IN 1..20 LOOP
		INSERT INTO run SELECT s.number, 'ours', 'auto', t FROM unnest(time_runs(ours, 20, seconds / 20)) t;
		SELECT sum(microseconds) / 1000000 INTO taken FROM run WHERE number = s.number AND side = 'peer';
		CONTINUE WHEN taken > seconds * round / 20;
		PERFORM set_config('plan_cache_mode', peer_mode, false);
		INSERT INTO run SELECT s.number, 'peer', peer_mode, t FROM unnest(time_runs(peer, 20, seconds / 20)) t;
		RESET plan_cache_mode;
	END LOOP;
END
$$;

-- Run number 0 is the cost of the measurement itself.
CREATE PROCEDURE time_searches(seconds float8) LANGUAGE plpgsql AS $$
DECLARE
	s search;
BEGIN
	PREPARE nothing AS SELECT 1;
	INSERT INTO run SELECT 0, 'nothing', 'auto', t FROM unnest(time_runs('EXECUTE nothing', 1000, 1)) t;
	FOR s IN SELECT * FROM search ORDER BY number LOOP
		CALL time_search(s, seconds);
		COMMIT;
	END LOOP;
END
$$;

CREATE VIEW result AS
	SELECT s.number, s.name, s.function, count(*) FILTER (WHERE side = 'ours') AS runs,
	       percentile_cont(0.5) WITHIN GROUP (ORDER BY microseconds) FILTER (WHERE side = 'ours') / 1000 AS p50,
	       percentile_disc(0.95) WITHIN GROUP (ORDER BY microseconds) FILTER (WHERE side = 'ours') / 1000 AS p95,
	       count(*) FILTER (WHERE side = 'peer') AS peer_runs,
	       percentile_cont(0.5) WITHIN GROUP (ORDER BY microseconds) FILTER (WHERE side = 'peer') / 1000 AS peer_p50,
	       max(plan_cache_mode) FILTER (WHERE side = 'peer') AS peer_mode
	  FROM search s JOIN run r USING (number) GROUP BY s.number;
