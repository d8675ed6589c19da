# The horizon is never ahead of the positions that were drawn, although nextval() shows a value up to 32 ahead in the
# sequence's tuple while it writes WAL. Twice: against a process that tears the value again and again, and against
# clients that draw positions, for OCQ_TORN_SECONDS.
#
# How long that has to be was measured with a horizon that is read without the buffer's lock, on two cores with other
# load, in 22 runs of 10 s: 22 answers of 5 million were ahead of what was drawn afterwards, and 13 of the runs had one
# at least. So 30 s fail in 9 of 10 runs, and by hand 60 s leave little to chance. The first part had 40 to 6,000
# wrong answers in each run of 2 s.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my $seconds = $ENV{OCQ_TORN_SECONDS} || 30;
my $clients = 3;

my $node = new_server('main', 'order_cqrs.saga' => 'off');
$node->start;
create_database($node, 'shop');
open_shop($node, 'shop');
$node->safe_psql('shop', <<'SQL');
CREATE FUNCTION tear(sequence regclass, milliseconds int) RETURNS bigint
    LANGUAGE c STRICT AS 'ocq_test', 'ocq_test_tear';
CREATE FUNCTION overshoot(reader regprocedure, sequence regclass, milliseconds int) RETURNS text
    LANGUAGE c STRICT AS 'ocq_test', 'ocq_test_overshoot';
SQL

my $horizon = "'order_cqrs.event_horizon()', 'order_cqrs.events_position_seq'";

# start SQL runs it in a session of its own.
sub start
{
	my ($sql) = @_;
	my $session = { out => '', err => '' };

	$session->{run} = IPC::Run::start(
		[ 'psql', '--no-psqlrc', '--no-align', '--tuples-only', '--quiet', '--set', 'ON_ERROR_STOP=1',
			'--dbname', $node->connstr('shop'), '--command', $sql ],
		'<', \undef, '>', \$session->{out}, '2>', \$session->{err});
	return $session;
}

# wait_active COUNT, PATTERN waits until so many sessions run a statement like that.
sub wait_active
{
	my ($count, $pattern) = @_;
	return $node->poll_query_until('shop',
		"SELECT count(*) = $count FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query LIKE '$pattern'");
}

sub ended_well
{
	my ($session) = @_;
	$session->{run}->finish;
	return $session->{err} eq '' && $session->{run}->result == 0;
}

# Nobody else draws while the value is torn; then the reader's answers have one right value.
my $last = $node->safe_psql('shop', 'SELECT order_cqrs.event_horizon()');
my $tear = start("SELECT tear('order_cqrs.events_position_seq', 10000)");
ok(wait_active(1, 'SELECT tear(%'), 'the value is torn again and again');
is($node->safe_psql('shop', "SELECT overshoot($horizon, 2000)"), 'exact', 'event_horizon() is exact');
$node->safe_psql('shop', <<'SQL');
DO $$
DECLARE
	start timestamptz := clock_timestamp();
BEGIN
	WHILE clock_timestamp() < start + interval '2 s' LOOP
		CALL order_cqrs.projection_sync('order_stats');
		COMMIT;
	END LOOP;
END $$
SQL
is($node->safe_psql('shop', "SELECT last_position FROM order_cqrs.projection_state WHERE projection_name = 'order_stats'"),
	$last, 'the checkpoint of a projection, too');
is($node->safe_psql('shop', 'SELECT count(*) FROM pg_stat_activity WHERE query LIKE \'SELECT tear(%\' AND state = \'active\' AND pid <> pg_backend_pid()'),
	1, 'while the value is torn');
ok(ended_well($tear), 'until the end');
cmp_ok($tear->{out}, '>', 1000, 'often');
is($node->safe_psql('shop', 'SELECT order_cqrs.event_horizon()'), $last, 'and the true value is back');

# A client draws a position in a transaction of its own, as often as it can.
my @clients = map { start(<<"SQL") } 1 .. $clients;
DO \$\$
DECLARE
	start timestamptz := clock_timestamp();
BEGIN
	WHILE clock_timestamp() < start + interval '$seconds s' LOOP
		PERFORM nextval('order_cqrs.events_position_seq');
		COMMIT;
	END LOOP;
END \$\$
SQL
ok(wait_active($clients, 'DO %'), "$clients clients draw positions");
is($node->safe_psql('shop', "SELECT overshoot($horizon, 1000 * $seconds)"), 'exact', 'event_horizon() is exact beside them');
is(scalar(grep { !ended_well($_) } @clients), 0, 'they end well');

$node->stop;
done_testing();
