-- Title: primary-key SELECT
-- Database: large
\set id random(1, :orders)
SELECT * FROM order_cqrs.order_view WHERE tenant_id = 'default' AND order_id = :id;
