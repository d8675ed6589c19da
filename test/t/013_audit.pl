# The worker audits by itself: an event that was passed over comes back, and nothing is reported while all is well.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my $node = new_server(
	'audit',
	'order_cqrs.databases' => 'shop',
	'order_cqrs.audit_delay' => '100ms',
	'order_cqrs.batch_size' => 50,
	'order_cqrs.sync_interval' => '1s',
	'order_cqrs.saga' => 'on',
	log_error_verbosity => 'verbose');
$node->start;
create_database($node, 'shop');
open_shop($node, 'shop');

# audited DATABASE waits until the whole log is audited, of order_stats and of the saga.
sub audited
{
	return wait_projected($node, 'shop') && $node->poll_query_until('shop', <<'SQL');
SELECT (SELECT audited_position >= last_position FROM order_cqrs.projection_status WHERE projection_name = 'order_stats')
   AND (SELECT audited_position >= last_position AND last_position > 0 FROM order_cqrs.saga_state)
SQL
}

# Commands, rollbacks, events at old positions, another mode and back: whatever moves a checkpoint.
sub test_no_false_alarm
{
	my $log = log_end($node);
	my $script = $node->basedir . '/load.sql';

	append_to_file($script, <<'SQL');
\set n random(1, 1000000000)
BEGIN;
SAVEPOINT s;
CALL order_cqrs.order_create('r:n', 'ada', '[{"product_id": "pen", "quantity": 1, "unit_price": 1}]');
ROLLBACK TO s;
CALL order_cqrs.order_create('o:n', 'ada', '[{"product_id": "pen", "quantity": 1, "unit_price": 1}]');
COMMIT;
CALL order_cqrs.event_append('Note', 'n:n', '[{"type": "T", "data": {}}, {"type": "T", "data": {}}]');
SQL
	foreach my $round (1 .. 3)
	{
		$node->command_ok([ 'pgbench', '--no-vacuum', '--client=4', '--transactions=150', "--file=$script", $node->connstr('shop') ],
			"load $round");
		$node->safe_psql('shop', <<"SQL");
INSERT INTO order_cqrs.events (position, tenant_id, aggregate_type, aggregate_id, version, event_type, data, actor, occurred_at)
OVERRIDING SYSTEM VALUE
SELECT -$round, 'default', 'Order', 'old$round', 1, event_type, data, actor, occurred_at FROM order_cqrs.events
 WHERE event_type = 'OrderCreated' LIMIT 1;
CALL order_cqrs.projection_set_mode('order_stats', 'sync');
CALL order_cqrs.projection_set_mode('order_stats', 'async');
SQL
	}
	$node->safe_psql('shop', 'CALL order_cqrs.restore_end()');
	ok(audited(), 'the whole log is audited')
	  or diag($node->safe_psql('shop', 'TABLE order_cqrs.saga_state; TABLE order_cqrs.projection_status; TABLE order_cqrs.projection_ledger;'));
	is(join("\n", loud_lines($node, $log)), '', 'nothing is reported');
	is($node->safe_psql('shop', "SELECT repaired_total FROM order_cqrs.projection_state WHERE projection_name = 'order_stats'"),
		0, 'and nothing repaired');
	is($node->safe_psql('shop', 'SELECT missed_total FROM order_cqrs.saga_state'), 0, 'nor missed by the saga');
	ok_shop_is_true($node, 'shop', 'after the load');
	return;
}

# An event is there, and the checkpoint has passed it, as if its position had been taken for settled too early.
sub test_passed_over
{
	my $log = log_end($node);

	$node->safe_psql('shop', join "\n", 'BEGIN;', order_sql('passed'), <<'SQL');
UPDATE order_cqrs.projection_state SET last_position = (SELECT max(position) FROM order_cqrs.events)
 WHERE projection_name = 'order_stats';
COMMIT;
SQL
	$node->safe_psql('shop', order_sql('next'));
	ok($node->poll_query_until('shop', <<'SQL'), 'an event that was passed over is counted after all');
SELECT repaired_total > 0 FROM order_cqrs.projection_state WHERE projection_name = 'order_stats'
SQL
	like(join("\n", loud_lines($node, $log)), qr/WARNING:  OC406: projection "order_stats" has not handled each event once/,
		'and the log says so');
	ok_shop_is_true($node, 'shop', 'after the repair');
	return;
}

