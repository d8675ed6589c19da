# The workers of one database: they follow commits, look over sync projections, help each other, and survive what
# fails. sync_interval is an hour unless a test is about it, so that what happens soon was caused by a commit.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my $node = new_server('worker', 'order_cqrs.sync_interval' => '1h');
$node->start;
create_database($node, 'shop');
set_and_reload($node, 'order_cqrs.databases' => 'shop');
ok(wait_served($node, 'shop'), 'a synchroniser serves the listed database');
open_shop($node, 'shop');

my $orders = 0;

# state PROJECTION, COLUMNS returns columns of projection_state.
sub state_of
{
	my ($projection, $columns) = @_;
	return $node->safe_psql('shop',
		"SELECT $columns FROM order_cqrs.projection_state WHERE projection_name = '$projection'");
}

# wait_state PROJECTION, CONDITION waits for a condition on the projection's row.
sub wait_state
{
	my ($projection, $condition) = @_;
	return $node->poll_query_until('shop',
		"SELECT $condition FROM order_cqrs.projection_state WHERE projection_name = '$projection'");
}

# create_orders COUNT creates orders, each in a transaction of its own.
sub create_orders
{
	my ($count) = @_;
	$node->safe_psql('shop', join "\n", map { order_sql('o' . ++$orders) } 1 .. $count);
	return;
}

# wait_counted waits until order_stats has all orders.
sub wait_counted
{
	return $node->poll_query_until('shop', "SELECT sum(orders) = $orders FROM order_cqrs.order_stats");
}

sub test_commits
{
	foreach my $round (1 .. 5)
	{
		create_orders(1);
		ok(wait_counted(), "a commit wakes the synchroniser, $round");
	}
	is($node->safe_psql('shop', 'SELECT DISTINCT orders * 10 - revenue FROM order_cqrs.order_stats'),
		'0.00', 'what it writes is right');
	is($node->safe_psql('shop', 'SELECT pg_notification_queue_usage() + count(*) FROM pg_listening_channels()'),
		'0', 'NOTIFY is not used');
}

sub test_prepared
{
	my $create = order_sql('o' . ++$orders);

	$node->safe_psql('shop', "BEGIN; $create PREPARE TRANSACTION 'first'");
	is($node->safe_psql('shop', 'SELECT pid, prepared_transaction FROM order_cqrs.event_horizon_wait'),
		'|first', 'event_horizon_wait names the prepared transaction');
	$node->safe_psql('shop', "COMMIT PREPARED 'first'");
	ok(wait_counted(), 'COMMIT PREPARED wakes the synchroniser');

	$create = order_sql('o' . ++$orders);
	$node->safe_psql('shop', "BEGIN; $create PREPARE TRANSACTION 'second'");
	create_orders(1);
	ok( $node->poll_query_until(
			'shop', "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE backend_type = 'order_cqrs synchroniser'"),
		'the synchroniser waits for a prepared transaction that has drawn a position');
	is($node->safe_psql('shop', 'SELECT sum(orders) FROM order_cqrs.order_stats'),
		$orders - 2, 'and handles nothing behind its back');
	$node->safe_psql('shop', "COMMIT PREPARED 'second'");
	ok(wait_counted(), 'and then handles both');

	$node->safe_psql('shop', 'BEGIN; ' . order_sql('never') . " PREPARE TRANSACTION 'third'");
	create_orders(1);
	$node->safe_psql('shop', "ROLLBACK PREPARED 'third'");
	ok(wait_counted(), 'it goes on after ROLLBACK PREPARED');
}

sub test_repair
{
	$node->safe_psql('shop', 'ALTER TABLE order_cqrs.events DISABLE TRIGGER events_project');
	create_orders(3);
	$node->safe_psql('shop', 'ALTER TABLE order_cqrs.events ENABLE TRIGGER events_project');
	ok(wait_counted(), 'an async projection does not need the trigger');
	is($node->safe_psql('shop', 'SELECT count(*) FROM order_cqrs.order_view'),
		$orders - 3, 'rows of a sync projection are missing without it');

	set_and_reload($node, 'order_cqrs.sync_interval' => '1s');
	ok(wait_state('order_view', 'repaired_total > 0'), 'a shorter sync_interval works at once');
	ok(wait_projected($node, 'shop'), 'the sync projections are looked over');
	is(state_of('order_view', 'repaired_total'), 3, 'the repairs are counted');
	ok_shop_is_true($node, 'shop', 'after the repair');

	create_orders(2);
	ok(wait_projected($node, 'shop'), 'rows that the trigger has written are looked over');
	is(state_of('order_view', 'repaired_total'), 3, 'and need no repair');
	set_and_reload($node, 'order_cqrs.sync_interval' => '1h');
}

