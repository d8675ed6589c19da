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
CREATE INDEX products_category_idx ON products (tenant_id, category);
COMMENT ON TABLE products IS 'Read table: products as product_put last set them';
COMMENT ON COLUMN products.version IS 'Version of the last event applied to the row';
COMMENT ON COLUMN products.position IS 'Position of that event';

-- For searches by a part of the name: few customers change, and many orders are searched.
DO $$
DECLARE
    trgm name := (SELECT n.nspname FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname = 'pg_trgm');
BEGIN
    EXECUTE pg_catalog.format('CREATE INDEX customers_name_idx ON customers USING gin (lower(name) %I.gin_trgm_ops) WITH (fastupdate = off)', trgm);
    EXECUTE pg_catalog.format('CREATE INDEX products_name_idx ON products USING gin (lower(name) %I.gin_trgm_ops) WITH (fastupdate = off)', trgm);
END $$;
