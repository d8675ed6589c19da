-- Percentiles of the lag, in ms, of the orders from :first on. The first tenth is warming up.
SELECT round(p[1]::numeric, 3), round(p[2]::numeric, 3)
  FROM (SELECT percentile_cont('{0.5,0.99}'::float8[]) WITHIN GROUP (ORDER BY lag) AS p
          FROM (SELECT 1000 * EXTRACT(epoch FROM pg_xact_commit_timestamp(v.xmin) - pg_xact_commit_timestamp(e.xmin)) AS lag,
                       percent_rank() OVER (ORDER BY e.position) AS place
                  FROM order_cqrs.events e
                  JOIN order_cqrs.order_view v ON v.tenant_id = e.tenant_id AND v.order_id = e.aggregate_id
                 WHERE e.aggregate_type = 'Order' AND e.aggregate_id::bigint >= :first) x
         WHERE place > 0.1) y;
