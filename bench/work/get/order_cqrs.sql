-- Title: order_get
-- Database: large
\set id random(1, :orders)
SELECT * FROM order_cqrs.order_get(:id);
