-- The extension comes, goes, and comes again, in one session.
CREATE EXTENSION order_cqrs CASCADE;

SELECT extname, extrelocatable, nspname
  FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'order_cqrs';

-- All that it brings, and nothing outside its two schemas.
\pset format unaligned
SELECT object FROM (
	SELECT replace(pg_describe_object(classid, objid, 0), 'order_cqrs.', '') COLLATE "C" AS object
	  FROM pg_depend
	 WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
	   AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'order_cqrs')
	   AND (classid <> 'pg_type'::regclass OR objid IN ('order_cqrs.identifier'::regtype, 'order_cqrs.role_ref'::regtype))) AS o
 ORDER BY object;
\pset format aligned
SELECT count(*) AS elsewhere
  FROM pg_depend, pg_identify_object(classid, objid, 0)
 WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
   AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'order_cqrs')
   AND schema IS DISTINCT FROM 'order_cqrs'
   AND NOT (classid = 'pg_proc'::regclass AND schema = 'order_api')
   AND NOT (classid = 'pg_namespace'::regclass AND objid = 'order_api'::regnamespace)
   AND classid <> 'pg_cast'::regclass;	-- it has no schema

-- Every relation, routine and type says what it is for.
SELECT pg_describe_object(classid, objid, 0) AS without_comment
  FROM pg_depend d
 WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
   AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'order_cqrs')
   AND (classid IN ('pg_class'::regclass, 'pg_proc'::regclass)
        OR objid IN ('order_cqrs.identifier'::regtype, 'order_cqrs.role_ref'::regtype))
   AND objid NOT IN (SELECT oid FROM pg_class WHERE relkind = 'S')
   AND obj_description(objid, classid::regclass::name) IS NULL;

-- A sequence without a cache, always the identity: both are what the horizon builds on.
SELECT attidentity, seqcache, seqincrement, seqcycle
  FROM pg_attribute, pg_sequence
 WHERE attrelid = 'order_cqrs.events'::regclass AND attname = 'position'
   AND seqrelid = pg_get_serial_sequence('order_cqrs.events', 'position')::regclass;

SELECT projection_name, mode, status, last_position, events_total, repaired_total
  FROM order_cqrs.projection_state ORDER BY 1;

SELECT order_cqrs.event_horizon(), (SELECT count(*) FROM order_cqrs.event_read(0)) AS events;

-- Settings.  The context of cache_size depends on preloading.
SELECT name, boot_val, unit, min_val, max_val, context
  FROM pg_settings WHERE name LIKE 'order\_cqrs.%' AND name <> 'order_cqrs.cache_size' ORDER BY name COLLATE "C";
SET order_cqrs.tenant = 'typing error';
SET order_cqrs.workers = 2;

-- It cannot be installed twice, nor in another schema, nor moved.
CREATE EXTENSION order_cqrs CASCADE;
ALTER EXTENSION order_cqrs SET SCHEMA public;

-- In use.
CREATE FUNCTION public.buy(id text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	version int;
BEGIN
	CALL order_cqrs.order_create(id, 'c1', '[{"product_id": "p1", "quantity": 2, "unit_price": 1.25}]',
		version => version);
	RETURN version;
END $$;
CALL order_cqrs.customer_put('c1', 'Ada', 'ada@example.org');
CALL order_cqrs.product_put('p1', 'Tea', 'drinks');
SELECT buy('o1');
CALL order_cqrs.order_complete('o1', version => NULL);
CALL order_cqrs.projection_sync();
SELECT customer_name, status, total_amount FROM order_cqrs.order_get('o1');
SELECT order_id, customer_name FROM order_cqrs.order_search(product_name => 'tea');
SELECT order_id FROM order_cqrs.customer_orders('c1');
SELECT status, orders, revenue FROM order_cqrs.order_stats;
SELECT position, event_type FROM order_cqrs.event_read(0);

-- Gone.  Only the schema is left, empty, as it may have been there before.
DROP EXTENSION order_cqrs;
SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = n.oid) AS relations,
       (SELECT count(*) FROM pg_proc WHERE pronamespace = n.oid) AS routines,
       (SELECT count(*) FROM pg_type WHERE typnamespace = n.oid) AS types
  FROM pg_namespace n WHERE nspname IN ('order_cqrs', 'order_api');
SELECT buy('o2');
SELECT * FROM order_cqrs.order_get('o1');

-- The module may outlive its objects.
CREATE FUNCTION public.horizon() RETURNS bigint LANGUAGE c AS '$libdir/order_cqrs', 'ocq_event_horizon';
SELECT tools.outcome('SELECT public.horizon()');
DROP FUNCTION public.horizon;

