# Shop.pm: what the tests beside it share. A shop is a database with the extension in it, customers 'ada' and
# 'alan', and products 'pen' and 'ink'.

package Shop;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(new_server set_and_reload create_database open_shop items order_sql
  loud_lines log_end kill_process kill_and_start wait_served wait_unserved wait_projected wait_row worker_pid untrue_rows missing_halves
  ok_shop_is_true);

our @projections = qw(reference inventory payments order_view order_summary_view order_stats);

# new_server NAME, SETTING => VALUE ... returns a node that is not yet started, with the extension preloaded and
# no database for the workers. allows_streaming is passed on to init.
sub new_server
{
	my ($name, %settings) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(allows_streaming => delete $settings{allows_streaming});
	append_settings(
		$node,
		shared_preload_libraries => 'order_cqrs',
		'order_cqrs.databases' => '',
		'order_cqrs.saga' => 'off',
		max_connections => 40,
		max_worker_processes => 20,
		max_prepared_transactions => 10,
		log_statement => 'none',
		($ENV{OCQ_DIRECT_WRITES} ? ('order_cqrs.direct_writes' => $ENV{OCQ_DIRECT_WRITES}) : ()),
		%settings);
	return $node;
}

sub append_settings
{
	my ($node, %settings) = @_;
	$node->append_conf('postgresql.conf', "$_ = '$settings{$_}'")
	  foreach sort keys %settings;
	return;
}

# set_and_reload NODE, SETTING => VALUE ... changes settings of a running server.
sub set_and_reload
{
	my ($node, %settings) = @_;
	append_settings($node, %settings);
	$node->reload;
	return;
}

sub create_database
{
	my ($node, $database) = @_;
	$node->safe_psql('postgres', qq(CREATE DATABASE "$database"));
	return;
}

# open_shop NODE, DATABASE puts the shop into a database that is there.
sub open_shop
{
	my ($node, $database) = @_;
	$node->safe_psql($database, <<'SQL');
CREATE EXTENSION order_cqrs CASCADE;
CALL order_cqrs.customer_put('ada', 'Ada', 'ada@example.org');
CALL order_cqrs.customer_put('alan', 'Alan', 'alan@example.org');
CALL order_cqrs.product_put('pen', 'Pen', 'Writing');
CALL order_cqrs.product_put('ink', 'Ink', 'Supplies');
SQL
	return;
}

# items PRODUCT, QUANTITY, PRICE, ... returns an SQL literal.
sub items
{
	my @items;
	while (my ($product, $quantity, $price) = splice @_, 0, 3)
	{
		push @items, qq({"product_id": "$product", "quantity": $quantity, "unit_price": "$price"});
	}
	return "'[" . join(', ', @items) . "]'";
}

# order_sql ID [, OPTION ...] returns the statement that creates an order of 10.00; options are such as
# "command_id => ...".
sub order_sql
{
	my ($id, @options) = @_;
	my $arguments = join ', ', "'$id'", "'ada'", items('pen', 2, '3.50', 'ink', 1, '3.00'), @options;
	return "CALL order_cqrs.order_create($arguments);";
}

sub log_end
{
	my ($node) = @_;
	return -s $node->logfile;
}

# kill_process NODE, PID kills one of the server's processes and returns when the server has recovered. It asks the
# log and not the server: a psql that is refused makes IPC::Run die of the query that it did not read.
sub kill_process
{
	my ($node, $pid) = @_;
	my $end = log_end($node);

	system_or_bail('pg_ctl', 'kill', 'KILL', $pid);
	foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return if slurp_file($node->logfile, $end) =~ /database system is ready to accept connections/;
		select undef, undef, undef, 0.1;
	}
	die 'the server did not restart';
}

# kill_and_start NODE, PID kills one of the server's processes and starts the server anew. A launcher that comes with
# the server starts the others at once; after a recovery it would leave them a moment's peace first.
sub kill_and_start
{
	my ($node, $pid) = @_;

	system_or_bail('pg_ctl', 'kill', 'KILL', $pid);
	$node->stop('immediate');
	$node->start;
	return;
}

