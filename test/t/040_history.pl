# A history: clients send random commands at all isolation levels, with savepoints, prepared transactions and repetitions of
# what nobody knows the outcome of; consumers follow the log; and meanwhile processes of every kind are killed, terminated,
# cancelled and stopped, projections change their mode, pause and are rebuilt, tables get new indexes and columns, settings
# are reloaded. In moments of silence async projections have to be at the end of the log soon. In the end everything is
# compared with what the clients were told, and with the events alone.
#
#   OCQ_HISTORY_SECONDS=1200 OCQ_HISTORY_SEED=7 prove ... test/t/040_history.pl
#
# runs it for longer, or with other choices. It runs on one major unless OCQ_HISTORY_ALL_MAJORS is set.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use History;
use PostgreSQL::Test::Utils;
use POSIX ();
use Shop;
use Test::More;
use Time::HiRes qw(sleep time);

my $seed = $ENV{OCQ_HISTORY_SEED} // 11;
my $seconds = $ENV{OCQ_HISTORY_SECONDS} // 30;
my $clients = 4;
my $crashes = 1 + int($seconds / 20);

# Seconds in which async projections have to be at the end of the log once all is silent; it takes milliseconds.
my $soon = 4;

# The states that a command may be refused with here: rules, lost races, what a nemesis does, and servers that go or come.
my $may_refuse = qr/^(?:OC10[1-4]|OC20[1-7]|40001|40P01|55P03|57\w\w\w|25P02|08\w\w\w|lost)$/;

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

$node->safe_psql('shop', join "\n",
	(map { "CALL order_cqrs.customer_put('c$_', 'name 0', '');" } 1 .. $clients),
	"CALL order_cqrs.product_put('rare', 'Rare', '');",
	"CALL order_cqrs.stock_receive('rare', 40);",
	(map { "CALL order_cqrs.order_create('base$_', 'c$_', " . items('pen', 1, 1) . ');' } 1 .. $clients),
	(map { "CALL order_cqrs.order_create('shared$_', 'ada', " . items('pen', 1, 1) . ');' } 1 .. 6),
	'CREATE TABLE public.consumer (name text PRIMARY KEY, last_position bigint NOT NULL);',
	'CREATE TABLE public.seen (name text, position bigint);',
	"INSERT INTO public.consumer VALUES ('small', 0), ('large', 0);");

sub is_silent { return -e "$dir/silence"; }

sub complain
{
	note_line("$dir/complaints", join ' ', @_);
	return;
}

#
# Clients.
#

# command CLIENT returns the text of a random command, with its stream, a command_id in it.
sub command
{
	my ($client) = @_;
	my $id = uuid();
	my $option = "command_id => '$id'";
	my $own = "o$client->{number}-" . $client->{orders};
	my $some = pick(3) ? "o$client->{number}-" . (1 + pick($client->{orders} || 1)) : 'shared' . (1 + pick(6));
	my $note = 'n' . pick(5);
	my $events = q('[{"type": "T", "data": {}}, {"type": "T", "data": {}}]');
	my $lines = pick(4) ? items('pen', 1 + pick(5), '1.25', 'ink', 1, '2') : items('rare', 1 + pick(2), '5');

	return { id => $id, %{
		one_of(
			({ stream => $own, creates => 1, sql => "CALL order_cqrs.order_create('$own', 'c$client->{number}', $lines, $option)" }) x 6,
			({ stream => $some, sql => "CALL order_cqrs.order_update('$some', $lines, $option)" }) x 2,
			{ stream => $some, sql => "CALL order_cqrs.order_cancel('$some', $option)" },
			{ stream => $some, sql => "CALL order_cqrs.order_complete('$some', $option)" },
			({ stream => $some, sql => "CALL order_cqrs.payment_complete('$some', 'ref', $option)" }) x 2,
			{ stream => $note, sql => "CALL order_cqrs.event_append('Note', '$note', $events, $option)" }
		) } };
}

