-- Whoever owns a schema can drop what is in it, and whoever may create in it can plant overloads of what is called there.
-- The function is gone when the extension has been created.

CREATE FUNCTION check_schema() RETURNS void
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_check_schema';
SELECT check_schema();
DROP FUNCTION check_schema();
