-- Title: CRUD with join and aggregate
-- Database: crud
-- The page is cut first, so that only its 20 orders are joined.
\set customer random(1, :customers)
SELECT o.order_id, c.name, o.status, o.total_amount, o.created_at, i.lines, i.pieces
  FROM (SELECT * FROM orders WHERE customer_id = :customer ORDER BY created_at DESC LIMIT 20) o
  JOIN customers c USING (customer_id),
       LATERAL (SELECT count(*) AS lines, sum(quantity) AS pieces FROM order_items WHERE order_id = o.order_id) i
 ORDER BY o.created_at DESC;
