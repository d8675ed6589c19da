# A session, and a worker, that go on for long do not grow.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

# Growth by less than this in ten thousand commands is none: 50 bytes for each would be more.
my $bound = 500_000;
my $commands = 10_000;

my $node = new_server('memory', 'order_cqrs.sync_interval' => '1h');
$node->start;
create_database($node, 'shop');
open_shop($node, 'shop');
set_and_reload($node, 'order_cqrs.databases' => 'shop');
wait_served($node, 'shop');

# One run makes new orders and takes each through its life, some commands fail, and customers change their names.
$node->safe_psql('shop', <<'SQL');
CREATE PROCEDURE run(run text, commands int) LANGUAGE plpgsql AS $$
DECLARE
    item constant jsonb := '[{"product_id": "pen", "quantity": 2, "unit_price": "3.50"}]';
    version int;
BEGIN
    FOR i IN 1 .. commands / 5 LOOP
        CALL order_cqrs.order_create(run || i, 'ada', item, metadata => '{"source": "test"}', version => version);
        COMMIT;
        CALL order_cqrs.order_update(run || i, item || item, command_id => gen_random_uuid());
        COMMIT;
        CALL order_cqrs.order_complete(run || i, expected_version => 2);
        COMMIT;
        BEGIN
            CALL order_cqrs.order_complete(run || i);
        EXCEPTION WHEN SQLSTATE 'OC201' THEN
            NULL;
        END;
        CALL order_cqrs.customer_put('ada', 'Ada ' || i, 'ada@example.org', tenant_id => 'tenant ' || i % 100);
        COMMIT;
        PERFORM order_cqrs.order_get(run || i), order_cqrs.order_history(run || i), order_cqrs.customer_orders('ada');
        -- Of more shapes than are kept; finding nothing takes no time.
        PERFORM order_cqrs.order_search(customer_id => 'nobody', status => CASE WHEN i & 1 > 0 THEN '{PENDING}'::text[] END,
            min_total => CASE WHEN i & 2 > 0 THEN 1 END, max_total => CASE WHEN i & 4 > 0 THEN 1 END,
            min_items => CASE WHEN i & 8 > 0 THEN 1 END, max_items => CASE WHEN i & 16 > 0 THEN 1 END,
            product_id => CASE WHEN i & 32 > 0 THEN 'pen' END, sort => CASE WHEN i & 64 > 0 THEN 'customer_name' END);
        PERFORM order_cqrs.order_search_count(customer_id => 'nobody', exact => i % 2 = 0);
        COMMIT;
    END LOOP;
END
$$;
SQL

# bytes_of PID returns how much memory a process has, which it writes to the log when asked.
sub bytes_of
{
	my ($pid) = @_;
	my $log = log_end($node);
	my $total = qr/\[$pid\].*Grand total: (\d+) bytes/;

	$node->safe_psql('postgres', "SELECT pg_log_backend_memory_contexts($pid)");
	$node->wait_for_log($total, $log);
	return slurp_file($node->logfile, $log) =~ $total ? $1 : die;
}

sub not_grown
{
	my ($before, $after, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	cmp_ok($after - $before, '<', $bound, $name) or diag("from $before to $after bytes");
	return;
}

my $session = $node->background_psql('shop');
my $own = 'SELECT sum(total_bytes) FROM pg_backend_memory_contexts';
my $synchroniser = worker_pid($node, 'synchroniser');

# The first run fills caches and makes plans.
$session->query_safe("CALL run('warm', 2000)");
wait_projected($node, 'shop', 'order_stats');
my $session_before = $session->query_safe($own);
my $worker_before = bytes_of($synchroniser);

$session->query_safe("CALL run('more', $commands)");
my $session_after = $session->query_safe($own);
ok(wait_projected($node, 'shop', 'order_stats'), 'the worker has followed');
my $worker_after = bytes_of($synchroniser);

not_grown($session_before, $session_after, "a session does not grow by $commands commands");
not_grown($worker_before, $worker_after, 'nor does the synchroniser');
is(worker_pid($node, 'synchroniser'), $synchroniser, 'which is still the same');
is($session->query_safe('SELECT count(*) FROM pg_prepared_statements') + 0, 0, 'no named statement is left');

$session->quit;
$node->stop;
done_testing();
