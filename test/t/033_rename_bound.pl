# What a rename cannot reach in its own transaction: orders that are younger than its snapshot, and orders that are being
# written meanwhile. Their rows show the new name as soon as the worker wakes, which the commit has it do: here an interval
# would take longer than this test waits. And what it does reach nobody writes over with a name that he has kept, as soon as
# the rename is visible.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my $node = new_server(
	'rename',
	'order_cqrs.cache_size' => '1MB',
	'order_cqrs.databases' => 'shop',
	'order_cqrs.sync_interval' => '600s',
	max_locks_per_transaction => 256);
$node->start;
create_database($node, 'shop');
open_shop($node, 'shop');
ok(wait_served($node, 'shop'), 'there is a worker');

my $psql = sprintf 'psql --no-psqlrc --quiet --tuples-only --dbname "%s"', $node->connstr('shop');

# ok_shows NAME, ORDER, CUSTOMER, PRODUCT passes once the read tables and the answers show these names of the order's.
sub ok_shows
{
	my ($name, $order, $customer, $product) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	ok($node->poll_query_until('shop', <<"SQL"), $name);
SELECT ('$customer', '$customer', '$customer', '$customer', '$product', '$product')
     = (v.customer_name, s.customer_name, g.customer_name, c.customer_name, i.product_name, g.items -> 0 ->> 'product_name')
  FROM order_cqrs.order_view v JOIN order_cqrs.order_summary_view s USING (order_id)
  JOIN order_cqrs.order_item_view i USING (order_id)
  JOIN order_cqrs.customer_orders(v.customer_id, page_size => 100) c USING (order_id), order_cqrs.order_get('$order') g
 WHERE v.order_id = '$order' AND i.line = 1
SQL
	return;
}

# rename_sql NUMBER
sub rename_sql
{
	my ($number) = @_;
	return "CALL order_cqrs.customer_put('ada', 'Ada $number', 'ada\@example.org');\n"
	  . "CALL order_cqrs.product_put('pen', 'Pen $number', 'Writing');\n";
}

# script_that_creates ORDER returns a file; when its script ends, the worker has seen the order, and has nothing to do.
sub script_that_creates
{
	my ($order) = @_;
	my ($fh, $file) = File::Temp::tempfile(DIR => PostgreSQL::Test::Utils::tempdir());

	print $fh order_sql($order), <<'SQL';
DO $$
BEGIN
    LOOP
        EXIT WHEN (SELECT last_position = (SELECT max(position) FROM order_cqrs.events)
                     FROM order_cqrs.projection_state WHERE projection_name = 'order_stats');
        COMMIT;
    END LOOP;
END $$;
SQL
	close $fh;
	return $file;
}

$node->safe_psql('shop', order_sql('early'));

# The worker has looked over all when it came; what follows it does not find by its interval.
ok($node->poll_query_until('shop', 'SELECT min(last_position) > 0 FROM order_cqrs.projection_state'), 'it has looked over all');

my $number = 1;
foreach my $level ('REPEATABLE READ', 'SERIALIZABLE')
{
	my $order = 'younger' . ++$number;
	$node->safe_psql('shop', "BEGIN ISOLATION LEVEL $level;\nSELECT count(*) FROM order_cqrs.customers;\n"
		  . "\\! $psql --file " . script_that_creates($order) . "\n" . rename_sql($number) . 'COMMIT;');
	ok_shows("an order that is younger than the rename's snapshot, under $level", $order, "Ada $number", "Pen $number");
	ok_shows("an order that is not, under $level", 'early', "Ada $number", "Pen $number");
}

$number++;
$node->safe_psql('shop', "BEGIN;\n" . order_sql('meanwhile') . "PREPARE TRANSACTION 'order'");
$node->safe_psql('shop', rename_sql($number));
$node->safe_psql('shop', "COMMIT PREPARED 'order'");
ok_shows('an order that was being written', 'meanwhile', "Ada $number", "Pen $number");

is($node->safe_psql('shop', 'SELECT sum(repaired_total), sum(renewed_total) > 0 FROM order_cqrs.projection_status'),
	'0|t', 'names were renewed, and nothing was wrong');

# A transaction is visible a moment before all sessions hear of its changes at its commit. COMMIT PREPARED removes the files of
# dropped tables in between, so a thousand of them make a long moment. In it a session writes an order whose product's name it
# has kept, from before the rename, or since but before it was committed. That it was in the moment is seen by the COMMIT
# PREPARED, which goes on.
$node->safe_psql('shop', q(ALTER SYSTEM SET order_cqrs.databases = ''; SELECT pg_reload_conf()));
ok(wait_unserved($node, 'shop'), 'the worker is gone, and cannot mend what others do');

# write_in_moment BEFORE, AFTER renames to the next number, with statements before and after that, and returns whether the order
# was written in time.
sub write_in_moment
{
	my ($before, $after) = @_;
	my $update = "CALL order_cqrs.order_update('early', " . items('pen', ++$number, 1) . ');';
	my ($fh, $file) = File::Temp::tempfile(DIR => PostgreSQL::Test::Utils::tempdir());

	print $fh <<"SQL";
SELECT format('CREATE TABLE dropped_%s ()', i) FROM generate_series(1, 1000) i \\gexec
BEGIN;
CALL order_cqrs.product_put('pen', 'Pen $number', 'Writing');
SELECT format('DROP TABLE dropped_%s', i) FROM generate_series(1, 1000) i \\gexec
PREPARE TRANSACTION 'rename';
SQL
	close $fh;
	my $was_in_time = $node->safe_psql('shop', <<"SQL");
$before
\\! $psql --file $file
$after
\\! $psql --command "COMMIT PREPARED 'rename'" &
DO \$\$
BEGIN
    LOOP
        EXIT WHEN EXISTS (SELECT FROM order_cqrs.products WHERE name = 'Pen $number');
    END LOOP;
    $update
END \$\$;
SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'COMMIT PREPARED%';
SQL
	$node->poll_query_until('shop', "SELECT count(*) = 0 FROM pg_stat_activity WHERE query LIKE 'COMMIT PREPARED%'");
	return $was_in_time;
}

foreach my $when ('before the rename', 'before its commit')
{
	my $was_in_time = 0;

	for (my $try = 1; $try <= 10 && !$was_in_time; $try++)
	{
		my @create = (order_sql("keeper$number"), '');
		$was_in_time = write_in_moment($when eq 'before the rename' ? @create : reverse @create);
	}
	is($was_in_time, 1, "an order was written between a rename and its announcement, with a name kept $when");
	is($node->safe_psql('shop', "SELECT items -> 0 ->> 'product_name' FROM order_cqrs.order_get('early')"),
		"Pen $number", 'it shows the new name');
}

$node->stop;
done_testing();
