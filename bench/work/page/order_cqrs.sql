-- Title: customer_orders
-- Database: large
\set customer random(1, :customers)
SELECT * FROM order_cqrs.customer_orders(:customer);
