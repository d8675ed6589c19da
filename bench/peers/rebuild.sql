-- A script by hand that makes the read tables of orders anew: one fold, one INSERT for each
-- table, the indexes afterwards. Indexes are copied from the extension's tables, whichever they are.
BEGIN;
CREATE SCHEMA by_hand;
CREATE TABLE by_hand.order_view (LIKE order_cqrs.order_view);
CREATE TABLE by_hand.order_item_view (LIKE order_cqrs.order_item_view);
CREATE TABLE by_hand.order_summary_view (LIKE order_cqrs.order_summary_view);
CREATE TABLE by_hand.order_stats (LIKE order_cqrs.order_stats);
CREATE TABLE by_hand.order_product_stats (LIKE order_cqrs.order_product_stats);

CREATE TEMP TABLE state ON COMMIT DROP AS
    SELECT tenant_id, aggregate_id AS order_id, max(version) AS version,
           min(data ->> 'customer_id') AS customer_id,
           CASE WHEN bool_or(event_type = 'OrderCancelled') THEN 'CANCELLED'
                WHEN bool_or(event_type = 'OrderCompleted') THEN 'COMPLETED' ELSE 'PENDING' END AS status,
           (array_agg(data ORDER BY version DESC) FILTER (WHERE data ? 'items'))[1] AS content,
           max(version) FILTER (WHERE data ? 'items') AS items_version,
           min(occurred_at) AS created_at, max(occurred_at) AS updated_at
      FROM order_cqrs.events WHERE aggregate_type = 'Order'
     GROUP BY tenant_id, aggregate_id;

INSERT INTO by_hand.order_item_view (tenant_id, order_id, line, product_id, product_name, product_category, quantity,
        unit_price, total_price, created_at, version)
    SELECT s.tenant_id, s.order_id, i.line, i.product_id, p.name, p.category, i.quantity, i.unit_price,
           i.quantity * i.unit_price, s.created_at, s.items_version
      FROM state s,
           ROWS FROM (jsonb_to_recordset(content -> 'items') AS (product_id text, quantity int, unit_price numeric))
               WITH ORDINALITY AS i (product_id, quantity, unit_price, line)
      LEFT JOIN order_cqrs.products p ON p.product_id = i.product_id AND p.tenant_id = 'default';
INSERT INTO by_hand.order_view (tenant_id, order_id, customer_id, customer_name, customer_email, status, total_amount,
        item_count, created_at, updated_at, version, items)
    SELECT s.tenant_id, s.order_id, s.customer_id, c.name, c.email, s.status, (content ->> 'total_amount')::numeric,
           i.item_count, s.created_at, s.updated_at, s.version, i.items
      FROM state s
      LEFT JOIN order_cqrs.customers c USING (tenant_id, customer_id)
      JOIN (SELECT tenant_id, order_id, count(*) AS item_count,
                   jsonb_agg(jsonb_build_object('product_id', product_id, 'product_name', product_name,
                       'product_category', product_category, 'quantity', quantity, 'unit_price', unit_price,
                       'total_price', total_price) ORDER BY line) AS items
              FROM by_hand.order_item_view GROUP BY tenant_id, order_id) i USING (tenant_id, order_id);
INSERT INTO by_hand.order_summary_view (tenant_id, order_id, customer_id, customer_name, customer_email, status,
        total_amount, item_count, created_at, updated_at, version)
    SELECT tenant_id, order_id, customer_id, customer_name, customer_email, status, total_amount, item_count,
           created_at, updated_at, version
      FROM by_hand.order_view;
INSERT INTO by_hand.order_stats (tenant_id, day, status, orders, revenue)
    SELECT tenant_id, (created_at AT TIME ZONE 'UTC')::date, status, count(*), sum(total_amount)
      FROM by_hand.order_view GROUP BY 1, 2, 3;
INSERT INTO by_hand.order_product_stats (tenant_id, product_id, quantity, revenue)
    SELECT tenant_id, product_id, sum(quantity), sum(total_price)
      FROM by_hand.order_item_view JOIN state USING (tenant_id, order_id)
     WHERE status <> 'CANCELLED' GROUP BY 1, 2;

SELECT replace(pg_get_indexdef(indexrelid), ' order_cqrs.', ' by_hand.')
  FROM pg_index JOIN pg_class t ON t.oid = indrelid
 WHERE relnamespace = 'order_cqrs'::regnamespace
   AND relname IN ('order_view', 'order_item_view', 'order_summary_view', 'order_stats', 'order_product_stats') \gexec
COMMIT;
