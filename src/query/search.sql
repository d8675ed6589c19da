-- Searching orders.

CREATE FUNCTION order_search(customer_id text DEFAULT NULL, customer_name text DEFAULT NULL,
        status text[] DEFAULT NULL, payment_status text[] DEFAULT NULL,
        min_total numeric DEFAULT NULL, max_total numeric DEFAULT NULL,
        created_from timestamptz DEFAULT NULL, created_to timestamptz DEFAULT NULL,
        updated_from timestamptz DEFAULT NULL, updated_to timestamptz DEFAULT NULL,
        product_id text DEFAULT NULL, product_name text DEFAULT NULL, product_category text DEFAULT NULL,
        min_items int DEFAULT NULL, max_items int DEFAULT NULL,
        sort text DEFAULT '-created_at', page int DEFAULT 0, page_size int DEFAULT 20, after text DEFAULT NULL,
        tenant_id text DEFAULT NULL,
        OUT tenant_id text, OUT order_id text, OUT customer_id text, OUT customer_name text,
        OUT customer_email text, OUT status text, OUT payment_status text, OUT total_amount numeric,
        OUT item_count int, OUT created_at timestamptz, OUT updated_at timestamptz, OUT shipped_at timestamptz,
        OUT version int, OUT cursor text)
    RETURNS SETOF record
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ocq_order_search';
COMMENT ON FUNCTION order_search IS 'Rows of order_summary_view that meet all criteria which are not NULL; a row''s cursor, passed as after, gives the rows behind it';

CREATE FUNCTION order_search_count(customer_id text DEFAULT NULL, customer_name text DEFAULT NULL,
        status text[] DEFAULT NULL, payment_status text[] DEFAULT NULL,
        min_total numeric DEFAULT NULL, max_total numeric DEFAULT NULL,
        created_from timestamptz DEFAULT NULL, created_to timestamptz DEFAULT NULL,
        updated_from timestamptz DEFAULT NULL, updated_to timestamptz DEFAULT NULL,
        product_id text DEFAULT NULL, product_name text DEFAULT NULL, product_category text DEFAULT NULL,
        min_items int DEFAULT NULL, max_items int DEFAULT NULL,
        exact boolean DEFAULT false, tenant_id text DEFAULT NULL) RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ocq_order_search_count';
COMMENT ON FUNCTION order_search_count IS 'How many orders order_search finds: the planner''s estimate, at least 1, or with exact the count';
