-- A log of :events events, two in five of them OrderCreated, one OrderUpdated, two OrderCompleted: orders 1, 2, 3 ...
-- of all customers in turn. Replica sessions fire no projection, so that nothing is in the read tables yet.
SET session_replication_role = replica;
INSERT INTO order_cqrs.events (tenant_id, aggregate_type, aggregate_id, version, event_type, data, actor, occurred_at)
    SELECT 'default', 'Order', i::text, v, type,
           CASE v WHEN 1 THEN jsonb_set(data, '{customer_id}', to_jsonb((i % :customers + 1)::text)) ELSE data END,
           'postgres', '2026-01-01'::timestamptz + i * interval '1 second' + v * interval '1 millisecond'
      FROM generate_series(1, :events / 5 * 2) i,
           LATERAL (SELECT * FROM (VALUES (1, 'OrderCreated', :'created'::jsonb), (2, 'OrderUpdated', :'updated'),
                       (2 + i % 2, 'OrderCompleted', :'completed')) x (v, type, data)
                     WHERE type <> 'OrderUpdated' OR i % 2 = 1) e
     ORDER BY i, v;
SET session_replication_role = origin;
VACUUM ANALYZE order_cqrs.events;
