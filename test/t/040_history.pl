# A history: clients send random commands at all isolation levels, with savepoints, prepared transactions and repetitions of
# commands whose outcome nobody knows; consumers follow the log at all levels; and meanwhile processes of every kind are killed,
# terminated, cancelled and stopped, projections change their mode, pause and are rebuilt, tables get new indexes and columns,
# settings are reloaded. Reads are never older than what was acknowledged before they began. In moments of silence async
# projections have to be at the end of the log soon. In the end everything is compared with what the clients were told, and
# with the events alone; and the server's log has no line that is not expected.
#
#   OCQ_HISTORY_SECONDS=1200 OCQ_HISTORY_SEED=7 prove ... test/t/040_history.pl
#
# runs it for longer, or with other choices. It runs on one major unless OCQ_HISTORY_ALL_MAJORS is set.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use History;
use HistoryClient;
use List::Util qw(shuffle);
use PostgreSQL::Test::Utils;
use POSIX ();
use Shop;
use Test::More;
use Time::HiRes qw(sleep time);

my $seed = $ENV{OCQ_HISTORY_SEED} // 11;
my $seconds = $ENV{OCQ_HISTORY_SECONDS} // 30;
my $clients = 4;
my $crashes = 1 + int($seconds / 20);

# However slow the machine is, each client has so many commands acknowledged, and so many silences are measured.
my $least_commands = 30;
my $least_silences = 2;

# Seconds in which async projections have to be at the end of the log once all is silent. It takes milliseconds; if a wake-up
# is lost it takes as long as sync_interval.
my $soon = 30;

my $node = new_server(
	'history',
	'order_cqrs.databases' => 'shop',
	'order_cqrs.sync_interval' => '600s',
	'order_cqrs.audit_delay' => '20s',
	'order_cqrs.cache_size' => '4MB',
	'order_cqrs.payment_timeout' => '1s',
	'order_cqrs.saga' => 'on',
	'order_cqrs.saga_retry_delay' => '100ms',
	'order_cqrs.queue_capacity' => 100000,
	log_line_prefix => '%m [%p] {%b|%a|%e} ',
	max_prepared_transactions => 50,
	max_worker_processes => 30,
	restart_after_crash => 'on');
$node->start;

if ($node->pg_version >= 16 && !$ENV{OCQ_HISTORY_ALL_MAJORS})
{
	$node->stop;
	plan skip_all => 'it runs on one major';
}

create_database($node, 'shop');
open_shop($node, 'shop');
my $dir = $node->basedir;
my $connection = $node->connstr('shop');
my $until = time + $seconds;
%history = (
	directory => $dir,
	prefix => "seed $seed:",
	seed => $seed,
	until => $until,
	connection => $connection,
	clients => $clients,
	least_commands => $least_commands);

$node->safe_psql('shop', join "\n",
	(map { "CALL order_cqrs.customer_put('c$_', 'name 0', ''); CALL order_cqrs.product_put('p$_', 'name 0', '');" } 1 .. $clients),
	"CALL order_cqrs.product_put('rare', 'Rare', '');",
	"CALL order_cqrs.stock_receive('rare', 40);",
	(map { "CALL order_cqrs.order_create('base$_', 'c$_', " . items("p$_", 1, 1) . ');' } 1 .. $clients),
	'CREATE TABLE public.consumer (name text PRIMARY KEY, last_position bigint NOT NULL);',
	'CREATE TABLE public.seen (name text, position bigint);',
	"INSERT INTO public.consumer VALUES ('small', 0), ('large', 0), ('strict', 0);",
	"CREATE FUNCTION public.tear(sequence regclass, milliseconds int) RETURNS bigint LANGUAGE c STRICT AS 'ocq_test', 'ocq_test_tear';");

#
# The nemesis, in this process.
#

my $nemesis = open_session($connection, 'nemesis');

# How often each deed was done.
my %done;

sub pids_of
{
	my ($where) = @_;
	my ($state, $pids) = ask($nemesis, "SELECT pid FROM pg_stat_activity WHERE $where ORDER BY pid");
	return $state eq '00000' ? split /\n/, $pids : ();
}

