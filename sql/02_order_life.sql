-- One order through its life, and every read table after each step.
SET search_path = order_cqrs, public;
SET order_cqrs.tenant_id = 'life';
SET timezone = 'UTC';
\set show_order 'SELECT order_id, customer_id, customer_name, customer_email, status, total_amount, item_count, version FROM order_view WHERE tenant_id = ''life'' ORDER BY order_id;'
\set show_items 'SELECT order_id, line, product_id, product_name, product_category, quantity, unit_price, total_price, version FROM order_item_view WHERE tenant_id = ''life'' ORDER BY order_id, line;'
\set show_summary 'SELECT order_id, customer_id, customer_name, status, total_amount, item_count, version FROM order_summary_view WHERE tenant_id = ''life'' ORDER BY order_id;'
\set show_stats 'SELECT status, sum(orders) AS orders, sum(revenue) AS revenue FROM order_stats WHERE tenant_id = ''life'' GROUP BY 1 ORDER BY 1;'
\set show_products 'SELECT product_id, quantity, revenue FROM order_product_stats WHERE tenant_id = ''life'' ORDER BY 1;'

CALL customer_put('ada', 'Ada Lovelace', 'ada@example.org', version => NULL);
CALL customer_put('bob', 'Bob', 'bob@example.org', version => NULL);
CALL product_put('tea', 'Green tea', 'drinks', version => NULL);
CALL product_put('cup', 'Cup', 'dishes', version => NULL);
SELECT customer_id, name, email, version FROM customers WHERE tenant_id = 'life' ORDER BY 1;
SELECT product_id, name, category, version FROM products WHERE tenant_id = 'life' ORDER BY 1;

-- Created.
CALL order_create('o1', 'ada', '[{"product_id": "tea", "quantity": 3, "unit_price": 2.50},
	{"product_id": "cup", "quantity": 1, "unit_price": "7.25"}]');
:show_order
:show_items
:show_summary
-- The statistics come later, by the worker or by hand.
:show_stats
CALL projection_sync();
:show_stats
:show_products

-- Updated: the items are replaced as a whole.
CALL order_update('o1', '[{"product_id": "cup", "quantity": 2, "unit_price": 7}]', 'no tea today', version => NULL);
:show_order
:show_items
:show_summary
CALL projection_sync();
:show_stats
:show_products

-- Completed, and cancelled after that.
CALL order_complete('o1', version => NULL);
:show_order
:show_items
:show_summary
CALL projection_sync();
:show_stats
:show_products
CALL order_cancel('o1', 'cups are broken', version => NULL);
:show_order
:show_items
:show_summary
CALL projection_sync();
:show_stats
:show_products

-- Cancelled at once, without a reason; updated without one.
CALL order_create('o2', 'bob', '[{"product_id": "tea", "quantity": 1, "unit_price": 0}]', version => NULL);
CALL order_update('o2', '[{"product_id": "tea", "quantity": 10, "unit_price": 2.40}]', version => NULL);
CALL order_cancel('o2', version => NULL);
CALL order_create('o3', 'bob', '[{"product_id": "tea", "quantity": 4, "unit_price": 2.40}]', version => NULL);
CALL projection_sync();
:show_order
:show_items
:show_summary
:show_stats
:show_products

-- The events.
SELECT version, event_type, data FROM order_history('o1');
SELECT version, event_type, data FROM order_history('o2');
SELECT event_type, data FROM events WHERE tenant_id = 'life' AND aggregate_type <> 'Order' ORDER BY position;
SELECT bool_and(h.position = e.position AND h.occurred_at = e.occurred_at AND h.actor = session_user) AS as_stored,
       bool_and(h.command_id IS NULL AND h.metadata IS NULL) AS nothing_added
  FROM order_history('o1') h
  JOIN events e ON e.tenant_id = 'life' AND e.aggregate_type = 'Order' AND e.aggregate_id = 'o1' AND e.version = h.version;

