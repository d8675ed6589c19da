# Without shared_preload_libraries there are no workers, and all else works.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my $node = new_server(
	'no_preload',
	shared_preload_libraries => '',
	'order_cqrs.databases' => 'shop',
	'order_cqrs.batch_size' => 3);
$node->start;
create_database($node, 'shop');
open_shop($node, 'shop');

sub answer
{
	my ($sql) = @_;
	return $node->safe_psql('shop', $sql);
}

# refused SQL returns the errors of a session that goes on after each.
sub refused
{
	my ($sql) = @_;
	my ($status, $output, $error) =
	  $node->psql('shop', $sql, on_error_stop => 0, extra_params => [ '--set', 'VERBOSITY=sqlstate' ]);
	$error =~ s/^psql:<stdin>:\d+: //mg;
	return $error;
}

sub test_commands
{
	answer(join "\n",
		(map { order_sql("o$_") } 1 .. 10),
		"CALL order_cqrs.order_update('o1', " . items('ink', 1, '1.00') . ');',
		"CALL order_cqrs.order_complete('o2');",
		"CALL order_cqrs.order_cancel('o3');",
		"CALL order_cqrs.event_append('Cart', 'c', '[{\"type\": \"Opened\", \"data\": {}}]');");
	is(answer("SELECT status, count(*) FROM order_cqrs.order_view GROUP BY 1 ORDER BY 1"),
		"CANCELLED|1\nCOMPLETED|1\nPENDING|8", 'commands work, and the sync projections follow them');
	is(answer("SELECT total_amount FROM order_cqrs.order_get('o1')"), '1.00', 'queries work');
	is(answer('SELECT count(*) FROM order_cqrs.event_read(0)'), 18, 'the log can be read');
	like(refused(order_sql('o1')), qr/ERROR:  OC102/, 'rules hold');
	answer('BEGIN; ' . order_sql('prepared') . " PREPARE TRANSACTION 'p'; COMMIT PREPARED 'p';");
	is(answer("SELECT status FROM order_cqrs.order_get('prepared')"), 'PENDING', 'prepared transactions work');
}

sub test_projections
{
	is(answer('SELECT count(*) FROM order_cqrs.order_stats'), 0, 'nobody sees to the async projection');
	is(answer("SELECT lag_events FROM order_cqrs.projection_status WHERE projection_name = 'order_stats'"),
		14, 'projection_status shows how far it is behind');
	answer("CALL order_cqrs.projection_sync('order_stats')");
	is(answer('SELECT sum(orders) FROM order_cqrs.order_stats'), 11, 'projection_sync takes it to the horizon');
	is(answer("SELECT last_event_count FROM order_cqrs.projection_state WHERE projection_name = 'order_stats'"),
		2, 'by batches of order_cqrs.batch_size');

	answer('CALL order_cqrs.projection_sync()');
	answer("CALL order_cqrs.projection_set_mode('order_stats', 'sync')");
	answer("CALL order_cqrs.projection_set_mode('order_view', 'async')");
	answer(order_sql('after'));
	is(answer('SELECT sum(orders) FROM order_cqrs.order_stats'), 12, 'projection_set_mode works, to sync');
	is(answer("SELECT count(*) FROM order_cqrs.order_view WHERE order_id = 'after'"), 0, 'and to async');

	answer("CALL order_cqrs.projection_pause('order_view')");
	answer('CALL order_cqrs.projection_sync()');
	is(answer("SELECT count(*) FROM order_cqrs.order_view WHERE order_id = 'after'"), 0, 'projection_pause works');
	answer("CALL order_cqrs.projection_resume('order_view')");
	answer('CALL order_cqrs.projection_sync()');
	is(answer("SELECT count(*) FROM order_cqrs.order_view WHERE order_id = 'after'"), 1, 'projection_resume works');

	answer("UPDATE order_cqrs.order_view SET status = 'LOST' WHERE order_id = 'o5'");
	isnt(untrue_rows($node, 'shop'), '', 'projection_verify finds a difference');
	answer("CALL order_cqrs.projection_rebuild('order_view')");
	ok_shop_is_true($node, 'shop', 'after projection_rebuild');
}

# Settings that a session makes before the library is loaded are placeholders until then.
sub test_settings
{
	is(answer("SELECT name FROM pg_settings WHERE name LIKE 'order_cqrs.%'"), '', 'a new session has not loaded the library');

	my $customer = "CALL order_cqrs.customer_put('eve', 'Eve', 'eve\@example.org');";
	answer("SET order_cqrs.tenant_id = 'early'; $customer");
	is(answer("SELECT tenant_id FROM order_cqrs.customers WHERE customer_id = 'eve'"),
		'early', 'order_cqrs.tenant_id that was set before counts');

	answer("BEGIN; SET LOCAL order_cqrs.tenant_id = 'local'; $customer COMMIT;");
	is(answer("SELECT count(*) FROM order_cqrs.customers WHERE tenant_id = 'local'"), 1, 'with SET LOCAL, too');

	answer("ALTER DATABASE shop SET order_cqrs.tenant_id = 'of the database'");
	answer($customer);
	is(answer("SELECT count(*) FROM order_cqrs.customers WHERE tenant_id = 'of the database'"),
		1, 'and with ALTER DATABASE');
	answer('ALTER DATABASE shop RESET order_cqrs.tenant_id');

	my $long = 'x' x 256;
	foreach my $bad ('', $long)
	{
		is(refused("SET order_cqrs.tenant_id = '$bad'; $customer"),
			'ERROR:  OC002', 'a bad tenant that was set before is refused by the command');
		is(refused("LOAD 'order_cqrs'; SET order_cqrs.tenant_id = '$bad'"), 'ERROR:  OC002', 'after loading by SET');
	}
	is(answer("SELECT count(*) FROM order_cqrs.customers WHERE customer_id = 'eve'"), 3, 'no command took another tenant for it');

	my ($status, $output, $error) = $node->psql('shop', "SET order_cqrs.tenant = 'typo'; $customer");
	like($error, qr/order_cqrs\.tenant\b/, 'a setting that does not exist is found out when the library is loaded');
	like(refused("LOAD 'order_cqrs'; SET order_cqrs.tenant = 'typo'"), qr/^ERROR: /, 'and refused afterwards');
	like(refused("LOAD 'order_cqrs'; SET order_cqrs.batch_size = 5"), qr/^ERROR:  55P02/,
		'a setting of the server cannot be set by a session');
	is(answer("LOAD 'order_cqrs'; SHOW order_cqrs.batch_size"), 3, 'and comes from its file');
}

sub test_absence
{
	is(answer("SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'order_cqrs%'"), 0, 'there are no workers');

	# The commands that workers make way for, and DROP EXTENSION in a session that has used it.
	create_database($node, 'other');
	$node->safe_psql('postgres', $_)
	  foreach 'ALTER DATABASE other RENAME TO another', 'CREATE DATABASE twin TEMPLATE shop',
	  'DROP DATABASE another', 'DROP DATABASE twin WITH (FORCE)';
	answer(order_sql('last') . ' DROP EXTENSION order_cqrs CASCADE; CREATE EXTENSION order_cqrs;'
		  . "CALL order_cqrs.customer_put('ada', 'Ada', 'a'); CALL order_cqrs.projection_sync();");
	is(answer('SELECT count(*) FROM order_cqrs.events'), 1, 'the extension can be dropped and made again in one session');
	is(join("\n", grep { /PANIC|FATAL|terminated by signal/ } split /\n/, slurp_file($node->logfile)),
		'', 'the server has had no accident');
}

test_commands();
test_projections();
test_settings();
test_absence();

$node->stop;
done_testing();
