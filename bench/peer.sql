-- bench/peer.sql: the same shop in normalised tables, in the schema peer, with the types, keys and indexes that a
-- good database administrator would give them.
--
-- The peer has it easier than order_cqrs in two ways: it has no tenants, and its ids are numbers and UUIDs where
-- order_cqrs takes any text. As normalised tables do, it does not store values that can be computed: an order's total and
-- number of items.

SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA public;
CREATE SCHEMA peer;
SET search_path = peer;

CREATE TABLE customers (
	customer_id int PRIMARY KEY,
	name text NOT NULL,
	email text NOT NULL
);

CREATE TABLE products (
	product_id int PRIMARY KEY,
	name text NOT NULL,
	category text NOT NULL
);

CREATE TABLE orders (
	order_id uuid PRIMARY KEY,
	customer_id int NOT NULL REFERENCES customers,
	status text COLLATE "C" NOT NULL CHECK (status IN ('PENDING', 'COMPLETED', 'CANCELLED')),
	payment_status text COLLATE "C" CHECK (payment_status IN ('PENDING', 'COMPLETED', 'FAILED', 'REFUNDED')),
	created_at timestamptz NOT NULL,
	updated_at timestamptz NOT NULL,
	shipped_at timestamptz,
	version int NOT NULL
);

CREATE TABLE order_items (
	order_id uuid REFERENCES orders,
	line int,
	product_id int NOT NULL REFERENCES products,
	quantity int NOT NULL CHECK (quantity > 0),
	unit_price numeric NOT NULL CHECK (unit_price >= 0),
	PRIMARY KEY (order_id, line)
);

INSERT INTO customers SELECT customer_id::int, name, email FROM order_cqrs.customers ORDER BY customer_id::int;
INSERT INTO products SELECT product_id::int, name, category FROM order_cqrs.products ORDER BY product_id::int;
INSERT INTO orders SELECT order_id::uuid, customer_id::int, status, payment_status, created_at, updated_at, shipped_at, version
	FROM order_cqrs.order_view ORDER BY created_at;
-- Referential integrity is known; checking it row by row would only take time.
SET session_replication_role = replica;
INSERT INTO order_items SELECT order_id::uuid, line, product_id::int, quantity, unit_price
	FROM order_cqrs.order_item_view ORDER BY order_id, line;
RESET session_replication_role;

CREATE INDEX ON customers USING gin (lower(name) public.gin_trgm_ops);
CREATE INDEX ON products USING gin (lower(name) public.gin_trgm_ops);
CREATE INDEX ON products (category);
CREATE INDEX ON orders (created_at, order_id);
CREATE INDEX ON orders (updated_at, order_id);
CREATE INDEX ON orders (customer_id, created_at, order_id);
CREATE INDEX ON orders (status, created_at, order_id);
CREATE INDEX ON orders (payment_status, created_at, order_id);
CREATE INDEX ON order_items (product_id, order_id);
VACUUM ANALYZE customers, products, orders, order_items;