-- Times are those of the events.
SELECT v.order_id,
       v.created_at = min(e.occurred_at) AS created, v.updated_at = max(e.occurred_at) AS updated,
       s.created_at = v.created_at AS same_in_summary,
       max(e.occurred_at) BETWEEN now() - interval '1 hour' AND now() AS recent
  FROM order_view v
  JOIN order_summary_view s USING (tenant_id, order_id)
  JOIN events e ON e.tenant_id = v.tenant_id AND e.aggregate_type = 'Order' AND e.aggregate_id = v.order_id
 WHERE v.tenant_id = 'life' GROUP BY v.order_id, v.created_at, v.updated_at, s.created_at ORDER BY 1;
SELECT bool_and(s.day = (v.created_at AT TIME ZONE 'UTC')::date) AS day_of_creation
  FROM order_view v JOIN order_stats_applied s USING (tenant_id, order_id) WHERE tenant_id = 'life';

-- One order by its id: order_view's columns, and its items.
\x on
SELECT tenant_id, order_id, customer_id, customer_name, customer_email, status, total_amount, item_count, version, jsonb_pretty(items) AS items
  FROM order_get('o1');
\x off
SELECT g.created_at = v.created_at AND g.updated_at = v.updated_at AS times_of_order_view
  FROM order_get('o1') g, order_view v WHERE v.tenant_id = 'life' AND v.order_id = 'o1';
SELECT tools.outcomes('SELECT * FROM order_get(''o9'')', 'SELECT * FROM order_history(''o9'')',
	'SELECT * FROM order_as_of(''o9'', now())');

-- The order as it was, with the names of then.
CALL customer_put('ada', 'Countess Lovelace', 'countess@example.org', version => NULL);
CALL product_put('cup', 'Mug', 'crockery', version => NULL);
SELECT h.version, a.version, a.customer_name, a.customer_email, a.status, a.total_amount, a.item_count,
       a.updated_at = h.occurred_at AS updated, a.items
  FROM order_history('o1') h, order_as_of('o1', h.occurred_at) a ORDER BY 1;
SELECT version, status, customer_name, customer_email, items FROM order_as_of('o1', 'infinity');
SELECT a.status, a.version FROM order_history('o1') h, order_as_of('o1', h.occurred_at - interval '1 microsecond') a WHERE h.version = 3;
SELECT a = g AS now_is_now
  FROM order_as_of('o1', clock_timestamp()) a, order_get('o1') g;
SELECT tools.outcomes('SELECT * FROM order_as_of(''o1'', ''2000-01-01 00:00Z'')',
	'SELECT * FROM order_as_of(''o1'', ''-infinity'')', 'SELECT * FROM order_as_of(''o1'', NULL)');

-- Renaming shows in all read tables at once; what is the same already is no event.
:show_order
:show_items
:show_summary
CALL customer_put('ada', 'Countess Lovelace', 'countess@example.org', version => NULL);
CALL product_put('cup', 'Mug', 'crockery', version => NULL);
SELECT count(*) FROM events WHERE tenant_id = 'life' AND aggregate_type IN ('Customer', 'Product');
-- An empty name is a name.
CALL customer_put('bob', '', '', version => NULL);
SELECT customer_name, customer_email FROM order_get('o3');

-- Ids: UUIDs of version 7, each greater than the one before, and of now.
SELECT count(DISTINCT id) AS ids, bool_and(id > previous OR previous IS NULL) AS in_order,
       bool_and(id ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$') AS well_formed,
       bool_and(abs(('x' || left(translate(id, '-', ''), 12))::bit(48)::bigint / 1000.0 - extract(epoch FROM clock_timestamp())) < 60) AS of_now
  FROM (SELECT id, lag(id) OVER (ORDER BY n) AS previous
          FROM (SELECT n, order_next_id() AS id FROM generate_series(1, 10000) n) AS drawn) AS pairs;
DO $$
DECLARE
	id text := order_next_id();
BEGIN
	CALL order_create(id, 'bob', '[{"product_id": "tea", "quantity": 1, "unit_price": 1}]');
	RAISE NOTICE '%', (SELECT status FROM order_get(id));
END $$;

CALL projection_sync();
SELECT * FROM tools.differences();
