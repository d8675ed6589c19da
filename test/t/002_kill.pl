# Crashes in the middle of a load. Clients note each command that the server has acknowledged. Afterwards each of
# those must have taken effect exactly once, also when the client sends it again, nothing that was not sent may
# have, and every read table must be what the events say.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use IPC::Run;
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my $clients = 4;
my $orders_per_client = 3000;
my $rounds = 2;

# Commands that a client sends after the crash: some that were acknowledged, the one under way, and some more.
my $sent_again = 5;
my $sent_later = 15;

my $node = new_server(
	'kill',
	'order_cqrs.sync_interval' => '1s',
	restart_after_crash => 'on',
	synchronous_commit => 'on');
$node->start;
create_database($node, 'shop');
open_shop($node, 'shop');
set_and_reload($node, 'order_cqrs.databases' => 'shop');

# Each does harm and returns when the server is there again.
my @disasters = (
	[ 'kill -9 of the synchroniser', sub { kill_process($node, worker_pid($node, 'synchroniser')) } ],
	[ "kill -9 of a client's backend", sub { kill_process($node, client_pid()) } ],
	[ 'kill -9 of the launcher', sub { kill_process($node, worker_pid($node, 'launcher')) } ],
	[ 'immediate shutdown', sub { $node->stop('immediate'); $node->start; } ],
	[ 'kill -9 of the postmaster', sub { $node->kill9; start_once_it_can(); } ]);

sub client_pid
{
	my $query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'client' ORDER BY state = 'active' DESC LIMIT 1";
	return $node->safe_psql('postgres', $query);
}

# start_once_it_can gives the processes of a postmaster that was killed the time to notice.
sub start_once_it_can
{
	foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return if $node->start(fail_ok => 1);
		$node->stop('fast', fail_ok => 1);
		select undef, undef, undef, 0.1;
	}
	die 'the server did not start';
}

# commands_of LOAD, CLIENT returns what the client is to send in a load: a list of transactions, each a list of
# commands. Orders end in all three states; client 1 puts two commands into a transaction, and client 2 renames
# the customer of everybody's orders.
sub commands_of
{
	my ($load, $client) = @_;
	my @transactions;

	foreach my $number (1 .. $orders_per_client)
	{
		my $order = "$load-$client-$number";
		my @calls = (
			"order_create('$order', 'ada', " . items('pen', 1 + $number % 5, '1.25', 'ink', $client, '0.10'),
			"order_update('$order', " . items('ink', $number, '2.00') . ", 'changed'",
			$number % 2 ? "order_complete('$order'" : "order_cancel('$order'");
		my @commands = map { command($load, $client, $number, $order, $_ + 1, $calls[$_]) } 0 .. $number % 3;

		push @commands, command($load, $client, $number, 'ada', undef, "customer_put('ada', 'Ada $order', 'a\@example.org'")
		  if $client == 2 && $number % 10 == 0;
		push @transactions, $client == 1 ? [ splice @commands, 0, 2 ] : (), map { [$_] } @commands;
	}
	return @transactions;
}

