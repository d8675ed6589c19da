-- The projection order_summary_view.

CREATE TABLE order_summary_view (
    tenant_id text COLLATE "C" NOT NULL,
    order_id text COLLATE "C" NOT NULL,
    customer_id text COLLATE "C" NOT NULL,
    customer_name text,
    customer_email text,
    status text COLLATE "C" NOT NULL,
    payment_status text COLLATE "C",
    total_amount numeric NOT NULL,
    item_count int NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    shipped_at timestamptz,
    version int NOT NULL,
    PRIMARY KEY (order_id, tenant_id)
) WITH (fillfactor = 90);

-- The orders of a customer, newest first, for customer_orders and renames.  No index has a column that an order's events
-- change, so that their updates are HOT.
CREATE INDEX order_summary_view_customer_idx ON order_summary_view (tenant_id, customer_id, created_at, order_id);
COMMENT ON TABLE order_summary_view IS 'Read table: one narrow row for each order, for lists';
COMMENT ON COLUMN order_summary_view.status IS 'PENDING, COMPLETED or CANCELLED';
COMMENT ON COLUMN order_summary_view.payment_status IS 'NULL before it was requested, then PENDING, COMPLETED, FAILED or REFUNDED';
COMMENT ON COLUMN order_summary_view.total_amount IS 'Sum of quantity times unit_price over the items, exact';
COMMENT ON COLUMN order_summary_view.item_count IS 'Number of lines';
COMMENT ON COLUMN order_summary_view.shipped_at IS 'When shipping started; NULL before';
COMMENT ON COLUMN order_summary_view.version IS 'Version of the last event applied to the row';

