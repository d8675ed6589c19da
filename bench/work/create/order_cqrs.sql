-- Title: order_cqrs
-- Database: sync
\set n :n + 1
\set id :first + :n * 100 + :client_id
\set customer random(1, :customers)
CALL order_cqrs.order_create(:id, :customer, :items);
