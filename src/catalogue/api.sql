-- Commands and queries as functions, for clients that cannot CALL. USAGE on the schema is the one thing to
-- grant to such a client, as it is on order_cqrs to others.

CREATE SCHEMA order_api;
COMMENT ON SCHEMA order_api IS 'The commands and queries of order_cqrs as functions, for clients that cannot CALL';
{api}

GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA order_api TO PUBLIC;
