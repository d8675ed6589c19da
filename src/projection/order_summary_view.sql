-- The projection order_summary_view.

CREATE TABLE order_summary_view (
    {order_columns},
    PRIMARY KEY (tenant_id, order_id)
) WITH (fillfactor = 90);

-- The orders of a customer, newest first.
CREATE INDEX order_summary_view_customer_idx ON order_summary_view (tenant_id, customer_id, created_at, order_id);
-- One for each sort of order_search.
CREATE INDEX order_summary_view_created_idx ON order_summary_view (tenant_id, created_at, order_id);
CREATE INDEX order_summary_view_updated_idx ON order_summary_view (tenant_id, updated_at, order_id);
CREATE INDEX order_summary_view_total_idx ON order_summary_view (tenant_id, total_amount, order_id);
CREATE INDEX order_summary_view_item_count_idx ON order_summary_view (tenant_id, item_count, order_id);
CREATE INDEX order_summary_view_name_idx
    ON order_summary_view (tenant_id, (coalesce(customer_name, '') COLLATE "C"), order_id);
-- The orders of one status, newest first: few may have it.
CREATE INDEX order_summary_view_status_idx ON order_summary_view (tenant_id, status, created_at, order_id);
CREATE INDEX order_summary_view_payment_idx ON order_summary_view (tenant_id, payment_status, created_at, order_id)
    WHERE payment_status IS NOT NULL;

-- For estimates of the part of the orders whose name contains some letters.
CREATE STATISTICS order_summary_view_customer_name ON lower(customer_name) FROM order_summary_view;

COMMENT ON TABLE order_summary_view IS 'Read table: one narrow row for each order, for lists and searches';
{order_comments}

CREATE FUNCTION order_summary_view_difference(OUT tenant_id text, OUT aggregate_type text, OUT aggregate_id text,
        OUT key text, OUT expected jsonb, OUT actual jsonb) RETURNS SETOF record
    LANGUAGE sql STABLE AS $$
    WITH bound AS (
        SELECT order_cqrs.projection_bound('order_summary_view') AS position
    ), expected AS (
        SELECT f.tenant_id, f.order_id, f.version, f.customer_id, f.status, f.payment_status,
               f.total_amount, f.item_count, f.created_at, f.updated_at, f.shipped_at,
               c.name AS customer_name, c.email AS customer_email, c.position > bound.position AS renaming
          FROM bound, order_cqrs.order_fold((SELECT b.position FROM bound b)) f
          LEFT JOIN order_cqrs.customers c ON c.tenant_id = f.tenant_id AND c.customer_id = f.customer_id
    )
    SELECT coalesce(e.tenant_id, v.tenant_id), 'Order'::text, coalesce(e.order_id, v.order_id),
           coalesce(e.order_id, v.order_id),
           CASE WHEN e.order_id IS NOT NULL THEN to_jsonb(e) - 'renaming' END,
           CASE WHEN v.order_id IS NOT NULL THEN to_jsonb(v) END
      FROM expected e
      FULL JOIN order_cqrs.order_summary_view v ON v.tenant_id = e.tenant_id AND v.order_id = e.order_id
     WHERE (e.version, e.customer_id, e.status, e.payment_status, e.total_amount, e.item_count, e.created_at,
            e.updated_at, e.shipped_at)
           IS DISTINCT FROM
           (v.version, v.customer_id, v.status, v.payment_status, v.total_amount, v.item_count, v.created_at,
            v.updated_at, v.shipped_at)
        OR (NOT coalesce(e.renaming, false)
            AND (e.customer_name, e.customer_email) IS DISTINCT FROM (v.customer_name, v.customer_email))
$$;
COMMENT ON FUNCTION order_summary_view_difference() IS 'Where order_summary_view differs from the events';
