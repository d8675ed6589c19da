-- order_summary_view as the consumers of the peers have their table: with its key and no other index, and empty.
CALL order_cqrs.projection_set_mode('order_summary_view', 'async');
SELECT format('DROP INDEX order_cqrs.%I', relname)
  FROM pg_index JOIN pg_class ON oid = indexrelid
 WHERE indrelid = 'order_cqrs.order_summary_view'::regclass AND NOT indisprimary \gexec
TRUNCATE order_cqrs.order_summary_view;
UPDATE order_cqrs.projection_state SET last_position = 0 WHERE projection_name = 'order_summary_view';
