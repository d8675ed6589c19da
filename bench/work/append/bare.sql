-- Title: bare INSERT
-- Database: async
\set n :n + 1
\set id :first + :n * 100 + :client_id
INSERT INTO bare_events (tenant_id, aggregate_type, aggregate_id, version, event_type, data, actor, occurred_at)
    VALUES ('default', 'Order', :id, 1, 'OrderCreated', :data, 'postgres', clock_timestamp());
