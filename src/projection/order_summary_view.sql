-- The projection order_summary_view.

CREATE TABLE order_summary_view (
    {order_columns},
    PRIMARY KEY (order_id, tenant_id)
) WITH (fillfactor = 90);

-- The orders of a customer, newest first, for customer_orders and renames.  No index has a column that an order's events
-- change, so that their updates are HOT.
CREATE INDEX order_summary_view_customer_idx ON order_summary_view (tenant_id, customer_id, created_at, order_id);

COMMENT ON TABLE order_summary_view IS 'Read table: one narrow row for each order, for lists';
{order_comments}