# loud_lines NODE, OFFSET returns what the server's log has from there on of warnings and worse. Processes that
# were asked to go are no trouble.
sub loud_lines
{
	my ($node, $offset) = @_;
	return grep { /\b(?:WARNING|ERROR|FATAL|PANIC): / && !/due to administrator command/ }
	  split /\n/, slurp_file($node->logfile, $offset);
}

sub worker_count_is
{
	my ($node, $database, $count) = @_;
	return $node->poll_query_until('postgres',
		"SELECT count(*) = $count FROM pg_stat_activity"
		  . " WHERE backend_type = 'order_cqrs synchroniser' AND datname = '$database'");
}

# wait_served NODE, DATABASE waits for the database's synchroniser, and wait_unserved for its end. They return
# whether that came.
sub wait_served { return worker_count_is(@_, 1); }

sub wait_unserved { return worker_count_is(@_, 0); }

# wait_projected NODE, DATABASE [, PROJECTION] waits until workers have taken the projection, else all, to the
# end of the log. It returns whether they have.
sub wait_projected
{
	my ($node, $database, $projection) = @_;
	my $which = defined $projection ? "projection_name = '$projection'" : 'true';
	return $node->poll_query_until($database,
		"SELECT sum(lag_events + unchecked_events) = 0 FROM order_cqrs.projection_status WHERE $which");
}

# wait_row NODE, DATABASE, QUERY returns what a query returns once that is something. Nothing lies between the look that
# waits and the one that counts.
sub wait_row
{
	my ($node, $database, $query) = @_;

	foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		my $row = $node->safe_psql($database, $query);
		return $row if $row ne '';
		select undef, undef, undef, 0.1;
	}
	die "this never returned anything: $query";
}

# worker_pid NODE, TYPE [, DATABASE] returns the pid of the "launcher" or the "synchroniser", once there is one.
sub worker_pid
{
	my ($node, $type, $database) = @_;
	my $where = "backend_type = 'order_cqrs $type'"
	  . (defined $database ? " AND datname = '$database'" : '');

	return wait_row($node, 'postgres', "SELECT min(pid) FROM pg_stat_activity WHERE $where HAVING count(*) = 1");
}

# untrue_rows NODE, DATABASE returns what projection_verify finds, of all projections.
sub untrue_rows
{
	my ($node, $database) = @_;
	return $node->safe_psql(
		$database,
		join ' UNION ALL ',
		map { "SELECT '$_', v.* FROM order_cqrs.projection_verify('$_') AS v" } @projections);
}

# missing_halves NODE, DATABASE returns orders that have events and no row, a row and no events, or a row without
# its items.
sub missing_halves
{
	my ($node, $database) = @_;
	return $node->safe_psql($database, <<'SQL');
WITH orders AS (
    SELECT DISTINCT tenant_id, aggregate_id AS order_id FROM order_cqrs.events WHERE aggregate_type = 'Order'
), items AS (
    SELECT DISTINCT tenant_id, order_id FROM order_cqrs.order_item_view
)
SELECT tenant_id, order_id, o IS NOT NULL AS has_events, v.order_id IS NOT NULL AS is_in_order_view,
       s.order_id IS NOT NULL AS is_in_order_summary_view, i IS NOT NULL AS has_items
  FROM orders o
  FULL JOIN order_cqrs.order_view v USING (tenant_id, order_id)
  FULL JOIN order_cqrs.order_summary_view s USING (tenant_id, order_id)
  FULL JOIN items i USING (tenant_id, order_id)
 WHERE o IS NULL OR v.order_id IS NULL OR s.order_id IS NULL OR i IS NULL
SQL
}

# ok_shop_is_true NODE, DATABASE, NAME passes if every read table is what the events say.
sub ok_shop_is_true
{
	my ($node, $database, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is(substr(untrue_rows($node, $database) . missing_halves($node, $database), 0, 2000),
		'', "$name: the read tables are true");
	return;
}

1;
