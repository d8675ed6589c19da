# Several databases: which of them have a synchroniser, and how that gives way to those who want a database, or
# the extension in it, gone. sync_interval is an hour, so that what happens soon was caused by a commit.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

# "ghost" does not exist, and Annex does not have the extension yet.
my $node = new_server('databases', 'order_cqrs.sync_interval' => '1h');
$node->start;
create_database($node, $_) foreach 'shop', 'Annex';
open_shop($node, 'shop');
set_and_reload($node, 'order_cqrs.databases' => 'shop, "Annex", ghost');

my $log_start = log_end($node);
my $orders = 0;

# is_projected DATABASE creates an order there and passes if it comes to be counted.
sub is_projected
{
	my ($database, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $id = 'o' . ++$orders;

	$node->safe_psql($database, order_sql($id));
	ok( $node->poll_query_until(
			$database, "SELECT count(*) = 1 FROM order_cqrs.order_stats_applied WHERE order_id = '$id'"),
		$name);
	return;
}

# log_is_quiet NAME passes if there was no trouble since the last call.
sub log_is_quiet
{
	my ($name, %params) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @loud = loud_lines($node, $log_start);

	@loud = grep { !/$params{besides}/ } @loud if defined $params{besides};
	is(join("\n", @loud), '', $name);
	$log_start = log_end($node);
	return;
}

sub test_extension
{
	ok(wait_served($node, 'Annex'), 'a database without the extension has a synchroniser');
	log_is_quiet('which keeps quiet');
	open_shop($node, 'Annex');
	is_projected('Annex', 'it is served once it has the extension');
	is_projected('shop', 'and so is the other');

	foreach my $round (1 .. 3)
	{
		$node->safe_psql('Annex', 'DROP EXTENSION order_cqrs CASCADE');
		open_shop($node, 'Annex');
		is_projected('Annex', "it is served after DROP EXTENSION and CREATE EXTENSION, $round");
	}
	log_is_quiet('without an error');

	# The extension is dropped as soon as the synchroniser has been given work.
	foreach my $round (1 .. 5)
	{
		$node->safe_psql('Annex', join "\n", order_sql('o' . ++$orders), 'DROP EXTENSION order_cqrs CASCADE;');
		open_shop($node, 'Annex');
	}
	is_projected('Annex', 'it is served after DROP EXTENSION in the middle of work');
	my @loud = loud_lines($node, $log_start);
	cmp_ok(scalar @loud, '<=', 5, 'there is at most one error for each DROP EXTENSION') or diag(join "\n", @loud);
	$log_start = log_end($node);
}

sub test_list
{
	set_and_reload($node, 'order_cqrs.databases' => 'shop, ghost');
	ok(wait_unserved($node, 'Annex'), 'a database that is removed from the list loses its synchroniser');
	is_projected('shop', 'the others keep theirs');
	$node->safe_psql('Annex', order_sql('o' . ++$orders));
	set_and_reload($node, 'order_cqrs.databases' => 'shop, "Annex", ghost');
	ok(wait_served($node, 'Annex'), 'one that is added gets a synchroniser');
	ok(wait_projected($node, 'Annex', 'order_stats'), 'which sees to what was done meanwhile');
	is_projected('Annex', 'and goes on');

	create_database($node, 'ghost');
	ok(wait_served($node, 'ghost'), 'a listed database that is made later gets a synchroniser');
	open_shop($node, 'ghost');
	is_projected('ghost', 'and is served');
	log_is_quiet('the log has nothing of this');

	my $log = log_end($node);
	set_and_reload($node, 'order_cqrs.databases' => 'shop,,Annex');
	$node->wait_for_log(qr/invalid value for parameter "order_cqrs.databases"/, $log);
	is($node->safe_psql('postgres', 'SHOW order_cqrs.databases'),
		'shop, "Annex", ghost', 'a list that is none is refused, and the old one stays');
	set_and_reload($node, 'order_cqrs.databases' => 'shop, "Annex", ghost');
	$log_start = log_end($node);
}

sub test_drop
{
	wait_served($node, 'ghost');
	my ($status, $output, $error) = $node->psql('postgres', 'DROP DATABASE ghost');
	is($status, 0, 'DROP DATABASE works while a synchroniser is connected') or diag($error);
	ok(wait_unserved($node, 'ghost'), 'which goes');
	create_database($node, 'ghost');
	$node->reload;    # makes the launcher look at once
	open_shop($node, 'ghost');
	ok(wait_served($node, 'ghost'), 'a new database with the old name gets one again');
	is_projected('ghost', 'and is served');
	log_is_quiet('no synchroniser has failed for it');

	my $session = $node->background_psql('ghost');
	$session->query_safe('SELECT 1');
	($status, $output, $error) = $node->psql('postgres', 'DROP DATABASE ghost');
	isnt($status, 0, 'DROP DATABASE fails while a session is connected');
	like($error, qr/is being accessed by other users/, 'for that reason');
	ok(wait_served($node, 'ghost'), 'and the synchroniser comes back');
	is_projected('ghost', 'and serves');
	$session->quit;
	log_is_quiet('one error is logged', besides => qr/ERROR:  database "ghost" is being accessed by other users/);

	$node->safe_psql('postgres', 'CREATE ROLE clerk LOGIN');
	my $pid = worker_pid($node, 'synchroniser', 'ghost');
	foreach my $command ('DROP DATABASE ghost', 'ALTER DATABASE ghost RENAME TO spirit', 'DROP DATABASE nowhere')
	{
		($status) = $node->psql('postgres', $command, extra_params => [ '--username', 'clerk' ]);
		isnt($status, 0, "$command is refused");
	}
	is(worker_pid($node, 'synchroniser', 'ghost'), $pid, 'a command that may not be run moves no synchroniser');
	$log_start = log_end($node);

	$node->safe_psql('postgres', 'DROP DATABASE ghost WITH (FORCE)');
	ok(wait_unserved($node, 'ghost'), 'DROP DATABASE WITH (FORCE) works');
	log_is_quiet('and logs no error');
}

sub test_rename
{
	wait_served($node, 'Annex');
	my ($status, $output, $error) = $node->psql('postgres', 'ALTER DATABASE "Annex" RENAME TO branch');
	is($status, 0, 'ALTER DATABASE RENAME works while a synchroniser is connected') or diag($error);
	ok(wait_unserved($node, 'branch'), 'a name that is not listed has none');
	set_and_reload($node, 'order_cqrs.databases' => 'shop, branch');
	ok(wait_served($node, 'branch'), 'once it is listed it has');
	is_projected('branch', 'and is served');
	log_is_quiet('no error is logged for it');
}

sub test_template
{
	wait_served($node, 'shop');
	my ($status, $output, $error) = $node->psql('postgres', 'CREATE DATABASE twin TEMPLATE shop');
	is($status, 0, 'CREATE DATABASE works with a served database as its template') or diag($error);
	is_projected('shop', 'the template is served again');
	is($node->safe_psql('twin', 'SELECT count(*) FROM order_cqrs.events'),
		$node->safe_psql('shop', 'SELECT count(*) - 1 FROM order_cqrs.events'), 'the copy has the events');
	set_and_reload($node, 'order_cqrs.databases' => 'shop, branch, twin');
	is_projected('twin', 'the copy is served once it is listed');
	ok_shop_is_true($node, 'twin', 'in the copy');
	log_is_quiet('no error is logged for it');
}

# A new launcher knows nothing of the synchronisers that its predecessor has started.
sub test_launcher
{
	my $pid = worker_pid($node, 'launcher');

	$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
	ok( $node->poll_query_until(
			'postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'order_cqrs launcher' AND pid <> $pid"),
		'a terminated launcher is replaced');
	is_projected($_, "$_ is served meanwhile") foreach 'shop', 'branch', 'twin';
	set_and_reload($node, 'order_cqrs.databases' => 'shop');
	ok(wait_unserved($node, $_), "the new launcher can end the synchroniser of $_") foreach 'branch', 'twin';
	is_projected('shop', 'and leaves the others');
	log_is_quiet('no error is logged for it');
}

test_extension();
test_list();
test_drop();
test_rename();
test_template();
test_launcher();

ok_shop_is_true($node, 'shop', 'at the end');

$node->stop;
done_testing();
