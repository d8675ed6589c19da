# Futures and the pool that runs them: as whom, what comes back, and what survives. sync_interval is an hour, so that
# what happens soon was caused by a commit.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use List::Util qw(min);
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;
use Time::HiRes qw(time);

my $node = new_server(
	'futures',
	'order_cqrs.sync_interval' => '1h',
	'order_cqrs.bus_lock_timeout' => 0,
	restart_after_crash => 'on');
$node->start;
create_database($node, 'shop');
set_and_reload($node, 'order_cqrs.databases' => 'shop');
open_shop($node, 'shop');

# Clerks log in and take on the role of the desk; a handler writes down as whom it runs.
$node->safe_psql('shop', <<'SQL');
CREATE ROLE desk NOLOGIN;
CREATE ROLE clerk LOGIN;
CREATE ROLE other LOGIN;
CREATE ROLE gone LOGIN;
GRANT desk TO clerk;
GRANT pg_read_all_stats TO desk, clerk;
GRANT USAGE ON SCHEMA order_cqrs TO desk, clerk, other, gone;
CREATE FUNCTION who(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('session', session_user, 'current', current_user, 'sender', context->>'sender',
		'tenant', current_setting('order_cqrs.tenant_id'), 'id', context->>'id', 'pid', pg_backend_pid(),
		'type', (SELECT backend_type FROM pg_stat_activity WHERE pid = pg_backend_pid())) $$;
CREATE FUNCTION fail(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN RAISE 'no such luck' USING errcode = 'MY001', detail = 'd', hint = 'h'; END $$;
CREATE FUNCTION sleep(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN PERFORM pg_sleep((payload->>'seconds')::float8); RETURN payload; END $$;
-- Creates an order, then waits for an advisory lock.
CREATE FUNCTION slow(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM order_cqrs.command_send('CreateOrder', payload - 'lock', (context->>'id')::uuid);
		PERFORM pg_advisory_xact_lock_shared((payload->>'lock')::int);
		RETURN payload;
	END $$;
-- Leaves its session in disorder.
CREATE FUNCTION mess(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	DECLARE before text := concat_ws(' ', current_setting('work_mem'), current_user, to_regclass('pg_temp.mess'),
		(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND objsubid = 1));
	BEGIN
		CREATE TEMPORARY TABLE mess (n int);
		SET work_mem = '1234kB';
		SET ROLE clerk;
		PERFORM pg_advisory_lock(999);
		RETURN to_jsonb(before);
	END $$;
-- Returns, and fails when its transaction commits.
CREATE FUNCTION hold(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM order_cqrs.command_send('CreateOrder', payload);
		EXECUTE 'DECLARE held CURSOR WITH HOLD FOR SELECT 1 / x FROM generate_series(0, 0) AS x';
		RETURN payload;
	END $$;
CREATE FUNCTION kill_me(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(60); RETURN payload; END $$;
SELECT order_cqrs.command_handler_register(upper(left(f, 1)) || substr(f, 2), (f || '(jsonb, jsonb)')::regprocedure)
  FROM unnest('{who,fail,sleep,slow,mess,hold,kill_me}'::text[]) AS f;
SQL

# as USER, QUERY, PARAMETERS returns what a session of that user is answered.
sub as
{
	my ($user, $query, %params) = @_;
	return $node->safe_psql('shop', "SET search_path = order_cqrs, public; $query",
		extra_params => [ '--username', $user, '--quiet' ], %params);
}

# refused_as returns the report of psql.
sub refused_as
{
	my ($user, $query) = @_;
	my ($status, $output, $error) = $node->psql('shop',
		"\\set VERBOSITY verbose\nSET search_path = order_cqrs, public;\n$query",
		extra_params => [ '--username', $user, '--quiet' ]);
	return $error;
}

# sent USER, TYPE, PAYLOAD [, BEFORE] returns the id of a future.
sub sent
{
	my ($user, $type, $payload, $before) = @_;
	return as($user, ($before // '') . "SELECT command_send_async('$type', '$payload')");
}

sub order
{
	my ($id, $more) = @_;
	return '{"order_id": "' . $id . '", "customer_id": "ada",'
	  . ' "items": [{"product_id": "pen", "quantity": 1, "unit_price": 1}]' . ($more // '') . '}';
}

sub pool_pids
{
	my ($user) = @_;
	return $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'order_cqrs pool worker' AND usename = '$user'");
}

# empty_pool returns whether no worker is left.
sub empty_pool
{
	set_and_reload($node, 'order_cqrs.bus_workers' => 0);
	return $node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'order_cqrs pool worker'");
}

# seem_forsaken makes a running future one that was begun long ago: if its process is dead, nobody waits for it.
sub seem_forsaken
{
	my ($id) = @_;
	$node->safe_psql('shop', "UPDATE order_cqrs.bus_future SET started_at = started_at - interval '1 minute' WHERE id = '$id' AND status = 'running'");
	return;
}

sub wait_status
{
	my ($id, $status) = @_;
	return $node->poll_query_until('shop', "SELECT status = '$status' FROM order_cqrs.bus_future WHERE id = '$id'");
}

sub test_sender
{
	my $id = sent('clerk', 'Who', '{}', q(SET ROLE desk; SET order_cqrs.tenant_id = 'north';));
	my $answer = as('clerk', "SELECT f - 'pid' FROM future_get('$id', '30 s') AS f");
	is($answer,
		qq({"id": "$id", "type": "order_cqrs pool worker", "sender": "clerk", "tenant": "north", "current": "desk", "session": "clerk"}),
		'a future runs in a session of its sender, in his role, for his tenant');

	$id = sent('clerk', 'CreateOrder', order('o1'), 'SET ROLE desk;');
	is(as('clerk', "SELECT future_get('$id', '30 s')"), '{"version": 1, "order_id": "o1"}', 'a command takes effect');
	is(as('clerk', "SELECT actor, command_id = '$id' FROM order_history('o1')"), 'clerk|t', 'its actor is the sender');
	$id = sent('clerk', 'UpdateOrder', order('o1') =~ s/"customer_id": "\w+", //r, q(SET order_cqrs.actor = 'ada';));
	as('clerk', "SELECT future_get('$id', '30 s')");
	my $next = sent('clerk', 'CompleteOrder', '{"order_id": "o1"}');
	as('clerk', "SELECT future_get('$next', '30 s')");
	is(as('clerk', q(SELECT string_agg(session_role || ' ' || actor, ', ' ORDER BY version) FROM order_history('o1') WHERE version > 1)),
		'clerk ada, clerk clerk', 'and so is the one that he acts for, in that future only');
	like(refused_as('other', "SELECT future_get('$id');"), qr/ERROR:  OC105/, 'nobody else sees it');
	is(as('postgres', "SELECT future_status('$id')"), 'done', 'but the owner');

	$id = as('other', q(SELECT query_send_async('GetOrder', '{"order_id": "o1"}')));
	is(as('other', "SELECT future_get('$id', '30 s')->>'customer_name'"), 'Ada', 'a query is answered');
	is(pool_pids('clerk') =~ /^\d+$/ && pool_pids('other') =~ /^\d+$/, 1, 'each user has a worker');
}

sub test_errors
{
	my $id = sent('clerk', 'Fail', '{}');
	my $error = refused_as('clerk', "SELECT future_get('$id', '30 s');");
	like($error, qr/ERROR:  MY001: no such luck\nDETAIL:  d\nHINT:  h\nCONTEXT:  .*command "Fail" with id $id/s,
		'an error comes back as it was raised');
	$id = sent('clerk', 'CreateOrder', order('o1'));
	like(refused_as('clerk', "SELECT future_get('$id', '30 s');"), qr/ERROR:  OC102/, 'so does one of a built-in command');

	my $pid = pool_pids('clerk');
	like(refused_as('clerk', "SELECT future_get('" . sent('clerk', 'Sleep', '{"seconds": "x"}') . "', '30 s');"),
		qr/ERROR:  22P02/, 'and one of the handler\'s casts');
	$id = sent('clerk', 'Hold', order('held'));
	like(refused_as('clerk', "SELECT future_get('$id', '30 s');"),
		qr/ERROR:  22012: division by zero/, 'and one that comes when it commits');
	is($node->safe_psql('shop', q(SELECT count(*) FROM order_cqrs.events WHERE aggregate_id = 'held')), '0',
		'which leaves nothing behind');
	is(pool_pids('clerk'), $pid, 'the worker survives them');

	$node->safe_psql('postgres', q(ALTER ROLE other SET statement_timeout = '300ms'));
	empty_pool();
	set_and_reload($node, 'order_cqrs.bus_workers' => 4);
	$id = sent('other', 'Sleep', '{"seconds": 60}', 'SET statement_timeout = 0;');
	like(refused_as('postgres', "SELECT future_get('$id', '30 s');"),
		qr/ERROR:  57014: canceling statement due to statement timeout/, 'the statement_timeout of the role is in force');
	$node->safe_psql('postgres', 'ALTER ROLE other RESET statement_timeout');

	is(as('clerk', "SELECT future_get('" . sent('clerk', 'Mess', '{}', 'SET ROLE desk;') . "', '30 s')"), '"4MB desk 0"', "a future finds its session as good as new, $_") foreach 1, 2;
}

sub test_waiting
{
	my $lock = $node->background_psql('shop');
	$lock->query_safe('SELECT pg_advisory_lock(1)');
	my $id = sent('clerk', 'Slow', order('waited', ', "lock": 1'));
	my $waiter = $node->background_psql('shop', extra_params => [ '--username', 'clerk' ]);
	$waiter->query_until(qr/start/, <<"SQL");
\\echo start
BEGIN;
SELECT order_cqrs.future_get('$id')->>'order_id';
SELECT 'looks: ' || pg_stat_get_xact_numscans('order_cqrs.bus_future'::regclass)
    + pg_stat_get_xact_numscans('order_cqrs.bus_future_pkey'::regclass);
COMMIT;
SQL

	wait_status($id, 'running');
	$node->poll_query_until('postgres', <<'SQL') or die 'nobody waits';
SELECT count(*) = 1 FROM pg_stat_activity
 WHERE usename = 'clerk' AND backend_type = 'client backend' AND wait_event_type = 'Extension'
SQL
	is($node->safe_psql('shop', q(SELECT count(*) FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
		WHERE l.relation = 'order_cqrs.bus_future'::regclass AND a.usename = 'clerk' AND a.backend_type = 'client backend')),
		'0', 'who waits keeps no lock on the table');
	sleep 1;
	like(refused_as('clerk', "SELECT future_get('$id', '10 ms');"), qr/ERROR:  OC502/, 'a timeout ends the wait');
	like(refused_as('clerk', "SET statement_timeout = '50ms'; SELECT future_get('$id');"), qr/ERROR:  57014/,
		'so does statement_timeout');
	is(as('clerk', "SELECT future_cancel('$id')"), 'f', 'a running future cannot be cancelled');
	$lock->query_safe('SELECT pg_advisory_unlock_all()');
	my $answer = $waiter->query_safe('SELECT 1');
	like($answer, qr/^waited/, 'the wait ends with the future');
	my ($looks) = $answer =~ /^looks: (\d+)$/m;
	cmp_ok($looks, '<', 8, 'future_get does not poll');
	$waiter->quit;

	# Without a wake-up they would be found every few seconds: the first at any moment, each of the others after all of them.
	my @times;
	foreach my $number (1 .. 3)
	{
		$id = as('clerk', q(BEGIN; SELECT command_send_async('Who', '{}'); PREPARE TRANSACTION 'p'; COMMIT PREPARED 'p';));
		my $start = time;
		is(as('clerk', "SELECT future_get('$id', '30 s')->>'current'"), 'clerk', "COMMIT PREPARED sends, $number");
		push @times, time - $start;
	}
	cmp_ok(min(@times[ 1, 2 ]), '<', 4, 'COMMIT PREPARED wakes the pool');
	$lock->quit;
}

sub test_latency
{
	my @times = sort { $a <=> $b } split /\n/, as('clerk', <<'SQL');
DO $$
DECLARE
	f uuid;
	start timestamptz;
BEGIN
	CREATE TEMPORARY TABLE times (ms float8);
	FOR i IN 1 .. 50 LOOP
		start := clock_timestamp();
		f := order_cqrs.command_send_async('Who', '{}');
		COMMIT;
		PERFORM order_cqrs.future_get(f, '30 s');
		INSERT INTO times VALUES (extract(epoch FROM clock_timestamp() - start) * 1000);
		COMMIT;
	END LOOP;
END $$;
SELECT ms FROM times;
SQL
	is(scalar @times, 50, 'futures one after another');
	cmp_ok($times[25], '<', 250, 'no wake-up is left to a timeout');
	note "round trip: median $times[25] ms, longest $times[-1] ms";
}

sub test_capacity
{
	my $running = $node->background_psql('shop');
	$running->query_safe('SELECT pg_advisory_lock(2)');
	set_and_reload($node, 'order_cqrs.queue_capacity' => 5, 'order_cqrs.bus_workers' => 1);
	$node->poll_query_until('shop', "SELECT setting = '5' FROM pg_settings WHERE name = 'order_cqrs.queue_capacity'");
	my $first = sent('clerk', 'Slow', order('capacity', ', "lock": 2'));
	ok(wait_status($first, 'running'), 'one runs');
	my @waiting = map { sent('clerk', 'Who', '{}') } 1 .. 3;
	like(refused_as('clerk', q(SELECT command_send_async('Who', '{}');)), qr/ERROR:  OC501/, 'beyond a role\'s share a send is refused');
	as('other', "SELECT future_cancel('" . sent('other', 'Who', '{}') . "')");
	like(refused_as('clerk', q(SELECT query_send_async('GetOrder', '{"order_id": "o1"}');)), qr/ERROR:  OC501/, 'also a query, and after another role has cancelled one');
	is(as('clerk', "SELECT future_cancel('$waiting[2]')"), 't', 'one is taken back');
	my $other = sent('other', 'Who', '{}');
	$running->query_safe('SELECT pg_advisory_unlock_all()');
	is(as('other', "SELECT future_get('$other', '30 s')->>'session'"), 'other', 'one worker serves two users in turn');
	is(as('clerk', "SELECT future_get('$waiting[1]', '30 s')->>'current'"), 'clerk', 'and all that waited');
	like(refused_as('clerk', "SELECT future_get('$waiting[2]');"), qr/ERROR:  OC503/, 'but what was taken back');
	$running->quit;

	set_and_reload($node, 'order_cqrs.queue_capacity' => 1000);
	$node->poll_query_until('shop', "SELECT setting = '1000' FROM pg_settings WHERE name = 'order_cqrs.queue_capacity'");

	# No one user keeps the place for himself.
	(my $id, $other) = split /\n/, as('postgres', <<'SQL');
SET SESSION AUTHORIZATION clerk;
SELECT command_send_async('Sleep', '{"seconds": 0.6}') FROM generate_series(1, 4) OFFSET 3;
SET SESSION AUTHORIZATION other;
SELECT command_send_async('Who', '{}');
SQL
	is(as('postgres', "SELECT future_get('$other', '30 s')->>'session'; SELECT future_status('$id')"),
		"other\nwaiting", 'a user gives way after a second');
	as('clerk', "SELECT future_get('$id', '30 s')");
	ok(empty_pool(), 'bus_workers = 0 ends the pool');
	$id = sent('clerk', 'Who', '{}');
	is(as('clerk', "SELECT future_status('$id'); CALL future_run(); SELECT future_get('$id')->>'type'"),
		"waiting\nclient backend", 'future_run does without it');
	set_and_reload($node, 'order_cqrs.bus_workers' => 4);
}

# The server restarts when a process is killed; everybody's locks are gone then, also the one that keeps the
# handler waiting.
sub test_kill
{
	my @ids = map { sent('clerk', 'CreateOrder', order("before$_")) } 1 .. 5;
	my $lock = $node->background_psql('shop', on_error_die => 0);
	$lock->query_safe('SELECT pg_advisory_lock(3)');
	my $id = sent('clerk', 'Slow', order('killed', ', "lock": 3'));
	my $later = sent('other', 'CreateOrder', order('later'));

	ok($node->poll_query_until('postgres',
			q(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'order_cqrs pool worker' AND wait_event = 'advisory')),
		'a pool worker is in the middle of a command');
	my $pid = $node->safe_psql('postgres',
		q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'order_cqrs pool worker' AND wait_event = 'advisory'));
	like(refused_as('clerk', q(SELECT order_history('killed');)), qr/ERROR:  OC101/, 'nothing of it is to be seen');
	kill_process($node, $pid);
	eval { $lock->quit };
	seem_forsaken($id);

	ok(wait_status($id, 'done'), 'after the crash the future is run again');
	is(as('clerk', "SELECT future_get('$id')->>'order_id'"), 'killed', 'and answers');
	is($node->safe_psql('shop', "SELECT attempts FROM order_cqrs.bus_future WHERE id = '$id'"), 2, 'at the second attempt');
	ok(wait_status($_, 'done'), 'the others are done, too') foreach @ids, $later;
	is( $node->safe_psql('shop', <<'SQL'), '', 'every command took effect once');
SELECT f.id, count(e.*) FROM order_cqrs.bus_future f LEFT JOIN order_cqrs.events e ON e.command_id = f.id
 WHERE f.status = 'done' AND f.type IN ('CreateOrder', 'Slow') GROUP BY 1 HAVING count(e.*) <> 1
SQL

	# One that ends its process each time is given up.
	set_and_reload($node, 'log_min_messages' => 'warning');
	$id = sent('clerk', 'Kill_me', '{}');
	foreach my $attempt (1 .. 3)
	{
		$node->poll_query_until('shop', "SELECT status IN ('running', 'failed') AND attempts >= $attempt FROM order_cqrs.bus_future WHERE id = '$id'");
		seem_forsaken($id);
	}
	like(refused_as('clerk', "SELECT future_get('$id', '60 s');"), qr/ERROR:  57P02/, 'a future that kills its workers fails in the end');
	ok_shop_is_true($node, 'shop', 'after the crash') if $node->safe_psql('shop', 'CALL order_cqrs.projection_sync(); SELECT true');
}

sub test_restart
{
	empty_pool();
	my $id = sent('clerk', 'CreateOrder', order('restart'));
	my $gone = sent('gone', 'Who', '{}');
	$node->stop('immediate');
	$node->start;
	is(as('clerk', "SELECT future_status('$id')"), 'waiting', 'a future survives an immediate shutdown');
	$node->safe_psql('postgres', 'ALTER ROLE gone NOLOGIN');
	set_and_reload($node, 'order_cqrs.bus_workers' => 4);
	is(as('clerk', "SELECT future_get('$id', '30 s')->>'version'"), '1', 'and is run then');
	like(refused_as('postgres', "SELECT future_get('$gone', '30 s');"), qr/ERROR:  28000: role "gone" is not permitted to log in/,
		'a future that nobody can log in for fails');
	$node->safe_psql('shop', 'DROP OWNED BY gone; DROP ROLE gone');
	$node->safe_psql('shop', "UPDATE order_cqrs.bus_future SET status = 'waiting' WHERE id = '$gone'");
	set_and_reload($node, 'log_min_messages' => 'warning');
	ok(wait_status($gone, 'failed'), 'so does one whose sender does not exist any more');
	like(refused_as('postgres', "SELECT future_get('$gone');"), qr/ERROR:  OC506/, 'with an error of its own');
}

# However many are sent by one transaction, as many workers as there may be take them up.
sub test_burst
{
	my $lock = $node->background_psql('shop');
	$lock->query_safe('SELECT pg_advisory_lock(77)');
	as('clerk', q(SELECT command_send_async('Slow', jsonb_build_object('order_id', 'burst-' || i, 'customer_id', 'ada',
		'items', '[{"product_id": "pen", "quantity": 1, "unit_price": 1}]'::jsonb, 'lock', 77)) FROM generate_series(1, 3) AS i));
	ok($node->poll_query_until('shop',
		q(SELECT count(*) = 3 FROM pg_locks WHERE locktype = 'advisory' AND objid = 77 AND NOT granted)),
		'three futures of one transaction run at once');
	$lock->query_safe('SELECT pg_advisory_unlock(77)');
	$lock->quit;
	ok($node->poll_query_until('shop',
		q(SELECT count(*) = 3 FROM order_cqrs.order_view WHERE order_id LIKE 'burst-%')), 'and end');
	return;
}

sub test_retention
{
	cmp_ok($node->safe_psql('shop', 'SELECT count(*) FROM order_cqrs.bus_future'), '>', 5, 'results are kept');
	set_and_reload($node, 'order_cqrs.result_retention' => '1s');
	ok($node->poll_query_until('shop', 'SELECT count(*) = 0 FROM order_cqrs.bus_future'), 'for result_retention');
	set_and_reload($node, 'order_cqrs.result_retention' => '1d');
}

sub test_drop
{
	create_database($node, 'short');
	set_and_reload($node, 'order_cqrs.databases' => 'shop, short');
	open_shop($node, 'short');
	$node->safe_psql('short', "CREATE FUNCTION sleep(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT to_jsonb(pg_sleep(600)::text)'");
	$node->safe_psql('short', q(SELECT order_cqrs.command_handler_register('Sleep', 'sleep(jsonb, jsonb)')));
	$node->safe_psql('short', q(SELECT order_cqrs.command_send_async('Sleep', '{}') FROM generate_series(1, 3)));
	ok($node->poll_query_until('short', q(SELECT count(*) > 0 FROM order_cqrs.bus_future WHERE status = 'running')), 'the pool is at work');
	my ($status, $output, $error) = $node->psql('postgres', 'DROP DATABASE short');
	is($status, 0, 'DROP DATABASE works all the same') or diag($error);
	set_and_reload($node, 'order_cqrs.databases' => 'shop');

	$node->safe_psql('shop', 'DROP EXTENSION order_cqrs CASCADE');
	open_shop($node, 'shop');
	my $id = $node->safe_psql('shop', q(SELECT order_cqrs.query_send_async('GetOrder', '{"order_id": "none"}')));
	like(refused_as('postgres', "SELECT future_get('$id', '30 s');"), qr/ERROR:  OC101/, 'the pool works for a new extension');
}

test_sender();
test_errors();
test_burst();
test_waiting();
test_latency();
test_capacity();
test_kill();
test_restart();
test_retention();
test_drop();

$node->stop;
done_testing();
