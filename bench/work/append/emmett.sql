-- Title: Emmett's function
-- Database: emmett
-- The partition is emt:default; pgbench would take the colon for a variable's.
\set n :n + 1
\set id :first + :n * 100 + :client_id
SELECT * FROM emt_append_to_stream(ARRAY[gen_random_uuid()::text], ARRAY[:data]::jsonb[], ARRAY['{}']::jsonb[],
    ARRAY['1'], ARRAY['OrderCreated'], ARRAY['E'], 'order-' || :id, 'order', 0, E'emt\072default');