# Who may be terminated and cancelled.
my %victims = (
	client => "application_name LIKE 'client %' AND backend_type = 'client backend'",
	consumer => "application_name LIKE 'consumer %' AND backend_type = 'client backend'",
	map { $_ => "backend_type = 'order_cqrs $_'" } 'launcher', 'synchroniser', 'helper', 'runner', 'pool worker');

# Who may be killed, which takes the server down, and stopped.
my %kill_victims = (%victims, map { $_ => "backend_type = '$_'" } 'checkpointer', 'walwriter', 'background writer', 'autovacuum launcher');
my %stop_victims = map { $_ => $kill_victims{$_} } 'launcher', 'synchroniser', 'helper', 'runner', 'pool worker', 'checkpointer', 'walwriter', 'client';

# tearer shows readers of the sequence, again and again, a value that was not drawn yet, as nextval() does for an instant.
sub tearer
{
	my $session = open_session($connection, 'tearer');

	while (time < $until)
	{
		ask($session, "SELECT public.tear('order_cqrs.events_position_seq', 20)");
		sleep 0.2;
	}
	return;
}

# insist repeats a statement until it succeeds, so that what was done is undone whatever comes in between.
sub insist
{
	my ($statement) = @_;
	my ($state) = ask($nemesis, $statement);
	my $end = time + 180;

	until ($state eq '00000' || time > $end)
	{
		sleep 0.1;
		($state) = ask($nemesis, $statement);
	}
	complain("$statement: $state") if $state ne '00000';
	return;
}

# loosely runs what makes reads older than they are otherwise: projections that are async or paused.
sub loosely
{
	my (@statements) = @_;

	change_looseness();
	ask($nemesis, $statements[0]);
	sleep pick(200) / 1000;
	insist($statements[1]);
	insist('CALL order_cqrs.projection_sync()');
	change_looseness();
	return;
}

my $other = open_session($connection, 'other');

sub slow_order { return "CALL order_cqrs.order_create('slow-" . uuid() . "', 'ada', " . items('pen', 1, 1) . ')'; }

# wait_until asks a session until it says t, or for some seconds.
sub wait_until
{
	my ($session, $query, $most) = @_;
	my $end = time + $most;

	do
	{
		my ($state, $answer) = ask($session, $query);
		return 1 if $state eq '00000' && $answer eq 't';
		sleep 0.02;
	} while (time < $end);
	return 0;
}

# Once its deadlock_timeout, 100 ms, has passed nothing wakes it but the lock.
my $is_blocked = <<'SQL';
SELECT bool_or(clock_timestamp() - waitstart > '300 ms')
  FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE backend_type = 'order_cqrs synchroniser' AND NOT granted
SQL

