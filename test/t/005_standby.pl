# A streaming standby: no workers, queries of orders work, and promotion makes the workers start.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

# The primary has no workers, so that the standby finds something to do.
my $primary = new_server('primary', allows_streaming => 1, 'order_cqrs.sync_interval' => '1s');
$primary->start;
create_database($primary, 'shop');
open_shop($primary, 'shop');
$primary->safe_psql('shop', order_sql('early'));
$primary->backup('backup');

my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->append_conf('postgresql.conf', "order_cqrs.databases = 'shop'");
$standby->start;

$primary->safe_psql('shop', join "\n",
	(map { order_sql("o$_") } 1 .. 50),
	"CALL order_cqrs.order_complete('o1');",
	"CALL order_cqrs.customer_put('ada', 'Ada Lovelace', 'ada\@example.org');",
	order_sql('late'));

# caught_up waits until the standby has replayed what the primary has written.
sub caught_up
{
	$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
	return;
}

# error_of SQL runs it on the standby and returns its SQLSTATE, empty if there is none.
sub error_of
{
	my ($sql) = @_;
	my ($status, $output, $error) = $standby->psql('shop', $sql, extra_params => [ '--set', 'VERBOSITY=sqlstate' ]);
	return $error =~ /ERROR:  (\w{5})/ ? $1 : '';
}

sub test_queries
{
	is($standby->safe_psql('shop', "SELECT order_id, customer_name, jsonb_array_length(items) FROM order_cqrs.order_get('o7')"),
		'o7|Ada Lovelace|2', 'order_get');
	is($standby->safe_psql('shop', "SELECT string_agg(event_type, ' ') FROM order_cqrs.order_history('o1')"),
		'OrderCreated OrderCompleted', 'order_history');
	is($standby->safe_psql('shop', "SELECT string_agg(event_type, ' ') FROM order_cqrs.stream_read('Order', 'o1')"),
		'OrderCreated OrderCompleted', 'stream_read');
	is( $standby->safe_psql('shop', "SELECT status, customer_name FROM order_cqrs.order_as_of('o1', (SELECT occurred_at FROM order_cqrs.order_history('o1') WHERE version = 1))"),
		'PENDING|Ada', 'order_as_of');
	is($standby->safe_psql('shop', "SELECT order_id FROM order_cqrs.order_search(sort => 'created_at', page_size => 1)"),
		'early', 'order_search');
	is($standby->safe_psql('shop', "SELECT count(*) = order_cqrs.order_search_count(exact => true), order_cqrs.order_search_count() > 0"
			. " FROM order_cqrs.customer_orders('ada', page_size => 1000)"),
		't|t', 'customer_orders, and order_search_count');
	is(error_of("SELECT * FROM order_cqrs.order_get('none')"), 'OC101', 'an order that does not exist');
	is($standby->safe_psql('shop', "SELECT length(order_cqrs.order_next_id())"), 36, 'order_next_id');
	is($standby->safe_psql('shop', 'SELECT count(*) FROM order_cqrs.event_horizon_wait'), 0, 'event_horizon_wait');
	is( $standby->safe_psql('shop', "SELECT mode, lag_events FROM order_cqrs.projection_status WHERE projection_name = 'order_stats'"),
		'async|53', 'projection_status');
	is(untrue_rows($standby, 'shop'), '', 'projection_verify');
}

# What a standby cannot know, and what it must not do.
sub test_refusals
{
	# The sequence runs ahead of the log there, and who holds it is not known.
	isnt(error_of('SELECT order_cqrs.event_horizon()'), '', 'event_horizon is refused');
	is(error_of("SELECT $_"), 'OC305', "$_ is refused") foreach map { "count(*) FROM order_cqrs.$_" }
	  'event_read(0)', 'event_read(1000000000)', 'event_count(0, 1)', 'event_count(0, 1000000000)';

	# Most of them would find nothing to do, and say nothing; others would tell of statements of ours.
	my @calls = (
		order_sql('no'), "CALL order_cqrs.order_complete('o2')", "CALL order_cqrs.event_append('Basket', 'b', '[{\"type\": \"Filled\", \"data\": {}}]')",
		"SELECT order_cqrs.command_send('CompleteOrder', '{\"order_id\": \"o2\"}')",
		"SELECT order_cqrs.command_send_async('CompleteOrder', '{\"order_id\": \"o2\"}')",
		"SELECT order_cqrs.query_send_async('GetOrder', '{\"order_id\": \"o2\"}')",
		"SELECT order_cqrs.future_cancel('00000000-0000-0000-0000-000000000000')",
		"SELECT order_cqrs.command_handler_register('Mine', 'pg_catalog.jsonb_concat(jsonb, jsonb)')",
		"SELECT order_cqrs.query_handler_unregister('Mine')",
		map { "CALL order_cqrs.$_" } 'projection_sync()', "projection_rebuild('order_view')", "projection_pause('order_view')",
		"projection_resume('order_view')", "projection_set_mode('order_view', 'async')", 'projection_audit()', 'saga_run()',
		"saga_retry('o1')", 'future_run()', 'restore_end()');
	foreach my $call (@calls)
	{
		is(error_of($call), 'OC310', "$call is refused on a standby");
	}
	foreach my $call (@calls)
	{
		my (undef, undef, $error) = $primary->psql('shop', "SET default_transaction_read_only = on; $call");
		like($error, qr/cannot run in a read-only transaction\nDETAIL:  .*\nHINT:  /, "$call in a read-only transaction");
		unlike($error, qr/SQL statement/, 'which shows no statement of ours');
	}
	my ($status, $output, $error) = $standby->psql('shop', "CALL order_cqrs.projection_rebuild('order_view')");
	like($error, qr/ERROR:  projection_rebuild cannot run on a standby\nDETAIL:  .*\nHINT:  Connect to the primary\./,
		'and the message says so');
}

sub test_promotion
{
	my $log = log_end($standby);

	is($standby->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'order_cqrs%'"),
		0, 'a standby has no workers');
	$primary->stop('immediate');
	$standby->promote;
	ok(wait_served($standby, 'shop'), 'promotion makes them start');
	ok(wait_projected($standby, 'shop'), 'and they catch up');
	is($standby->safe_psql('shop', 'SELECT sum(orders) FROM order_cqrs.order_stats'), 52, 'with every order');

	my $last = $standby->safe_psql('shop', 'SELECT max(position) FROM order_cqrs.events');
	$standby->safe_psql('shop', order_sql('promoted'));
	cmp_ok($standby->safe_psql('shop', "SELECT position FROM order_cqrs.order_history('promoted')"),
		'>', $last, 'a command works, at a new position');
	ok(wait_projected($standby, 'shop'), 'and is projected');
	ok_shop_is_true($standby, 'shop', 'after promotion');
	is(join("\n", grep { /order_cqrs|PANIC/ && !/primary/ } loud_lines($standby, $log)), '', 'no worker has failed');
}

caught_up();
test_queries();
test_refusals();
test_promotion();

$standby->stop;
done_testing();
