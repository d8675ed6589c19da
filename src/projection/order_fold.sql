-- The truth that read tables are compared with.

CREATE FUNCTION order_fold(up_to_position bigint DEFAULT NULL,
        OUT tenant_id text, OUT order_id text, OUT version int, OUT customer_id text, OUT status text,
        OUT total_amount numeric, OUT item_count int, OUT items jsonb, OUT items_version int,
        OUT created_at timestamptz, OUT updated_at timestamptz, OUT shipped_at timestamptz,
        OUT payment_status text, OUT payment_amount numeric, OUT payment_reference text, OUT payment_reason text,
        OUT payment_requested_at timestamptz, OUT payment_updated_at timestamptz, OUT payment_version int,
        OUT reservation_status text, OUT reservation_items jsonb, OUT reservation_version int)
    RETURNS SETOF record
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'ocq_order_fold_all';
COMMENT ON FUNCTION order_fold(bigint)
    IS 'States of all orders, folded from their events up to a position; NULL means all';

CREATE FUNCTION projection_bound(projection_name text) RETURNS bigint
    LANGUAGE sql STABLE AS $$
    SELECT CASE s.mode WHEN 'async' THEN s.last_position ELSE 9223372036854775807 END
      FROM order_cqrs.projection_state s WHERE s.projection_name = $1
$$;
COMMENT ON FUNCTION projection_bound(text)
    IS 'Position up to which the read tables of a projection hold all events: the checkpoint if it is async, no bound if it is sync';
