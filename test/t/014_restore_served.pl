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
	'order_cqrs.sync_interval' => '1s',
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
my $futures = 'SELECT id, status, attempts FROM order_cqrs.bus_future ORDER BY number';

# ok_has_gone_on DATABASE, NAME: the saga and the futures have gone on, where they were.
sub ok_has_gone_on
{
	my ($database, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $last = $node->safe_psql('source', 'SELECT max(position) FROM order_cqrs.events');

	ok($node->poll_query_until($database, "SELECT count(*) = 6 FROM order_cqrs.bus_future WHERE status = 'done'"),
		"$name: all futures are done");
	ok($node->poll_query_until($database,
			"SELECT count(*) = 9 AND bool_and(step IN ('AWAIT_PAYMENT', 'SHIPPED', 'RESERVE_INVENTORY')) FROM order_cqrs.order_saga"),
		"$name: the saga goes on with what it had not seen");
	is($node->safe_psql($database, $events . $last), $node->safe_psql('source', $events . $last), "$name: the events are the dump's");
	is($node->safe_psql($database, $sagas), $node->safe_psql('source', $sagas), "$name: the orders are where they were");
	is( $node->safe_psql($database, 'SELECT event_type, count(*) FROM order_cqrs.events'
			  . " WHERE aggregate_type = 'Order' AND position > $last GROUP BY 1 ORDER BY 1"),
		"InventoryReserved|1\nOrderCreated|4\nPaymentRequested|6", "$name: each step was done once");
	ok(wait_projected($node, $database), "$name: the projections follow");
	ok_shop_is_true($node, $database, $name);
	return;
}

my @psql = ('psql', '--no-psqlrc', '--quiet', '--set', 'ON_ERROR_STOP=1', '--output', '/dev/null', '--file', $dump);
my @pg_restore = ('pg_restore', '--exit-on-error', $dump);

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
		$node->safe_psql($database, 'CREATE EXTENSION order_cqrs CASCADE; CREATE FUNCTION note(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT payload $$')
		  if $database =~ /^data/;
		worker_pid($node, 'runner', $database);
		restored($database, @$_) foreach @commands;
	}
	ok_has_gone_on($_->[0], $_->[0]) foreach @kinds;
	is(join("\n", loud_lines($node, $offset)), '', 'no worker has failed');
	return;
}

fill_source();
test_kinds();

$node->stop;
done_testing();
