-- The owner of a schema can drop its content, and a role with CREATE on it can plant overloads of its functions.
-- The function is gone when the extension has been created.

CREATE FUNCTION check_schema() RETURNS void
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_check_schema';
SELECT check_schema();
DROP FUNCTION check_schema();
