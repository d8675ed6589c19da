# Positions are used once: they go on far ahead after a crash and after a promotion, so that what consumers have seen of a
# lost end of the log is never taken for what came instead of it. After a clean restart they go on where they were.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my $generation = 1_000_000_000;
my $note = q('[{"type": "T", "data": {}}]');

my $primary = new_server('primary', allows_streaming => 1, restart_after_crash => 'on', log_error_verbosity => 'verbose');
$primary->start;
create_database($primary, $_) foreach 'shop', 'second';
open_shop($primary, $_) foreach 'shop', 'second';

sub end_of_log
{
	my ($node, $database) = @_;
	return $node->safe_psql($database, 'SELECT max(position) FROM order_cqrs.events');
}

# append NODE, DATABASE returns how far the log has come by it.
sub append
{
	my ($node, $database) = @_;
	my $before = end_of_log($node, $database);

	$node->safe_psql($database, "CALL order_cqrs.event_append('Note', 'n', $note)");
	return end_of_log($node, $database) - $before;
}

# refusal NODE, POSITION returns the SQLSTATE with which event_read refuses a checkpoint, and the position to read on from.
sub refusal
{
	my ($node, $position) = @_;
	my (undef, undef, $error) = $node->psql('shop', "SELECT count(*) FROM order_cqrs.event_read($position)",
		extra_params => [ '--set', 'VERBOSITY=verbose' ]);
	return join ' ', $error =~ /ERROR:  (\w{5})/, $error =~ /after position (\d+)/;
}

sub test_clean_restart
{
	is(append($primary, 'shop'), 1, 'positions are dense');
	$primary->restart;
	is(append($primary, 'shop'), 1, 'and go on so after a clean restart');
	return;
}

# What a session looks at before its first append is not what an open transaction has appended.
sub test_import
{
	my $session = $primary->background_psql('shop');
	my $entries_read = sub {
		return $primary->safe_psql('shop', "SELECT pg_stat_get_tuples_returned('order_cqrs.events_position_key'::regclass)");
	};

	$session->query_safe(<<'SQL');
BEGIN;
DO $$
DECLARE
	events jsonb := (SELECT jsonb_agg('{"type": "T", "data": {}}'::jsonb) FROM generate_series(1, 5000));
BEGIN
	CALL order_cqrs.event_append('Note', 'import', events);
END $$;
SQL
	my $before = $entries_read->();
	$primary->safe_psql('shop', "CALL order_cqrs.event_append('Note', 'n', $note)");
	cmp_ok($entries_read->() - $before, '<', 100, 'an append does not read what another transaction has appended');
	$session->query_safe('ROLLBACK');
	$session->quit;
	return;
}

sub test_crash
{
	my $end = end_of_log($primary, 'shop');

	$primary->stop('immediate');
	$primary->start;
	cmp_ok(append($primary, 'shop'), '>=', $generation, 'a crash: positions go on far ahead');
	is(append($primary, 'shop'), 1, 'a crash: they do so once');
	cmp_ok(append($primary, 'second'), '>=', $generation, 'a crash: in each database');
	is(refusal($primary, $end), '', 'a crash: a checkpoint at the end of the log before it is good');
	is(refusal($primary, $end + 20), "OC306 $end", 'a crash: one beyond it is refused, and the error says where to go on');

	$end = end_of_log($primary, 'shop');
	kill_process($primary,
		$primary->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'"));
	cmp_ok(append($primary, 'shop'), '>=', $generation, 'a killed process: positions go on far ahead');
	is(refusal($primary, $end + 20), "OC306 $end", 'a killed process: a checkpoint that was lost is known');
	return;
}

# Transactions that a crash has left prepared hold their locks for days: nobody may wait for them.
sub test_prepared
{
	$primary->safe_psql('shop',
		"BEGIN; CALL order_cqrs.event_append('Note', 'prepared', $note); PREPARE TRANSACTION 'p'");
	my $end = end_of_log($primary, 'shop');

	$primary->stop('immediate');
	$primary->start;
	cmp_ok(append($primary, 'shop'), '>=', $generation, 'a prepared transaction is not waited for');
	$primary->safe_psql('shop', "COMMIT PREPARED 'p'");
	is($primary->safe_psql('shop', "SELECT position - $end FROM order_cqrs.events WHERE aggregate_id = 'prepared'"),
		1, 'and its event keeps its position');
	return;
}

# The standby has missed the last events that a consumer of the primary has seen.
sub test_promotion
{
	my $standby = PostgreSQL::Test::Cluster->new('standby');

	$primary->backup('backup');
	$standby->init_from_backup($primary, 'backup', has_streaming => 1);
	$standby->start;
	$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
	my $kept = end_of_log($standby, 'shop');

	set_and_reload($standby, primary_conninfo => '');
	$standby->poll_query_until('postgres', 'SELECT count(*) = 0 FROM pg_stat_wal_receiver');
	is(append($primary, 'shop'), 1, 'a promotion: the primary goes on') foreach 1 .. 3;
	$primary->stop;
	$standby->restart;
	$standby->promote;

	cmp_ok(append($standby, 'shop'), '>=', $generation, 'a promotion: positions go on far ahead');
	is(append($standby, 'shop'), 1, 'a promotion: they do so once');
	is(refusal($standby, $kept), '', 'a promotion: the end of what was kept is a good checkpoint');
	is(refusal($standby, $kept + 3), "OC306 $kept", 'a promotion: what the primary had beyond it is refused');
	$standby->stop;
	return;
}

# A server that was shut down cleanly, but as another timeline: it may have followed a primary in between.
sub test_timeline
{
	$primary->set_standby_mode;
	$primary->start;
	$primary->promote;
	cmp_ok(append($primary, 'shop'), '>=', $generation, 'a former primary: positions go on far ahead');
	return;
}

# Somebody sets the sequence back, and nobody appends: the worker finds it.
sub test_worker
{
	my $end = end_of_log($primary, 'shop');
	my $log = log_end($primary);

	set_and_reload($primary, 'order_cqrs.databases' => 'shop', 'order_cqrs.sync_interval' => '1s');
	ok(wait_projected($primary, 'shop'), 'the worker: it serves the database');
	$primary->safe_psql('shop', "SELECT setval('order_cqrs.events_position_seq', 5)");
	ok($primary->poll_query_until('shop', "SELECT last_value >= $end + $generation FROM order_cqrs.events_position_seq"),
		'the worker: it sets a sequence right that is behind the log');
	like(join("\n", loud_lines($primary, $log)), qr/WARNING:  OC307: the sequence of positions was behind the log/,
		'the worker: it says so');
	is(append($primary, 'shop') >= $generation, 1, 'the worker: the next event is beyond');
	return;
}

test_clean_restart();
test_import();
test_crash();
test_prepared();
test_promotion();
test_timeline();
test_worker();

$primary->stop;
done_testing();
