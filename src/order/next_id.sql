-- Ids of orders.

CREATE FUNCTION order_next_id() RETURNS text
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ocq_order_next_id';
COMMENT ON FUNCTION order_next_id() IS 'A new id for an order: a time-ordered UUID, version 7';
