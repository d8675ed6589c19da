# The horizon under load. Writers append with random pauses inside their transactions, roll back, roll back to
# savepoints, and prepare transactions that another session ends a little later. Meanwhile two consumers follow the
# log by event_read, and a worker keeps order_stats: each must have met every committed event exactly once, in order.
#
# A third consumer follows the log by "position > the last that I have seen". It must have lost events, or this load
# would prove nothing.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use IPC::Run;
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;
use Time::HiRes qw(sleep time);

my $seed = $ENV{OCQ_STRESS_SEED} // 20240501;
my $clients = 8;
my $transactions_per_client = $ENV{OCQ_STRESS_TRANSACTIONS} // 1500;

# Seconds: how old a prepared transaction is at least when it is ended, and between two looks for one.
my $prepared_age = 0.03;
my $resolve_interval = 0.02;

# What the writers do, and how often, relative to each other. Each has ids of its own, but for the shared orders.
my %scripts = (
	commit => [ 4, <<'SQL' ],
BEGIN;
CALL order_cqrs.order_create('order-:client_id-:n', 'ada', pens(1));
\sleep :pause ms
COMMIT;
SQL
	two_appends => [ 3, <<'SQL' ],
BEGIN;
CALL order_cqrs.event_append('Note', 'client-:client_id', note());
\sleep :pause ms
CALL order_cqrs.order_create('order-:client_id-:n', 'alan', pens(2));
CALL order_cqrs.order_complete('order-:client_id-:n');
COMMIT;
SQL
	shared => [ 2, <<'SQL' ],
\set k random(1, 5)
BEGIN;
CALL order_cqrs.order_update('shared-:k', pens(:pause + 1));
\sleep :pause ms
COMMIT;
SQL
	rollback => [ 1, <<'SQL' ],
BEGIN;
CALL order_cqrs.order_create('order-:client_id-:n', 'ada', pens(3));
\sleep :pause ms
ROLLBACK;
SQL
	savepoint => [ 2, <<'SQL' ],
BEGIN;
SAVEPOINT s;
CALL order_cqrs.order_create('order-:client_id-:n', 'ada', pens(4));
ROLLBACK TO s;
\sleep :pause ms
CALL order_cqrs.order_create('order-:client_id-:n', 'ada', pens(5));
COMMIT;
SQL
	savepoint_last => [ 1, <<'SQL' ],
BEGIN;
CALL order_cqrs.order_create('order-:client_id-:n', 'ada', pens(6));
SAVEPOINT s;
CALL order_cqrs.order_cancel('order-:client_id-:n');
\sleep :pause ms
ROLLBACK TO s;
COMMIT;
SQL
	prepare => [ 1, <<'SQL' ],
BEGIN;
CALL order_cqrs.order_create('order-:client_id-:n', 'ada', pens(7));
CALL order_cqrs.event_append('Note', 'prepared-:client_id-:n', note());
PREPARE TRANSACTION 'prepared-:client_id-:n';
SQL
);

my %consumers = (
	event_read => 'SELECT array_agg(position) FROM order_cqrs.event_read($1, 500)',
	event_read_of_types => 'SELECT array_agg(position) FROM order_cqrs.event_read($1, 500,'
	  . q{ ARRAY['Note', 'Order', 'Customer', 'Product'])},
	max_seen => 'SELECT array_agg(position) FROM (SELECT position FROM order_cqrs.events'
	  . ' WHERE position > $1 ORDER BY position LIMIT 500) AS e');

my $node = new_server(
	'horizon',
	'order_cqrs.databases' => 'shop',
	'order_cqrs.sync_interval' => '1s',
	max_prepared_transactions => 200);
$node->start;
create_database($node, 'shop');
open_shop($node, 'shop');
prepare_shop();

note("seed $seed");
my $started = time;
my @following = map { start_consumer($_) } sort keys %consumers;
my $writing = start_writers();
my ($resolving, $resolve, $complaints) = start_resolver();

