-- The commands of an order.  Why each stands twice: see store/functions.sql.

CREATE PROCEDURE order_create(order_id text, customer_id text, items jsonb,
        command_id uuid DEFAULT NULL, expected_version int DEFAULT NULL, metadata jsonb DEFAULT NULL,
        tenant_id text DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_order_create';
CREATE PROCEDURE order_create(order_id identifier, customer_id text, items jsonb,
        command_id uuid DEFAULT NULL, expected_version int DEFAULT NULL, metadata jsonb DEFAULT NULL,
        tenant_id text DEFAULT NULL, INOUT version int DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_order_create';
COMMENT ON PROCEDURE order_create(text, text, jsonb, uuid, int, jsonb, text)
    IS 'Create an order of 1 to 1000 items [{"product_id": text, "quantity": integer, "unit_price": number or decimal string}, ...]';
COMMENT ON PROCEDURE order_create(identifier, text, jsonb, uuid, int, jsonb, text, int)
    IS 'The same, and answer with the order''s new version';

CREATE PROCEDURE order_update(order_id text, items jsonb, reason text DEFAULT NULL,
        command_id uuid DEFAULT NULL, expected_version int DEFAULT NULL, metadata jsonb DEFAULT NULL,
        tenant_id text DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_order_update';
CREATE PROCEDURE order_update(order_id identifier, items jsonb, reason text DEFAULT NULL,
        command_id uuid DEFAULT NULL, expected_version int DEFAULT NULL, metadata jsonb DEFAULT NULL,
        tenant_id text DEFAULT NULL, INOUT version int DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_order_update';
COMMENT ON PROCEDURE order_update(text, jsonb, text, uuid, int, jsonb, text)
    IS 'Replace the items of a PENDING order';
COMMENT ON PROCEDURE order_update(identifier, jsonb, text, uuid, int, jsonb, text, int)
    IS 'The same, and answer with the order''s new version';

CREATE PROCEDURE order_cancel(order_id text, reason text DEFAULT NULL,
        command_id uuid DEFAULT NULL, expected_version int DEFAULT NULL, metadata jsonb DEFAULT NULL,
        tenant_id text DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_order_cancel';
CREATE PROCEDURE order_cancel(order_id identifier, reason text DEFAULT NULL,
        command_id uuid DEFAULT NULL, expected_version int DEFAULT NULL, metadata jsonb DEFAULT NULL,
        tenant_id text DEFAULT NULL, INOUT version int DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_order_cancel';
COMMENT ON PROCEDURE order_cancel(text, text, uuid, int, jsonb, text)
    IS 'Cancel an order that is PENDING, or COMPLETED and not yet shipped';
COMMENT ON PROCEDURE order_cancel(identifier, text, uuid, int, jsonb, text, int)
    IS 'The same, and answer with the order''s new version';

CREATE PROCEDURE order_complete(order_id text,
        command_id uuid DEFAULT NULL, expected_version int DEFAULT NULL, metadata jsonb DEFAULT NULL,
        tenant_id text DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_order_complete';
CREATE PROCEDURE order_complete(order_id identifier,
        command_id uuid DEFAULT NULL, expected_version int DEFAULT NULL, metadata jsonb DEFAULT NULL,
        tenant_id text DEFAULT NULL, INOUT version int DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_order_complete';
COMMENT ON PROCEDURE order_complete(text, uuid, int, jsonb, text)
    IS 'Complete a PENDING order';
COMMENT ON PROCEDURE order_complete(identifier, uuid, int, jsonb, text, int)
    IS 'The same, and answer with the order''s new version';

CREATE FUNCTION order_next_id() RETURNS text
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ocq_order_next_id';
COMMENT ON FUNCTION order_next_id() IS 'A new id for an order: a time-ordered UUID, version 7';
