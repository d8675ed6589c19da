-- The same for the read table that Emmett's consumer writes.
SELECT round(p[1]::numeric, 3), round(p[2]::numeric, 3)
  FROM (SELECT percentile_cont('{0.5,0.99}'::float8[]) WITHIN GROUP (ORDER BY lag) AS p
          FROM (SELECT 1000 * EXTRACT(epoch FROM pg_xact_commit_timestamp(s.xmin) - pg_xact_commit_timestamp(m.xmin)) AS lag,
                       percent_rank() OVER (ORDER BY m.global_position) AS place
                  FROM emt_messages m
                  JOIN summary s ON s.order_id = m.stream_id
                 WHERE split_part(m.stream_id, '-', 2)::bigint >= :first) x
         WHERE place > 0.1) y;
