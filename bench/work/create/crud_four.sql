-- Title: CRUD in four round trips
-- Database: crud
\set n :n + 1
\set id :first + :n * 100 + :client_id
\set customer random(1, :customers)
BEGIN;
INSERT INTO orders (order_id, customer_id, status, total_amount, created_at, updated_at)
    VALUES (:id, :customer, 'PENDING', :total, now(), now());
INSERT INTO order_items (order_id, line, product_id, quantity, unit_price)
    VALUES (:id, 1, :p1, :q1, :u1), (:id, 2, :p2, :q2, :u2), (:id, 3, :p3, :q3, :u3);
COMMIT;