# The writers have no pipe to us: there is nothing to pump, and to pump what has just ended is an error.
while ($writing->pumpable && time < $started + $PostgreSQL::Test::Utils::timeout_default)
{
	$resolve->($prepared_age);
	sleep $resolve_interval;
}
ok($writing->finish, 'every transaction of the writers ran');
$resolve->(0);
ok($resolving->finish, 'the resolver came to its end');
is(join("\n", grep { !/ is busy$/ } split /\n/, $$complaints), '', 'it could end whatever it met');
$node->safe_psql('shop', 'INSERT INTO closing DEFAULT VALUES');
$_->finish foreach @following;
note(sprintf 'ran for %.1f s', time - $started);

my ($events, $prepared, $positions) = split /\|/, $node->safe_psql('shop', <<'SQL');
SELECT count(*), count(*) FILTER (WHERE aggregate_id LIKE 'prepared-%'), max(position) FROM order_cqrs.events
SQL
note("$events events, $prepared of them of prepared transactions, $positions positions");
cmp_ok($events, '>', $clients * $transactions_per_client, 'the log is long enough');
cmp_ok($positions, '>', $events * 1.1, 'many positions were drawn and rolled back');
cmp_ok($prepared, '>', $transactions_per_client / 10, 'prepared transactions were committed');
is($node->safe_psql('shop', 'SELECT count(*) FROM pg_prepared_xacts'), 0, 'none is left over');

foreach my $consumer (sort grep { /^event_read/ } keys %consumers)
{
	is(lost_by($consumer), 0, "$consumer: no event was lost");
	is(unknown_to_log($consumer), 0, "$consumer: nothing was seen that was not committed");
	is(out_of_order($consumer), 0, "$consumer: every event was seen once, and in order");
	cmp_ok(readings($consumer), '>', 100, "$consumer: they were seen while the writers wrote");
}
my $lost = lost_by('max_seen');
note("\"position > max seen\" lost $lost");
cmp_ok($lost, '>', 0, 'the load makes "position > max seen" lose events');

ok(wait_projected($node, 'shop'), 'the workers get to the end of the log');
is($node->safe_psql('shop', "SELECT events_total FROM order_cqrs.projection_state WHERE projection_name = 'order_stats'"),
	$node->safe_psql('shop', "SELECT count(*) FROM order_cqrs.events WHERE aggregate_type = 'Order'"),
	'order_stats has handled each event once');
is($node->safe_psql('shop', <<'SQL'), 't', 'the sums of order_stats are those of the events');
SELECT (SELECT (sum(orders), sum(revenue)) FROM order_cqrs.order_stats)
     = (SELECT (count(*)::numeric, sum(total)) FROM
           (SELECT DISTINCT ON (aggregate_id) (data->>'total_amount')::numeric AS total FROM order_cqrs.events
             WHERE event_type IN ('OrderCreated', 'OrderUpdated') ORDER BY aggregate_id, version DESC) AS o)
SQL
ok_shop_is_true($node, 'shop', 'after the load');

$node->stop;
done_testing();

# prepare_shop makes the shared orders, and what the consumers need: "seen" has positions in the order in which
# they were met.
sub prepare_shop
{
	$node->safe_psql('shop', <<'SQL');
CREATE FUNCTION pens(quantity int) RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_array(jsonb_build_object('product_id', 'pen', 'quantity', quantity, 'unit_price', 1.25)) $$;
CREATE FUNCTION note() RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_array(jsonb_build_object('type', 'Noted', 'data', jsonb_build_object())) $$;
CREATE TABLE seen (number bigint GENERATED ALWAYS AS IDENTITY, consumer text, reading int, position bigint);
CREATE TABLE closing ();

CREATE PROCEDURE follow(consumer text, query text) LANGUAGE plpgsql AS $$
DECLARE
    last bigint := 0;
    batch bigint[];
    closed bool;
BEGIN
    FOR reading IN 1 .. 1000000 LOOP
        closed := EXISTS (SELECT FROM closing);
        EXECUTE query INTO batch USING last;
        EXIT WHEN closed AND batch IS NULL;
        INSERT INTO seen (consumer, reading, position)
        SELECT follow.consumer, reading, b.position FROM unnest(batch) WITH ORDINALITY AS b (position, nr) ORDER BY nr;
        last := coalesce(batch[cardinality(batch)], last);
        COMMIT;
        PERFORM pg_sleep(0.002);
    END LOOP;
END $$;

CALL order_cqrs.order_create('shared-' || 1, 'ada', pens(1));
CALL order_cqrs.order_create('shared-' || 2, 'ada', pens(1));
CALL order_cqrs.order_create('shared-' || 3, 'ada', pens(1));
CALL order_cqrs.order_create('shared-' || 4, 'ada', pens(1));
CALL order_cqrs.order_create('shared-' || 5, 'ada', pens(1));
SQL
	return;
}

