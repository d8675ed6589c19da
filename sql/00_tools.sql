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
		order_stats,order_product_stats,order_stats_applied,inventory,reservations,payments,
		projection_state}'::text[] LOOP
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

-- Items of an order, or of a reservation, from words such as 'p:2'; each costs 1.50.
CREATE FUNCTION tools.items(VARIADIC lines text[]) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_agg(jsonb_build_object('product_id', split_part(l, ':', 1), 'quantity', split_part(l, ':', 2)::int,
		'unit_price', 1.50) ORDER BY n) FROM unnest(lines) WITH ORDINALITY AS u (l, n)
$$;

-- What a tenant has in stock.
CREATE FUNCTION tools.stock(tenant text DEFAULT current_setting('order_cqrs.tenant_id')) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY SELECT format('%s: %s on hand, %s reserved, %s available', product_id, on_hand, reserved, available)
		FROM order_cqrs.inventory WHERE tenant_id = tenant ORDER BY product_id;
END $$;

-- The types of an order's events, the lines that it holds, and the status of its payment.
CREATE FUNCTION tools.fate(order_id text, tenant text DEFAULT current_setting('order_cqrs.tenant_id')) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN (SELECT string_agg(event_type, ' ' ORDER BY version) FROM order_cqrs.events e
			 WHERE e.tenant_id = tenant AND aggregate_type = 'Order' AND aggregate_id = order_id)
		|| coalesce((SELECT E'\n' || r.status || ' ' || coalesce((SELECT string_agg(format('%s:%s', i->>'product_id', i->>'quantity'), ' ' ORDER BY n)
			FROM jsonb_array_elements(r.items) WITH ORDINALITY AS u (i, n)), 'nothing')
			FROM order_cqrs.reservations r WHERE r.tenant_id = tenant AND r.order_id = fate.order_id), '')
		|| coalesce((SELECT E'\n' || 'payment ' || p.status || ' ' || p.amount || coalesce(' reference ' || p.reference, '')
			|| coalesce(' reason ' || p.reason, '')
			FROM order_cqrs.payments p WHERE p.tenant_id = tenant AND p.order_id = fate.order_id), '');
END $$;

-- The tools can fail.
\pset format unaligned
\pset tuples_only on
SELECT tools.outcomes('SELECT 1', 'SELECT 1/0',
	$$DO 'BEGIN RAISE EXCEPTION ''m'' USING errcode = ''OC999'', detail = ''d'', hint = ''h''; END'$$);
SELECT tools.variants('SELECT %L::int', '1', 'a', NULL);
