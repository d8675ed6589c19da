-- One session, :commands commands, each in a transaction of its own; prints the memory in its contexts, in MB, after
-- 1,000 and after all of them.
\set memory 'SELECT round(sum(used_bytes) / 1048576.0, 3) FROM pg_backend_memory_contexts;'
SET synchronous_commit = off;
SELECT format('CALL order_cqrs.order_create(%L, %L, %L)', i, 1 + i % :customers, :'items') FROM generate_series(1, 1000) i \gexec
:memory
SELECT format('CALL order_cqrs.order_create(%L, %L, %L)', i, 1 + i % :customers, :'items')
  FROM generate_series(1001, :commands) i \gexec
:memory
