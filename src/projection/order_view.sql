-- The projection order_view.

CREATE TABLE order_view (
    {order_columns},
    items jsonb NOT NULL,
    PRIMARY KEY (tenant_id, order_id)
) WITH (fillfactor = 90);
-- For renaming a customer.  No index has a column that an order's events change, so that their updates are HOT.
CREATE INDEX order_view_customer_idx ON order_view (tenant_id, customer_id);

COMMENT ON TABLE order_view IS 'Read table: one row for each order, with its items, for reading one order';
{order_comments}
COMMENT ON COLUMN order_view.items IS 'The lines, as order_item_view has them: an array of objects with product_id, product_name, product_category, quantity, unit_price, total_price';

CREATE TABLE order_item_view (
    tenant_id text COLLATE "C" NOT NULL,
    order_id text COLLATE "C" NOT NULL,
    line int NOT NULL,
    product_id text COLLATE "C" NOT NULL,
    product_name text,
    product_category text,
    quantity int NOT NULL,
    unit_price numeric NOT NULL,
    total_price numeric NOT NULL,
    created_at timestamptz NOT NULL,
    version int NOT NULL,
    PRIMARY KEY (tenant_id, order_id, line)
);
-- For the orders of a product, newest first, and for renaming it.
CREATE INDEX order_item_view_product_idx ON order_item_view (tenant_id, product_id, created_at, order_id)
    WITH (deduplicate_items = off);
-- For estimates of the part of the lines whose name contains some letters.
CREATE STATISTICS order_item_view_product_name ON lower(product_name) FROM order_item_view;

COMMENT ON TABLE order_item_view IS 'Read table: one row for each line of an order, for finding orders by product';
COMMENT ON COLUMN order_item_view.line IS 'Number of the line within the order, from 1';
COMMENT ON COLUMN order_item_view.total_price IS 'quantity times unit_price';
COMMENT ON COLUMN order_item_view.created_at IS 'When the order was created';
COMMENT ON COLUMN order_item_view.version IS 'Version of the event that set the order''s items';

CREATE FUNCTION order_view_difference(OUT tenant_id text, OUT aggregate_type text, OUT aggregate_id text,
        OUT key text, OUT expected jsonb, OUT actual jsonb) RETURNS SETOF record
    LANGUAGE sql STABLE AS $$
    WITH bound AS (
        SELECT order_cqrs.projection_bound('order_view') AS position
    ), actual_items AS (
        SELECT i.tenant_id, i.order_id,
               jsonb_agg(jsonb_build_object('product_id', i.product_id, 'quantity', i.quantity,
                   'unit_price', i.unit_price) ORDER BY i.line) AS items,
               jsonb_agg(jsonb_build_object('product_id', i.product_id, 'product_name', i.product_name,
                   'product_category', i.product_category, 'quantity', i.quantity, 'unit_price', i.unit_price,
                   'total_price', i.total_price) ORDER BY i.line) AS named_items,
               min(i.created_at) AS min_created_at, max(i.created_at) AS max_created_at,
               -- Names that are due to change, because their event is beyond the checkpoint, are not compared.
               bool_and((i.product_name, i.product_category) IS NOT DISTINCT FROM (p.name, p.category)
                   OR p.position > bound.position) AS names_are_true,
               bool_and(i.total_price = i.quantity * i.unit_price) AS totals_are_true,
               min(i.line) = 1 AND max(i.line) = count(*) AS lines_are_true,
               min(i.version) AS min_version, max(i.version) AS max_version
          FROM bound, order_cqrs.order_item_view i
          LEFT JOIN order_cqrs.products p ON p.tenant_id = i.tenant_id AND p.product_id = i.product_id
         GROUP BY i.tenant_id, i.order_id
    ), expected AS (
        SELECT f.tenant_id, f.order_id, f.version, f.customer_id, f.status, f.payment_status,
               f.total_amount, f.item_count, f.created_at, f.updated_at, f.shipped_at, f.items, f.items_version,
               c.name AS customer_name, c.email AS customer_email, c.position > bound.position AS renaming
          FROM bound, order_cqrs.order_fold((SELECT b.position FROM bound b)) f
          LEFT JOIN order_cqrs.customers c ON c.tenant_id = f.tenant_id AND c.customer_id = f.customer_id
    )
    SELECT coalesce(e.tenant_id, v.tenant_id, i.tenant_id), 'Order'::text,
           coalesce(e.order_id, v.order_id, i.order_id), coalesce(e.order_id, v.order_id, i.order_id),
           CASE WHEN e.order_id IS NOT NULL THEN to_jsonb(e) - '{renaming,items_version}'::text[] END,
           CASE WHEN v.order_id IS NOT NULL OR i.order_id IS NOT NULL
                THEN coalesce(to_jsonb(v), '{}') || jsonb_build_object('lines', i.items,
                         'item_names_are_true', i.names_are_true) END
      FROM expected e
      FULL JOIN order_cqrs.order_view v ON v.tenant_id = e.tenant_id AND v.order_id = e.order_id
      FULL JOIN actual_items i ON i.tenant_id = coalesce(e.tenant_id, v.tenant_id)
                              AND i.order_id = coalesce(e.order_id, v.order_id)
     WHERE (e.version, e.customer_id, e.status, e.payment_status, e.total_amount, e.item_count, e.created_at,
            e.updated_at, e.shipped_at)
           IS DISTINCT FROM
           (v.version, v.customer_id, v.status, v.payment_status, v.total_amount, v.item_count, v.created_at,
            v.updated_at, v.shipped_at)
        OR (NOT coalesce(e.renaming, false)
            AND (e.customer_name, e.customer_email) IS DISTINCT FROM (v.customer_name, v.customer_email))
        OR e.items IS DISTINCT FROM i.items
        OR v.items IS DISTINCT FROM i.named_items
        OR i.min_created_at <> e.created_at OR i.max_created_at <> e.created_at
        OR NOT i.names_are_true OR NOT i.totals_are_true OR NOT i.lines_are_true
        OR i.min_version <> e.items_version OR i.max_version <> e.items_version
$$;
COMMENT ON FUNCTION order_view_difference() IS 'Where order_view and order_item_view differ from the events';
