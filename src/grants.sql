-- Privileges.
--
-- USAGE on the schema is the one thing to grant to an application: it can then
-- call the commands and the queries of orders, also by the buses.  They run as the extension's
-- owner, so no privilege on a table is needed.  All else is the owner's, to be
-- granted one by one.

REVOKE ALL ON ALL TABLES IN SCHEMA order_cqrs FROM PUBLIC;
REVOKE ALL ON ALL ROUTINES IN SCHEMA order_cqrs FROM PUBLIC;

GRANT EXECUTE ON PROCEDURE
    future_run(int),
    {commands_granted}
    TO PUBLIC;
GRANT EXECUTE ON FUNCTION
    order_next_id(),
    command_send(text, jsonb, uuid, text),
    query_send(text, jsonb, text),
    command_send_async(text, jsonb, uuid, text),
    query_send_async(text, jsonb, text),
    future_get(uuid, interval),
    future_status(uuid),
    future_cancel(uuid),
    bus_builtin_handlers(),
    cache_counters(),
    projection_aggregate_types(text),
    {queries_granted}
    TO PUBLIC;
