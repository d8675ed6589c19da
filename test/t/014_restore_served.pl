# Dumps are restored while workers look on. The saga and futures wait for the end, whatever the order in which the
# parts come, and then go on where they were.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my $node = new_server(
	'restore',
	'order_cqrs.saga' => 'on',
	'order_cqrs.reserve_on' => 'saga',
	'order_cqrs.sync_interval' => '1h',
	log_error_verbosity => 'verbose',
	max_worker_processes => 64);
$node->start;
create_database($node, 'source');
open_shop($node, 'source');

my $dump = $node->basedir . '/dump';
my @saga = ("SET order_cqrs.saga_retry_delay = '300s'; SET client_min_messages = error;");

# Orders at different steps of the saga, one with an attempt that has failed, and one that it has not seen; futures in
# all states; enough events for batches.
sub fill_source
{
	my $order = sub { sprintf q({"order_id": "%s", "customer_id": "ada", "items": [{"product_id": "pen", "quantity": 1, "unit_price": 1}]}), @_ };

	$node->safe_psql('source', join "\n", @saga,
		"CALL order_cqrs.stock_receive('ink', 1000);",
		'CREATE FUNCTION note(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT payload $$;',
		"SELECT order_cqrs.command_handler_register('Note', 'note(jsonb, jsonb)');",
		(map { order_sql($_) } qw(wait shipped failing)),
		"CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN RAISE 'it fails'; END \$\$;",
		"CREATE TRIGGER fail BEFORE INSERT ON order_cqrs.events FOR EACH ROW"
		  . " WHEN (NEW.aggregate_id = 'failing' AND NEW.event_type = 'PaymentRequested') EXECUTE FUNCTION fail();",
		'CALL order_cqrs.saga_run();',
		"CALL order_cqrs.payment_complete('shipped');",
		'CALL order_cqrs.saga_run();',
		'DROP TRIGGER fail ON order_cqrs.events;',
		"UPDATE order_cqrs.order_saga SET next_attempt_at = now() + interval '1 day' WHERE order_id = 'failing';",
		(map { "CALL order_cqrs.customer_put('ada', 'Ada $_', 'ada\@example.org');" } 1 .. 120),
		(map { "SELECT order_cqrs.command_send_async('CreateOrder', '" . $order->("future$_") . "');" } 1 .. 5),
		'CALL order_cqrs.future_run(1);',
		"UPDATE order_cqrs.bus_future SET status = 'running', attempts = 1, started_at = clock_timestamp() - interval '1 hour'"
		  . " WHERE number = 2;",
		"SELECT order_cqrs.command_send_async('Note', '{}');",
		order_sql('unseen'));
	is($node->safe_psql('source', "SELECT string_agg(order_id || ' ' || step || ' ' || attempts, ', ' ORDER BY order_id) FROM order_cqrs.order_saga"),
		'failing RESERVE_INVENTORY 1, shipped SHIPPED 0, wait AWAIT_PAYMENT 0', 'there are orders at different steps');
	is($node->safe_psql('source', "SELECT string_agg(status || ' ' || count, ', ' ORDER BY status)"
			  . ' FROM (SELECT status, count(*) FROM order_cqrs.bus_future GROUP BY 1) AS f'),
		'done 1, running 1, waiting 4', 'and futures in different states');
	return;
}

my $sagas = 'SELECT order_id, step, attempts, next_attempt_at, last_error, version, started_at, updated_at'
  . " FROM order_cqrs.order_saga WHERE order_id IN ('wait', 'shipped', 'failing') ORDER BY 1";
my $events = 'SELECT count(*), md5(string_agg(e::text, $$ $$ ORDER BY position)) FROM order_cqrs.events e WHERE position <= ';
my $as_dumped = <<'SQL';
SELECT id::text, status, attempts::text FROM order_cqrs.bus_future WHERE kind = 'command'
UNION ALL SELECT order_id, concat_ws('|', step, next_attempt_at, last_error, version, updated_at), attempts::text FROM order_cqrs.order_saga
UNION ALL SELECT 'event', position::text, event_type FROM order_cqrs.events
SQL

