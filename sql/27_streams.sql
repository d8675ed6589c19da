-- Reading one stream; the end of one; events with columns that were added.
SET search_path = order_cqrs, public;
SET order_cqrs.tenant_id = 'streams';
\pset format unaligned
\pset tuples_only on
\set VERBOSITY terse
\set two '[{"type": "Put", "data": {"n": 1}}, {"type": "Put", "data": {"n": 2}}]'
SELECT event_horizon() AS start \gset
CALL event_append('Basket', 'b', :'two');
CALL event_append('Basket', 'b', :'two');
CALL event_append('Basket', 'c', :'two');
CALL event_append('Basket', 'b', :'two', tenant_id => 'streams too');
CALL customer_put('c', 'C', 'c@example.org');

-- stream_read: in order, whole or in parts, of any type.
SELECT tenant_id, aggregate_type, aggregate_id, version, event_type, data FROM stream_read('Basket', 'b');
SELECT version FROM stream_read('Basket', 'b', 2);
SELECT version FROM stream_read('Basket', 'b', 1, 2);
SELECT version FROM stream_read('Basket', 'b', max_count => 1);
SELECT count(*) FROM stream_read('Basket', 'b', 4);
SELECT count(*) FROM stream_read('Basket', 'b', 2147483647, 2147483647);
SELECT tenant_id, version FROM stream_read('Basket', 'b', tenant_id => 'streams too');
SELECT event_type FROM stream_read('Customer', 'c');
SELECT count(*) FROM stream_read('Basket', 'none');
SELECT count(*) FROM stream_read('Nothing', 'b');
SELECT stream_read('Basket', 'c') = e FROM events e WHERE tenant_id = 'streams' AND aggregate_id = 'c' AND version = 1
	AND aggregate_type = 'Basket' LIMIT 1;
SELECT * FROM tools.outcomes($$SELECT order_cqrs.stream_read(NULL, 'b')$$, $$SELECT order_cqrs.stream_read('', 'b')$$,
	$$SELECT order_cqrs.stream_read('Basket', NULL)$$, $$SELECT order_cqrs.stream_read('Basket', repeat('b', 256))$$,
	$$SELECT order_cqrs.stream_read('Basket', 'b', NULL)$$, $$SELECT order_cqrs.stream_read('Basket', 'b', -1)$$,
	$$SELECT order_cqrs.stream_read('Basket', 'b', 0, NULL)$$, $$SELECT order_cqrs.stream_read('Basket', 'b', 0, 0)$$,
	$$SELECT order_cqrs.stream_read('Basket', 'b', tenant_id => '')$$);
-- It finds the stream by the primary key, and sees what the transaction has appended.
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT count(*) FROM stream_read('Basket', 'b');
COMMIT;
BEGIN;
CALL event_append('Basket', 'd', :'two');
SELECT version FROM stream_read('Basket', 'd');
ROLLBACK;
SELECT count(*) FROM stream_read('Basket', 'd');

-- The greatest version is the last.
SET session_replication_role = replica;
INSERT INTO events (tenant_id, aggregate_type, aggregate_id, version, event_type, data, actor, occurred_at)
SELECT 'streams', type, id, 2147483647 - below, event_type, data, session_user, now()
  FROM (VALUES ('Basket', 'full', 0, 'Put', '{}'::jsonb), ('Basket', 'one left', 1, 'Put', '{}'),
	('Basket', 'two left', 2, 'Put', '{}'), ('Basket', 'three left', 3, 'Put', '{}'),
	('Customer', 'full', 0, 'CustomerRegistered', '{"name": "F", "email": "f@example.org"}'),
	('Product', 'full', 0, 'ProductRegistered', '{"name": "F", "category": "f"}'),
	('Inventory', 'full', 0, 'StockReceived', '{"quantity": 1, "total_received": 1, "total_adjusted": 0}')) AS t (type, id, below, event_type, data);
