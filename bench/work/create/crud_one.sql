-- Title: CRUD in one round trip
-- Database: crud
\set n :n + 1
\set id :first + :n * 100 + :client_id
\set customer random(1, :customers)
WITH o AS (
    INSERT INTO orders (order_id, customer_id, status, total_amount, created_at, updated_at)
        VALUES (:id, :customer, 'PENDING', :total, now(), now()) RETURNING order_id
)
INSERT INTO order_items (order_id, line, product_id, quantity, unit_price)
    SELECT o.order_id, i.* FROM o, (VALUES (1, :p1, :q1::int, :u1::numeric), (2, :p2, :q2, :u2), (3, :p3, :q3, :u3)) i;
