-- The descriptions of the read tables in C agree with the tables, and find their columns where they are.
SET search_path = order_cqrs, public;
\pset format unaligned
\pset tuples_only on
\set VERBOSITY terse
CREATE FUNCTION tools.described(OUT relation regclass, OUT attnum smallint, OUT name text, OUT type regtype)
	RETURNS SETOF record LANGUAGE c AS '$libdir/order_cqrs', 'ocq_read_table_columns';
-- Columns that only one of the two has.
CREATE VIEW tools.described_otherwise AS
	SELECT coalesce(a.relation, d.relation) AS relation, coalesce(a.name, d.name) AS name, a.attnum, d.attnum AS described,
	       a.type, d.type AS described_type
	  FROM (SELECT attrelid::regclass AS relation, attname::text AS name, attnum, atttypid::regtype AS type FROM pg_attribute
	         WHERE attrelid IN (SELECT d.relation FROM tools.described() AS d) AND attnum > 0 AND NOT attisdropped) AS a
	  FULL JOIN tools.described() AS d ON d.relation = a.relation AND d.name = a.name
	 WHERE (a.attnum, a.type) IS DISTINCT FROM (d.attnum, d.type) ORDER BY 1, a.attnum;

SELECT relation, count(*) FROM tools.described() GROUP BY 1 ORDER BY relation::text COLLATE "C";
-- Those of inventory are sums over the orders, and what follows from them.
SELECT relation, name FROM tools.described_otherwise;

-- A column that has moved is found again, in the same session, and one of another type is refused.
BEGIN;
ALTER TABLE payments DROP COLUMN reason;
SELECT tools.outcome('SELECT FROM tools.described()');
ALTER TABLE payments ADD COLUMN reason text;
SELECT d.attnum = a.attnum, d.attnum > 10 FROM tools.described() AS d JOIN pg_attribute AS a ON attrelid = relation AND attname = name
 WHERE relation = 'payments'::regclass AND name = 'reason';
ALTER TABLE payments ALTER COLUMN reason TYPE varchar;
SELECT tools.outcome('SELECT FROM tools.described()');
ROLLBACK;
SELECT relation, name FROM tools.described_otherwise;

-- A projection's types are those that its status counts.
SELECT projection_name, projection_aggregate_types(projection_name) FROM projection_state ORDER BY 1;
SELECT projection_aggregate_types('nothing') IS NULL;
DROP VIEW tools.described_otherwise;
DROP FUNCTION tools.described();
