-- The contract of the settings.

BEGIN;
SELECT no_plan();

-- order_cqrs.databases has another value here than its default.
SELECT results_eq($$SELECT name, vartype, unit, context, boot_val, min_val, max_val FROM pg_settings
                     WHERE name LIKE 'order\_cqrs.%' ORDER BY name$$,
    $$VALUES ('order_cqrs.actor', 'string', NULL, 'user', '', NULL, NULL),
        ('order_cqrs.audit_delay', 'integer', 'ms', 'sighup', '60000', '1', '86400000'),
        ('order_cqrs.batch_size', 'integer', NULL, 'sighup', '10000', '1', '100000'),
        ('order_cqrs.bus_lock_timeout', 'integer', 'ms', 'sighup', '5000', '0', '2147483647'),
        ('order_cqrs.bus_workers', 'integer', NULL, 'sighup', '4', '0', '16'),
        ('order_cqrs.cache_size', 'integer', 'kB', 'postmaster', '0', '0', '2147483647'),
        ('order_cqrs.databases', 'string', NULL, 'sighup', 'postgres', NULL, NULL),
        ('order_cqrs.direct_writes', 'bool', NULL, 'superuser', 'on', NULL, NULL),
        ('order_cqrs.max_event_size', 'integer', 'kB', 'superuser', '1024', '4', '262144'),
        ('order_cqrs.max_stream_size', 'integer', 'kB', 'superuser', '16384', '1', '1048576'),
        ('order_cqrs.notify', 'bool', NULL, 'superuser', 'off', NULL, NULL),
        ('order_cqrs.payment_timeout', 'integer', 's', 'superuser', '900', '1', '31536000'),
        ('order_cqrs.queue_capacity', 'integer', NULL, 'sighup', '2000', '1', '2147483647'),
        ('order_cqrs.reserve_on', 'enum', NULL, 'superuser', 'create', NULL, NULL),
        ('order_cqrs.restore_timeout', 'integer', 's', 'sighup', '300', '1', '604800'),
        ('order_cqrs.result_retention', 'integer', 's', 'sighup', '86400', '1', '2147483647'),
        ('order_cqrs.saga', 'bool', NULL, 'sighup', 'on', NULL, NULL),
        ('order_cqrs.saga_max_attempts', 'integer', NULL, 'superuser', '5', '1', '100'),
        ('order_cqrs.saga_retry_delay', 'integer', 'ms', 'superuser', '1000', '1', '300000'),
        ('order_cqrs.sync_interval', 'integer', 's', 'sighup', '30', '1', '86400'),
        ('order_cqrs.tenant_id', 'string', NULL, 'user', 'default', NULL, NULL),
        ('order_cqrs.workers', 'integer', NULL, 'sighup', '4', '1', '8')$$,
    'settings, their defaults and bounds');
SELECT is_empty($$SELECT name FROM pg_settings WHERE name LIKE 'order\_cqrs.%'
                   AND (short_desc !~ '^[A-Z].*\.$' OR coalesce(extra_desc, '') !~ '^[A-Z].*\.$')$$,
    'each is described in whole sentences');

SELECT throws_ok('SET order_cqrs.batch_size = 5', '55P02', NULL, 'batch_size is not a session''s to set');
SELECT throws_ok('SET order_cqrs.no_such_setting = 5', '42602', NULL, 'the prefix is reserved');

SELECT lives_ok($$SET LOCAL order_cqrs.tenant_id = 'other'$$, 'tenant_id is');
CALL order_cqrs.customer_put('ada', 'Ada', 'ada@example.org');
CALL order_cqrs.customer_put('ada', 'Ada', 'ada@example.org', tenant_id => 'third');
SELECT set_eq($$SELECT tenant_id FROM order_cqrs.customers$$, ARRAY['other', 'third'],
    'it counts where a call does not name a tenant of its own');
SELECT throws_ok($$SET LOCAL order_cqrs.tenant_id = ''$$, 'OC002', NULL, 'a tenant has a name');
SELECT throws_ok(format('SET LOCAL order_cqrs.tenant_id = %L', repeat('x', 256)), 'OC002', NULL, 'of at most 255 bytes');
SELECT is(current_setting('order_cqrs.tenant_id'), 'other', 'a bad one leaves the setting as it was');

-- When stock is reserved is not for a client to say.
SELECT set_eq($$SELECT unnest(enumvals) FROM pg_settings WHERE name = 'order_cqrs.reserve_on'$$,
    ARRAY['create', 'saga', 'off'], 'reserve_on has these values');
SELECT throws_ok('SET LOCAL order_cqrs.reserve_on = sometimes', '22023', NULL, 'and no others');
SELECT lives_ok('SET LOCAL order_cqrs.reserve_on = saga', 'a superuser may set it');
CREATE ROLE client;
GRANT USAGE, CREATE ON SCHEMA public TO client;
SET LOCAL ROLE client;
SELECT throws_ok('SET LOCAL order_cqrs.reserve_on = off', '42501', NULL, 'another role may not');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