-- Back.  Neither the customer nor the events nor the plans of before are remembered.
CREATE EXTENSION order_cqrs CASCADE;
SELECT tools.outcome($$SELECT buy('o1')$$);
SELECT count(*) FROM order_cqrs.event_read(0);
CALL order_cqrs.customer_put('c1', 'Bea', 'bea@example.org');
SELECT tools.outcome($$SELECT buy('o1')$$);
CALL order_cqrs.product_put('p1', 'Coffee', 'drinks');
SELECT buy('o1');
CALL order_cqrs.order_cancel('o1', 'changed my mind', version => NULL);
CALL order_cqrs.projection_sync();
SELECT customer_name, status, total_amount, items FROM order_cqrs.order_get('o1');
SELECT order_id, customer_name FROM order_cqrs.order_search(product_name => 'coffee');
SELECT order_id, customer_name FROM order_cqrs.order_search(product_name => 'tea');
SELECT order_id FROM order_cqrs.customer_orders('c1');
SELECT status, orders, revenue FROM order_cqrs.order_stats WHERE orders > 0;
SELECT product_id, quantity, revenue FROM order_cqrs.order_product_stats WHERE quantity > 0;
SELECT version, event_type, position FROM order_cqrs.order_history('o1');
SELECT * FROM tools.differences();

-- Dropped and back within a transaction that ends otherwise.
BEGIN;
DROP EXTENSION order_cqrs;
SELECT tools.outcome($$SELECT buy('o2')$$);
ROLLBACK;
SELECT buy('o2');
BEGIN;
DROP EXTENSION order_cqrs;
CREATE EXTENSION order_cqrs CASCADE;
CALL order_cqrs.customer_put('c1', 'Cleo', 'cleo@example.org');
CALL order_cqrs.product_put('p1', 'Water', 'drinks');
SELECT buy('o3');
SELECT order_id, customer_name FROM order_cqrs.order_view;
ROLLBACK;
SELECT buy('o3');
SELECT order_id, customer_name FROM order_cqrs.order_view ORDER BY 1;

-- A dependent object keeps it, unless CASCADE.
CREATE VIEW public.my_orders AS SELECT order_id, status FROM order_cqrs.order_view;
SELECT tools.outcome('DROP EXTENSION order_cqrs');
DROP EXTENSION order_cqrs CASCADE;
DROP FUNCTION public.buy;

-- A schema that another role owns or may create in is refused; one of the installer's own is not.
CREATE ROLE regress_order_squatter;
DROP SCHEMA order_cqrs;
CREATE SCHEMA order_cqrs AUTHORIZATION regress_order_squatter;
SELECT tools.outcome('CREATE EXTENSION order_cqrs CASCADE');
ALTER SCHEMA order_cqrs OWNER TO CURRENT_USER;
GRANT CREATE ON SCHEMA order_cqrs TO regress_order_squatter;
SELECT tools.outcome('CREATE EXTENSION order_cqrs CASCADE');
REVOKE CREATE ON SCHEMA order_cqrs FROM regress_order_squatter;
GRANT CREATE ON SCHEMA order_cqrs TO PUBLIC;
SELECT tools.outcome('CREATE EXTENSION order_cqrs CASCADE');
REVOKE CREATE ON SCHEMA order_cqrs FROM PUBLIC;
CREATE FUNCTION order_cqrs.order_fold(bigint) RETURNS bigint LANGUAGE sql AS 'SELECT 1';
ALTER FUNCTION order_cqrs.order_fold OWNER TO regress_order_squatter;
SELECT tools.outcome('CREATE EXTENSION order_cqrs CASCADE');
DROP FUNCTION order_cqrs.order_fold;
GRANT USAGE ON SCHEMA order_cqrs TO PUBLIC;
CREATE EXTENSION order_cqrs CASCADE;
DROP EXTENSION order_cqrs;
DROP SCHEMA order_cqrs;
-- So is one of the database's owner, who could put another schema in its place.
SELECT format('ALTER DATABASE %I OWNER TO regress_order_squatter', current_database()) AS give, format('ALTER DATABASE %I OWNER TO CURRENT_USER', current_database()) AS take \gset
:give;
CREATE SCHEMA order_cqrs AUTHORIZATION regress_order_squatter;
SELECT tools.outcome('CREATE EXTENSION order_cqrs CASCADE');
DROP SCHEMA order_cqrs;
:take;
-- Functions in the schema of pg_trgm are not called, however well they match.
SELECT extnamespace::regnamespace AS trgm FROM pg_extension WHERE extname = 'pg_trgm' \gset
CREATE FUNCTION :trgm.pg_extension_config_dump(text, text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE 'called'; END $$;
CREATE FUNCTION :trgm.unnest(text[]) RETURNS SETOF text LANGUAGE plpgsql AS $$ BEGIN RAISE 'called'; END $$;
CREATE EXTENSION order_cqrs;
DROP FUNCTION :trgm.pg_extension_config_dump(text, text), :trgm.unnest(text[]);
DROP EXTENSION order_cqrs;
DROP SCHEMA order_cqrs;
-- The schema of the functions is always made anew.
CREATE SCHEMA order_api AUTHORIZATION regress_order_squatter;
SELECT tools.outcome('CREATE EXTENSION order_cqrs CASCADE');
ALTER SCHEMA order_api OWNER TO CURRENT_USER;
SELECT tools.outcome('CREATE EXTENSION order_cqrs CASCADE');
DROP SCHEMA order_api;
DROP ROLE regress_order_squatter;

-- The other tests start from here.
CREATE EXTENSION order_cqrs CASCADE;
SELECT count(*) FROM order_cqrs.events;
