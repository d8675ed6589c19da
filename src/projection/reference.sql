-- Verifying reference data.

CREATE FUNCTION reference_difference(OUT tenant_id text, OUT aggregate_type text, OUT aggregate_id text,
        OUT key text, OUT expected jsonb, OUT actual jsonb) RETURNS SETOF record
    LANGUAGE sql STABLE AS $$
    WITH expected AS (
        SELECT DISTINCT ON (e.tenant_id, e.aggregate_type, e.aggregate_id)
               e.tenant_id, e.aggregate_type, e.aggregate_id,
               jsonb_build_object('name', e.data ->> 'name', 'version', e.version, 'position', e.position,
                   'attribute', e.data ->> CASE e.aggregate_type WHEN 'Customer' THEN 'email' ELSE 'category' END) AS state
          FROM order_cqrs.events e
         WHERE e.aggregate_type IN ('Customer', 'Product')
         ORDER BY e.tenant_id, e.aggregate_type, e.aggregate_id, e.version DESC
    ), actual AS (
        SELECT c.tenant_id, 'Customer' AS aggregate_type, c.customer_id AS aggregate_id,
               jsonb_build_object('name', c.name, 'version', c.version, 'position', c.position,
                   'attribute', c.email) AS state
          FROM order_cqrs.customers c
        UNION ALL
        SELECT p.tenant_id, 'Product', p.product_id,
               jsonb_build_object('name', p.name, 'version', p.version, 'position', p.position,
                   'attribute', p.category)
          FROM order_cqrs.products p
    )
    SELECT tenant_id, aggregate_type, aggregate_id, aggregate_type || ' ' || aggregate_id, e.state, a.state
      FROM expected e FULL JOIN actual a USING (tenant_id, aggregate_type, aggregate_id)
     WHERE e.state IS DISTINCT FROM a.state
$$;
COMMENT ON FUNCTION reference_difference() IS 'Where customers and products differ from the events';
