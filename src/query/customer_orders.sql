-- The orders of a customer.

CREATE FUNCTION customer_orders(customer_id text, from_time timestamptz DEFAULT NULL,
        to_time timestamptz DEFAULT NULL, page int DEFAULT 0, page_size int DEFAULT 20, after text DEFAULT NULL,
        tenant_id text DEFAULT NULL,
        {order_results}, OUT cursor text)
    RETURNS SETOF record
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ocq_customer_orders';
COMMENT ON FUNCTION customer_orders(text, timestamptz, timestamptz, int, int, text, text)
    IS 'Rows of order_summary_view of a customer, from_time <= created_at < to_time, newest first; a row''s cursor, passed as after, gives the rows behind it';
