-- Searching orders.

CREATE FUNCTION order_search(
        {criteria},
        sort text DEFAULT '-created_at', page int DEFAULT 0, page_size int DEFAULT 20, after text DEFAULT NULL,
        tenant_id text DEFAULT NULL,
        {order_results}, OUT cursor text)
    RETURNS SETOF record
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ocq_order_search';
COMMENT ON FUNCTION order_search IS 'Rows of order_summary_view that meet all criteria which are not NULL; a row''s cursor, passed as after, gives the rows behind it';

CREATE FUNCTION order_search_count(
        {criteria},
        exact boolean DEFAULT false, tenant_id text DEFAULT NULL) RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ocq_order_search_count';
COMMENT ON FUNCTION order_search_count IS 'How many orders order_search finds: the planner''s estimate, at least 1, or with exact the count';
