-- A statement that is cancelled while it works in a subtransaction of the extension's own leaves a session that is fit for use:
-- no transaction is open, and ROLLBACK does not end it. Handlers and triggers raise the cancellation, at the same point each time.
SET search_path = order_cqrs, public;
SET order_cqrs.tenant_id = 'cancelled';
\pset format unaligned
\pset tuples_only on
\set VERBOSITY sqlstate
CREATE FUNCTION tools.cancel() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE query_canceled; END $$;
CREATE FUNCTION tools.cancel(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE query_canceled; END $$;
CALL customer_put('c', 'C', 'c@example.org');
CALL product_put('p', 'P', 'x');
CALL projection_sync();
UPDATE saga_state SET last_position = event_horizon();
CALL order_create('o', 'c', '[{"product_id": "p", "quantity": 1, "unit_price": 1}]');

-- A projection.
CREATE TRIGGER cancel BEFORE INSERT ON order_stats_applied FOR EACH ROW EXECUTE FUNCTION tools.cancel();
CALL projection_sync('order_stats');
SELECT 'fit for use';
ROLLBACK;
DO $$ BEGIN CALL order_cqrs.projection_sync('order_stats'); END $$;
SELECT 'fit for use';
ROLLBACK;
BEGIN;
SAVEPOINT s;
CALL projection_sync('order_stats');
ROLLBACK TO s;
SELECT 'fit for use';
COMMIT;
SELECT status, attempts FROM projection_state WHERE projection_name = 'order_stats';
DROP TRIGGER cancel ON order_stats_applied;
CALL projection_sync('order_stats');

-- The repair of what an audit has found.
UPDATE projection_state SET counted_events = counted_events + 1, counted_since = now() - interval '1 day' WHERE projection_name = 'order_stats';
DELETE FROM order_stats_applied WHERE tenant_id = 'cancelled';
CREATE TRIGGER cancel BEFORE INSERT ON order_stats_applied FOR EACH ROW EXECUTE FUNCTION tools.cancel();
CALL projection_audit('order_stats');
SELECT 'fit for use';
ROLLBACK;
DROP TRIGGER cancel ON order_stats_applied;
SET client_min_messages = error;
CALL projection_audit('order_stats');
CALL projection_rebuild('order_stats');
RESET client_min_messages;

-- The saga.
CREATE TRIGGER cancel AFTER INSERT ON events FOR EACH ROW WHEN (NEW.event_type = 'PaymentRequested') EXECUTE FUNCTION tools.cancel();
CALL saga_run();
SELECT 'fit for use';
ROLLBACK;
DROP TRIGGER cancel ON events;
CALL saga_run();
SELECT step FROM saga_status WHERE tenant_id = 'cancelled';

-- A future: it stays begun, and is run again like one whose process is gone.
SELECT command_handler_register('Cancel', 'tools.cancel(jsonb, jsonb)');
SELECT command_send_async('Cancel', '{}') AS id \gset
CALL future_run();
SELECT 'fit for use', future_status(:'id');
ROLLBACK;

SELECT command_handler_unregister('Cancel');
DELETE FROM bus_future;
DROP FUNCTION tools.cancel(), tools.cancel(jsonb, jsonb);
CALL projection_sync();
SELECT * FROM tools.differences();