# send_once returns what became of a command in a transaction of a random kind.
sub send_once
{
	my ($client, $command) = @_;
	my $session = $client->{session};
	my $level = one_of('READ COMMITTED', 'READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE');
	my $kind = pick(8);
	my $name = $kind == 7 ? "p-$command->{id}" : undef;
	my $state;

	if ($kind < 4)
	{
		($state) = ask($session, $command->{sql});
		complain("$command->{sql}: $state") if $state ne '00000' && $state !~ $may_refuse;
		return $state eq '00000' ? 'committed' : $state eq 'lost' ? 'lost' : 'refused';
	}
	return in_transaction($session, $level, sub {
		if ($kind == 5)
		{
			ask($session, 'SAVEPOINT s');
			ask($session, "CALL order_cqrs.event_append('Note', 'undone', '[{\"type\": \"T\", \"data\": {}}]')");
			ask($session, 'ROLLBACK TO s');
		}
		($state) = ask($session, $command->{sql});
		complain("$command->{sql}: $state") if $state ne '00000' && $state !~ $may_refuse;
		sleep pick(20) / 1000 if $kind == 6;
		return $state eq '00000';
	}, $name);
}

# carry_out repeats a command whose outcome nobody knows until somebody does.
sub carry_out
{
	my ($client) = @_;
	my $command = command($client);
	my $outcome = send_once($client, $command);

	while ($outcome eq 'lost')
	{
		sleep 0.1;
		my ($state) = ask($client->{session}, $command->{sql});
		$outcome = $state eq 'lost' || $state =~ /^(?:57|08|53|40|55)/ ? 'lost' : $state eq '00000' ? 'committed' : 'refused';
	}
	$client->{orders}++ if $command->{creates} && $outcome eq 'committed';
	note_line("$dir/acknowledged", $command->{id}, $command->{stream}) if $outcome eq 'committed';
	return;
}

# rename changes the name of the client's own customer, whose order has long been there; then nobody may see the old one.
sub rename_customer
{
	my ($client) = @_;
	my $number = $client->{number};
	my $next = $client->{name} + 1;
	my ($state) = ask($client->{session}, "CALL order_cqrs.customer_put('c$number', 'name $next', '')");
	my $name;

	$client->{name} = $next if $state eq '00000';
	return if $state ne '00000' || -e "$dir/loose";
	($state, $name) = ask($client->{session}, "SELECT substr(customer_name, 6) FROM order_cqrs.order_get('base$number')");
	complain("after name $next of c$number was acknowledged, order_get shows $name")
	  if $state eq '00000' && !-e "$dir/loose" && $name < $next;
	return;
}

# look reads an order of the client's own through the cache: it is there once it was acknowledged.
sub look
{
	my ($client) = @_;
	return if $client->{orders} < 2 || -e "$dir/loose";
	my $order = "o$client->{number}-" . pick($client->{orders});
	my ($state, $found) = ask($client->{session}, "SELECT count(*) FROM order_cqrs.order_get('$order')");

	complain("$order was acknowledged, and order_get says $state") if $state =~ /^OC/ && !-e "$dir/loose";
	return;
}

sub send_future
{
	my ($client) = @_;
	my $order = "f$client->{number}-" . uuid();
	my $payload = qq({"order_id": "$order", "customer_id": "ada", "items": [{"product_id": "pen", "quantity": 1, "unit_price": 1}]});
	my ($state) = ask($client->{session}, "SELECT order_cqrs.command_send_async('CreateOrder', '$payload')");

	note_line("$dir/futures", $order) if $state eq '00000';
	return;
}

sub client
{
	my ($number) = @_;
	my $client = { number => $number, orders => 0, name => 0, session => open_session($connection, "client $number") };

	srand $seed * 100 + $number;
	while (time < $until)
	{
		if (is_silent())
		{
			note_line("$dir/silent-$number", 1) unless -e "$dir/silent-$number";
			sleep 0.01;
			next;
		}
		unlink "$dir/silent-$number";
		one_of((\&carry_out) x 10, \&rename_customer, (\&look) x 3, \&send_future)->($client);
	}
	note_line("$dir/silent-$number", 1);
	return;
}

#
# Consumers.
#

