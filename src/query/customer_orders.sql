-- The orders of a customer.

CREATE FUNCTION customer_orders(customer_id text, from_time timestamptz DEFAULT NULL,
        to_time timestamptz DEFAULT NULL, page int DEFAULT 0, page_size int DEFAULT 20, after text DEFAULT NULL,
        tenant_id text DEFAULT NULL,
        OUT tenant_id text, OUT order_id text, OUT customer_id text, OUT customer_name text,
        OUT customer_email text, OUT status text, OUT payment_status text, OUT total_amount numeric,
        OUT item_count int, OUT created_at timestamptz, OUT updated_at timestamptz, OUT shipped_at timestamptz,
        OUT version int, OUT cursor text)
    RETURNS SETOF record
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ocq_customer_orders';
COMMENT ON FUNCTION customer_orders(text, timestamptz, timestamptz, int, int, text, text)
    IS 'Rows of order_summary_view of a customer, from_time <= created_at < to_time, newest first; a row''s cursor, passed as after, gives the rows behind it';