# compare_versions complains if a row of these orders is older than it was, and returns whether it could look.
sub compare_versions
{
	my ($view, $names, $newest) = @_;
	my ($state, $rows) = ask($nemesis, "SELECT order_id || ' ' || version FROM order_cqrs.$view WHERE order_id IN ($names)");

	return 0 if $state ne '00000';
	my %versions = map { split / / } split /\n/, $rows;
	foreach (sort keys %versions)
	{
		complain("$view had $_ at version $newest->{$_}, and then at $versions{$_}") if $versions{$_} < ($newest->{$_} // 0);
		$newest->{$_} = $versions{$_};
	}
	return 1;
}

# handle_again sets the checkpoint of an async projection back and watches it: each row stays as new as it was, as older events
# are not written over newer ones. A row in the middle is locked for a while, so that the projection halts there. It returns
# whether it could look then.
sub handle_again
{
	my ($view) = @_;
	my $checkpoint = "SELECT last_position FROM order_cqrs.projection_state WHERE projection_name = '$view'";
	my $end = time + 5;
	my %newest;
	my ($state, $target) = ask($nemesis, $checkpoint);
	my ($chosen, $names) = ask($nemesis, <<'SQL');
SELECT string_agg(quote_literal(aggregate_id), ', ') FROM
       (SELECT aggregate_id FROM (SELECT * FROM order_cqrs.events ORDER BY position DESC LIMIT 2000) e
         WHERE aggregate_type = 'Order' GROUP BY 1 ORDER BY max(position) - min(position) DESC LIMIT 100) o
SQL
	return 0 if $state ne '00000' || $chosen ne '00000' || $names eq '' || !compare_versions($view, $names, \%newest);
	return 0 if (ask($other, 'BEGIN'))[0] ne '00000';
	$other->{in_block} = 1;
	ask($other, <<"SQL");
SELECT FROM order_cqrs.$view WHERE order_id = (SELECT aggregate_id FROM order_cqrs.events WHERE aggregate_type = 'Order' AND version = 1
       AND position >= (SELECT percentile_disc(0.6) WITHIN GROUP (ORDER BY position) FROM
                        (SELECT position FROM order_cqrs.events ORDER BY position DESC LIMIT 2000) e) ORDER BY position LIMIT 1) FOR UPDATE
SQL
	# The projection may have met the lock already, and then it has its checkpoint until it gives up.
	ask($nemesis, <<"SQL");
SET lock_timeout = '5s';
UPDATE order_cqrs.projection_state SET last_position =
       coalesce((SELECT position FROM order_cqrs.events ORDER BY position DESC OFFSET 2000 LIMIT 1), 0) WHERE projection_name = '$view'
SQL
	my $halts = wait_until($nemesis, $is_blocked, 5) && compare_versions($view, $names, \%newest);
	ask($other, 'COMMIT');
	$other->{in_block} = 0;
	ask($nemesis, 'RESET lock_timeout');
	my $position = 0;
	while ($state eq '00000' && $position < $target && time < $end && compare_versions($view, $names, \%newest))
	{
		($state, $position) = ask($nemesis, $checkpoint);
	}
	return $halts;
}

my $replays = 0;
my $tries = 0;

# replay has a projection handle the end of the log again, in small batches.
sub replay
{
	my ($view) = @_;

	change_looseness();
	set_and_reload($node, 'order_cqrs.batch_size' => 50);
	insist("CALL order_cqrs.projection_set_mode('$view', 'async')");
	insist("CALL order_cqrs.projection_sync('$view')");
	$replays++ if handle_again($view);
	insist("CALL order_cqrs.projection_set_mode('$view', 'sync')");
	insist('CALL order_cqrs.projection_sync()');
	change_looseness();
	return;
}

sub victim
{
	my ($victims) = @_;
	my $kind = one_of(sort keys %$victims);
	my $pid = one_of(pids_of($victims->{$kind}));
	return ($kind, $pid);
}

sub signal
{
	my ($how) = @_;
	my ($kind, $pid) = victim(\%victims);
	return unless defined $pid;
	ask($nemesis, "SELECT pg_${how}_backend($pid)");
	$done{"$how $kind"}++;
	return;
}

sub stop
{
	my ($kind, $pid) = victim(\%stop_victims);
	return unless defined $pid;
	kill 'STOP', $pid;
	sleep one_of(0.1, 0.5, 1);
	kill 'CONT', $pid;
	$done{"stop $kind"}++;
	return;
}

# crash kills processes of each kind in turn, and returns whether there was one.
my @next_killed;

sub crash
{
	@next_killed = shuffle(sort keys %kill_victims) unless @next_killed;
	my $kind = shift @next_killed;
	my $pid = one_of(pids_of($kill_victims{$kind}));
	if (!defined $pid)
	{
		push @next_killed, $kind if @next_killed;
		return 0;
	}
	note("kill -9 of $kind");
	kill 'KILL', $pid;
	$crashes--;
	$done{"kill $kind"}++;
	sleep 0.2;
	sleep 0.2 until is_up($nemesis);
	return 1;
}

my @deeds = (
	(sub { signal('terminate') }) x 3,
	(sub { signal('cancel') }) x 3,
	(\&stop) x 2,
	(sub {
		my $view = one_of('order_view', 'order_summary_view');
		loosely("CALL order_cqrs.projection_set_mode('$view', 'async')", "CALL order_cqrs.projection_set_mode('$view', 'sync')");
	}) x 2,
	(sub {
		my $view = one_of('order_view', 'order_summary_view');
		loosely("CALL order_cqrs.projection_pause('$view')", "CALL order_cqrs.projection_resume('$view')");
	}) x 2,
	sub { replay(one_of('order_view', 'order_summary_view')) },
	sub { ask($nemesis, "CALL order_cqrs.projection_set_mode('order_stats', 'sync')"); insist("CALL order_cqrs.projection_set_mode('order_stats', 'async')") },
	sub { ask($nemesis, "CALL order_cqrs.projection_rebuild('" . one_of('order_view', 'order_stats', 'order_summary_view') . "')") },
	sub { ask($nemesis, 'CALL order_cqrs.projection_audit()') },
	sub { ask($nemesis, 'CREATE INDEX IF NOT EXISTS mine ON order_cqrs.order_summary_view (updated_at)') },
	sub { ask($nemesis, 'DROP INDEX IF EXISTS order_cqrs.mine') },
	sub { ask($nemesis, 'ALTER TABLE order_cqrs.order_view ADD COLUMN IF NOT EXISTS mine int DEFAULT 1') },
	sub { ask($nemesis, 'ALTER TABLE order_cqrs.order_view DROP COLUMN IF EXISTS mine') },
	sub { set_and_reload($node, 'order_cqrs.batch_size' => one_of(50, 1000, 10000)) });

my $is_served = "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'order_cqrs synchroniser'";
my $is_at_end = <<'SQL';
SELECT NOT EXISTS (SELECT FROM order_cqrs.events WHERE aggregate_type = 'Order' AND position > s.last_position)
  FROM order_cqrs.projection_state s WHERE projection_name = 'order_stats'
SQL

# is_at_rest waits for some seconds until clients, futures and projections have come to rest, so that nothing but the next
# commit can wake a worker.
sub is_at_rest
{
	my ($most) = @_;
	my $silenced = time;

	return 0 unless wait_until($nemesis, $is_served, $most);
	sleep 0.01 until !grep({ !-e "$dir/silent-$_" } 1 .. $clients) || time > $silenced + $most;
	return 0 if grep { !-e "$dir/silent-$_" } 1 .. $clients;
	return 0 unless wait_until($nemesis, "SELECT count(*) = 0 FROM order_cqrs.bus_future WHERE status IN ('waiting', 'running')", $most);
	ask($nemesis, 'CALL order_cqrs.projection_sync()');
	# With a second to go, the worker sees that no audit is due any more.
	sleep 0.1 while time < $silenced + 1.3;
	return wait_until($nemesis, $is_at_end, $most);
}

# measure_silence has a transaction append, so that the synchroniser waits for it when another has committed; it appends once
# more and commits; and nobody else does anything that would wake a worker.
my $silences = 0;
my $was_loud = 0;

sub measure_silence
{
	my ($begun) = ask($nemesis, 'BEGIN; ' . slow_order());
	my ($committed) = ask($other, slow_order());
	my $waits = wait_until($other, $is_blocked, 20);
	my ($state) = ask($nemesis, slow_order() . '; COMMIT');
	return if grep { $_ ne '00000' } $begun, $committed, $state;

	if (!wait_until($nemesis, $is_at_end, $soon))
	{
		$was_loud = 1;
		complain("silence for $soon s, and " . (wait_until($nemesis, $is_served, 60) ? 'order_stats is behind' : 'there is no synchroniser'));
	}
	$silences++ if $waits;
	return;
}

sub be_silent
{
	my ($most) = @_;

	note_line("$dir/silence", 1);
	set_and_reload($node, 'order_cqrs.saga' => 'off', 'order_cqrs.audit_delay' => '3600s');
	measure_silence() if !$was_loud && is_at_rest($most);

	# Events that are handled twice change nothing.
	my $projection = one_of(('order_stats') x 4, 'order_view', 'order_summary_view', 'inventory', 'payments');
	ask($nemesis, <<"SQL");
UPDATE order_cqrs.projection_state SET last_position = greatest(last_position - 50, 0) WHERE projection_name = '$projection'
SQL
	set_and_reload($node, 'order_cqrs.saga' => 'on', 'order_cqrs.audit_delay' => one_of('1s', '20s'));
	unlink "$dir/silence";
	return;
}

#
# The end: everything is compared with what was told, and with the events.
#

sub nothing
{
	my ($name, $query) = @_;
	is(substr($node->safe_psql('shop', $query), 0, 2000), '', "seed $seed: $name");
	return;
}

sub load
{
	my ($table, $columns, @rows) = @_;

	$node->safe_psql('shop', "CREATE TABLE public.$table ($columns)");
	while (my @part = splice @rows, 0, 500)
	{
		$node->safe_psql('shop', "INSERT INTO public.$table VALUES " . join ', ', map { '(' . join(', ', map { "'$_'" } @$_) . ')' } @part);
	}
	return;
}

sub check_told
{
	my @acknowledged = read_lines("$dir/acknowledged");
	my @refused = read_lines("$dir/refused");
	my @futures = read_lines("$dir/futures");
	my %rounds = map { $_->[0] => 1 } map { read_lines("$dir/done-$_") } 1 .. 4;

	note(scalar(@acknowledged) . ' commands were acknowledged, ' . scalar(@refused) . ' refused, ' . scalar(@futures) . " futures sent; $silences silences, $replays replays");
	note(join ', ', map { "$_: $done{$_}" } sort keys %done);
	cmp_ok(scalar @acknowledged, '>=', $clients * $least_commands, "seed $seed: enough was done");
	cmp_ok($silences, '>=', $least_silences, "seed $seed: enough silences were measured");
	is(join(' ', sort keys %rounds), 'large small strict', "seed $seed: consumers came to the end");
	is(substr(join("\n", map { $_->[0] } read_lines("$dir/complaints")), 0, 4000), '', "seed $seed: nobody complained");

	load('told', 'command_id uuid, stream text, version int', @acknowledged);
	load('refused', 'command_id uuid, stream text', @refused);
	load('sent', 'order_id text', @futures);
	nothing('every acknowledged command is in the log, once, at the version that it answered with', <<'SQL');
SELECT t.command_id, t.stream, t.version, count(e.*), max(e.version) FROM public.told t LEFT JOIN
       (SELECT command_id, tenant_id, aggregate_type, aggregate_id, max(version) AS version, max(version) - min(version) + 1 - count(*) AS gaps
          FROM order_cqrs.events GROUP BY 1, 2, 3, 4) e ON e.command_id = t.command_id AND e.aggregate_id = t.stream
 GROUP BY 1, 2, 3 HAVING count(e.*) <> 1 OR sum(e.gaps) <> 0 OR max(e.version) <> t.version
SQL
	nothing('what was refused or rolled back is not in the log', <<'SQL');
SELECT e.command_id, e.aggregate_id, e.version, e.event_type FROM public.refused JOIN order_cqrs.events e USING (command_id)
UNION ALL SELECT command_id, aggregate_id, version, event_type FROM order_cqrs.events WHERE aggregate_type = 'Note' AND aggregate_id = 'undone'
SQL
	nothing('no command is in the log that was not acknowledged', <<'SQL');
SELECT e.command_id, e.aggregate_id, e.version, e.event_type FROM order_cqrs.events e
 WHERE (e.aggregate_id ~ '^o\d+-' OR e.aggregate_type = 'Note') AND e.command_id IS NOT NULL AND e.actor = session_user
   AND e.event_type IN ('OrderCreated', 'OrderUpdated', 'T') AND NOT EXISTS (SELECT FROM public.told t WHERE t.command_id = e.command_id)
SQL
	nothing('no prepared transaction is left', 'SELECT gid FROM pg_prepared_xacts');
	# A future fails if its pool worker is cancelled while it runs it.
	nothing('each future was done, once, or was cancelled with its worker', <<'SQL');
SELECT s.order_id, f.status, f.error ->> 'sqlstate', count(e.*) FROM public.sent s
  LEFT JOIN order_cqrs.bus_future f ON f.payload ->> 'order_id' = s.order_id
  LEFT JOIN order_cqrs.events e ON e.aggregate_id = s.order_id AND e.event_type = 'OrderCreated'
 GROUP BY 1, 2, 3 HAVING (f.status, f.error ->> 'sqlstate', count(e.*)) IS DISTINCT FROM ('failed', '57014', 0)
                     AND (f.status, f.error ->> 'sqlstate', count(e.*)) IS DISTINCT FROM ('done', NULL, 1)
SQL
	cmp_ok($node->safe_psql('shop', "SELECT count(*) FROM order_cqrs.bus_future WHERE status = 'failed'"),
		'<=', $done{'cancel pool worker'} // 0, "seed $seed: no more futures failed than workers were cancelled");
	return;
}

sub check_log_of_events
{
	nothing('no stream has a gap', <<'SQL');
SELECT tenant_id, aggregate_type, aggregate_id FROM order_cqrs.events GROUP BY 1, 2, 3
HAVING count(*) <> max(version) OR min(version) <> 1
SQL
	nothing('each consumer had every event, once', <<'SQL');
SELECT c.name, e.position, count(s.*) FROM public.consumer c CROSS JOIN order_cqrs.events e
  LEFT JOIN public.seen s ON s.name = c.name AND s.position = e.position
 GROUP BY 1, 2 HAVING count(s.*) <> 1
UNION ALL SELECT name, position, -1 FROM public.seen s
 WHERE NOT EXISTS (SELECT FROM order_cqrs.events e WHERE e.position = s.position)
SQL
	return;
}

sub check_statistics
{
	nothing('order_stats counts each order once', <<'SQL');
WITH fold AS (
    SELECT tenant_id, aggregate_id,
           CASE WHEN bool_or(event_type = 'OrderCancelled') THEN 'CANCELLED'
                WHEN bool_or(event_type = 'OrderCompleted') THEN 'COMPLETED' ELSE 'PENDING' END AS status,
           (array_agg((data ->> 'total_amount')::numeric ORDER BY version DESC)
               FILTER (WHERE event_type IN ('OrderCreated', 'OrderUpdated')))[1] AS total
      FROM order_cqrs.events WHERE aggregate_type = 'Order' GROUP BY 1, 2)
SELECT * FROM (SELECT tenant_id, status, count(*) AS orders, sum(total) AS revenue FROM fold GROUP BY 1, 2) f
  FULL JOIN (SELECT tenant_id, status, sum(orders) AS orders, sum(revenue) AS revenue FROM order_cqrs.order_stats
              GROUP BY 1, 2 HAVING sum(orders) <> 0) s USING (tenant_id, status)
 WHERE (f.orders, f.revenue) IS DISTINCT FROM (s.orders, s.revenue)
SQL
	nothing('order_product_stats counts each line once', <<'SQL');
WITH last AS (
    SELECT DISTINCT ON (tenant_id, aggregate_id) tenant_id, aggregate_id, data FROM order_cqrs.events e
     WHERE aggregate_type = 'Order' AND event_type IN ('OrderCreated', 'OrderUpdated')
       AND NOT EXISTS (SELECT FROM order_cqrs.events c WHERE c.tenant_id = e.tenant_id AND c.aggregate_type = 'Order'
                          AND c.aggregate_id = e.aggregate_id AND c.event_type = 'OrderCancelled')
     ORDER BY tenant_id, aggregate_id, version DESC),
     fold AS (
    SELECT tenant_id, l ->> 'product_id' AS product_id, sum((l ->> 'quantity')::bigint) AS quantity,
           sum((l ->> 'quantity')::numeric * (l ->> 'unit_price')::numeric) AS revenue
      FROM last, jsonb_array_elements(data -> 'items') l GROUP BY 1, 2)
SELECT tenant_id, product_id, f.quantity, f.revenue, s.quantity, s.revenue FROM fold f
  FULL JOIN (SELECT * FROM order_cqrs.order_product_stats WHERE quantity <> 0) s USING (tenant_id, product_id)
 WHERE (f.quantity, f.revenue) IS DISTINCT FROM (s.quantity, s.revenue)
SQL
	return;
}

sub check_orders
{
	nothing('stock is what was received, less what was shipped and what is reserved', <<'SQL');
SELECT i.* FROM order_cqrs.inventory i
 WHERE product_id = 'rare' AND (on_hand <> received - shipped OR available <> on_hand - reserved OR available < 0
    OR reserved <> (SELECT coalesce(sum((l ->> 'quantity')::int), 0) FROM order_cqrs.reservations r, jsonb_array_elements(r.items) l
                     WHERE r.status = 'HELD' AND l ->> 'product_id' = 'rare'))
SQL
	nothing('each order is shipped and paid once at most', <<'SQL');
SELECT aggregate_id, event_type, count(*) FROM order_cqrs.events e WHERE aggregate_type = 'Order'
   AND (event_type = 'ShippingStarted' OR event_type = 'PaymentCompleted' OR event_type = 'PaymentRequested' AND NOT EXISTS
       (SELECT FROM order_cqrs.events u WHERE u.aggregate_type = 'Order' AND u.aggregate_id = e.aggregate_id AND u.event_type = 'OrderUpdated'))
 GROUP BY 1, 2 HAVING count(*) > 1
SQL
	nothing('sagas are at an end', <<'SQL');
SELECT order_id, step, last_error FROM order_cqrs.order_saga WHERE step NOT IN ('SHIPPED', 'CANCELLED', 'ENDED')
SQL
	nothing('no order is without a saga', <<'SQL');
SELECT aggregate_id FROM order_cqrs.events e WHERE aggregate_type = 'Order' AND version = 1
   AND NOT EXISTS (SELECT FROM order_cqrs.order_saga s WHERE s.order_id = e.aggregate_id)
SQL
	return;
}

sub check
{
	check_told();
	check_log_of_events();
	check_statistics();
	check_orders();
	nothing('nothing had to be repaired', <<'SQL');
SELECT projection_name, repaired_total, status, last_error FROM order_cqrs.projection_status WHERE repaired_total <> 0 OR status <> 'running'
UNION ALL SELECT saga_name, missed_total, NULL, NULL FROM order_cqrs.saga_state WHERE missed_total <> 0
SQL
	ok_shop_is_true($node, 'shop', "seed $seed: after all that");
	check_log();
	return;
}

# The warnings and errors that are expected, as process {states}: what clients are told, races, and what the nemesis does.
my @expected = (
	qr/\{[^|]*\|[^|]*\|57P0[123]\} (?:FATAL|WARNING)/,
	qr/\{[^|]*\|[^|]*\|57014\} ERROR/,
	qr/\{order_cqrs (?:synchroniser|helper)\|\|OC403\} WARNING:  projection "\w+" failed: 57014/,
	qr/\{client backend\|client \d+\|(?:OC10[1-4]|OC201|OC20[4-7]|40001|40P01|42704)\} ERROR/,
	qr/\{client backend\|consumer \d+\|(?:40001|40P01)\} ERROR/,
	qr/\{client backend\|nemesis\|(?:40P01|55P03|OC405)\} ERROR/,
	qr/\{client backend\|nemesis\|01000\} WARNING:  PID \d+ is not a PostgreSQL backend process/,
	qr/\{[^|]*\|[^|]*\|08\w\w\w\} FATAL/);

sub check_log
{
	my @lines = grep {
		my $line = $_;
		$line =~ /terminated by signal (?!9\b)|TRAP:/ || $line =~ /^\S+ \S+ \S+ \[\d+\] \{[^}]*\} (?:WARNING|ERROR|FATAL|PANIC):/ && !grep { $line =~ $_ } @expected
	} split /\n/, slurp_file($node->logfile);

	is(join("\n", @lines[ 0 .. ($#lines > 20 ? 20 : $#lines) ]), '', "seed $seed: the log of the server has no line that is not expected");
	return;
}

sub run_process
{
	my ($code) = @_;
	my $pid = fork // die "fork: $!";
	return $pid if $pid;
	my $ok = eval { $code->(); 1 };
	complain("a process of the test died: $@") unless $ok;
	POSIX::_exit(0);
}

note("seed $seed, $seconds s");
srand $seed;
my @children = map { my $n = $_; run_process(sub { client($n) }) } 1 .. $clients;
my $tearer = run_process(\&tearer);
my @consumers = (
	run_process(sub { consumer(1, 'small', 7, 'READ COMMITTED') }),
	run_process(sub { consumer(2, 'large', 1000, 'REPEATABLE READ') }),
	run_process(sub { consumer(3, 'large', 1000, 'REPEATABLE READ') }),
	run_process(sub { consumer(4, 'strict', 100, 'SERIALIZABLE') }));

my $crash_interval = $seconds / ($crashes + 1);
my $next_crash = time + $crash_interval;
my $has_crashed = 0;

while (time < $until - 2)
{
	one_of(@deeds)->() foreach 1 .. 5;
	if (!$replays && $tries < 5 && time > $until - $seconds / 2)
	{
		$tries++;
		replay('order_view');
	}
	elsif ($crashes > 0 && time > $next_crash && !$has_crashed)
	{
		$has_crashed = crash();
		$next_crash += $crash_interval if $has_crashed;
	}
	else
	{
		# There is a round without a crash between two, so that silences have their turn, however slow rounds are.
		$has_crashed = 0;
		be_silent(8) if pick(3) && time < $until - 3;
	}
	sleep pick(300) / 1000;
}
waitpid $_, 0 foreach @children, $tearer;
sleep 0.2 until is_up($nemesis);
ok(wait_served($node, 'shop'), "seed $seed: there is a worker");
for (my $tries = 0; $silences < $least_silences && $tries < 10; $tries++)
{
	be_silent(60);
}
set_and_reload($node, 'order_cqrs.batch_size' => 10000);
$node->safe_psql('shop', <<'SQL');
ALTER TABLE order_cqrs.order_view DROP COLUMN IF EXISTS mine;
DROP INDEX IF EXISTS order_cqrs.mine;
SQL

# at_last waits for a condition and passes when it comes.
sub at_last
{
	my ($name, $query) = @_;
	ok($node->poll_query_until('shop', $query), "seed $seed: $name");
	return;
}

at_last('futures are at rest', "SELECT count(*) = 0 FROM order_cqrs.bus_future WHERE status IN ('waiting', 'running')");
at_last('the saga has looked at every order', <<'SQL');
SELECT count(*) = 0 FROM order_cqrs.events e WHERE aggregate_type = 'Order' AND version = 1
   AND NOT EXISTS (SELECT FROM order_cqrs.order_saga s WHERE s.order_id = e.aggregate_id)
SQL
at_last('sagas are at rest', 'SELECT count(*) = 0 FROM order_cqrs.order_saga WHERE next_attempt_at IS NOT NULL');
$node->safe_psql('shop', 'CALL order_cqrs.projection_sync()');
set_and_reload($node, 'order_cqrs.audit_delay' => '100ms');
at_last('all is audited', <<'SQL');
SELECT NOT EXISTS (SELECT FROM order_cqrs.projection_ledger WHERE verified_at IS NULL)
   AND NOT EXISTS (SELECT FROM order_cqrs.projection_state WHERE mode = 'async' AND counted_after < last_position)
   AND NOT EXISTS (SELECT FROM order_cqrs.saga_state WHERE audited_position < last_position)
SQL
note_line("$dir/closed", 1);
waitpid $_, 0 foreach @consumers;
check();

$node->stop;
diag("repeat it with OCQ_HISTORY_SEED=$seed OCQ_HISTORY_SECONDS=$seconds") unless Test::More->builder->is_passing;
done_testing();
