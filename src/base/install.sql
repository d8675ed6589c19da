-- The owner of a schema can drop its content, and a role with CREATE on it can plant overloads of its functions.
-- The last statement of this script looks once more: a transaction that was under way may have committed meanwhile.

CREATE FUNCTION check_schema() RETURNS void
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_check_schema';
SELECT check_schema();

-- In the schema of pg_trgm, which CREATE EXTENSION puts into the path, other roles may have made overloads of functions
-- of pg_catalog, and PostgreSQL may prefer those.
SELECT pg_catalog.set_config('search_path', 'order_cqrs, pg_temp', true);
