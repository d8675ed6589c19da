-- The commands that fulfil an order.  Why each stands twice: see store/functions.sql.

CREATE PROCEDURE inventory_reserve(order_id text,
        command_id uuid DEFAULT NULL, expected_version int DEFAULT NULL, metadata jsonb DEFAULT NULL,
        tenant_id text DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_inventory_reserve';
CREATE PROCEDURE inventory_reserve(order_id identifier,
        command_id uuid DEFAULT NULL, expected_version int DEFAULT NULL, metadata jsonb DEFAULT NULL,
        tenant_id text DEFAULT NULL, INOUT version int DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_inventory_reserve';
COMMENT ON PROCEDURE inventory_reserve(text, uuid, int, jsonb, text)
    IS 'Reserve the stock that a live order needs; reserving twice reserves once';
COMMENT ON PROCEDURE inventory_reserve(identifier, uuid, int, jsonb, text, int)
    IS 'The same, and answer with the order''s new version';

CREATE PROCEDURE reservation_change(order_id text, items jsonb,
        command_id uuid DEFAULT NULL, expected_version int DEFAULT NULL, metadata jsonb DEFAULT NULL,
        tenant_id text DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_reservation_change';
CREATE PROCEDURE reservation_change(order_id identifier, items jsonb,
        command_id uuid DEFAULT NULL, expected_version int DEFAULT NULL, metadata jsonb DEFAULT NULL,
        tenant_id text DEFAULT NULL, INOUT version int DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_reservation_change';
COMMENT ON PROCEDURE reservation_change(text, jsonb, uuid, int, jsonb, text)
    IS 'Make the reservation of an order hold other products and quantities, [{"product_id": text, "quantity": integer}, ...]';
COMMENT ON PROCEDURE reservation_change(identifier, jsonb, uuid, int, jsonb, text, int)
    IS 'The same, and answer with the order''s new version';

CREATE PROCEDURE inventory_release(order_id text,
        command_id uuid DEFAULT NULL, expected_version int DEFAULT NULL, metadata jsonb DEFAULT NULL,
        tenant_id text DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_inventory_release';
CREATE PROCEDURE inventory_release(order_id identifier,
        command_id uuid DEFAULT NULL, expected_version int DEFAULT NULL, metadata jsonb DEFAULT NULL,
        tenant_id text DEFAULT NULL, INOUT version int DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_inventory_release';
COMMENT ON PROCEDURE inventory_release(text, uuid, int, jsonb, text)
    IS 'Give back the stock that an order holds; nothing happens if it holds none';
COMMENT ON PROCEDURE inventory_release(identifier, uuid, int, jsonb, text, int)
    IS 'The same, and answer with the order''s new version';

CREATE PROCEDURE payment_process(order_id text,
        command_id uuid DEFAULT NULL, expected_version int DEFAULT NULL, metadata jsonb DEFAULT NULL,
        tenant_id text DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_payment_process';
CREATE PROCEDURE payment_process(order_id identifier,
        command_id uuid DEFAULT NULL, expected_version int DEFAULT NULL, metadata jsonb DEFAULT NULL,
        tenant_id text DEFAULT NULL, INOUT version int DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_payment_process';
COMMENT ON PROCEDURE payment_process(text, uuid, int, jsonb, text)
    IS 'Request the payment of an order: it then waits in payment_requests';
COMMENT ON PROCEDURE payment_process(identifier, uuid, int, jsonb, text, int)
    IS 'The same, and answer with the order''s new version';

CREATE PROCEDURE payment_complete(order_id text, reference text DEFAULT NULL,
        command_id uuid DEFAULT NULL, expected_version int DEFAULT NULL, metadata jsonb DEFAULT NULL,
        tenant_id text DEFAULT NULL, amount numeric DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_payment_complete';
CREATE PROCEDURE payment_complete(order_id identifier, reference text DEFAULT NULL,
        command_id uuid DEFAULT NULL, expected_version int DEFAULT NULL, metadata jsonb DEFAULT NULL,
        tenant_id text DEFAULT NULL, amount numeric DEFAULT NULL, INOUT version int DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_payment_complete';
COMMENT ON PROCEDURE payment_complete(text, text, uuid, int, jsonb, text, numeric)
    IS 'Report that the requested payment of an order was made; reference is the provider''s, and another amount than requested is refused';
COMMENT ON PROCEDURE payment_complete(identifier, text, uuid, int, jsonb, text, numeric, int)
    IS 'The same, and answer with the order''s new version';

CREATE PROCEDURE payment_fail(order_id text, reason text DEFAULT NULL,
        command_id uuid DEFAULT NULL, expected_version int DEFAULT NULL, metadata jsonb DEFAULT NULL,
        tenant_id text DEFAULT NULL, amount numeric DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_payment_fail';
CREATE PROCEDURE payment_fail(order_id identifier, reason text DEFAULT NULL,
        command_id uuid DEFAULT NULL, expected_version int DEFAULT NULL, metadata jsonb DEFAULT NULL,
        tenant_id text DEFAULT NULL, amount numeric DEFAULT NULL, INOUT version int DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_payment_fail';
COMMENT ON PROCEDURE payment_fail(text, text, uuid, int, jsonb, text, numeric)
    IS 'Report that the requested payment of an order has failed; another amount than requested is refused';
COMMENT ON PROCEDURE payment_fail(identifier, text, uuid, int, jsonb, text, numeric, int)
    IS 'The same, and answer with the order''s new version';

CREATE PROCEDURE payment_refund(order_id text,
        command_id uuid DEFAULT NULL, expected_version int DEFAULT NULL, metadata jsonb DEFAULT NULL,
        tenant_id text DEFAULT NULL, amount numeric DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_payment_refund';
CREATE PROCEDURE payment_refund(order_id identifier,
        command_id uuid DEFAULT NULL, expected_version int DEFAULT NULL, metadata jsonb DEFAULT NULL,
        tenant_id text DEFAULT NULL, amount numeric DEFAULT NULL, INOUT version int DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_payment_refund';
COMMENT ON PROCEDURE payment_refund(text, uuid, int, jsonb, text, numeric)
    IS 'Refund the completed payment of an order as a whole; another amount is refused';
COMMENT ON PROCEDURE payment_refund(identifier, uuid, int, jsonb, text, numeric, int)
    IS 'The same, and answer with the order''s new version';

CREATE PROCEDURE shipping_start(order_id text,
        command_id uuid DEFAULT NULL, expected_version int DEFAULT NULL, metadata jsonb DEFAULT NULL,
        tenant_id text DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_shipping_start';
CREATE PROCEDURE shipping_start(order_id identifier,
        command_id uuid DEFAULT NULL, expected_version int DEFAULT NULL, metadata jsonb DEFAULT NULL,
        tenant_id text DEFAULT NULL, INOUT version int DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_shipping_start';
COMMENT ON PROCEDURE shipping_start(text, uuid, int, jsonb, text)
    IS 'Ship a COMPLETED order: what it holds leaves the stock, and it can no longer be cancelled';
COMMENT ON PROCEDURE shipping_start(identifier, uuid, int, jsonb, text, int)
    IS 'The same, and answer with the order''s new version';
