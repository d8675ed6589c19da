-- What the other tests use.  It stands in a schema of its own and does not
-- need the extension to be installed.
CREATE SCHEMA tools;

-- What a statement was answered with, as psql would print it; "accepted" if
-- it was not refused.
CREATE FUNCTION tools.outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	state text;
	message text;
	detail text;
	hint text;
BEGIN
	EXECUTE statement;
	RETURN 'accepted';
EXCEPTION WHEN others THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(E'\n', state || ': ' || message, 'DETAIL:  ' || nullif(detail, ''),
		'HINT:  ' || nullif(hint, ''));
END $$;

-- Each statement and its outcome.
CREATE FUNCTION tools.outcomes(VARIADIC statements text[]) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT s || E'\n' || tools.outcome(s) || E'\n' FROM unnest(statements) WITH ORDINALITY AS u (s, n) ORDER BY n
$$;

-- The same for one statement with each of several literals in place of its %L.
CREATE FUNCTION tools.variants(template text, VARIADIC literals text[]) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT coalesce(l, 'NULL') || E'\n' || tools.outcome(format(template, l)) || E'\n'
	  FROM unnest(literals) WITH ORDINALITY AS u (l, n) ORDER BY n
$$;

-- A value that changes when any row of the extension does.
CREATE FUNCTION tools.fingerprint() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	relation text;
	rows text;
	sum text := '';
BEGIN
	FOREACH relation IN ARRAY '{events,customers,products,order_view,order_item_view,order_summary_view,
		order_stats,order_product_stats,order_stats_applied,projection_state}'::text[] LOOP
		EXECUTE format('SELECT string_agg(t::text, E''\n'' ORDER BY t::text COLLATE "C") FROM order_cqrs.%I t', relation)
			INTO rows;
		sum := md5(sum || relation || coalesce(rows, ''));
	END LOOP;
	RETURN sum;
END $$;

-- Where any read table differs from the events.
CREATE FUNCTION tools.differences(OUT projection_name text, OUT tenant_id text, OUT key text)
	RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY SELECT s.projection_name, v.tenant_id, v.key
		FROM order_cqrs.projection_state s, order_cqrs.projection_verify(s.projection_name) v
		ORDER BY 1, 2, 3;
END $$;

-- The tools can fail.
\pset format unaligned
\pset tuples_only on
SELECT tools.outcomes('SELECT 1', 'SELECT 1/0',
	$$DO 'BEGIN RAISE EXCEPTION ''m'' USING errcode = ''OC999'', detail = ''d'', hint = ''h''; END'$$);
SELECT tools.variants('SELECT %L::int', '1', 'a', NULL);