# A rename is committed while the worker is at the orders before it.
sub test_renames
{
	my @stale;

	$node->safe_psql('shop', "CALL order_cqrs.projection_set_mode('order_view', 'async')");
	foreach my $round (1 .. 40)
	{
		$node->safe_psql('shop', join "\n",
			(map { order_sql('o' . ++$orders) } 1 .. 3),
			"CALL order_cqrs.customer_put('ada', 'Ada $round', 'ada\@example.org');",
			"CALL order_cqrs.product_put('pen', 'Pen $round', 'Writing');");
		wait_projected($node, 'shop', 'order_view');
		push @stale, $round
		  if $node->safe_psql('shop', <<"SQL") ne '';
SELECT order_id FROM order_cqrs.order_view WHERE customer_name <> 'Ada $round'
UNION ALL
SELECT order_id FROM order_cqrs.order_item_view WHERE product_id = 'pen' AND product_name <> 'Pen $round'
SQL
	}
	is("@stale", '', 'every rename gets to every row');
	$node->safe_psql('shop', "CALL order_cqrs.projection_set_mode('order_view', 'sync')");
}

# With both read tables locked, whoever works on one of the two projections stays at it.
sub test_helpers
{
	my @both = ('order_stats', 'order_summary_view');
	my $blocker = $node->background_psql('shop');

	set_and_reload($node, 'order_cqrs.batch_size' => 10);
	$node->safe_psql('shop', "CALL order_cqrs.projection_set_mode('order_summary_view', 'async')");
	$node->safe_psql('shop', join "\n", map { "CALL order_cqrs.projection_pause('$_');" } @both);
	create_orders(200);

	$blocker->query_safe('BEGIN; ' . join ' ', map { "LOCK TABLE order_cqrs.$_ IN SHARE MODE;" } @both);
	$node->safe_psql('shop', join "\n", 'BEGIN;', (map { "CALL order_cqrs.projection_resume('$_');" } @both), 'COMMIT;');
	ok( $node->poll_query_until(
			'shop', "SELECT count(DISTINCT l.relation) = 2 AND count(DISTINCT a.backend_type) = 2"
			  . " FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
			  . " WHERE NOT l.granted AND a.backend_type LIKE 'order_cqrs %'"),
		'a helper works on one projection while the synchroniser works on the other');
	$blocker->query_safe('COMMIT');
	$blocker->quit;

	ok(wait_counted(), 'one catches up');
	ok(wait_projected($node, 'shop', 'order_summary_view'), 'the other, too');
	ok( $node->poll_query_until(
			'shop', "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'order_cqrs helper'"),
		'the helper ends');
	ok_shop_is_true($node, 'shop', 'after help');

	set_and_reload($node, 'order_cqrs.batch_size' => 10000);
}

