-- Every public object says what it is.

BEGIN;
SELECT no_plan();

SELECT is_empty($$SELECT oid::regclass FROM pg_class WHERE relnamespace = 'order_cqrs'::regnamespace
                   AND relkind IN ('r', 'v', 'm', 'p', 'f') AND obj_description(oid, 'pg_class') IS NULL$$,
    'every table and view has a comment');
SELECT is_empty($$SELECT oid::regprocedure FROM pg_proc WHERE pronamespace IN ('order_cqrs'::regnamespace, 'order_api'::regnamespace)
                   AND obj_description(oid, 'pg_proc') IS NULL$$, 'every routine has');
SELECT isnt(obj_description('order_api'::regnamespace, 'pg_namespace'), NULL, 'the schema order_api has');
SELECT is_empty($$SELECT oid::regtype FROM pg_type WHERE typnamespace = 'order_cqrs'::regnamespace
                   AND (typtype IN ('d', 'e') OR typtype = 'b' AND typelem = 0) AND obj_description(oid, 'pg_type') IS NULL$$, 'every domain, and every type of its own has');
SELECT is_empty($$SELECT oid::regclass FROM pg_class WHERE oid = 'order_cqrs.events_position_seq'::regclass
                   AND obj_description(oid, 'pg_class') IS NULL$$, 'the sequence of positions has');
SELECT is_empty(format($$SELECT attname FROM pg_attribute WHERE attrelid = %L::regclass AND attnum > 0
                          AND NOT attisdropped AND col_description(attrelid, attnum) IS NULL$$, relation),
    'every column of ' || relation || ' has')
  FROM unnest(ARRAY['order_cqrs.events', 'order_cqrs.projection_state', 'order_cqrs.saga_state', 'order_cqrs.projection_ledger', 'order_cqrs.bus_registration',
           'order_cqrs.bus_future', 'order_cqrs.bus_handlers', 'order_cqrs.cache_stats']) AS t (relation);
SELECT isnt(obj_description(oid, 'pg_extension'), NULL, 'the extension has') FROM pg_extension WHERE extname = 'order_cqrs';

SELECT is_empty($$
    SELECT d.classoid::regclass, d.objoid, d.description FROM pg_description d
     WHERE (d.classoid, d.objoid) IN (
               SELECT 'pg_proc'::regclass::oid, oid FROM pg_proc
                WHERE pronamespace IN ('order_cqrs'::regnamespace, 'order_api'::regnamespace)
               UNION ALL
               SELECT 'pg_class'::regclass, oid FROM pg_class WHERE relnamespace = 'order_cqrs'::regnamespace)
       AND d.description ~ '\.$|^\s*$'$$,
    'a comment says something, and ends without a period');

SELECT * FROM finish();
ROLLBACK;
