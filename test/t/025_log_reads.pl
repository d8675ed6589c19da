# A projection finds the end of its next batch by an index of its types, whatever the planner knows of them: it does not
# read the events of other types, which may be nearly all of the log.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Shop;
use Test::More;

my $others = 10000;

my $node = new_server('log_reads', autovacuum => 'off');
$node->start;
create_database($node, 'shop');
open_shop($node, 'shop');

# append_many appends events of a type that no projection handles, and an order.
sub append_many
{
	$node->safe_psql('shop', <<"SQL" . order_sql(shift));
DO \$\$
DECLARE
	events jsonb := (SELECT jsonb_agg('{"type": "T", "data": {}}'::jsonb) FROM generate_series(1, $others / 10));
BEGIN
	FOR i IN 1 .. 10 LOOP
		CALL order_cqrs.event_append('Note', gen_random_uuid()::text, events);
	END LOOP;
END \$\$;
SQL
	return;
}

# entries_read_by PLANS, QUERY returns how many entries of the log's indexes, and rows of scans of the whole log, a
# statement reads that has plans of this kind.
sub entries_read_by
{
	my ($plans, $query) = @_;
	my $read = <<'SQL';
SELECT pg_stat_force_next_flush();
SELECT pg_stat_get_tuples_returned('order_cqrs.events'::regclass) + sum(pg_stat_get_tuples_returned(indexrelid))
  FROM pg_index WHERE indrelid = 'order_cqrs.events'::regclass;
SQL
	my @counts = ($node->safe_psql('shop', "SET plan_cache_mode = $plans;\n$read$query;\n$read") =~ /^(\d+)$/mg);
	return $counts[-1] - $counts[0];
}

# ok_reads_little STATISTICS tries a batch, whose only event is the last of many.
sub ok_reads_little
{
	my ($statistics) = @_;

	foreach my $plans ('force_custom_plan', 'force_generic_plan')
	{
		my $id = "$statistics, $plans";

		append_many($id);
		cmp_ok(entries_read_by($plans, q(CALL order_cqrs.projection_sync('order_stats'))), '<', $others / 10, "entries read: $id");
		is($node->safe_psql('shop', "SELECT count(*) FROM order_cqrs.order_stats_applied WHERE order_id = '$id'"),
			1, "handled: $id");
	}
	return;
}

# The counters do count the entries of an index that leads past the events of other types.
append_many('counted');
cmp_ok(entries_read_by('auto', <<'SQL'), '>', $others, 'a scan by position is counted');
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SELECT count(data) FROM order_cqrs.events WHERE position > 0
SQL

$node->safe_psql('shop', q(DELETE FROM pg_statistic WHERE starelid = 'order_cqrs.events'::regclass));
ok_reads_little('no statistics');
$node->safe_psql('shop', 'ANALYZE order_cqrs.events');
ok_reads_little('statistics');

# As of a log that had events of one type.
$node->safe_psql('shop', 'ALTER TABLE order_cqrs.events ALTER aggregate_type SET (n_distinct = 1); ANALYZE order_cqrs.events');
ok_reads_little('statistics of one type');

$node->stop;
done_testing();
