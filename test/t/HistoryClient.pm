# HistoryClient.pm: the processes of 040_history.pl that send commands and read, and know at each moment what they were told,
# and those that follow the log.

package HistoryClient;

use strict;
use warnings;

use Exporter 'import';
use History;
use Shop;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(client consumer change_looseness);

# The states that a command may be refused with here: rules, lost races, a cancellation. OC203 is not among them: no
# command_id is used for two commands, and a repetition has the arguments of the first.
my $may_refuse = qr/^(?:OC10[1-4]|OC201|OC20[4-7]|40001|40P01|57014)$/;

sub is_silent { return -e "$history{directory}/silence"; }

# While projections are async or paused reads may be older: the file loose has an odd number of bytes then, and a read between
# two looks at an equal, even number was never in such a time.
sub looseness { return -s "$history{directory}/loose" // 0; }

sub is_tight
{
	my ($before) = @_;
	return $before % 2 == 0 && looseness() == $before;
}

sub change_looseness
{
	open my $handle, '>>', "$history{directory}/loose" or die;
	syswrite $handle, '.';
	close $handle;
	return;
}

#
# Clients.
#

# Orders that all clients change are others every few seconds, as most orders soon come to an end.
sub epoch { return int(($history{until} + 400 - time) / 4); }

sub shared_order
{
	my ($number, $epoch) = @_;
	return "shared$number-$epoch";
}

# slot_of returns where the newest number of a thing that was acknowledged to anybody is published, or undef if it is nobody
# else's.
sub slot_of
{
	my ($thing) = @_;
	return 100 + 6 * $2 + $1 if $thing =~ /^shared(\d)-(\d+)$/;
	return 10 + $1 if $thing =~ /^n(\d)$/;
	return 20 + $1 if $thing =~ /^c(\d)$/;
	return 30 + $1 if $thing =~ /^p(\d)$/;
	return;
}

# command CLIENT returns the text of a random command, with its stream, a command_id in it.
sub command
{
	my ($client) = @_;
	my $id = uuid();
	my $option = "command_id => '$id', version => NULL";
	my $own = "o$client->{number}-" . $client->{orders};
	my $shared = shared_order(1 + pick(6), epoch());
	my $some = pick(3) ? "o$client->{number}-" . (1 + pick($client->{orders} || 1)) : $shared;
	my $note = 'n' . pick(5);
	my $events = q('[{"type": "T", "data": {}}, {"type": "T", "data": {}}]');
	my $lines = pick(4) ? items('pen', 1 + pick(5), '1.25', 'ink', 1, '2') : items('rare', 1 + pick(2), '5');

	return { id => $id, %{
		one_of(
			({ stream => $own, creates => 1, sql => "CALL order_cqrs.order_create('$own', 'c$client->{number}', $lines, $option)" }) x 6,
			({ stream => $shared, sql => "CALL order_cqrs.order_create('$shared', 'alan', $lines, $option)" }) x 2,
			({ stream => $some, sql => "CALL order_cqrs.order_update('$some', $lines, $option)" }) x 2,
			{ stream => $some, sql => "CALL order_cqrs.order_cancel('$some', $option)" },
			{ stream => $some, sql => "CALL order_cqrs.order_complete('$some', $option)" },
			({ stream => $some, sql => "CALL order_cqrs.payment_complete('$some', 'ref', $option)" }) x 2,
			{ stream => $note, sql => "CALL order_cqrs.event_append('Note', '$note', $events, $option)" }
		) } };
}

sub level { return one_of('READ COMMITTED', 'READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE'); }

# ask_command sends a command, keeps the version that it answers with, and returns the state.
sub ask_command
{
	my ($client, $command) = @_;
	my ($state, $version) = ask($client->{session}, $command->{sql});

	complain("$command->{sql}: $state") if $state ne '00000' && !is_lost($state) && $state !~ $may_refuse;
	complain("$command->{sql} answers \"$version\"") if $state eq '00000' && $version !~ /^[1-9]\d*$/;
	$command->{version} = $version if $state eq '00000';
	return $state;
}

# The kinds of transactions that a command is sent in: how they end, and what else happens there.
my @kinds = (
	(undef) x 8,
	{ end => 'commit', reads => 1 },
	{ end => 'commit', undoes_other => 1 },
	{ end => 'commit', sleeps => 1 },
	{ end => 'commit', undoes_command => 1 },
	{ end => 'rollback' },
	{ end => 'prepare' },
	{ end => 'prepare', sleeps => 1 },
	{ end => 'unprepare' });

# send_once returns the outcome of a command in a transaction of a random kind.
sub send_once
{
	my ($client, $command) = @_;
	my $session = $client->{session};
	my $kind = one_of(@kinds);

	if (!$kind)
	{
		my $state = ask_command($client, $command);
		return $state eq '00000' ? 'committed' : is_lost($state) ? 'lost' : 'refused';
	}
	$command->{prepared} = "p-$command->{id}" if $kind->{end} =~ /prepare/;
	my $outcome = in_transaction($session, level(), $kind->{end}, $command->{prepared}, sub {
		if ($kind->{undoes_other})
		{
			my ($state) = ask($session, 'SAVEPOINT s');
			return 0 if $state ne '00000';
			ask($session, "CALL order_cqrs.event_append('Note', 'undone', '[{\"type\": \"T\", \"data\": {}}]')");
			($state) = ask($session, 'ROLLBACK TO s');
			return 0 if $state ne '00000';
		}
		if ($kind->{undoes_command})
		{
			my ($state) = ask($session, 'SAVEPOINT t');
			return 0 if $state ne '00000';
		}
		my $state = ask_command($client, $command);
		read_own($client, $command) if $kind->{reads} && $state eq '00000';
		ask($session, 'ROLLBACK TO t') if $kind->{undoes_command};
		sleep pick(20) / 1000 if $kind->{sleeps};
		return $state eq '00000';
	});
	# A command that was rolled back is not there even if nobody knows of the rest.
	return $kind->{undoes_command} ? 'refused' : $outcome;
}

# read_own: a transaction sees what it has just done.
sub read_own
{
	my ($client, $command) = @_;
	return if $command->{stream} =~ /^n/;
	my $before = looseness();
	my ($state, $version) = ask($client->{session}, "SELECT version FROM order_cqrs.order_get('$command->{stream}')");

	complain("$command->{stream} is at version $command->{version}, and in the same transaction order_get shows \"$version\"")
	  if $state eq '00000' && is_tight($before) && ($version || 0) < $command->{version};
	return;
}

# repeat sends a command again whose outcome nobody knows, when nothing is left of its transaction.
sub repeat
{
	my ($client, $command) = @_;
	my $known = '';

	sleep 0.1;
	$known = end_prepared($client->{session}, $command->{prepared}, pick(2), 0) if $command->{prepared};
	$command->{is_there} = 1 if $known eq 'committed';
	my $state = ask_command($client, $command);
	return 'lost' if is_lost($state) || $state =~ /^(?:40|57)/;
	return 'committed' if $state eq '00000';
	complain("$command->{sql} was committed, and its repetition is refused: $state") if $command->{is_there};
	return 'refused';
}

# carry_out sends a command until its outcome is known.
sub carry_out
{
	my ($client) = @_;
	my $command = command($client);
	my $outcome = send_once($client, $command);

	$outcome = one_of('refused', 'lost') if $outcome eq 'broken';
	$outcome = repeat($client, $command) while $outcome eq 'lost';
	if ($outcome eq 'refused')
	{
		note_line("$history{directory}/refused", $command->{id}, $command->{stream});
		return;
	}
	$client->{acknowledged}++;
	$client->{orders}++ if $command->{creates};
	learn($client, $command->{stream}, $command->{version});
	note_line("$history{directory}/acknowledged", $command->{id}, $command->{stream}, $command->{version});
	return;
}

# learn keeps the newest version of a stream that was acknowledged.
sub learn
{
	my ($client, $stream, $version) = @_;

	return if ($client->{versions}{$stream} // 0) >= $version;
	$client->{versions}{$stream} = $version;
	my $slot = slot_of($stream);
	publish($client->{number}, $slot, $version) if $slot;
	return;
}

sub least_version
{
	my ($client, $stream) = @_;
	my $slot = slot_of($stream);
	return $slot ? published($slot) : $client->{versions}{$stream} // 0;
}

# rename changes the name of the client's own customer or product, whose order has long been there; from then on nobody may
# see the old one.
sub rename_one
{
	my ($client) = @_;
	my $what = one_of('customer', 'product');

	# A rename writes all orders of a customer, so in a long run they become rarer.
	$client->{begun} //= time;
	return if time < ($client->{next_rename} // 0);
	$client->{next_rename} = time + (time - $client->{begun}) / 30;
	my $key = substr($what, 0, 1) . $client->{number};
	my $next = ($client->{versions}{$key} // 0) + 1;
	my ($state) = ask($client->{session}, "CALL order_cqrs.${what}_put('$key', 'name $next', '')");

	complain("a rename of $key: $state") if $state ne '00000' && !is_lost($state) && $state !~ $may_refuse;
	learn($client, $key, $next) if $state eq '00000';
	read_names($client, $client->{number}) if $state eq '00000';
	return;
}

# read_names compares the names that an order shows with the newest that were acknowledged.
sub read_names
{
	my ($client, $number) = @_;
	my @least = map { published(slot_of($_)) } "c$number", "p$number";
	my $before = looseness();
	my ($state, $names) = ask($client->{session}, <<"SQL");
SELECT concat_ws(' ', substr(customer_name, 6), substr(items -> 0 ->> 'product_name', 6)) FROM order_cqrs.order_get('base$number')
SQL
	return if $state ne '00000' || !is_tight($before);
	my @names = split / /, $names;
	complain("names @least of base$number were acknowledged, and order_get shows $names")
	  if @names != 2 || $names[0] < $least[0] || $names[1] < $least[1];
	return;
}

# The ways to read an order's version.
my %ways = (
	order_get => "SELECT version FROM order_cqrs.order_get('%s')",
	order_view => "SELECT version FROM order_cqrs.order_view WHERE order_id = '%s'",
	order_summary_view => "SELECT version FROM order_cqrs.order_summary_view WHERE order_id = '%s'",
	order_history => "SELECT max(version) FROM order_cqrs.order_history('%s')");

# look reads an order or a note. It is at least at the version that was acknowledged before; and whatever the mode of a
# projection, it is never at an older one than this client has seen.
sub look
{
	my ($client) = @_;
	my $recent = $client->{orders} - 1 - pick(8);
	my $own = "o$client->{number}-" . ($recent < 0 ? 0 : $recent);
	my $stream = one_of($own, shared_order(1 + pick(6), epoch()), 'n' . pick(5));
	my $least = least_version($client, $stream) or return;
	my $after = $least - 1;
	my $way = $stream =~ /^n/ ? 'stream_read' : one_of(('order_get') x 3, sort keys %ways);
	my $query = $way eq 'stream_read' ? "SELECT version FROM order_cqrs.stream_read('Note', '$stream', $after, 1)" : sprintf $ways{$way}, $stream;
	my $before = looseness();
	my ($state, $version);

	if (pick(3))
	{
		($state, $version) = ask($client->{session}, $query);
	}
	else
	{
		in_transaction($client->{session}, level(), 'commit', undef, sub {
			($state, $version) = ask($client->{session}, $query);
			return 1;
		});
	}
	return if !defined $state || is_lost($state);
	if ($state ne '00000')
	{
		complain("$query: $state") if $state !~ /^(?:40001|40P01|57014)$/ && is_tight($before);
		return;
	}
	$version ||= 0;
	complain("version $least of $stream was acknowledged, and $query shows $version") if $version < $least && is_tight($before);
	complain("version $client->{seen}{$way}{$stream} of $stream was seen, and $query shows $version")
	  if $version < ($client->{seen}{$way}{$stream} // 0);
	$client->{seen}{$way}{$stream} = $version;
	return;
}

# look_at_all reads the shared orders by a search.
sub look_at_all
{
	my ($client) = @_;
	my $epoch = epoch();
	my @orders = map { shared_order($_, $epoch) } 1 .. 6;
	my %least = map { $_ => published(slot_of($_)) } @orders;
	my $before = looseness();
	my ($state, $rows) = ask($client->{session}, <<'SQL');
SELECT order_id || ' ' || version FROM order_cqrs.order_search(customer_id => 'alan', page_size => 100)
SQL
	return if $state ne '00000' || !is_tight($before);
	my %versions = map { split / / } split /\n/, $rows;
	foreach (@orders)
	{
		complain("version $least{$_} of $_ was acknowledged, and order_search shows " . ($versions{$_} // 'nothing'))
		  if ($versions{$_} // 0) < $least{$_};
	}
	return;
}

sub send_future
{
	my ($client) = @_;
	my $order = "f$client->{number}-" . uuid();
	my $payload = qq({"order_id": "$order", "customer_id": "ada", "items": [{"product_id": "pen", "quantity": 1, "unit_price": 1}]});
	my ($state) = ask($client->{session}, "SELECT order_cqrs.command_send_async('CreateOrder', '$payload')");

	note_line("$history{directory}/futures", $order) if $state eq '00000';
	return;
}

sub client
{
	my ($number) = @_;
	my $client = { number => $number, orders => 0, acknowledged => 0, versions => {}, seen => {}, session => open_session($history{connection}, "client $number") };
	my $latest = $history{until} + 300;

	srand $history{seed} * 100 + $number;
	$history{prefix} = "seed $history{seed}, client $number:";
	while (time < $history{until} || ($client->{acknowledged} < $history{least_commands} && time < $latest))
	{
		if (is_silent())
		{
			note_line("$history{directory}/silent-$number", 1) unless -e "$history{directory}/silent-$number";
			sleep 0.01;
			next;
		}
		unlink "$history{directory}/silent-$number";
		one_of((\&carry_out) x 10, (\&rename_one) x 2, (\&look) x 4, \&look_at_all, sub { read_names($_[0], 1 + pick($history{clients})) },
			\&send_future)->($client);
	}
	note_line("$history{directory}/silent-$number", 1);
	return;
}

#
# Consumers.
#

# consumer NUMBER, NAME, COUNT, LEVEL: two that share a name share its checkpoint, and race.
sub consumer
{
	my ($number, $name, $count, $level) = @_;
	my $session = open_session($history{connection}, "consumer $number");
	my $rounds = 0;

	$history{prefix} = "seed $history{seed}, consumer $number:";
	until (-e "$history{directory}/closed" && -e "$history{directory}/done-$number")
	{
		my $is_closed = -e "$history{directory}/closed";
		my ($state, $events);
		my $outcome = in_transaction($session, $level, 'commit', undef, sub {
			($state) = ask($session, "SELECT FROM public.consumer WHERE name = '$name' FOR UPDATE");
			($state, $events) = ask($session, <<"SQL") if $state eq '00000';
WITH read AS (SELECT e.position FROM public.consumer c, order_cqrs.event_read(c.last_position, $count) e WHERE c.name = '$name'),
     kept AS (INSERT INTO public.seen SELECT '$name', position FROM read),
     moved AS (UPDATE public.consumer SET last_position = (SELECT max(position) FROM read) WHERE name = '$name' AND EXISTS (SELECT FROM read))
SELECT count(*) FROM read
SQL
			complain("consumer $name: $state") if $state ne '00000' && !is_lost($state) && $state !~ /^(?:40001|40P01|57014)$/;
			return $state eq '00000';
		});
		$rounds++ if $outcome eq 'committed' && $events;
		note_line("$history{directory}/done-$number", $name, $rounds) if $outcome eq 'committed' && $is_closed && $events eq '0';
		sleep 0.02;
	}
	return;
}

1;
