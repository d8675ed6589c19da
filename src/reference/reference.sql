-- Customers and products, which orders name.

CREATE TABLE customers (
    tenant_id text COLLATE "C" NOT NULL,
    customer_id text COLLATE "C" NOT NULL,
    name text NOT NULL,
    email text NOT NULL,
    version int NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (tenant_id, customer_id)
);
-- For searches by a part of the name: few customers change, and many orders are searched.
CREATE INDEX customers_name_idx ON customers USING gin (lower(name) gin_trgm_ops) WITH (fastupdate = off);
COMMENT ON TABLE customers IS 'Read table: customers as customer_put last set them';
COMMENT ON COLUMN customers.version IS 'Version of the last event applied to the row';
COMMENT ON COLUMN customers.position IS 'Position of that event';

CREATE TABLE products (
    tenant_id text COLLATE "C" NOT NULL,
    product_id text COLLATE "C" NOT NULL,
    name text NOT NULL,
    category text NOT NULL,
    version int NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (tenant_id, product_id)
);
CREATE INDEX products_name_idx ON products USING gin (lower(name) gin_trgm_ops) WITH (fastupdate = off);
CREATE INDEX products_category_idx ON products (tenant_id, category);
COMMENT ON TABLE products IS 'Read table: products as product_put last set them';
COMMENT ON COLUMN products.version IS 'Version of the last event applied to the row';
COMMENT ON COLUMN products.position IS 'Position of that event';

CREATE PROCEDURE customer_put(customer_id text, name text, email text,
        command_id uuid DEFAULT NULL, expected_version int DEFAULT NULL, metadata jsonb DEFAULT NULL,
        tenant_id text DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_customer_put';
CREATE PROCEDURE customer_put(customer_id identifier, name text, email text,
        command_id uuid DEFAULT NULL, expected_version int DEFAULT NULL, metadata jsonb DEFAULT NULL,
        tenant_id text DEFAULT NULL, INOUT version int DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_customer_put';
COMMENT ON PROCEDURE customer_put(text, text, text, uuid, int, jsonb, text)
    IS 'Register a customer, or change the name and email that the read tables show';
COMMENT ON PROCEDURE customer_put(identifier, text, text, uuid, int, jsonb, text, int)
    IS 'The same, and answer with the customer''s new version';

CREATE PROCEDURE product_put(product_id text, name text, category text,
        command_id uuid DEFAULT NULL, expected_version int DEFAULT NULL, metadata jsonb DEFAULT NULL,
        tenant_id text DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_product_put';
CREATE PROCEDURE product_put(product_id identifier, name text, category text,
        command_id uuid DEFAULT NULL, expected_version int DEFAULT NULL, metadata jsonb DEFAULT NULL,
        tenant_id text DEFAULT NULL, INOUT version int DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_product_put';
COMMENT ON PROCEDURE product_put(text, text, text, uuid, int, jsonb, text)
    IS 'Register a product, or change the name and category that the read tables show';
COMMENT ON PROCEDURE product_put(identifier, text, text, uuid, int, jsonb, text, int)
    IS 'The same, and answer with the product''s new version';