RESET session_replication_role;
CALL projection_sync();
SELECT * FROM tools.outcomes($$CALL order_cqrs.event_append('Basket', 'full', '[{"type": "Put", "data": {}}]')$$,
	$$CALL order_cqrs.event_append('Basket', 'one left', '[{"type": "Put", "data": {}}, {"type": "Put", "data": {}}]')$$,
	$$CALL order_cqrs.event_append('Basket', 'one left', '[{"type": "Put", "data": {}}]')$$,
	$$CALL order_cqrs.event_append('Basket', 'one left', '[{"type": "Put", "data": {}}]')$$,
	$$CALL order_cqrs.event_append('Basket', 'two left', '[{"type": "Put", "data": {}}, {"type": "Put", "data": {}}, {"type": "Put", "data": {}}]')$$,
	$$CALL order_cqrs.event_append('Basket', 'two left', '[{"type": "Put", "data": {}}, {"type": "Put", "data": {}}]')$$,
	$$CALL order_cqrs.event_append('Basket', 'three left', '[{"type": "Put", "data": {}}, {"type": "Put", "data": {}}]')$$,
	$$CALL order_cqrs.customer_put('full', 'G', 'g@example.org')$$,
	$$CALL order_cqrs.product_put('full', 'G', 'g')$$, $$CALL order_cqrs.stock_receive('full', 1)$$);
SELECT aggregate_id, max(version) FROM events WHERE tenant_id = 'streams' AND aggregate_id LIKE '% left' GROUP BY 1 ORDER BY 1;

-- Columns that are added to events are read, and those that are dropped are no trouble, also where a plan is kept.
PREPARE log AS SELECT row_to_json(e)::jsonb - '{position,occurred_at,session_role,actor}'::text[] FROM event_read(:start, 2) e;
PREPARE baskets AS SELECT row_to_json(e)::jsonb - '{position,occurred_at,session_role,actor}'::text[] FROM event_read(:start, 2, '{Basket}') e;
PREPARE stream AS SELECT row_to_json(e)::jsonb - '{position,occurred_at,session_role,actor}'::text[] FROM stream_read('Basket', 'c') e;
EXECUTE log;
EXECUTE baskets;
EXECUTE stream;
ALTER TABLE events ADD COLUMN added int, ADD COLUMN preset text DEFAULT 'as was';
CALL event_append('Basket', 'c', '[{"type": "Put", "data": {"n": 3}}]');
ALTER TABLE events DISABLE TRIGGER events_append_only;
UPDATE events SET added = version WHERE tenant_id = 'streams' AND aggregate_type = 'Basket';
ALTER TABLE events ENABLE ALWAYS TRIGGER events_append_only;
EXECUTE log;
EXECUTE baskets;
EXECUTE stream;
SELECT version, added, preset FROM event_read(:start, 1);
SELECT version, added, preset FROM event_read(:start, 1, '{Customer}');
SELECT version, added, preset FROM stream_read('Basket', 'c');
ALTER TABLE events DROP COLUMN added;
EXECUTE log;
EXECUTE baskets;
EXECUTE stream;
SELECT version, preset FROM stream_read('Basket', 'c');
ALTER TABLE events ADD COLUMN added jsonb DEFAULT '[7]';
EXECUTE log;
EXECUTE baskets;
EXECUTE stream;
SELECT preset, added FROM stream_read('Basket', 'c', max_count => 1);
ALTER TABLE events ALTER COLUMN preset DROP DEFAULT, ALTER COLUMN preset TYPE bytea USING preset::bytea;
SELECT preset, added FROM stream_read('Basket', 'c', max_count => 1);
SELECT preset, added FROM event_read(:start, 1);
ALTER TABLE events DROP COLUMN added, DROP COLUMN preset;
SELECT version, event_type, data FROM event_read(:start, 1);
DEALLOCATE ALL;

ALTER TABLE events DISABLE TRIGGER events_append_only;
DELETE FROM events WHERE tenant_id = 'streams' AND version > 1000;
ALTER TABLE events ENABLE ALWAYS TRIGGER events_append_only;
CALL projection_rebuild('reference');
CALL projection_rebuild('inventory');
CALL projection_sync();
SELECT * FROM tools.differences();
