-- The projection order_stats.

CREATE TABLE order_stats (
    tenant_id text COLLATE "C" NOT NULL,
    day date NOT NULL,
    status text COLLATE "C" NOT NULL,
    orders bigint NOT NULL,
    revenue numeric NOT NULL,
    PRIMARY KEY (tenant_id, day, status)
) WITH (fillfactor = 50);
COMMENT ON TABLE order_stats IS 'Read table: orders of each tenant, day and status; a status that no order of a day has any more stays with 0 orders';
COMMENT ON COLUMN order_stats.day IS 'Day, in UTC, on which the orders were created';
COMMENT ON COLUMN order_stats.status IS 'Status that they have now';
COMMENT ON COLUMN order_stats.orders IS 'How many there are';
COMMENT ON COLUMN order_stats.revenue IS 'Sum of their total_amount';

CREATE TABLE order_product_stats (
    tenant_id text COLLATE "C" NOT NULL,
    product_id text COLLATE "C" NOT NULL,
    quantity bigint NOT NULL,
    revenue numeric NOT NULL,
    PRIMARY KEY (tenant_id, product_id)
) WITH (fillfactor = 50);
COMMENT ON TABLE order_product_stats IS 'Read table: quantity and revenue of each product that was ordered, cancelled orders aside';
COMMENT ON COLUMN order_product_stats.quantity IS 'Sum of the quantities';
COMMENT ON COLUMN order_product_stats.revenue IS 'Sum of quantity times unit_price';

CREATE TABLE order_stats_applied (
    tenant_id text COLLATE "C" NOT NULL,
    order_id text COLLATE "C" NOT NULL,
    version int NOT NULL,
    day date NOT NULL,
    status text COLLATE "C" NOT NULL,
    total_amount numeric NOT NULL,
    items jsonb NOT NULL,
    PRIMARY KEY (tenant_id, order_id)
) WITH (fillfactor = 90);
COMMENT ON TABLE order_stats_applied IS 'Contribution of each order to order_stats and order_product_stats, and the version up to which it counts';

CREATE FUNCTION order_stats_difference(OUT tenant_id text, OUT aggregate_type text, OUT aggregate_id text,
        OUT key text, OUT expected jsonb, OUT actual jsonb) RETURNS SETOF record
    LANGUAGE sql STABLE AS $$
    WITH fold AS MATERIALIZED (
        SELECT f.tenant_id, f.order_id, f.version, (f.created_at AT TIME ZONE 'UTC')::date AS day, f.status,
               f.total_amount, f.items
          FROM order_cqrs.order_fold(order_cqrs.projection_bound('order_stats')) f
    ), days AS (
        SELECT f.tenant_id, f.day, f.status, count(*) AS orders, sum(f.total_amount) AS revenue
          FROM fold f GROUP BY 1, 2, 3
    ), products AS (
        SELECT f.tenant_id, i.product_id, sum(i.quantity) AS quantity, sum(i.quantity * i.unit_price) AS revenue
          FROM fold f, jsonb_to_recordset(f.items) AS i (product_id text, quantity bigint, unit_price numeric)
         WHERE f.status <> 'CANCELLED' GROUP BY 1, 2
    )
    SELECT coalesce(e.tenant_id, a.tenant_id), 'Order'::text, coalesce(e.order_id, a.order_id),
           'order ' || coalesce(e.order_id, a.order_id),
           CASE WHEN e.order_id IS NOT NULL THEN to_jsonb(e) END,
           CASE WHEN a.order_id IS NOT NULL THEN to_jsonb(a) END
      FROM fold e
      FULL JOIN order_cqrs.order_stats_applied a ON a.tenant_id = e.tenant_id AND a.order_id = e.order_id
     WHERE (e.version, e.day, e.status, e.total_amount, e.items)
           IS DISTINCT FROM (a.version, a.day, a.status, a.total_amount, a.items)
    UNION ALL
    SELECT coalesce(e.tenant_id, a.tenant_id), NULL, NULL,
           'day ' || to_char(coalesce(e.day, a.day), 'YYYY-MM-DD') || ' ' || coalesce(e.status, a.status),
           CASE WHEN e.day IS NOT NULL THEN to_jsonb(e) END,
           CASE WHEN a.day IS NOT NULL THEN to_jsonb(a) END
      FROM days e
      FULL JOIN order_cqrs.order_stats a ON a.tenant_id = e.tenant_id AND a.day = e.day AND a.status = e.status
     WHERE (coalesce(e.orders, 0), coalesce(e.revenue, 0)) <> (coalesce(a.orders, 0), coalesce(a.revenue, 0))
    UNION ALL
    SELECT coalesce(e.tenant_id, a.tenant_id), NULL, NULL, 'product ' || coalesce(e.product_id, a.product_id),
           CASE WHEN e.product_id IS NOT NULL THEN to_jsonb(e) END,
           CASE WHEN a.product_id IS NOT NULL THEN to_jsonb(a) END
      FROM products e
      FULL JOIN order_cqrs.order_product_stats a ON a.tenant_id = e.tenant_id AND a.product_id = e.product_id
     WHERE (coalesce(e.quantity, 0), coalesce(e.revenue, 0)) <> (coalesce(a.quantity, 0), coalesce(a.revenue, 0))
$$;
COMMENT ON FUNCTION order_stats_difference() IS 'Where order_stats, order_product_stats and order_stats_applied differ from the events';
