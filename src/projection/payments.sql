-- The projection payments.

CREATE TABLE payments (
    tenant_id text COLLATE "C" NOT NULL,
    order_id text COLLATE "C" NOT NULL,
    customer_id text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL,
    amount numeric NOT NULL,
    reference text,
    reason text,
    requested_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    version int NOT NULL,
    PRIMARY KEY (tenant_id, order_id)
) WITH (fillfactor = 80);
-- For payment_requests.
CREATE INDEX payments_pending_idx ON payments (tenant_id, requested_at) WHERE status = 'PENDING';

COMMENT ON TABLE payments IS 'Read table: one row for each order whose payment was requested';
COMMENT ON COLUMN payments.status IS 'PENDING, COMPLETED, FAILED or REFUNDED';
COMMENT ON COLUMN payments.amount IS 'Requested amount: the order''s total at that time';
COMMENT ON COLUMN payments.reference IS 'The provider''s reference, as payment_complete was told';
COMMENT ON COLUMN payments.reason IS 'Why it failed, as payment_fail was told';
COMMENT ON COLUMN payments.requested_at IS 'When it was last requested';
COMMENT ON COLUMN payments.updated_at IS 'When its status last changed';
COMMENT ON COLUMN payments.version IS 'Version of the order''s last event about its payment';

CREATE VIEW payment_requests AS
    SELECT p.tenant_id, p.order_id, p.customer_id, p.amount, p.requested_at, p.version
      FROM order_cqrs.payments p
     WHERE p.status = 'PENDING'
     ORDER BY p.requested_at;
COMMENT ON VIEW payment_requests
    IS 'Payments that wait for their outcome, which the application reports by payment_complete or payment_fail; oldest first';
COMMENT ON COLUMN payment_requests.amount IS 'Amount that the customer has to pay';
COMMENT ON COLUMN payment_requests.requested_at IS 'When it was last requested: an order_update asks for the new total';
COMMENT ON COLUMN payment_requests.version IS 'Version of the event that requests it; with the order''s id it names the request';

CREATE FUNCTION payments_difference(OUT tenant_id text, OUT aggregate_type text, OUT aggregate_id text,
        OUT key text, OUT expected jsonb, OUT actual jsonb) RETURNS SETOF record
    LANGUAGE sql STABLE AS $$
    WITH expected AS (
        SELECT f.tenant_id, f.order_id, f.customer_id, f.payment_status AS status, f.payment_amount AS amount,
               f.payment_reference AS reference, f.payment_reason AS reason,
               f.payment_requested_at AS requested_at, f.payment_updated_at AS updated_at,
               f.payment_version AS version
          FROM order_cqrs.order_fold(order_cqrs.projection_bound('payments')) f
         WHERE f.payment_version > 0
    )
    SELECT coalesce(e.tenant_id, a.tenant_id), 'Order'::text, coalesce(e.order_id, a.order_id),
           coalesce(e.order_id, a.order_id),
           CASE WHEN e.order_id IS NOT NULL THEN to_jsonb(e) END,
           CASE WHEN a.order_id IS NOT NULL THEN to_jsonb(a) END
      FROM expected e
      FULL JOIN order_cqrs.payments a ON a.tenant_id = e.tenant_id AND a.order_id = e.order_id
     WHERE (e.customer_id, e.status, e.amount, e.reference, e.reason, e.requested_at, e.updated_at, e.version)
           IS DISTINCT FROM
           (a.customer_id, a.status, a.amount, a.reference, a.reason, a.requested_at, a.updated_at, a.version)
$$;
COMMENT ON FUNCTION payments_difference() IS 'Where payments differs from the events';
