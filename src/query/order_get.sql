-- Queries of one order.

CREATE FUNCTION order_get(order_id text, tenant_id text DEFAULT NULL,
        {order_results}, OUT items jsonb)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ocq_order_get';
COMMENT ON FUNCTION order_get(text, text) IS 'The order as order_view has it, with its items; an error if there is none';

CREATE FUNCTION order_history(order_id text, tenant_id text DEFAULT NULL,
        OUT version int, OUT event_type text, OUT data jsonb, OUT occurred_at timestamptz,
        OUT session_role text, OUT actor text, OUT command_id uuid, OUT metadata jsonb, OUT "position" bigint)
    RETURNS SETOF record
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ocq_order_history';
COMMENT ON FUNCTION order_history(text, text) IS 'The events of an order, in order; an error if there are none';

CREATE FUNCTION order_as_of(order_id text, at timestamptz, tenant_id text DEFAULT NULL,
        {order_results}, OUT items jsonb)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ocq_order_as_of';
COMMENT ON FUNCTION order_as_of(text, timestamptz, text)
    IS 'The order as it was at a time, names of customer and products included; an error if it did not exist';
