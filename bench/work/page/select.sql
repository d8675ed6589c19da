-- Title: SELECT from order_summary_view
-- Database: large
\set customer random(1, :customers)
SELECT * FROM order_cqrs.order_summary_view WHERE tenant_id = 'default' AND customer_id = :customer
    ORDER BY created_at DESC LIMIT 20;
