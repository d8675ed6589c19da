-- Traditional CRUD: normalised tables and the indexes that its queries need. It is lean on purpose: no tenant,
-- no foreign keys to customers and products (order_create checks both), no history.
CREATE TABLE customers (customer_id text COLLATE "C" PRIMARY KEY, name text NOT NULL, email text NOT NULL);
CREATE TABLE products (product_id text COLLATE "C" PRIMARY KEY, name text NOT NULL, category text NOT NULL);

CREATE TABLE orders (
    order_id text COLLATE "C" PRIMARY KEY,
    customer_id text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL,
    total_amount numeric NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
) WITH (fillfactor = 90);
CREATE INDEX ON orders (customer_id, created_at);

CREATE TABLE order_items (
    order_id text COLLATE "C" NOT NULL,
    line int NOT NULL,
    product_id text COLLATE "C" NOT NULL,
    quantity int NOT NULL,
    unit_price numeric NOT NULL,
    PRIMARY KEY (order_id, line)
);
CREATE INDEX ON order_items (product_id);

INSERT INTO customers SELECT i::text, 'Customer ' || i, i || '@example.org' FROM generate_series(1, :customers) i;
INSERT INTO products SELECT i::text, 'Product ' || i, 'Category ' || i % 20 FROM generate_series(1, :products) i;
ANALYZE;