# Orders from one transaction come in one batch. One of them has a product that a constraint forbids.
sub test_failure
{
	my @create = map { order_sql('o' . ++$orders) } 1 .. 9;
	my $log = log_end($node);

	$create[5] = "CALL order_cqrs.product_put('gun', 'Gun', 'Weapons');"
	  . "CALL order_cqrs.order_create('bad', 'ada', " . items('gun', 1, '10.00') . ');';
	$node->safe_psql('shop',
		"ALTER TABLE order_cqrs.order_product_stats ADD CONSTRAINT no_guns CHECK (product_id <> 'gun')");
	$node->safe_psql('shop', join "\n", 'BEGIN;', @create, 'COMMIT;');

	ok(wait_state('order_stats', "status = 'failed' AND attempts >= 2"), 'a projection fails, and is tried again');
	like(state_of('order_stats', 'last_error'), qr/^23514: .*no_guns/, 'the error is recorded');
	my $bad = $node->safe_psql('shop', "SELECT position FROM order_cqrs.order_history('bad')");
	is(state_of('order_stats', 'failed_position'), $bad, 'the event that it cannot handle is recorded');
	is( $node->safe_psql('shop',
			"SELECT count(*) FROM order_cqrs.events e, order_cqrs.projection_state s WHERE s.projection_name = 'order_stats'"
			  . " AND e.aggregate_type = 'Order' AND e.position > s.last_position"),
		4, 'the events before it are handled');
	is($node->safe_psql('shop', 'SELECT sum(orders) FROM order_cqrs.order_stats'),
		$orders - 4, 'and take effect');
	is( $node->safe_psql('shop', "SELECT status FROM order_cqrs.projection_status WHERE projection_name = 'order_stats'"),
		'failed', 'projection_status tells');
	ok(wait_projected($node, 'shop', 'order_summary_view'), 'another async projection goes on');
	is(state_of('order_summary_view', 'status, attempts, last_error IS NULL'),
		'running|0|t', 'without a trace of the failure');
	is($node->safe_psql('shop', "SELECT status FROM order_cqrs.order_get('bad')"), 'PENDING', 'commands go on');

	$node->safe_psql('shop', 'ALTER TABLE order_cqrs.order_product_stats DROP CONSTRAINT no_guns');
	ok(wait_counted(), 'it recovers by itself once the cause is gone');
	is(state_of('order_stats', 'status, attempts, last_error IS NULL, failed_position IS NULL'),
		'running|0|t|t', 'and the failure is forgotten');

	my @loud = loud_lines($node, $log);
	cmp_ok(scalar @loud, '<=', 6, 'the log is not flooded') or diag(join "\n", @loud);
	is(scalar(grep { !/WARNING: .*projection "order_stats" failed/ } @loud), 0, 'it has the failures and nothing else')
	  or diag(join "\n", @loud);
}

sub test_resume
{
	$node->safe_psql('shop',
		"ALTER TABLE order_cqrs.order_stats ADD CONSTRAINT at_most CHECK (orders <= $orders)");
	create_orders(1);
	ok(wait_state('order_stats', "status = 'failed' AND attempts >= 1"), 'it fails at the next cause');
	$node->safe_psql('shop', <<'SQL');
ALTER TABLE order_cqrs.order_stats DROP CONSTRAINT at_most;
CALL order_cqrs.projection_resume('order_stats');
SQL
	is(state_of('order_stats', 'status'), 'running', 'projection_resume clears the status');
	ok(wait_counted(), 'and it goes on');
}

sub test_pause
{
	$node->safe_psql('shop', "CALL order_cqrs.projection_pause('order_stats')");
	my $before = state_of('order_stats', 'status, last_position');
	create_orders(2);
	ok(wait_projected($node, 'shop', 'order_summary_view'), 'the others go on while one is paused');
	is(state_of('order_stats', 'status, last_position'), $before, 'the paused one stays');

	$node->restart;
	wait_served($node, 'shop');
	create_orders(1);
	ok(wait_projected($node, 'shop', 'order_summary_view'), 'the others go on after a restart');
	is(state_of('order_stats', 'status, last_position'), $before, 'the paused one stays, also after a restart');

	$node->safe_psql('shop', "CALL order_cqrs.projection_resume('order_stats')");
	ok(wait_counted(), 'projection_resume makes it go on');
}

sub test_termination
{
	my $pid = worker_pid($node, 'synchroniser');

	$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
	$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid");
	create_orders(1);
	ok(wait_counted(), 'a terminated synchroniser is replaced');
}

test_commits();
test_prepared();
test_repair();
test_renames();
test_helpers();
test_failure();
test_resume();
test_pause();
test_termination();

ok(wait_projected($node, 'shop', 'order_stats'), 'at the end');
$node->safe_psql('shop', 'CALL order_cqrs.projection_sync()');
ok_shop_is_true($node, 'shop', 'at the end');

$node->stop;
done_testing();