# ok_has_gone_on DATABASE, NAME: the saga and the futures have gone on, where they were.
sub ok_has_gone_on
{
	my ($database, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $last = $node->safe_psql('source', 'SELECT max(position) FROM order_cqrs.events');

	ok($node->poll_query_until($database, "SELECT count(*) = 6 FROM order_cqrs.bus_future WHERE status = 'done' AND kind = 'command'"),
		"$name: all futures are done");
	ok($node->poll_query_until($database,
			"SELECT count(*) = 9 AND bool_and(step IN ('AWAIT_PAYMENT', 'SHIPPED', 'RESERVE_INVENTORY')) FROM order_cqrs.order_saga"),
		"$name: the saga goes on with what it had not seen");
	is($node->safe_psql($database, $events . $last), $node->safe_psql('source', $events . $last), "$name: the events are the dump's");
	is($node->safe_psql($database, $sagas), $node->safe_psql('source', $sagas), "$name: the orders are where they were");
	is( $node->safe_psql($database, 'SELECT event_type, count(*) FROM order_cqrs.events'
			  . " WHERE aggregate_type = 'Order' AND position > $last GROUP BY 1 ORDER BY 1"),
		"InventoryReserved|1\nOrderCreated|4\nPaymentRequested|6", "$name: each step was done once");
	ok(wait_projected($node, $database, 'order_stats'), "$name: the async projection follows");
	ok_shop_is_true($node, $database, $name);
	return;
}

my @psql = ('psql', '--no-psqlrc', '--quiet', '--set', 'ON_ERROR_STOP=1', '--output', '/dev/null', '--file', $dump);
my @pg_restore = ('pg_restore', '--exit-on-error', $dump);

# install DATABASE makes what the dump of a database's data does not.
sub install
{
	my ($database) = @_;
	$node->safe_psql($database, 'CREATE EXTENSION order_cqrs CASCADE;'
		  . ' CREATE FUNCTION note(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT payload $$');
	return;
}

sub dumped
{
	my ($name, @options) = @_;
	$node->command_ok([ 'pg_dump', '--file', $dump, @options, $node->connstr('source') ], "$name: dumped");
	return;
}

sub restored
{
	my ($database, @command) = @_;
	$node->command_ok([ @command, '--dbname', $node->connstr($database) ], "$database: restored");
	return;
}

# Each of these databases is served by workers before its restore begins.
my @kinds = (
	[ plain => [], [@psql] ],
	[ inserts => [ '--inserts', '--rows-per-insert=10' ], [@psql] ],
	[ inserts_parallel => [ '--format=custom', '--inserts' ], [ @pg_restore, '--jobs=4' ] ],
	[ parallel => ['--format=custom'], [ @pg_restore, '--jobs=4' ] ],
	[ single => ['--format=custom'], [ @pg_restore, '--single-transaction' ] ],
	[ sections => ['--format=custom'], map { [ @pg_restore, "--section=$_" ] } qw(pre-data data post-data) ],
	[ data_only => [ '--format=custom', '--data-only' ], [@pg_restore] ],
	[ data_parallel => [ '--format=custom', '--data-only' ], [ @pg_restore, '--jobs=4' ] ],
	[ cleaned => ['--format=custom'], [@pg_restore], [ @pg_restore, '--clean' ] ]);

sub test_kinds
{
	my $offset = log_end($node);

	foreach my $kind (@kinds)
	{
		my ($database, $options, @commands) = @$kind;

		create_database($node, $database);
		set_and_reload($node, 'order_cqrs.databases' => join ', ', map { $_->[0] } @kinds);
		dumped($database, @$options);
		install($database) if $database =~ /^data/;
		worker_pid($node, 'runner', $database);
		restored($database, @$_) foreach @commands;
	}
	ok_has_gone_on($_->[0], $_->[0]) foreach @kinds;
	is(join("\n", loud_lines($node, $offset)), '', 'no worker has failed');
	return;
}


# serve DATABASES ... has workers look after them. They are made, and have the extension and the handler's function.
sub serve
{
	my @databases = @_;
	my $list = join ', ', @databases;

	foreach my $database (@databases)
	{
		create_database($node, $database);
		install($database);
	}
	set_and_reload($node, 'order_cqrs.databases' => $list);
	worker_pid($node, 'runner', $_) foreach @databases;
	return;
}

# let_runner_look DATABASE returns when the runner has gone through two rounds with something to do for the pool.
sub let_runner_look
{
	my ($database) = @_;

	foreach (1 .. 2)
	{
		my $now = $node->safe_psql($database,
			"SELECT order_cqrs.query_send_async('GetOrder', '{\"order_id\": \"none\"}');"
			  . " CALL order_cqrs.projection_resume('order_stats'); SELECT clock_timestamp()");
		$now =~ s/.*\n//s;
		$node->poll_query_until($database, 'SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database()'
			  . " AND backend_type = 'order_cqrs runner' AND state = 'idle' AND state_change > '$now'")
		  or die 'the runner does nothing';
	}
	return;
}

# changed_rows DATABASE returns what of the rows that have been restored is not as in the source.
sub changed_rows
{
	my ($database) = @_;
	my %is_in_source = map { $_ => 1 } split /\n/, $node->safe_psql('source', $as_dumped);

	# A future that was running has lost its process.
	return join "\n", grep { !$is_in_source{$_} && !$is_in_source{s/\|waiting\|/|running|/r} }
	  split /\n/, $node->safe_psql($database, $as_dumped);
}

# restore_parts DATABASE, NAME, OPTIONS, PART ... restores one part of the dump after the other, and has the runner look
# after each.
sub restore_parts
{
	my ($database, $name, $options, @parts) = @_;
	my %line = map { / (?:TABLE DATA|SEQUENCE SET) order_cqrs (\w+) / ? ($1 => $_) : () }
	  split /\n/, (run_command([ 'pg_restore', '--list', $dump ]))[0];
	my $list = $node->basedir . '/list';

	is(join(' ', sort @parts), join(' ', sort keys %line), "$name: these are the parts of the dump");
	foreach my $part (@parts)
	{
		unlink $list;
		append_to_file($list, "$line{$part}\n");
		run_log([ 'pg_restore', '--data-only', @$options, '--use-list', $list, '--dbname', $node->connstr($database), $dump ]);
		next if $part =~ /_seq$/ || $part eq $parts[-1];    # by itself a sequence is nothing to act on
		let_runner_look($database);
		is(changed_rows($database), '', "$name: all waits after $part");
	}
	return;
}

# The parts of a parallel restore come in any order.
sub test_parts
{
	my $offset = log_end($node);

	dumped('parts', '--format=custom', '--data-only');
	serve(qw(log_last log_first));
	restore_parts('log_last', 'log last', [], qw(events_position_seq bus_future_number_seq bus_future restore_state
		order_saga saga_state bus_registration projection_state events));
	restore_parts('log_first', 'log first', [], qw(events restore_state events_position_seq bus_future_number_seq
		projection_state bus_registration bus_future saga_state order_saga));
	ok_has_gone_on('log_last', 'log last');
	ok_has_gone_on('log_first', 'log first');
	is(join("\n", loud_lines($node, $offset)), '', 'parts: no worker has failed');
	return;
}

# Without triggers the rows of projection_state and saga_state meet those that are there. All else goes on as ever.
sub test_disabled_triggers
{
	my $guards = 'SELECT count(*) = 3 FROM pg_trigger WHERE tgenabled = $$A$$'
	  . " AND tgname IN ('events_append_only', 'saga_restore', 'restore_arrive')"
	  . " AND tgrelid IN ('order_cqrs.events'::regclass, 'order_cqrs.order_saga'::regclass, 'order_cqrs.bus_future'::regclass)";
	my %commands = (untriggered => [], untriggered_parallel => ['--jobs=4']);
	my $offset = log_end($node);

	dumped('disabled', '--format=custom', '--data-only');
	serve(qw(untriggered untriggered_parallel untriggered_parts));
	foreach my $database (sort keys %commands)
	{
		run_log([ 'pg_restore', '--data-only', '--disable-triggers', @{ $commands{$database} },
				'--dbname', $node->connstr($database), $dump ]);
	}
	restore_parts('untriggered_parts', 'untriggered parts', ['--disable-triggers'], qw(events_position_seq bus_future_number_seq
		bus_future events restore_state bus_registration projection_state saga_state order_saga));
	foreach my $database (qw(untriggered untriggered_parallel untriggered_parts))
	{
		ok($node->poll_query_until($database, $guards), "$database: the triggers are set right");
		ok_has_gone_on($database, $database);
		ok($node->poll_query_until($database, "SELECT count(*) = 0 FROM order_cqrs.restore_state WHERE kind <> 'content'"),
			"$database: no sign is left");
	}
	my @lines = grep { !/ was not made |duplicate key value violates unique constraint "(?:projection_state|saga_state)_pkey"/ }
	  loud_lines($node, $offset);
	ok((grep { /WARNING:  OC313: trigger events_append_only did not fire in replica sessions/ } @lines), 'disabled: the log says so');
	is(join("\n", grep { !/OC313: .* did not fire in replica sessions/ } @lines), '', 'disabled: no worker has failed');
	return;
}

# A table that had rows once, and has none in the dump, is not waited for. A consumer that has seen more of the log than the
# dump holds is told so, also when the log has overtaken it.
sub test_emptied
{
	my $after_dump = $node->safe_psql('source', 'SELECT max(position) + 2 FROM order_cqrs.events');

	set_and_reload($node, 'order_cqrs.restore_timeout' => '1h');
	$node->safe_psql('source', 'DELETE FROM order_cqrs.bus_future; DELETE FROM order_cqrs.bus_registration');
	dumped('emptied', '--format=custom', '--data-only');
	serve('emptied');
	restored('emptied', @pg_restore);
	ok($node->poll_query_until('emptied', "SELECT count(*) = 0 FROM order_cqrs.restore_state WHERE kind <> 'content'"),
		'emptied: the restore has an end');
	ok(wait_projected($node, 'emptied', 'order_stats'), 'emptied: the async projection follows');
	$node->safe_psql('emptied', order_sql("after$_")) foreach 1 .. 3;
	like(
		($node->psql('emptied', "SELECT order_cqrs.event_read($after_dump)"))[2],
		qr/position $after_dump is in a part of the log that was lost/, 'emptied: a checkpoint of later than the dump is refused');

	# The same dump begins another log each time that it is restored.
	my $seen = $node->safe_psql('emptied', 'SELECT max(position) FROM order_cqrs.events');
	serve('again');
	restored('again', @pg_restore);
	ok($node->poll_query_until('again', "SELECT count(*) = 0 FROM order_cqrs.restore_state WHERE kind <> 'content'"), 'again: the restore has an end');
	$node->safe_psql('again', order_sql("again$_")) foreach 1 .. 5;
	ok_refused('again', $seen);
	return;
}

# ok_refused DATABASE, POSITION: no consumer goes on there.
sub ok_refused
{
	my ($database, $position) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	like(($node->psql($database, "\\set VERBOSITY sqlstate\nSELECT order_cqrs.event_read($position)"))[2], qr/ERROR:  OC306/,
		"$database: a checkpoint of another log is refused");
	return;
}

# A dump may be older than the first event.
sub test_unwritten
{
	my $append = q(CALL order_cqrs.event_append('Note', 'n', '[{"type": "T", "data": {}}]'););

	create_database($node, 'unwritten_source');
	$node->safe_psql('unwritten_source', 'CREATE EXTENSION order_cqrs CASCADE');
	$node->command_ok([ 'pg_dump', '--file', $dump, '--format=custom', '--data-only', $node->connstr('unwritten_source') ], 'unwritten: dumped');
	my $seen = $node->safe_psql('unwritten_source', $append x 3 . 'SELECT max(position) FROM order_cqrs.events');
	serve('unwritten');
	restored('unwritten', @pg_restore);
	ok($node->poll_query_until('unwritten', 'SELECT is_called AND last_value > 1000000000 FROM order_cqrs.events_position_seq'),
		'unwritten: positions go on far ahead');
	$node->safe_psql('unwritten', $append x 4);
	ok_refused('unwritten', $seen);
	return;
}

# An INSERT by hand has no end: restore_end makes one, or it comes by itself.
sub test_by_hand
{
	my $insert = sub {
		my ($number) = @_;
		return 'INSERT INTO order_cqrs.events OVERRIDING SYSTEM VALUE'
		  . " SELECT 1000000 + $number, tenant_id, aggregate_type, 'by hand $number', 1, event_type, schema_version, data,"
		  . ' command_id, correlation_id, causation_id, session_role, actor, metadata, occurred_at FROM order_cqrs.events'
		  . " WHERE aggregate_type = 'Order' AND event_type = 'OrderCreated' LIMIT 1;"
		  . " SELECT setval('order_cqrs.events_position_seq', 1000000 + $number);";
	};
	my $waits = q(SELECT count(*) > 0 FROM order_cqrs.bus_future WHERE kind = 'query' AND status = 'waiting');
	my $offset = log_end($node);

	serve('by_hand');
	open_shop_again('by_hand');
	$node->safe_psql('by_hand', order_sql('first') . $insert->(1));
	let_runner_look('by_hand');
	is($node->safe_psql('by_hand', $waits), 't', 'by hand: futures wait');
	is($node->safe_psql('by_hand', "SELECT count(*) FROM order_cqrs.order_view WHERE order_id = 'by hand 1'"), '1', 'by hand: few rows are seen at once');
	$node->safe_psql('by_hand', "UPDATE order_cqrs.restore_state SET marked_at = marked_at - interval '61 seconds' WHERE holds");
	ok($node->poll_query_until('by_hand', "SELECT pg_read_file('" . $node->logfile . "', $offset, 10000000) LIKE '%WARNING:  OC312: the saga and futures wait for the end of a restore%'"),
		'by hand: the log tells of a restore that takes more than a minute');
	$node->safe_psql('by_hand', 'CALL order_cqrs.restore_end()');
	ok($node->poll_query_until('by_hand', "SELECT NOT ($waits)"), 'by hand: until restore_end is called');

	# A transaction that began to write before the time is over may be the restore's.
	my $session = $node->background_psql('by_hand');
	$session->query_safe("BEGIN; INSERT INTO order_cqrs.order_saga (tenant_id, order_id, step, attempts, version) VALUES ('default', 'late', 'SHIPPED', 0, 1);");
	set_and_reload($node, 'order_cqrs.restore_timeout' => '1s');
	$node->safe_psql('by_hand', $insert->(100));
	$node->poll_query_until('by_hand', "SELECT max(marked_at) < clock_timestamp() - interval '1 second' FROM order_cqrs.restore_state WHERE holds");
	let_runner_look('by_hand');
	is($node->safe_psql('by_hand', $waits), 't', 'by hand: futures wait for a transaction that is under way');
	$session->query_safe('COMMIT');
	$session->quit;
	ok($node->poll_query_until('by_hand', "SELECT NOT ($waits)"), 'by hand: they go on when the time is over');

	$node->safe_psql('by_hand', 'ALTER TABLE order_cqrs.events DISABLE TRIGGER events_append_only');
	ok($node->poll_query_until('by_hand', "SELECT pg_read_file('" . $node->logfile . "', $offset, 10000000) LIKE '%WARNING:  OC313: triggers of order_cqrs are disabled: events_append_only on order_cqrs.events%'"),
		'by hand: the log tells of a trigger that is disabled');
	is($node->safe_psql('by_hand', "SELECT tgenabled FROM pg_trigger WHERE tgname = 'events_append_only'"), 'D', 'by hand: it stays so');
	return;
}

sub open_shop_again
{
	my ($database) = @_;
	$node->safe_psql($database, <<'SQL');
CALL order_cqrs.customer_put('ada', 'Ada', 'ada@example.org');
CALL order_cqrs.product_put('pen', 'Pen', 'Writing');
CALL order_cqrs.product_put('ink', 'Ink', 'Supplies');
CALL order_cqrs.stock_receive('ink', 1000);
SQL
	return;
}

fill_source();
test_kinds();
test_parts();
test_disabled_triggers();
test_by_hand();
test_emptied();
test_unwritten();

$node->stop;
done_testing();
