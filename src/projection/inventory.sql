-- The projection inventory.  Its tables stand in stock/stock.sql.

CREATE FUNCTION inventory_difference(OUT tenant_id text, OUT aggregate_type text, OUT aggregate_id text,
        OUT key text, OUT expected jsonb, OUT actual jsonb) RETURNS SETOF record
    LANGUAGE sql STABLE AS $$
    WITH fold AS MATERIALIZED (
        SELECT f.tenant_id, f.order_id, f.reservation_status AS status, f.reservation_items AS items,
               f.reservation_version AS version
          FROM order_cqrs.order_fold() f WHERE f.reservation_version > 0
    ), stock AS (
        SELECT DISTINCT ON (e.tenant_id, e.aggregate_id) e.tenant_id, e.aggregate_id AS product_id,
               (e.data ->> 'total_received')::bigint AS received,
               (e.data ->> 'total_adjusted')::bigint AS adjusted, e.version
          FROM order_cqrs.events e WHERE e.aggregate_type = 'Inventory'
         ORDER BY e.tenant_id, e.aggregate_id, e.version DESC
    ), sums AS (
        SELECT f.tenant_id, x.product_id,
               coalesce(sum(x.quantity) FILTER (WHERE f.status = 'SHIPPED'), 0) AS shipped,
               coalesce(sum(x.quantity) FILTER (WHERE f.status = 'HELD'), 0) AS reserved
          FROM fold f, jsonb_to_recordset(f.items) AS x (product_id text, quantity bigint)
         GROUP BY 1, 2
    )
    SELECT coalesce(e.tenant_id, a.tenant_id), 'Order'::text, coalesce(e.order_id, a.order_id),
           'order ' || coalesce(e.order_id, a.order_id),
           CASE WHEN e.order_id IS NOT NULL THEN to_jsonb(e) END,
           CASE WHEN a.order_id IS NOT NULL THEN to_jsonb(a) END
      FROM fold e
      FULL JOIN order_cqrs.reservations a ON a.tenant_id = e.tenant_id AND a.order_id = e.order_id
     WHERE (e.status, e.items, e.version) IS DISTINCT FROM (a.status, a.items, a.version)
    UNION ALL
    SELECT coalesce(e.tenant_id, a.tenant_id), 'Inventory', coalesce(e.product_id, a.product_id),
           'stock ' || coalesce(e.product_id, a.product_id),
           CASE WHEN e.product_id IS NOT NULL THEN to_jsonb(e) END,
           CASE WHEN a.product_id IS NOT NULL THEN to_jsonb(a) END
      FROM stock e
      FULL JOIN order_cqrs.inventory a ON a.tenant_id = e.tenant_id AND a.product_id = e.product_id
     WHERE (e.received, e.adjusted, e.version) IS DISTINCT FROM (a.received, a.adjusted, a.version)
    UNION ALL
    SELECT coalesce(e.tenant_id, a.tenant_id), NULL, NULL, 'product ' || coalesce(e.product_id, a.product_id),
           CASE WHEN e.product_id IS NOT NULL THEN to_jsonb(e) END,
           CASE WHEN a.product_id IS NOT NULL THEN to_jsonb(a) END
      FROM sums e
      FULL JOIN order_cqrs.inventory a ON a.tenant_id = e.tenant_id AND a.product_id = e.product_id
     WHERE (coalesce(e.shipped, 0), coalesce(e.reserved, 0)) <> (coalesce(a.shipped, 0), coalesce(a.reserved, 0))
$$;
COMMENT ON FUNCTION inventory_difference() IS 'Where inventory and reservations differ from the events';
