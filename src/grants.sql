-- Privileges.
--
-- USAGE on the schema is the one thing to grant to an application: it can then
-- call the commands and the queries of orders, also by the buses.  They run as the extension's
-- owner, so no privilege on a table is needed.  All else is the owner's, to be
-- granted one by one.

REVOKE ALL ON ALL TABLES IN SCHEMA order_cqrs FROM PUBLIC;
REVOKE ALL ON ALL ROUTINES IN SCHEMA order_cqrs FROM PUBLIC;

GRANT EXECUTE ON PROCEDURE
    customer_put(text, text, text, uuid, int, jsonb, text),
    customer_put(identifier, text, text, uuid, int, jsonb, text, int),
    product_put(text, text, text, uuid, int, jsonb, text),
    product_put(identifier, text, text, uuid, int, jsonb, text, int),
    order_create(text, text, jsonb, uuid, int, jsonb, text),
    order_create(identifier, text, jsonb, uuid, int, jsonb, text, int),
    order_update(text, jsonb, text, uuid, int, jsonb, text),
    order_update(identifier, jsonb, text, uuid, int, jsonb, text, int),
    order_cancel(text, text, uuid, int, jsonb, text),
    order_cancel(identifier, text, uuid, int, jsonb, text, int),
    order_complete(text, uuid, int, jsonb, text),
    order_complete(identifier, uuid, int, jsonb, text, int),
    stock_receive(text, int, uuid, int, jsonb, text),
    stock_receive(identifier, int, uuid, int, jsonb, text, int),
    stock_adjust(text, int, text, uuid, int, jsonb, text),
    stock_adjust(identifier, int, text, uuid, int, jsonb, text, int),
    inventory_reserve(text, uuid, int, jsonb, text),
    inventory_reserve(identifier, uuid, int, jsonb, text, int),
    reservation_change(text, jsonb, uuid, int, jsonb, text),
    reservation_change(identifier, jsonb, uuid, int, jsonb, text, int),
    inventory_release(text, uuid, int, jsonb, text),
    inventory_release(identifier, uuid, int, jsonb, text, int),
    payment_process(text, uuid, int, jsonb, text),
    payment_process(identifier, uuid, int, jsonb, text, int),
    payment_complete(text, text, uuid, int, jsonb, text, numeric),
    payment_complete(identifier, text, uuid, int, jsonb, text, numeric, int),
    payment_fail(text, text, uuid, int, jsonb, text, numeric),
    payment_fail(identifier, text, uuid, int, jsonb, text, numeric, int),
    payment_refund(text, uuid, int, jsonb, text, numeric),
    payment_refund(identifier, uuid, int, jsonb, text, numeric, int),
    shipping_start(text, uuid, int, jsonb, text),
    shipping_start(identifier, uuid, int, jsonb, text, int),
    event_append(text, text, jsonb, uuid, int, jsonb, text),
    event_append(identifier, text, jsonb, uuid, int, jsonb, text, int),
    future_run(int)
    TO PUBLIC;
GRANT EXECUTE ON FUNCTION
    order_next_id(),
    order_get(text, text),
    order_history(text, text),
    order_as_of(text, timestamptz, text),
    stream_read(text, text, int, int, text),
    inventory_check(jsonb, text, text),
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
    customer_orders(text, timestamptz, timestamptz, int, int, text, text),
    order_search(text, text, text[], text[], numeric, numeric, timestamptz, timestamptz, timestamptz, timestamptz,
        text, text, text, int, int, text, int, int, text, text),
    order_search_count(text, text, text[], text[], numeric, numeric, timestamptz, timestamptz, timestamptz,
        timestamptz, text, text, text, int, int, boolean, text)
    TO PUBLIC;
