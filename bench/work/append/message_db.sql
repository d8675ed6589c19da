-- Title: Message DB
-- Database: message_db
\set n :n + 1
\set id :first + :n * 100 + :client_id
SELECT write_message(gen_random_uuid()::varchar, 'order-' || :id, 'OrderCreated', :data::jsonb, NULL, -1);
