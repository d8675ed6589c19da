-- Stock, and the orders' claims on it.

CREATE TABLE inventory (
    tenant_id text COLLATE "C" NOT NULL,
    product_id text COLLATE "C" NOT NULL,
    received bigint NOT NULL,
    adjusted bigint NOT NULL DEFAULT 0,
    shipped bigint NOT NULL,
    reserved bigint NOT NULL,
    on_hand bigint NOT NULL GENERATED ALWAYS AS (received + adjusted - shipped) STORED,
    available bigint NOT NULL GENERATED ALWAYS AS (received + adjusted - shipped - reserved) STORED,
    version int NOT NULL,
    PRIMARY KEY (tenant_id, product_id)
) WITH (fillfactor = 50);
COMMENT ON TABLE inventory IS 'Read table: the stock of each product that stock_receive was ever called for; all other products are unlimited';
COMMENT ON COLUMN inventory.received IS 'Sum of the quantities that stock_receive has added';
COMMENT ON COLUMN inventory.adjusted IS 'Sum of the quantities that stock_adjust has added and, less than 0, taken away';
COMMENT ON COLUMN inventory.shipped IS 'Sum of the quantities that have left with orders that were shipped';
COMMENT ON COLUMN inventory.reserved IS 'Sum of the quantities that orders hold; never more than on_hand';
COMMENT ON COLUMN inventory.on_hand IS 'received + adjusted - shipped';
COMMENT ON COLUMN inventory.available IS 'on_hand - reserved';
COMMENT ON COLUMN inventory.version IS 'Version of the last event of the product''s Inventory stream that is in the row';

CREATE TABLE reservations (
    tenant_id text COLLATE "C" NOT NULL,
    order_id text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL,
    items jsonb NOT NULL,
    version int NOT NULL,
    PRIMARY KEY (tenant_id, order_id)
) WITH (fillfactor = 80);
COMMENT ON TABLE reservations IS 'Read table: the stock that each order holds, or held; orders whose products are all unlimited are not in it';
COMMENT ON COLUMN reservations.status IS 'HELD, RELEASED or SHIPPED; only HELD counts as reserved, only SHIPPED as shipped';
COMMENT ON COLUMN reservations.items IS '[{"product_id": text, "quantity": integer}, ...], each product once';
COMMENT ON COLUMN reservations.version IS 'Version of the order''s last event about its reservation';

CREATE FUNCTION inventory_check(items jsonb, order_id text DEFAULT NULL, tenant_id text DEFAULT NULL,
        OUT product_id text, OUT requested bigint, OUT available bigint, OUT ok boolean)
    RETURNS SETOF record
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ocq_inventory_check';
COMMENT ON FUNCTION inventory_check(jsonb, text, text)
    IS 'For each product of [{"product_id": text, "quantity": integer}, ...]: the quantities requested and available, NULL meaning unlimited; stock that the named order holds counts as available';
