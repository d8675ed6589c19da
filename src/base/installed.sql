
-- No object of another role has come into the schema while the script ran (install.sql).

SELECT order_cqrs.check_schema();
DROP FUNCTION order_cqrs.check_schema();