# start COMMAND, REDIRECTION ... returns a program that runs beside this one and reads nothing, unless a redirection
# says from where. It reads when it is pumped. Nothing is a file here: of a pipe, even one that is closed before anything
# comes, IPC::Run would say that it is pumpable until somebody pumps it, whatever has become of the program.
sub start
{
	my ($command, @redirections) = @_;
	my $timeout = IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default);
	return IPC::Run::start($command, @redirections ? @redirections : ('<', '/dev/null'), $timeout);
}

sub psql_command
{
	return ('psql', '-XqAt', '-d', $node->connstr('shop'));
}

# start_consumer NAME: one of them has a snapshot for each transaction, to which event_read does not stick.
sub start_consumer
{
	my ($name) = @_;
	my $level = $name eq 'event_read_of_types' ? 'repeatable read' : 'read committed';
	return start(
		[   psql_command(), '-v', 'ON_ERROR_STOP=1',
			'-c', "SET default_transaction_isolation = '$level'",
			'-c', "CALL follow('$name', \$query\$$consumers{$name}\$query\$)" ]);
}

sub start_writers
{
	my @files;
	foreach my $name (sort keys %scripts)
	{
		my ($weight, $sql) = @{ $scripts{$name} };
		my $file = $node->basedir . "/$name.sql";
		append_to_file($file, "\\set n :n + 1\n\\set pause random_exponential(0, 30, 4)\n$sql");
		push @files, '-f', "$file\@$weight";
	}
	return start(
		[   'pgbench', '-n', '-c', $clients, '-j', 2, '-t', $transactions_per_client, "--random-seed=$seed",
			'-D', 'n=0', @files, $node->connstr('shop') ]);
}

# start_resolver returns a session, what makes it end the prepared transactions that are older than so many seconds,
# and a reference to what it complains of. Every fourth is rolled back. One that is listed can still be busy: the
# session that prepares it may have lost the processor before it let go. It is met again at the next look.
sub start_resolver
{
	my ($in, $complaints) = ('', '');
	my $session = start([ psql_command() ], '<', \$in, '2>', \$complaints);
	my $resolve = sub {
		my ($age) = @_;
		$in .= <<"SQL";
SELECT CASE hashtext(gid) & 3 WHEN 0 THEN 'ROLLBACK' ELSE 'COMMIT' END || ' PREPARED ' || quote_literal(gid)
  FROM pg_prepared_xacts WHERE prepared <= clock_timestamp() - $age * interval '1 s' \\gexec
SQL
		$session->pump while length $in;
		return;
	};
	return ($session, $resolve, \$complaints);
}

sub lost_by
{
	my ($consumer) = @_;
	return $node->safe_psql('shop', <<"SQL");
SELECT count(*) FROM order_cqrs.events e
 WHERE NOT EXISTS (SELECT FROM seen s WHERE s.position = e.position AND consumer = '$consumer')
SQL
}

# readings returns how many times the consumer read and found something.
sub readings
{
	my ($consumer) = @_;
	return $node->safe_psql('shop', "SELECT count(DISTINCT reading) FROM seen WHERE consumer = '$consumer'");
}

sub unknown_to_log
{
	my ($consumer) = @_;
	return $node->safe_psql('shop', <<"SQL");
SELECT count(*) FROM seen s
 WHERE consumer = '$consumer' AND NOT EXISTS (SELECT FROM order_cqrs.events e WHERE e.position = s.position)
SQL
}

sub out_of_order
{
	my ($consumer) = @_;
	return $node->safe_psql('shop', <<"SQL");
SELECT count(*) FROM (SELECT position - lag(position) OVER (ORDER BY number) AS step
                        FROM seen WHERE consumer = '$consumer') AS s WHERE step <= 0
SQL
}