sub consumer
{
	my ($name, $count) = @_;
	my $session = open_session($connection, "consumer $name");

	until (-e "$dir/closed" && -e "$dir/done-$name")
	{
		my ($state, $events) = ask($session, 'BEGIN');
		($state) = ask($session, "SELECT FROM public.consumer WHERE name = '$name' FOR UPDATE") if $state eq '00000';
		($state, $events) = ask($session, <<"SQL") if $state eq '00000';
WITH read AS (SELECT e.position FROM public.consumer c, order_cqrs.event_read(c.last_position, $count) e WHERE c.name = '$name'),
     kept AS (INSERT INTO public.seen SELECT '$name', position FROM read),
     moved AS (UPDATE public.consumer SET last_position = (SELECT max(position) FROM read) WHERE name = '$name' AND EXISTS (SELECT FROM read))
SELECT count(*) FROM read
SQL
		complain("consumer $name: $state") if $state !~ $may_refuse && $state ne '00000';
		($state) = ask($session, $state eq '00000' ? 'COMMIT' : 'ROLLBACK') if $state ne 'lost';
		note_line("$dir/done-$name", 1) if $state eq '00000' && -e "$dir/closed" && ($events // '') eq '0';
		sleep 0.005;
	}
	return;
}

#
# The nemesis, in this process.
#

my $nemesis = open_session($node->connstr('shop'), 'nemesis');

sub pids_of
{
	my ($where) = @_;
	my ($state, $pids) = ask($nemesis, "SELECT pid FROM pg_stat_activity WHERE $where ORDER BY pid");
	return $state eq '00000' ? split /\n/, $pids : ();
}

my $workers = "backend_type LIKE 'order_cqrs %'";

# insist repeats a statement until it succeeds, so that what was done is undone whatever comes in between.
sub insist
{
	my ($statement) = @_;
	my ($state) = ask($nemesis, $statement);

	until ($state eq '00000')
	{
		sleep 0.1;
		($state) = ask($nemesis, $statement);
	}
	return;
}

# loosely runs what makes reads older than they are otherwise: projections that are async or paused.
sub loosely
{
	my (@statements) = @_;

	note_line("$dir/loose", 1);
	sleep 0.05;
	ask($nemesis, $statements[0]);
	insist($statements[1]);
	ask($nemesis, 'CALL order_cqrs.projection_sync()');
	unlink "$dir/loose";
	return;
}

sub crash
{
	my ($where) = @_;
	return if $crashes-- <= 0;
	my ($pid) = pids_of($where);
	return unless defined $pid;
	note("kill -9 of $where");
	kill 'KILL', $pid;
	sleep 0.2 until is_up($nemesis);
	return;
}

my @deeds = (
	sub { my @pids = pids_of("application_name LIKE 'client %'"); ask($nemesis, "SELECT pg_terminate_backend($_)") foreach one_of(@pids) // (); },
	sub { my @pids = pids_of($workers); ask($nemesis, "SELECT pg_cancel_backend($_)") foreach one_of(@pids) // (); },
	sub { my @pids = pids_of("application_name LIKE 'consumer %'"); ask($nemesis, "SELECT pg_terminate_backend($_)") foreach one_of(@pids) // (); },
	sub { crash("backend_type = 'walwriter'") },
	sub { crash("backend_type = 'order_cqrs synchroniser'") },
	sub { crash("backend_type = 'order_cqrs runner'") },
	sub { crash("application_name LIKE 'client %'") },
	sub {
		my ($pid) = pids_of("backend_type = 'order_cqrs synchroniser'");
		return unless defined $pid;
		kill 'STOP', $pid;
		sleep 0.5;
		kill 'CONT', $pid;
	},
	sub { loosely("CALL order_cqrs.projection_set_mode('order_view', 'async')", "CALL order_cqrs.projection_set_mode('order_view', 'sync')") },
	sub { loosely("CALL order_cqrs.projection_pause('order_summary_view')", "CALL order_cqrs.projection_resume('order_summary_view')") },
	sub { ask($nemesis, "CALL order_cqrs.projection_set_mode('order_stats', 'sync')"); insist("CALL order_cqrs.projection_set_mode('order_stats', 'async')") },
	sub { ask($nemesis, "CALL order_cqrs.projection_rebuild('" . one_of('order_view', 'order_stats', 'order_summary_view') . "')") },
	sub { ask($nemesis, 'CREATE INDEX IF NOT EXISTS mine ON order_cqrs.order_summary_view (updated_at)') },
	sub { ask($nemesis, 'DROP INDEX IF EXISTS order_cqrs.mine') },
	sub { ask($nemesis, 'ALTER TABLE order_cqrs.order_view ADD COLUMN IF NOT EXISTS mine int DEFAULT 1') },
	sub { ask($nemesis, 'ALTER TABLE order_cqrs.order_view DROP COLUMN IF EXISTS mine') },
	sub { set_and_reload($node, 'order_cqrs.batch_size' => one_of(50, 1000, 10000)) });

my $other = open_session($connection, 'other');

sub slow_order { return "CALL order_cqrs.order_create('slow-" . uuid() . "', 'ada', " . items('pen', 1, 1) . ')'; }

# wait_until asks the nemesis until it says t, or for some seconds.
sub wait_until
{
	my ($query, $most) = @_;
	my $end = time + $most;

	while (time < $end)
	{
		my ($state, $answer) = ask($nemesis, $query);
		return 1 if $state eq '00000' && $answer eq 't';
		sleep 0.02;
	}
	return 0;
}

# be_silent waits until all have come to rest. Then a transaction appends, so that the synchroniser waits for it when another
# has committed; it appends once more and commits; and nobody else does anything that would wake a worker. Where there is
# no worker, after a crash, nothing is asked for.
sub be_silent
{
	my $at_end = <<'SQL';
SELECT bool_and(NOT EXISTS (SELECT FROM order_cqrs.events WHERE aggregate_type = 'Order' AND position > s.last_position))
  FROM order_cqrs.projection_state s WHERE %s
SQL
	my $is_served = "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'order_cqrs synchroniser'";

	note_line("$dir/silence", 1);
	set_and_reload($node, 'order_cqrs.saga' => 'off');
	my $until_silent = time + 5;
	sleep 0.01 until !grep({ !-e "$dir/silent-$_" } 1 .. $clients) || time > $until_silent;
	if (wait_until("SELECT count(*) = 0 FROM order_cqrs.bus_future WHERE status IN ('waiting', 'running')", 5)
		&& wait_until($is_served, 0.1) && wait_until(sprintf($at_end, 'true'), 5))
	{
		ask($nemesis, 'BEGIN; ' . slow_order());
		ask($other, slow_order());
		sleep 0.3;
		my ($state) = ask($nemesis, slow_order() . '; COMMIT');
		my $is_noticed = wait_until(sprintf($at_end, "projection_name = 'order_stats'"), $soon);
		note('a silence') if $state eq '00000';
		complain("silence for $soon s, and order_stats is behind")
		  if $state eq '00000' && !$is_noticed && wait_until($is_served, 0.1);
	}

	# What is handled twice changes nothing.
	ask($nemesis, <<'SQL');
UPDATE order_cqrs.projection_state SET last_position = greatest(last_position - 50, 0) WHERE projection_name = 'order_stats'
SQL
	set_and_reload($node, 'order_cqrs.saga' => 'on');
	unlink "$dir/silence";
	return;
}

#
# The end: everything is compared with what was told, and with the events.
#

sub nothing
{
	my ($name, $query) = @_;
	is(substr($node->safe_psql('shop', $query), 0, 2000), '', $name) or diag("seed $seed, $seconds s");
	return;
}

sub check
{
	my @acknowledged = read_lines("$dir/acknowledged");
	my @futures = read_lines("$dir/futures");

	note(scalar(@acknowledged) . ' commands were acknowledged, ' . scalar(@futures) . ' futures sent');
	cmp_ok(scalar @acknowledged, '>', 5 * $seconds, 'enough was done');
	is(join("\n", map { $_->[0] } read_lines("$dir/complaints")), '', 'nobody complained') or diag("seed $seed, $seconds s");

	$node->safe_psql('shop', 'CREATE TABLE public.told (command_id uuid); CREATE TABLE public.sent (order_id text)');
	foreach (my $i = 0; $i < @acknowledged; $i += 500)
	{
		my @part = grep { defined } @acknowledged[ $i .. $i + 499 ];
		$node->safe_psql('shop', 'INSERT INTO public.told VALUES ' . join ', ', map { "('$_->[0]')" } @part);
	}
	$node->safe_psql('shop', 'INSERT INTO public.sent VALUES ' . join ', ', map { "('$_->[0]')" } @futures) if @futures;

	nothing('every acknowledged command is in the log, once', <<'SQL');
SELECT t.command_id, count(e.*) FROM public.told t LEFT JOIN
       (SELECT command_id, tenant_id, aggregate_type, aggregate_id, max(version) - min(version) + 1 - count(*) AS gaps
          FROM order_cqrs.events GROUP BY 1, 2, 3, 4) e USING (command_id)
 GROUP BY 1 HAVING count(e.*) <> 1 OR sum(e.gaps) <> 0
SQL
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
	nothing('each future was done, once', <<'SQL');
SELECT s.order_id, count(e.*) FROM public.sent s
  LEFT JOIN order_cqrs.events e ON e.aggregate_id = s.order_id AND e.event_type = 'OrderCreated' GROUP BY 1 HAVING count(e.*) <> 1
UNION ALL SELECT type, count(*) FROM order_cqrs.bus_future WHERE status <> 'done' GROUP BY 1
SQL
	ok_shop_is_true($node, 'shop', 'after all that');
	check_log();
	return;
}

# What no kill, stop or race explains.
sub check_log
{
	my $log = slurp_file($node->logfile);
	my @lines = grep { /PANIC:|terminated by signal (?!9\b)|TRAP:|XX\d\d\d|has not handled each event once|has missed events|was behind the log|beyond the end of the log|ERROR:  unexpected/ }
	  split /\n/, $log;
	is(join("\n", @lines[ 0 .. ($#lines > 20 ? 20 : $#lines) ]), '', 'the log of the server has nothing that a kill does not explain');
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
my @children = ((map { my $n = $_; run_process(sub { client($n) }) } 1 .. $clients),
	run_process(sub { consumer('small', 7) }), run_process(sub { consumer('large', 1000) }));
my @consumers = splice @children, -2;

while (time < $until - 2)
{
	one_of(@deeds)->() foreach 1 .. 2;
	sleep pick(500) / 1000;
	be_silent() if time < $until - 3;
}
waitpid $_, 0 foreach @children;
sleep 0.2 until is_up($nemesis);
set_and_reload($node, 'order_cqrs.batch_size' => 10000);
ok(wait_served($node, 'shop'), 'there is a worker');
$node->safe_psql('shop', <<'SQL');
ALTER TABLE order_cqrs.order_view DROP COLUMN IF EXISTS mine;
DROP INDEX IF EXISTS order_cqrs.mine;
SQL
ok($node->poll_query_until('shop', "SELECT count(*) = 0 FROM order_cqrs.bus_future WHERE status IN ('waiting', 'running')"), 'futures are at rest');
ok($node->poll_query_until('shop', "SELECT count(*) = 0 FROM order_cqrs.order_saga WHERE next_attempt_at IS NOT NULL"), 'sagas are at rest');
ok($node->poll_query_until('shop', <<'SQL'), 'the saga has looked at every order');
SELECT count(*) = 0 FROM order_cqrs.events e WHERE aggregate_type = 'Order' AND version = 1
   AND NOT EXISTS (SELECT FROM order_cqrs.order_saga s WHERE s.order_id = e.aggregate_id)
SQL
$node->safe_psql('shop', 'CALL order_cqrs.projection_sync()');
set_and_reload($node, 'order_cqrs.audit_delay' => '100ms');
ok($node->poll_query_until('shop', <<'SQL'), 'all is audited');
SELECT audited_position >= last_position FROM order_cqrs.projection_status WHERE projection_name = 'order_stats'
SQL
note_line("$dir/closed", 1);
waitpid $_, 0 foreach @consumers;
check();

$node->stop;
done_testing();