# The saga's record of an order is gone before the audit has come by.
sub test_missed
{
	my $log = log_end($node);

	set_and_reload($node, 'order_cqrs.audit_delay' => '1h');
	$node->safe_psql('shop', order_sql('missed'));
	ok($node->poll_query_until('shop', "SELECT step = 'AWAIT_PAYMENT' FROM order_cqrs.order_saga WHERE order_id = 'missed'"),
		'the saga has an order');
	# Its checkpoint is beyond the events of that order once it has another one.
	$node->safe_psql('shop', order_sql('another'));
	ok($node->poll_query_until('shop', "SELECT step = 'AWAIT_PAYMENT' FROM order_cqrs.order_saga WHERE order_id = 'another'"),
		'and another');
	$node->safe_psql('shop', "DELETE FROM order_cqrs.order_saga WHERE order_id = 'missed'");
	set_and_reload($node, 'order_cqrs.audit_delay' => '100ms');
	ok($node->poll_query_until('shop', "SELECT step = 'AWAIT_PAYMENT' FROM order_cqrs.order_saga WHERE order_id = 'missed'"),
		'an order that it has lost is taken up again');
	like(join("\n", loud_lines($node, $log)), qr/WARNING:  OC603: the saga has missed events of orders/, 'and the log says so');
	is($node->safe_psql('shop', "SELECT count(*) FROM order_cqrs.order_history('missed') WHERE event_type = 'PaymentRequested'"),
		1, 'its payment was asked for once');
	return;
}

# Neither a projection that somebody has, nor a range of one that there is not, holds up the audit of another.
sub test_one_is_busy
{
	my $session = $node->background_psql('shop');

	$node->safe_psql('shop', <<'SQL');
CALL order_cqrs.projection_set_mode('order_summary_view', 'async');
INSERT INTO order_cqrs.projection_ledger (projection_name, after_position, to_position, events, checksum, closed_at)
VALUES ('nobody', 0, 1, 1, 1, '-infinity');
SQL
	$node->safe_psql('shop', order_sql('summary'));
	ok($node->poll_query_until('shop', "SELECT count(*) > 0 FROM order_cqrs.projection_ledger WHERE projection_name = 'order_summary_view'"
			. ' AND verified_at IS NOT NULL'), 'another projection is audited');
	$session->query_safe("BEGIN; SELECT FROM order_cqrs.projection_state WHERE projection_name = 'order_stats' FOR UPDATE");
	$node->safe_psql('shop', <<'SQL');
UPDATE order_cqrs.projection_ledger SET verified_at = NULL, closed_at = '-infinity' WHERE projection_name = 'order_stats';
UPDATE order_cqrs.projection_ledger SET events = events + 1, verified_at = NULL WHERE projection_name = 'order_summary_view';
SQL
	ok($node->poll_query_until('shop', <<'SQL'), 'a range is repaired while another projection is busy');
SELECT bool_and(events IS NOT NULL AND verified_at IS NOT NULL) FROM order_cqrs.projection_ledger WHERE projection_name = 'order_summary_view'
SQL
	$session->query_safe('ROLLBACK');
	$session->quit;
	$node->safe_psql('shop', "CALL order_cqrs.projection_set_mode('order_summary_view', 'sync');"
		  . " DELETE FROM order_cqrs.projection_ledger WHERE projection_name = 'nobody'");
	return;
}

# A range that is marked waits while its projection is paused, and the later ranges of that projection do not wait for it.
sub test_one_is_paused
{
	ok(audited(), 'all is audited before the pause');
	$node->safe_psql('shop', <<'SQL');
BEGIN;
CALL order_cqrs.projection_pause('order_stats');
DELETE FROM order_cqrs.projection_ledger WHERE projection_name = 'order_stats';
INSERT INTO order_cqrs.projection_ledger (projection_name, after_position, to_position, closed_at)
SELECT 'order_stats', -1000, position, '-infinity' FROM order_cqrs.events WHERE aggregate_id = 'passed' AND version = 1;
INSERT INTO order_cqrs.projection_ledger (projection_name, after_position, to_position, events, checksum)
SELECT 'order_stats', l.to_position, s.counted_after, c.events, c.checksum
  FROM order_cqrs.projection_ledger AS l JOIN order_cqrs.projection_state AS s USING (projection_name),
       order_cqrs.event_count(l.to_position, s.counted_after, '{Order}') AS c
 WHERE projection_name = 'order_stats';
COMMIT;
SQL
	ok($node->poll_query_until('shop', <<'SQL'), 'a range is verified while one before it waits for the end of a pause');
SELECT bool_or(verified_at IS NOT NULL) FROM order_cqrs.projection_ledger WHERE projection_name = 'order_stats'
SQL
	is($node->safe_psql('shop', <<'SQL'), 't|t', 'that one still waits, and is known not to be audited');
SELECT EXISTS (SELECT FROM order_cqrs.projection_ledger AS l WHERE l.projection_name = s.projection_name AND l.events IS NULL),
       audited_position < last_position
  FROM order_cqrs.projection_status AS s WHERE projection_name = 'order_stats'
SQL
	$node->safe_psql('shop', "CALL order_cqrs.projection_resume('order_stats')");
	ok(audited(), 'it is audited after the pause');
	ok_shop_is_true($node, 'shop', 'after the pause');
	return;
}

test_no_false_alarm();
test_passed_over();
test_one_is_busy();
test_one_is_paused();
test_missed();

$node->stop;
done_testing();
