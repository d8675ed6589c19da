-- Title: CRUD with joins
-- Database: crud
\set id random(1, :orders)
SELECT o.order_id, o.customer_id, c.name, c.email, o.status, o.total_amount, o.created_at, o.updated_at,
       i.line, i.product_id, p.name, i.quantity, i.unit_price
  FROM orders o
  JOIN customers c USING (customer_id)
  JOIN order_items i USING (order_id)
  JOIN products p USING (product_id)
 WHERE o.order_id = :id ORDER BY i.line;
