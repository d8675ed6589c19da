-- bench/report.sql: the tables of bench/search.

SET search_path = bench, public;
\pset footer off
\pset null ''

\echo 'Searches, milliseconds in the server'
SELECT name AS search, runs, round(p50::numeric, 3) AS p50, round(p95::numeric, 3) AS p95,
       peer_runs, round(peer_p50::numeric, 3) AS "peer p50", round((peer_p50 / p50)::numeric, 2) AS ratio,
       CASE peer_mode WHEN 'force_custom_plan' THEN 'custom' ELSE 'generic' END AS "peer's plan"
  FROM result ORDER BY number;

SELECT round((percentile_cont(0.5) WITHIN GROUP (ORDER BY microseconds) / 1000)::numeric, 3) AS "of this, SELECT 1 takes"
  FROM run WHERE number = 0;

SELECT count(*) AS searches, round(percentile_cont(0.5) WITHIN GROUP (ORDER BY peer_p50 / p50)::numeric, 2) AS "median ratio",
       round(min(peer_p50 / p50)::numeric, 2) AS "least ratio", round(max(p95)::numeric, 3) AS "largest p95"
  FROM result WHERE function = 'order_search';

\echo 'Plans'
SELECT r.name AS search, p.side, p.nodes
  FROM result r JOIN plan p ON p.statement = r.number::text ORDER BY r.number, p.side;

\echo 'order_get, transactions per second by pgbench'
SELECT round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ours)::numeric) AS "order_get",
       round(percentile_cont(0.5) WITHIN GROUP (ORDER BY peer)::numeric) AS "SELECT by primary key",
       round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ours / peer)::numeric, 3) AS "median ratio", count(*) AS rounds
  FROM order_get_rounds;

\echo 'Commands in a transaction, with all indexes, microseconds'
SELECT round(median(array_agg(a.at))::numeric, 1) AS order_create, round(median(array_agg(b.at))::numeric, 1) AS "status change"
  FROM index_cost c, unnest(c.create_with, c.change_with) AS a (at, b), LATERAL (SELECT a.b AS at) b;

\echo 'Indexes: the searches and commands that use them, and the time that one of them adds to a command, in percent'
SELECT c.name AS index, pg_size_pretty(c.bytes) AS size, coalesce(u.count, 0) AS searches,
       added(create_with, create_without) AS "order_create", added(change_with, change_without) AS "status change",
       coalesce(u.used_by, 'none') AS "used by"
  FROM index_cost c
  LEFT JOIN (SELECT i.index, count(s.name), string_agg(coalesce(s.name, p.statement), '; ' ORDER BY s.number, p.statement) AS used_by
               FROM plan p CROSS JOIN unnest(p.indexes) i (index) LEFT JOIN search s ON s.number::text = p.statement
              WHERE p.side = 'ours' GROUP BY i.index) u ON u.index = c.name
 ORDER BY c.name;

\echo 'Updates in place (HOT) when orders are completed'
SELECT a.name AS table, a.updates - b.updates AS updates, a.hot - b.hot AS hot,
       round(100.0 * (a.hot - b.hot) / nullif(a.updates - b.updates, 0)) AS percent
  FROM table_updates a JOIN table_updates b USING (name) WHERE a.step = 'after' AND b.step = 'before' ORDER BY 1;
