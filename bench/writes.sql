-- bench/writes.sql: the cost of the read tables' indexes for the commands.

SET search_path = bench, public;

-- Every index that serves no key, and the time of commands with it and without it, in microseconds.
CREATE TABLE index_cost AS
	SELECT i.indexrelid::regclass AS index, c.relname AS name, pg_relation_size(c.oid) AS bytes,
	       NULL::float8[] AS create_with, NULL::float8[] AS create_without,
	       NULL::float8[] AS change_with, NULL::float8[] AS change_without
	  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
	 WHERE NOT i.indisprimary
	   AND i.indrelid = ANY ('{order_cqrs.order_view,order_cqrs.order_item_view,order_cqrs.order_summary_view,order_cqrs.customers,order_cqrs.products}'::regclass[]);

-- order_command returns the microseconds of creating an order of three items (0), or of one of the steps that change
-- its status or that of its payment (1 to 3).
CREATE FUNCTION order_command(step int, id text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	start timestamptz := clock_timestamp();
BEGIN
	CASE step
		WHEN 0 THEN CALL order_cqrs.order_create(id, '1', '[{"product_id": "1", "quantity": 1, "unit_price": 10},
			{"product_id": "2", "quantity": 2, "unit_price": 20}, {"product_id": "3", "quantity": 3, "unit_price": 30}]');
		WHEN 1 THEN CALL order_cqrs.payment_process(id);
		WHEN 2 THEN CALL order_cqrs.payment_complete(id);
		WHEN 3 THEN CALL order_cqrs.order_complete(id);
	END CASE;
	RETURN 1000000 * extract(epoch FROM clock_timestamp() - start)::float8;
END
$$;

-- write_orders returns the median of a creation, and of a change of status. No id is used twice: rows that have been
-- rolled back stay in the indexes.
CREATE SEQUENCE written;

CREATE FUNCTION write_orders(count int) RETURNS float8[] LANGUAGE plpgsql AS $$
DECLARE
	creations float8[] := '{}';
	changes float8[] := '{}';
	id text;
BEGIN
	FOR n IN 1..count LOOP
		id := 'written' || nextval('written');
		creations := creations || order_command(0, id);
		FOR step IN 1..3 LOOP
			changes := changes || order_command(step, id);
		END LOOP;
	END LOOP;
	RETURN ARRAY[median(creations), median(changes)];
END
$$;

-- An index is dropped in a transaction that is rolled back. Which of the two sides is first changes from round to
-- round.
CREATE PROCEDURE measure_index(dropped text, rounds int, orders int) LANGUAGE plpgsql AS $$
DECLARE
	w float8[];
	wo float8[];
	result index_cost;
BEGIN
	FOR half IN 1..2 * rounds LOOP
		IF half / 2 % 2 = 0 THEN
			w := write_orders(orders);
		ELSE
			EXECUTE format('DROP INDEX order_cqrs.%I', dropped);
			wo := write_orders(orders);
		END IF;
		ROLLBACK;
		CONTINUE WHEN half % 2 = 1;
		result.create_with := result.create_with || w[1];
		result.change_with := result.change_with || w[2];
		result.create_without := result.create_without || wo[1];
		result.change_without := result.change_without || wo[2];
	END LOOP;
	UPDATE index_cost SET create_with = result.create_with, create_without = result.create_without,
		change_with = result.change_with, change_without = result.change_without WHERE name = dropped;
	COMMIT;
END
$$;

CREATE PROCEDURE measure_indexes(rounds int, orders int) LANGUAGE plpgsql AS $$
DECLARE
	name text;
BEGIN
	FOR name IN SELECT c.name FROM index_cost c ORDER BY 1 LOOP
		CALL measure_index(name, rounds, orders);
	END LOOP;
END
$$;

-- added compares the two of each round; it is a percentage.
CREATE FUNCTION added(with_index float8[], without float8[]) RETURNS numeric LANGUAGE sql AS $$
	SELECT round((100 * (percentile_cont(0.5) WITHIN GROUP (ORDER BY w / wo) - 1))::numeric, 1)
	  FROM unnest(with_index, without) AS r (w, wo)
$$;

-- --- updates in place ------------------------------------------------------------------------------------------

-- Updates of a table while so many orders that are PENDING were completed one by one.
CREATE TABLE table_updates (step text, name text, updates bigint, hot bigint);

CREATE PROCEDURE count_updates(at_step text) LANGUAGE sql AS $$
	INSERT INTO table_updates SELECT at_step, relname, n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables
	 WHERE schemaname = 'order_cqrs' AND relname IN ('order_view', 'order_summary_view')
$$;

CREATE PROCEDURE complete_orders(count int) LANGUAGE plpgsql AS $$
DECLARE
	id text;
BEGIN
	FOR id IN SELECT order_id FROM order_cqrs.order_view WHERE status = 'PENDING' ORDER BY noise(hashtext(order_id), 31) LIMIT count LOOP
		CALL order_cqrs.order_complete(id);
		COMMIT;
	END LOOP;
	PERFORM pg_stat_force_next_flush();
END
$$;

-- --- orders for order_get ----------------------------------------------------------------------------------------

-- Their ids are numbers, which pgbench can draw.
CREATE PROCEDURE create_numbered_orders(count int) LANGUAGE plpgsql AS $$
BEGIN
	FOR n IN 1..count LOOP
		PERFORM order_command(0, n::text);
	END LOOP;
END
$$;
