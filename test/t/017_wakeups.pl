# Whoever waits looks again: a commit during any wait of the synchroniser, and a projection that another session has for a
# while, are noticed at once and not at the next interval, which is far away here.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Utils;
use Shop;
use Test::More;
use Time::HiRes qw(time);

# Seconds in which a commit has to be noticed; it takes milliseconds.
my $soon = 10;

my $node = new_server('wakeups', 'order_cqrs.databases' => 'shop', 'order_cqrs.sync_interval' => '1h');
$node->start;
create_database($node, 'shop');
open_shop($node, 'shop');
ok(wait_projected($node, 'shop', 'order_stats'), 'the synchroniser works');

# counted_soon NUMBER, NAME passes if so many orders are counted soon.
sub counted_soon
{
	my ($number, $name) = @_;
	my $started = time;
	my $count = 0;

	until ($count == $number || time > $started + $soon)
	{
		$count = $node->safe_psql('shop', 'SELECT coalesce(sum(orders), 0) FROM order_cqrs.order_stats');
	}
	is($count, $number, "$name is noticed soon");
	note(sprintf '%.3f s', time - $started);
	return;
}

# wait_blocked waits until the synchroniser has waited for a lock for longer than its deadlock_timeout, 100 ms: when that
# has passed nothing else wakes it.
sub wait_blocked
{
	return $node->poll_query_until('shop', <<'SQL');
SELECT bool_or(clock_timestamp() - waitstart > '300 ms')
  FROM pg_locks JOIN pg_stat_activity USING (pid)
 WHERE backend_type = 'order_cqrs synchroniser' AND NOT granted
SQL
}

# The synchroniser waits for the slow transaction, which appends once more before it commits.
sub test_commit_during_horizon
{
	my $slow = $node->background_psql('shop');

	$slow->query_safe('BEGIN; ' . order_sql('slow1'));
	$node->safe_psql('shop', order_sql('fast1'));
	ok(wait_blocked(), 'the synchroniser waits for the slow transaction');
	$slow->query_safe(order_sql('slow2'));
	$slow->query_safe('COMMIT');
	counted_soon(3, 'the commit that ends the wait');

	$slow->query_safe('BEGIN; ' . order_sql('slow3'));
	$node->safe_psql('shop', order_sql('fast2'));
	ok(wait_blocked(), 'the synchroniser waits again');
	$node->safe_psql('shop', order_sql('fast3'));
	$slow->query_safe('ROLLBACK');
	counted_soon(5, 'a commit during the wait');
	$slow->quit;
	return;
}

# The same for any lock, such as one on a read table.
sub test_commit_during_lock
{
	my $session = $node->background_psql('shop');

	$session->query_safe('BEGIN; LOCK order_cqrs.order_stats');
	$node->safe_psql('shop', order_sql('locked1'));
	ok(wait_blocked(), 'the synchroniser waits for the table');
	$node->safe_psql('shop', order_sql('locked2'));
	$session->query_safe('COMMIT');
	counted_soon(7, 'a commit while a table is locked');
	$session->quit;
	return;
}

# Somebody has the projection, and lets go of it without appending anything. The synchroniser has met the lock when it
# has begun another transaction than the one before the order, and ended it.
sub test_busy
{
	my ($name, $take, $release, $total) = @_;
	my $session = $node->background_psql('shop');

	$session->query_safe("BEGIN; $take");
	$node->safe_psql('shop', order_sql("busy$total"));
	ok($node->poll_query_until('shop', <<'SQL'), "$name: the synchroniser has looked");
SELECT state = 'idle' AND state_change > (SELECT max(occurred_at) FROM order_cqrs.events)
  FROM pg_stat_activity WHERE backend_type = 'order_cqrs synchroniser'
SQL
	$session->query_safe($release);
	$session->quit;
	counted_soon($total, "the end of $name");
	return;
}

# A row that somebody has locked holds up its own projection, and no other.
sub test_others_go_on
{
	my $session = $node->background_psql('shop');

	$node->safe_psql('shop', "CALL order_cqrs.projection_set_mode('order_summary_view', 'async')");
	ok(wait_projected($node, 'shop', 'order_summary_view'), 'a second async projection');
	$session->query_safe('BEGIN; SELECT count(*) FROM (SELECT FROM order_cqrs.order_stats FOR UPDATE) AS s');
	$node->safe_psql('shop', order_sql('other'));
	ok($node->poll_query_until('shop', "SELECT count(*) = 1 FROM order_cqrs.order_summary_view WHERE order_id = 'other'"),
		'a locked row of one projection does not hold up the other');
	is($node->safe_psql('shop', 'SELECT sum(orders) FROM order_cqrs.order_stats'), 9, 'which waits');
	$session->query_safe('COMMIT');
	$session->quit;
	counted_soon(10, 'the end of the lock');
	$node->safe_psql('shop', "CALL order_cqrs.projection_set_mode('order_summary_view', 'sync')");
	return;
}

test_commit_during_horizon();
test_commit_during_lock();
test_busy('projection_sync in a transaction block', "CALL order_cqrs.projection_sync('order_stats')", 'COMMIT', 8);
test_busy('a row lock', "SELECT FROM order_cqrs.projection_state WHERE projection_name = 'order_stats' FOR UPDATE",
	'ROLLBACK', 9);
test_others_go_on();

$node->stop;
done_testing();
