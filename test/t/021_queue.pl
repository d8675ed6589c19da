# The queue of futures: a wake-up that comes while somebody waits for a lock, workers that end, and what a waiter is told
# when nobody can run his future. One worker at most, so that no second one makes up for what the first has missed.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Utils;
use Shop;
use Test::More;
use Time::HiRes qw(time);

# The interval after which all that was missed is found anyway is 5 s.
my $soon = 2;

my $node = new_server(
	'queue',
	'order_cqrs.sync_interval' => '1h',
	'order_cqrs.bus_workers' => 1,
	autovacuum => 'off',
	log_lock_waits => 'on');
$node->start;
create_database($node, 'shop');
set_and_reload($node, 'order_cqrs.databases' => 'shop');
open_shop($node, 'shop');
$node->safe_psql('shop', <<'SQL');
CREATE ROLE clerk LOGIN;
CREATE ROLE desk NOLOGIN;
GRANT desk TO clerk;
GRANT USAGE ON SCHEMA order_cqrs TO clerk, desk;
CREATE FUNCTION echo(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT payload';
SELECT order_cqrs.command_handler_register('Echo', 'echo(jsonb, jsonb)');
SQL

sub as_clerk
{
	my ($query) = @_;
	return $node->safe_psql('shop', "SET search_path = order_cqrs; $query", extra_params => [ '--username', 'clerk', '--quiet' ]);
}

sub refused_as_clerk
{
	my ($query) = @_;
	my ($status, $output, $error) = $node->psql('shop',
		"\\set VERBOSITY verbose\nSET search_path = order_cqrs;\nSET statement_timeout = '60s';\n$query",
		extra_params => [ '--username', 'clerk', '--quiet' ]);
	return $error;
}

sub send_echo { return as_clerk(q(SELECT command_send_async('Echo', '{}'))); }

# seconds_until_answered returns how long a future that is sent now takes.
sub seconds_until_answered
{
	my $start = time;
	as_clerk("SELECT future_get('" . send_echo() . "', '60 s')");
	return time - $start;
}

# session [USER] returns a psql in the shop that stays.
sub session
{
	my ($user) = @_;
	return $node->background_psql('shop', on_error_stop => 0, extra_params => [ '--username', $user // 'postgres' ]);
}

sub pid_of
{
	my ($session) = @_;
	return $session->query_safe('SELECT pg_backend_pid()');
}

sub wait_until
{
	my ($condition) = @_;
	$node->poll_query_until('shop', "SELECT $condition") or die "this never became true: $condition";
	return;
}

sub empty_pool
{
	set_and_reload($node, 'order_cqrs.bus_workers' => 0);
	wait_until("NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'order_cqrs pool worker')");
	return;
}

# waits_for_lock PID [, RELATION] is a condition.
sub waits_for_lock
{
	my ($pid, $relation) = @_;
	return "EXISTS (SELECT FROM pg_locks WHERE pid = $pid AND NOT granted"
	  . (defined $relation ? " AND relation = '$relation'::regclass)" : ')');
}

# wait_checked PID, OFFSET waits until a process that waits for a lock has looked for a deadlock, once in each wait. The
# timer for that sets its latch, too, so a wake-up that comes before it is not lost for long.
sub wait_checked
{
	my ($pid, $offset) = @_;
	foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return if slurp_file($node->logfile, $offset) =~ /process $pid still waiting/;
		select undef, undef, undef, 0.1;
	}
	die "process $pid does not wait for long";
}

sub idle_worker
{
	return wait_row($node, 'shop',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'order_cqrs pool worker' AND wait_event = 'Extension'");
}

# The index is locked without the table: a look at the queue has taken its snapshot when it comes to the index, and a
# send that has inserted its row already can still commit. No ALTER INDEX may commit: the look's plan would be made anew,
# and wait for the lock before it takes its snapshot.
my $waiting = 'order_cqrs.bus_future_waiting_idx';
my $lock_index = "BEGIN; ALTER INDEX $waiting SET TABLESPACE pg_default";

# A worker looks, marks itself idle, and looks again. The second look waits for a lock, and meanwhile a future is sent.
sub test_call_during_look
{
	seconds_until_answered();
	my $worker = idle_worker();
	my ($sender, $first, $second) = (session('clerk'), session(), session());

	$sender->query_safe('BEGIN');
	my $id = $sender->query_safe(q(SELECT order_cqrs.command_send_async('Echo', '{}')));
	$first->query_safe($lock_index);
	$node->reload;    # wakes the worker
	wait_until(waits_for_lock($worker, $waiting));
	my $second_pid = pid_of($second);
	$second->query_until(qr/queued/, "\\echo queued\n$lock_index;\n");
	wait_until(waits_for_lock($second_pid));
	my $offset = log_end($node);
	$first->query_safe('ROLLBACK');
	wait_until('NOT ' . waits_for_lock($second_pid));
	wait_until(waits_for_lock($worker, $waiting));
	wait_checked($worker, $offset);
	$sender->query_safe('COMMIT');
	my $start = time;
	$second->query_safe('ROLLBACK');
	as_clerk("SELECT future_get('$id', '60 s')");
	cmp_ok(time - $start, '<', $soon, 'a call during the look of an idle worker is heard');
	$_->quit foreach $sender, $first, $second;
	return;
}

# A waiter has read that the future is not finished, and then waits for the lock of a catalog that tells who may see it.
# Meanwhile it is finished. For another hour nobody else wakes him.
sub test_end_during_look
{
	my ($waiter, $finisher, $locker) = (session('clerk'), session('clerk'), session());
	my $pid = pid_of($waiter);

	empty_pool();
	my $id = as_clerk(q(SET ROLE desk; SELECT command_send_async('Echo', '{}')));
	my $other = send_echo();
	$waiter->query_safe("SELECT order_cqrs.future_status('$other')");
	$finisher->query_safe('BEGIN');
	$finisher->query_safe("SELECT order_cqrs.future_cancel('$id')");
	$locker->query_safe('BEGIN; LOCK TABLE pg_auth_members IN ACCESS EXCLUSIVE MODE');
	my $offset = log_end($node);
	$waiter->query_until(qr/start/, "\\echo start\nSELECT order_cqrs.future_get('$id');\n\\echo :LAST_ERROR_SQLSTATE\n");
	wait_checked($pid, $offset);
	$finisher->query_safe('COMMIT');
	my $start = time;
	$locker->query_safe('COMMIT');
	like($waiter->query('SELECT 1'), qr/^OC503$/m, 'the end of a future during a look at it is heard');
	cmp_ok(time - $start, '<', $soon, 'at once');
	as_clerk("SELECT future_cancel('$other')");
	$_->quit foreach $waiter, $finisher, $locker;
	set_and_reload($node, 'order_cqrs.bus_workers' => 1);
	return;
}

sub test_terminated
{
	seconds_until_answered();
	my $worker = idle_worker();
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($worker, 60000)");
	cmp_ok(seconds_until_answered(), '<', $soon, 'an idle worker that was terminated is replaced at once');
	return;
}

sub test_raised
{
	empty_pool();
	foreach my $try (1 .. 3)
	{
		my $id = send_echo();
		wait_until("status = 'waiting' FROM order_cqrs.bus_future WHERE id = '$id'");
		my $start = time;
		set_and_reload($node, 'order_cqrs.bus_workers' => 1);
		as_clerk("SELECT future_get('$id', '60 s')");
		cmp_ok(time - $start, '<', $soon, "bus_workers raised from 0 is in force at once, $try");
		set_and_reload($node, 'order_cqrs.bus_workers' => 0);
	}
	return;
}

# Nobody runs futures: the waiter is told so, after a while, or when his time is over.
sub test_obstacles
{
	empty_pool();
	my $id = send_echo();
	like(refused_as_clerk("SELECT future_get('$id');"), qr/ERROR:  OC505: .* waiting\nDETAIL:  .*bus_workers is 0/,
		'bus_workers = 0 is told');
	like(refused_as_clerk("SELECT future_get('$id', '10 ms');"), qr/ERROR:  OC502: .*\nDETAIL:  .*bus_workers is 0/,
		'also when the time is over');

	set_and_reload($node, 'order_cqrs.databases' => '');
	wait_unserved($node, 'shop');
	wait_until("NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'order_cqrs runner')");
	like(refused_as_clerk("SELECT future_get('$id');"), qr/ERROR:  OC505: .*\nDETAIL:  No process .*\nHINT:  .*order_cqrs\.databases/,
		'so is a database that is not served');

	# It was begun, and its process is gone.
	$node->safe_psql('shop', "UPDATE order_cqrs.bus_future SET status = 'running', started_at = now() WHERE id = '$id'");
	like(refused_as_clerk("SELECT future_get('$id');"), qr/ERROR:  OC505: .* running\nDETAIL:  No process/, 'also of one that was begun');
	$node->safe_psql('shop', "UPDATE order_cqrs.bus_future SET status = 'waiting' WHERE id = '$id'");

	# Rows by hand look like a restore, for whose end futures wait.
	$node->safe_psql('shop', "INSERT INTO order_cqrs.bus_future (id, kind, type, payload, tenant_id, session_role, role, status)"
		  . " SELECT gen_random_uuid(), 'command', 'Echo', '{}', 'default', 'clerk', 'clerk', 'cancelled'");
	set_and_reload($node, 'order_cqrs.databases' => 'shop', 'order_cqrs.bus_workers' => 1);
	wait_served($node, 'shop');
	like(refused_as_clerk("SELECT future_get('$id');"), qr/ERROR:  OC505: .*\nDETAIL:  .*restore.*\nHINT:  .*restore_end/,
		'so is a restore that seems to be under way');
	set_and_reload($node, 'order_cqrs.databases' => '', 'order_cqrs.bus_workers' => 0);
	wait_unserved($node, 'shop');
	wait_until("NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'order_cqrs runner')");
	$node->safe_psql('shop', 'CALL order_cqrs.restore_end()');

	# Somebody who runs it by hand is in time.
	my $waiter = session('clerk');
	my $pid = pid_of($waiter);
	$waiter->query_until(qr/start/, "\\echo start\nSELECT order_cqrs.future_get('$id');\n");
	wait_until("wait_event = 'Extension' FROM pg_stat_activity WHERE pid = $pid");
	as_clerk('CALL future_run()');
	is($waiter->query('SELECT 1'), "{}\n1", 'a future that is run by hand is answered');
	$waiter->quit;
	return;
}

# fill COUNT has so many of clerk's futures wait, without telling those who count. Rows by hand look like a restore, for
# whose end the pool would wait.
sub fill
{
	my ($count) = @_;
	$node->safe_psql('shop', <<"SQL");
INSERT INTO order_cqrs.bus_future (id, kind, type, payload, tenant_id, session_role, role)
SELECT gen_random_uuid(), 'command', 'Echo', '{}', 'default', 'clerk', 'clerk' FROM generate_series(1, $count);
CALL order_cqrs.restore_end();
SQL
	return;
}

# entries_read_by QUERY returns how many entries of the index of waiting futures clerk's statement reads.
sub entries_read_by
{
	my ($query) = @_;
	my $read = 'SELECT pg_stat_force_next_flush(); SELECT pg_stat_get_tuples_returned(' . "'$waiting'::regclass)";
	my ($before, $after) = (as_clerk("$read;\n$query;\n$read") =~ /^(\d+)$/mg)[ 0, -1 ];
	note "$query: " . ($after - $before) . ' entries read';
	return $after - $before;
}

# A claim and a send read a few entries of the index, however many futures wait and whatever the planner knows of them.
sub test_claims
{
	set_and_reload($node, 'order_cqrs.queue_capacity' => 100000);
	wait_until("setting = '100000' FROM pg_settings WHERE name = 'order_cqrs.queue_capacity'");
	$node->safe_psql('shop', 'DELETE FROM order_cqrs.bus_future; ANALYZE order_cqrs.bus_future');
	fill(20000);
	my $claims = 'CALL future_run(100)';
	cmp_ok(entries_read_by($claims), '<', 1000, 'claims after ANALYZE of an empty queue');
	$node->safe_psql('shop', 'ANALYZE order_cqrs.bus_future');
	cmp_ok(entries_read_by($claims), '<', 1000, 'claims after ANALYZE of a full one');
	$node->safe_psql('shop', q(DELETE FROM pg_statistic WHERE starelid = 'order_cqrs.bus_future'::regclass));
	cmp_ok(entries_read_by($claims), '<', 1000, 'claims without statistics');

	# Those of other roles are in the way of nobody.
	my $id = as_clerk(q(SET ROLE desk; SELECT command_send_async('Echo', '{}')));
	cmp_ok(entries_read_by('SET ROLE desk; CALL future_run(); RESET ROLE'), '<', 1000, 'claims of one role among many futures of another');
	is(as_clerk("SELECT future_status('$id')"), 'done', 'its future is found');

	as_clerk(q(SELECT count(command_send_async('Echo', '{}')) FROM generate_series(1, 2000)));
	cmp_ok(entries_read_by(q(SELECT count(command_send_async('Echo', '{}')) FROM generate_series(1, 100))), '<', 1000, 'sends do not count');

	# An old snapshot keeps the entries of futures that were claimed.
	my $old = session();
	$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
	cmp_ok(entries_read_by('CALL future_run(4000)'), '<', 1000000, 'claims do not walk over what was claimed before, again and again');
	$old->quit;
	$node->safe_psql('shop', 'DELETE FROM order_cqrs.bus_future');
	return;
}

# Roles take turns, also within one session user.
sub test_turns
{
	empty_pool();
	my @ids = split /\n/, as_clerk(<<'SQL');
SELECT command_send_async('Echo', '{}') FROM generate_series(1, 50);
SET ROLE desk;
SELECT command_send_async('Echo', '{}');
SQL
	my $last = $ids[-1];
	set_and_reload($node, 'order_cqrs.bus_workers' => 1);
	as_clerk("SELECT future_get('$last', '60 s')");
	wait_until("NOT EXISTS (SELECT FROM order_cqrs.bus_future WHERE status IN ('waiting', 'running'))");
	cmp_ok($node->safe_psql('shop', "SELECT count(*) FROM order_cqrs.bus_future AS f, order_cqrs.bus_future AS l"
			  . " WHERE l.id = '$last' AND f.number BETWEEN l.number - 50 AND l.number AND f.started_at < l.started_at"),
		'<', 3, 'a role with one future does not wait for all of another role');
	set_and_reload($node, 'order_cqrs.bus_workers' => 0);
	return;
}

# The launcher, the synchroniser, the runner, and PostgreSQL's own launcher of logical replication: no slot for a worker.
sub test_no_slot
{
	$node->append_conf('postgresql.conf', "$_\n")
	  foreach "max_worker_processes = 4", "order_cqrs.databases = 'shop'", 'order_cqrs.bus_workers = 1', "log_min_messages = 'error'";
	$node->restart;
	wait_until("EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'order_cqrs runner')");
	wait_served($node, 'shop');
	my $id = send_echo();
	like(refused_as_clerk("SELECT future_get('$id');"), qr/ERROR:  OC505: .* waiting\nDETAIL:  .*background worker slots.*\nHINT:  .*max_worker_processes/,
		'no slot for a worker is told');
	like(refused_as_clerk("SELECT future_get('$id', '10 ms');"), qr/ERROR:  OC502: .*\nDETAIL:  .*background worker slots/,
		'also when the time is over');

	# A shortage that ends is none.
	my $waiter = session('clerk');
	$waiter->query_until(qr/start/, "\\echo start\nSELECT order_cqrs.future_get('$id');\n");
	$node->safe_psql('postgres', q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'order_cqrs synchroniser'));
	is($waiter->query('SELECT 1'), "{}\n1", 'a slot that becomes free is used');
	$waiter->quit;
	return;
}

test_call_during_look();
test_end_during_look();
test_terminated();
test_raised();
test_turns();
test_claims();
test_obstacles();
test_no_slot();

$node->stop;
done_testing();
