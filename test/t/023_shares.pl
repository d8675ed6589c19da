# One role cannot have the pool or the queue for itself: places, waits for locks, and shares of the capacity.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my $node = new_server(
	'shares',
	'order_cqrs.sync_interval' => '1h',
	'order_cqrs.bus_workers' => 0,
	'order_cqrs.bus_lock_timeout' => 0);
$node->start;
create_database($node, 'shop');
set_and_reload($node, 'order_cqrs.databases' => 'shop');
open_shop($node, 'shop');
$node->safe_psql('shop', <<'SQL');
CREATE ROLE greedy LOGIN;
CREATE ROLE other LOGIN;
CREATE ROLE third LOGIN;
CREATE ROLE fourth LOGIN;
GRANT USAGE ON SCHEMA order_cqrs TO greedy, other, third, fourth;
CREATE FUNCTION who(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT to_jsonb(session_user)';
CREATE FUNCTION sleep(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT to_jsonb(pg_sleep(600)::text)';
-- Waits for a lock with limits of its own.
CREATE FUNCTION lock(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM set_config('lock_timeout', payload->>'lock_timeout', true);
		PERFORM pg_advisory_xact_lock(1);
		RETURN payload;
	END $$;
-- Raises by itself the error of a wait for a lock, after more than the limit for one.
CREATE FUNCTION imitate(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM pg_sleep(0.3);
		RAISE lock_not_available USING MESSAGE = 'canceling statement due to lock timeout';
	END $$;
CREATE TABLE held AS SELECT 1 AS id;
GRANT ALL ON held TO greedy;
CREATE FUNCTION nowait(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM FROM held FOR UPDATE NOWAIT;
		RETURN payload;
	END $$;
SELECT order_cqrs.command_handler_register(upper(left(f, 1)) || substr(f, 2), (f || '(jsonb, jsonb)')::regprocedure)
  FROM unnest('{who,sleep,lock,imitate,nowait}'::text[]) AS f;
SQL
$node->safe_psql('shop', order_sql($_)) foreach qw(places timeout put_off free last);

sub as
{
	my ($user, $query) = @_;
	return $node->safe_psql('shop', "SET search_path = order_cqrs; $query", extra_params => [ '--username', $user, '--quiet' ]);
}

sub refused_as
{
	my ($user, $query) = @_;
	my ($status, $output, $error) = $node->psql('shop', "\\set VERBOSITY verbose\nSET search_path = order_cqrs;\n$query;",
		extra_params => [ '--username', $user, '--quiet' ]);
	return $error;
}

# sent USER, TYPE, PAYLOAD [, COUNT] returns the ids of futures.
sub sent
{
	my ($user, $type, $payload, $count) = @_;
	return split /\n/, as($user, "SELECT command_send_async('$type', '$payload') FROM generate_series(1, " . ($count // 1) . ')');
}

sub answer
{
	my ($user, $id) = @_;
	return as($user, "SELECT future_get('$id', '60 s')");
}

sub set_workers
{
	my ($count, %settings) = @_;
	set_and_reload($node, %settings, 'order_cqrs.bus_workers' => $count);
	wait_until(q(NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'order_cqrs pool worker')))
	  if $count == 0;
	return;
}

sub wait_until
{
	my ($condition) = @_;
	$node->poll_query_until('shop', "SELECT $condition") or die "this never became true: $condition";
	return;
}

# hold_order ID returns a session of greedy's in a transaction that has the stream of the order.
sub hold_order
{
	my ($id) = @_;
	my $session = $node->background_psql('shop', extra_params => [ '--username', 'greedy' ]);
	$session->query_safe(qq(BEGIN; CALL order_cqrs.order_update('$id', '[{"product_id": "pen", "quantity": 1, "unit_price": 2}]')));
	return $session;
}

my $greedy_workers = q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'order_cqrs pool worker' AND usename = 'greedy');

# However many futures of one role wait for its own transaction, or for nothing at all.
sub test_places
{
	my $holder = hold_order('places');
	sent('greedy', 'CompleteOrder', '{"order_id": "places"}', 8);

	set_workers(4);
	wait_until("($greedy_workers AND wait_event_type = 'Lock') >= 3");
	is(answer('other', sent('other', 'Who', '{}')), '"other"', 'futures that wait for a lock leave a place to another role');
	is($node->safe_psql('postgres', $greedy_workers), '3', 'with all places but one');
	$holder->query_safe('COMMIT');
	$holder->quit;
	wait_until("count(*) FILTER (WHERE status = 'done') = 1 AND count(*) FILTER (WHERE status = 'failed') = 7"
		  . " FROM order_cqrs.bus_future WHERE type = 'CompleteOrder'");
	ok(1, 'they go on when they have it');
	set_workers(0);

	sent('greedy', 'Sleep', '{}', 8);
	set_workers(4);
	wait_until("($greedy_workers AND wait_event = 'PgSleep') >= 3");
	is(answer('other', sent('other', 'Who', '{}')), '"other"', 'so do futures without an end');
	is(answer('third', sent('third', 'Who', '{}')), '"third"', 'and to a third one');
	is($node->safe_psql('postgres', $greedy_workers), '3', 'for as long as they like');
	$node->safe_psql('shop', q(UPDATE order_cqrs.bus_future SET status = 'cancelled', finished_at = now() WHERE type = 'Sleep' AND status = 'waiting'));
	$node->safe_psql('postgres', q(SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE backend_type = 'order_cqrs pool worker' AND wait_event = 'PgSleep'));
	set_workers(0);
	return;
}

# With one worker a future that waits for a lock goes back to the queue.
sub test_lock_timeout
{
	my $holder = hold_order('timeout');
	my ($held) = sent('greedy', 'CancelOrder', '{"order_id": "timeout"}');
	my ($free) = sent('greedy', 'CancelOrder', '{"order_id": "free"}');
	my ($lock, $other);

	set_workers(1, 'order_cqrs.bus_lock_timeout' => '200ms');
	is(answer('greedy', $free), '{"version": 2, "order_id": "free"}', 'a future that waits for a lock is not in the way of the role\'s next');
	is(answer('other', sent('other', 'Who', '{}')), '"other"', 'nor of another role');
	ok($node->poll_query_until('shop', "SELECT lock_timeouts >= 2 AND status = 'waiting' AND attempts = 0 FROM order_cqrs.bus_future WHERE id = '$held'"),
		'meanwhile it is waiting, and that is no attempt');
	$holder->query_safe('ROLLBACK');
	is(answer('greedy', $held), '{"version": 2, "order_id": "timeout"}', 'once the lock is free it is run');
	is($node->safe_psql('shop', "SELECT attempts FROM order_cqrs.bus_future WHERE id = '$held'"), '1', 'at its first attempt');

	$holder->query_safe('BEGIN; SELECT pg_advisory_xact_lock(1)');
	($lock) = sent('greedy', 'Lock', '{"lock_timeout": "0"}');
	ok($node->poll_query_until('shop', "SELECT status = 'running' AND lock_timeouts = 0 AND started_at < clock_timestamp() - interval '1 s'"
			. " FROM order_cqrs.bus_future WHERE id = '$lock'"), 'a handler that has lifted the limit waits on');
	$holder->query_safe('ROLLBACK');
	answer('greedy', $lock);

	# A handler's own limit is its own affair.
	$holder->query_safe('BEGIN; SELECT pg_advisory_xact_lock(1)');
	($lock) = sent('greedy', 'Lock', '{"lock_timeout": "10ms"}');
	like(refused_as('greedy', "SELECT future_get('$lock', '60 s')"), qr/ERROR:  55P03/, 'the lock_timeout of a handler is its error');
	$holder->query_safe('ROLLBACK; BEGIN; SELECT FROM held FOR UPDATE');
	foreach my $type ('Imitate', 'Nowait')
	{
		my ($id) = sent('greedy', $type, '{}');
		like(refused_as('greedy', "SELECT future_get('$id', '60 s')"), qr/ERROR:  55P03/, "so is what it raises by itself: $type");
		is($node->safe_psql('shop', "SELECT status, attempts, lock_timeouts FROM order_cqrs.bus_future WHERE id = '$id'"),
			'failed|1|0', 'and the future is not run again');
	}
	$holder->query_safe('ROLLBACK');
	set_workers(0);
	$holder->quit;
	return;
}

# A lock that is never free is not waited for without an end.
sub test_last_wait
{
	my $holder = hold_order('last');
	my ($held) = sent('greedy', 'CancelOrder', '{"order_id": "last"}');

	$node->safe_psql('shop', "UPDATE order_cqrs.bus_future SET lock_timeouts = 59 WHERE id = '$held'");
	set_workers(1, 'order_cqrs.bus_lock_timeout' => '50ms');
	wait_until("lock_timeouts = 60 AND status = 'waiting' AND retry_at > now() + interval '30 s' FROM order_cqrs.bus_future WHERE id = '$held'");
	ok(1, 'after many waits a future is put off for a minute');
	$node->safe_psql('shop', "UPDATE order_cqrs.bus_future SET retry_at = now() WHERE id = '$held'");
	like(refused_as('greedy', "SELECT future_get('$held', '60 s')"), qr/ERROR:  55P03/, 'and after the last it fails');
	$holder->query_safe('ROLLBACK');
	set_workers(0);
	$holder->quit;
	return;
}

# What waits for a lock counts, and can be cancelled.
sub test_put_off
{
	my $holder = hold_order('put_off');
	my @held = sent('greedy', 'CancelOrder', '{"order_id": "put_off"}', 2);

	set_workers(1);
	wait_until("count(*) = 2 FROM order_cqrs.bus_future WHERE type = 'CancelOrder' AND status = 'waiting' AND lock_timeouts > 0");
	set_workers(0);
	$node->safe_psql('shop', q(UPDATE order_cqrs.bus_future SET retry_at = now() + interval '1 hour' WHERE status = 'waiting'));
	is(as('greedy', 'CALL future_run(); SELECT future_status(' . "'$held[0]')"), 'waiting', 'nobody runs them before their time');
	set_and_reload($node, 'order_cqrs.queue_capacity' => 4);
	wait_until(q(setting = '4' FROM pg_settings WHERE name = 'order_cqrs.queue_capacity'));
	like(refused_as('greedy', q(SELECT command_send_async('Who', '{}'))), qr/ERROR:  OC501/, 'they are a part of the role\'s share');
	is(as('greedy', "SELECT future_cancel('$_')"), 't', 'one of them is cancelled') foreach @held;
	set_and_reload($node, 'order_cqrs.queue_capacity' => 2000);
	$holder->query_safe('ROLLBACK');
	$holder->quit;
	return;
}

# A role may have as many waiting as are left free.
sub test_shares
{
	my $send = q(SELECT command_send_async('Who', '{}'));

	set_and_reload($node, 'order_cqrs.queue_capacity' => 8);
	wait_until(q(setting = '8' FROM pg_settings WHERE name = 'order_cqrs.queue_capacity'));
	sent('greedy', 'Who', '{}', 4);
	like(refused_as('greedy', $send), qr/ERROR:  OC501: the share of role "greedy" .*\nDETAIL:  4 of its futures are waiting, and of order_cqrs.queue_capacity, which is 8,/,
		'a role may fill half of the queue');
	sent('other', 'Who', '{}', 2);
	like(refused_as('other', $send), qr/ERROR:  OC501: the share of role "other"/, 'the next one half of the rest');
	sent('third', 'Who', '{}');
	like(refused_as('third', $send), qr/ERROR:  OC501: the share of role "third"/, 'and so on');
	sent('fourth', 'Who', '{}');
	like(refused_as($_, $send), qr/ERROR:  OC501: the queue of futures is full\nDETAIL:  8 futures/, "until it is full: $_") foreach qw(greedy fourth postgres);
	set_workers(4, 'order_cqrs.queue_capacity' => 2000);
	wait_until(q(NOT EXISTS (SELECT FROM order_cqrs.bus_future WHERE status IN ('waiting', 'running'))));
	set_workers(0);
	return;
}

# Futures that are cancelled, and wait again after a rollback, are counted all the time.
sub test_rolled_back
{
	my $send = q(SELECT command_send_async('Who', '{}'));
	my @mine;

	set_and_reload($node, 'order_cqrs.queue_capacity' => 8);
	wait_until(q(setting = '8' FROM pg_settings WHERE name = 'order_cqrs.queue_capacity'));
	@mine = sent('greedy', 'Who', '{}', 4);
	my $cancel = join ' ', map { "SELECT future_cancel('$_');" } @mine;
	as('greedy', "BEGIN; SAVEPOINT a; $cancel $send; $send; ROLLBACK TO a; COMMIT");
	like(refused_as('greedy', $send), qr/ERROR:  OC501: the share of role "greedy"/, 'a cancellation that a savepoint takes back leaves no room');
	as('greedy', "BEGIN; $cancel $send; $send; ROLLBACK");
	like(refused_as('greedy', $send), qr/ERROR:  OC501: the share of role "greedy"/, 'nor does one that a rollback takes back');
	as('greedy', "BEGIN; $cancel COMMIT");
	is(scalar(sent('greedy', 'Who', '{}', 4)), 4, 'one that is committed does');
	set_workers(4, 'order_cqrs.queue_capacity' => 2000);
	wait_until(q(NOT EXISTS (SELECT FROM order_cqrs.bus_future WHERE status IN ('waiting', 'running'))));
	set_workers(0);
	return;
}

# Futures of prepared transactions, which no count of rows sees.
sub test_prepared
{
	my $send = q(SELECT command_send_async('Who', '{}'));

	set_and_reload($node, 'order_cqrs.queue_capacity' => 8);
	wait_until(q(setting = '8' FROM pg_settings WHERE name = 'order_cqrs.queue_capacity'));
	my ($mine) = sent('greedy', 'Who', '{}');
	like(refused_as('greedy', "BEGIN; SELECT future_cancel('$mine'); $send; PREPARE TRANSACTION 'both'"),
		qr/ERROR:  0A000: cannot PREPARE a transaction that has both sent and cancelled futures/, 'a cancellation does not make room in a prepared transaction');
	as('greedy', "SELECT future_cancel('$mine')");
	as('greedy', "BEGIN; SAVEPOINT a; $send; $send; $send; ROLLBACK TO a; PREPARE TRANSACTION 'none'");
	as('greedy', "BEGIN; $send; $send; PREPARE TRANSACTION '$_'") foreach qw(one two);
	like(refused_as('greedy', $send), qr/ERROR:  OC501: the share of role "greedy" .*\nDETAIL:  4 of its/,
		'futures of prepared transactions are a part of the share');
	as('other', "$send; $send");
	like(refused_as('other', $send), qr/ERROR:  OC501: the share of role "other"/, 'and of all that wait');
	$node->restart;
	like(refused_as('greedy', $send), qr/ERROR:  OC501: the share of role "greedy"/, 'after a restart as well');
	as('greedy', "COMMIT PREPARED 'one'");
	like(refused_as('greedy', $send), qr/ERROR:  OC501: the share of role "greedy" .*\nDETAIL:  4 of its/, 'and after the commit of one');
	as('greedy', "ROLLBACK PREPARED '$_'") foreach qw(two none);
	# After a count the refusal lasts for some time.
	as('greedy', <<'SQL');
SET statement_timeout = '60s';
DO $$ BEGIN
	LOOP
		BEGIN
			PERFORM order_cqrs.command_send_async('Who', '{}');
			EXIT;
		EXCEPTION WHEN SQLSTATE 'OC501' THEN
			PERFORM pg_sleep(0.05);
		END;
	END LOOP;
END $$;
SQL
	ok(1, 'a rollback leaves room');
	like(refused_as('greedy', $send), qr/ERROR:  OC501: the share of role "greedy" .*\nDETAIL:  3 of its/, 'and no more than that');
	set_workers(4, 'order_cqrs.queue_capacity' => 2000);
	wait_until(q(NOT EXISTS (SELECT FROM order_cqrs.bus_future WHERE status IN ('waiting', 'running'))));
	set_workers(0);
	return;
}

test_places();
test_lock_timeout();
test_last_wait();
test_put_off();
test_shares();
test_rolled_back();
test_prepared();

$node->stop;
done_testing();
