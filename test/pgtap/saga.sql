-- The contract of the saga: its tables and view, what they refuse, and how an order's way shows in them.

BEGIN;
SELECT no_plan();

SELECT columns_are('order_cqrs', 'saga_state', ARRAY['saga_name', 'last_position', 'advanced_to',
    'audited_position', 'audit_to', 'audit_since', 'missed_total', 'updated_at']);
SELECT columns_are('order_cqrs', 'order_saga', ARRAY['tenant_id', 'order_id', 'step', 'attempts', 'next_attempt_at',
    'last_error', 'version', 'started_at', 'updated_at']);
SELECT columns_are('order_cqrs', 'saga_status', ARRAY['tenant_id', 'order_id', 'step', 'state', 'attempts',
    'next_attempt_at', 'last_error', 'started_at', 'updated_at']);
SELECT col_type_is('order_cqrs', 'saga_state', 'last_position', 'bigint', 'the checkpoint is a position');
SELECT col_type_is('order_cqrs', 'order_saga', 'next_attempt_at', 'timestamp with time zone', 'a time is a timestamptz');
SELECT col_is_pk('order_cqrs', 'saga_state', 'saga_name', 'saga_state');
SELECT col_is_pk('order_cqrs', 'order_saga', ARRAY['tenant_id', 'order_id'], 'order_saga');
SELECT has_index('order_cqrs', 'order_saga', 'order_saga_next_attempt_idx', 'next_attempt_at', 'due orders are found by an index');
SELECT set_eq($$SELECT a.attrelid::regclass || '.' || a.attname::text COLLATE "default" FROM pg_attribute a
                 WHERE a.attrelid IN ('order_cqrs.saga_state'::regclass, 'order_cqrs.order_saga'::regclass)
                   AND a.attcollation = '"C"'::regcollation$$,
    ARRAY['order_cqrs.saga_state.saga_name', 'order_cqrs.order_saga.tenant_id', 'order_cqrs.order_saga.order_id',
        'order_cqrs.order_saga.step'], 'keys, and steps, are compared byte by byte');
SELECT is_empty($$SELECT attname FROM pg_attribute WHERE attrelid = 'order_cqrs.order_saga'::regclass AND attnum > 0
                   AND attname NOT IN ('tenant_id', 'order_id') AND col_description(attrelid, attnum) IS NULL$$,
    'every column of order_saga but its key has a comment');
SELECT isnt(col_description('order_cqrs.saga_status'::regclass, attnum), NULL, 'so has the state in saga_status')
  FROM pg_attribute WHERE attrelid = 'order_cqrs.saga_status'::regclass AND attname = 'state';

SELECT is(string_agg(saga_name || ' ' || (last_position >= 0), ', ') COLLATE "default", 'order true', 'there is one saga, and its row')
  FROM order_cqrs.saga_state;
SELECT is(current_setting('order_cqrs.saga')::boolean, true, 'it is on unless somebody has switched it off');

-- An order's way.
UPDATE order_cqrs.saga_state SET last_position = order_cqrs.event_horizon();
CALL order_cqrs.customer_put('ada', 'Ada', 'ada@example.org');
CALL order_cqrs.product_put('pen', 'Pen', 'Writing');
CALL order_cqrs.order_create('o1', 'ada', '[{"product_id": "pen", "quantity": 1, "unit_price": 1}]');
SELECT is_empty('SELECT * FROM order_cqrs.saga_status', 'an order has no saga before it runs');
CALL order_cqrs.saga_run();
SELECT is(string_agg(concat_ws(' ', s.order_id, step, state, attempts, next_attempt_at - p.requested_at, last_error), ', ') COLLATE "default",
    'o1 AWAIT_PAYMENT waiting 0 00:15:00', 'it waits for the payment')
  FROM order_cqrs.saga_status s JOIN order_cqrs.payments p USING (tenant_id, order_id);
CALL order_cqrs.payment_complete('o1', 'reference');
CALL order_cqrs.saga_run();
SELECT is(string_agg(concat_ws(' ', order_id, step, state, attempts, next_attempt_at, last_error), ', ') COLLATE "default",
    'o1 SHIPPED done 0', 'and ships')
  FROM order_cqrs.saga_status;
SELECT results_eq($$SELECT event_type, metadata FROM order_cqrs.order_history('o1') WHERE version > 1$$,
    $$VALUES ('PaymentRequested', '{"saga": "order"}'::jsonb), ('PaymentCompleted', NULL),
        ('OrderCompleted', '{"saga": "order"}'), ('ShippingStarted', '{"saga": "order"}')$$, 'its events say whose they are');
SELECT is_empty($$SELECT command_id FROM order_cqrs.events WHERE command_id IS NOT NULL
                   AND command_id::text !~ '^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$'$$,
    'its commands have ids of UUID version 8');

-- Refusals.
SELECT throws_ok($$UPDATE order_cqrs.order_saga SET step = 'NOWHERE'$$, '23514', NULL, 'steps are checked');
SELECT throws_ok($$CALL order_cqrs.saga_retry('o1')$$, '25001', NULL, 'saga_retry has transactions of its own');
SELECT throws_ok('SET LOCAL order_cqrs.saga = off', '55P02', NULL, 'whether it runs is not a session''s to set');
DELETE FROM order_cqrs.saga_state;
SELECT throws_ok('CALL order_cqrs.saga_run()', 'OC108', 'the saga has no row in order_cqrs.saga_state',
    'without its row it does not run');

SELECT * FROM finish();
ROLLBACK;