# command ... returns a command: its id, the event that it is to append, and its SQL. The version that a rename
# makes is not known beforehand.
sub command
{
	my ($load, $client, $number, $aggregate, $version, $call) = @_;
	my $id = sprintf '%08x-%04x-4000-8000-%012x', $load, $client, 10 * $number + ($version // 0);

	return {
		id => $id,
		event => $aggregate . '|' . ($version // ''),
		sql => "CALL order_cqrs.$call, command_id => '$id');"
	};
}

# start_client NAME, TRANSACTION ... starts a psql that sends them one by one, and writes the number of each to a
# file once it has been acknowledged.
sub start_client
{
	my ($name, @transactions) = @_;
	my $file = $node->basedir . "/$name";
	my $script = '';
	my $number = 0;

	foreach my $transaction (@transactions)
	{
		my @statements = map { $_->{sql} } @$transaction;
		@statements = ('BEGIN;', @statements, 'COMMIT;') if @statements > 1;
		$script .= join "\n", @statements, '\echo ' . ++$number, '';
	}
	append_to_file("$file.sql", $script);
	return {
		transactions => \@transactions,
		notes => "$file.out",
		psql => IPC::Run::start(
			[
				'psql', '--no-psqlrc', '--quiet', '--set', 'ON_ERROR_STOP=1', '--file', "$file.sql",
				'--dbname', $node->connstr('shop') . ' application_name=client'
			],
			'<', \undef, '>', "$file.out", '2>', "$file.err")
	};
}

# finish_client CLIENT waits until it has ended. It returns whether it has sent everything, and how many of its
# transactions were acknowledged.
sub finish_client
{
	my ($client) = @_;
	my $has_sent_all = $client->{psql}->finish;
	my @notes = split /\n/, slurp_file($client->{notes});

	return ($has_sent_all, scalar @notes);
}

# effects_of LOAD returns the events of a load's commands, by command id.
sub effects_of
{
	my ($load) = @_;
	my %effects;
	my $events = $node->safe_psql('shop',
		"SELECT command_id, aggregate_id, CASE aggregate_type WHEN 'Order' THEN version END FROM order_cqrs.events"
		  . sprintf " WHERE command_id::text LIKE '%08x-%%'", $load);

	foreach my $event (split /\n/, $events)
	{
		my ($id, $what) = split /\|/, $event, 2;
		push @{ $effects{$id} }, $what;
	}
	return \%effects;
}

# wrong_commands EFFECTS, WANTED, TRANSACTION ... returns the commands that have not taken effect exactly as often as
# wanted.
sub wrong_commands
{
	my ($effects, $wanted, @transactions) = @_;
	my @wrong;

	foreach my $command (map { @$_ } @transactions)
	{
		my @events = @{ $effects->{ $command->{id} } // [] };
		push @wrong, "$command->{sql} has: @events"
		  if @events != $wanted || grep { $_ ne $command->{event} } @events;
	}
	return @wrong;
}

# check_effects LOAD, RUNS: a run is a client's transactions and how many of them were acknowledged. The next after
# these was under way: it has taken effect as a whole or not at all.
sub check_effects
{
	my ($load, @runs) = @_;
	my $effects = effects_of($load);
	my (@lost, @halved, @unsent);

	foreach my $run (@runs)
	{
		my ($acknowledged, @transactions) = @$run;
		my @done = splice @transactions, 0, $acknowledged;
		my $under_way = shift @transactions;

		push @lost, wrong_commands($effects, 1, @done);
		push @halved, $under_way->[0]{sql}
		  if defined $under_way
		  && wrong_commands($effects, 0, $under_way)
		  && wrong_commands($effects, 1, $under_way);
		push @unsent, wrong_commands($effects, 0, @transactions);
	}
	is(join("\n", @lost), '', 'each acknowledged command has taken effect once');
	is(join("\n", @halved), '', 'the one under way has wholly or not at all');
	is(join("\n", @unsent), '', 'no other has');
	return;
}

sub check_streams
{
	is( $node->safe_psql(
			'shop', 'SELECT tenant_id, aggregate_type, aggregate_id FROM order_cqrs.events'
			  . ' GROUP BY 1, 2, 3 HAVING count(*) <> max(version)'),
		'', 'no stream has a gap');
	is($node->safe_psql('shop', 'SELECT position FROM order_cqrs.events GROUP BY 1 HAVING count(*) > 1'),
		'', 'no position is there twice');
	return;
}

# send_again LOAD, RUNS: the clients come back and send on from a little before where they were interrupted.
sub send_again
{
	my ($load, @runs) = @_;
	my @again;

	foreach my $run (@runs)
	{
		my ($acknowledged, @transactions) = @$run;
		my $from = $acknowledged > $sent_again ? $acknowledged - $sent_again : 0;
		push @again, start_client("again_$load." . @again, splice @transactions, $from, $sent_again + $sent_later);
	}
	is(scalar(grep { !(finish_client($_))[0] } @again), 0, 'the clients can go on');

	my $effects = effects_of($load);
	is(join("\n", map { wrong_commands($effects, 1, @{ $_->{transactions} }) } @again),
		'', 'each command that was sent again has taken effect once');
	return;
}

my $load = 0;

sub test_disaster
{
	my ($strike) = @_;
	$load++;
	my @clients = map { start_client("load_$load.$_", commands_of($load, $_)) } 1 .. $clients;
	my @runs;
	my $has_sent_all = 0;

	$node->poll_query_until('shop',
		sprintf "SELECT count(DISTINCT left(command_id::text, 13)) = $clients AND count(*) > 300"
		  . " FROM order_cqrs.events WHERE command_id::text LIKE '%08x-%%'", $load);
	$strike->();

	foreach my $client (@clients)
	{
		my ($is_complete, $acknowledged) = finish_client($client);
		$has_sent_all++ if $is_complete;
		push @runs, [ $acknowledged, @{ $client->{transactions} } ];
	}
	is($has_sent_all, 0, 'every client was interrupted');
	check_effects($load, @runs);
	check_streams();
	ok(wait_projected($node, 'shop'), 'the workers catch up');
	ok_shop_is_true($node, 'shop', 'after the disaster');

	send_again($load, @runs);
	$node->safe_psql('shop', 'CALL order_cqrs.projection_sync()');
	ok_shop_is_true($node, 'shop', 'after the clients have come back');
	return;
}

foreach my $round (1 .. $rounds)
{
	subtest "$_->[0], $round" => \&test_disaster, $_->[1] foreach @disasters;
}

$node->stop;
done_testing();
