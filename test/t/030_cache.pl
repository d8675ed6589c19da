# The cache never lies. Sessions write and read the same orders at once; what a reader gets has to be at least what
# was acknowledged before he asked, and what he has just found in the read table himself. What is rolled back
# nobody sees, a session sees what it has not committed yet, and an old snapshot has old answers.
#
# A writer acknowledges a version by setval() of a sequence: everybody sees that at once, whatever his snapshot.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my $writers = 3;
my $rounds = 150;
my $orders = 31;    # the last is for prepared transactions

my $node = new_server(
	'cache',
	'order_cqrs.cache_size' => '4MB',
	'order_cqrs.sync_interval' => '1s',
	restart_after_crash => 'on',
	allows_streaming => 1);
$node->start;
create_database($node, 'shop');
open_shop($node, 'shop');
$node->safe_psql('shop', <<"SQL");
CALL order_cqrs.customer_put('ada', 'Ada 1', 'ada\@example.org');
CREATE SCHEMA checker;
SET search_path = checker;
CREATE SEQUENCE finished;
CREATE SEQUENCE names;

CREATE FUNCTION last_of(sequence regclass) RETURNS bigint LANGUAGE sql VOLATILE
    AS 'SELECT coalesce(pg_sequence_last_value(sequence), 1)';
CREATE FUNCTION acked(number int) RETURNS regclass LANGUAGE sql AS \$\$ SELECT ('checker.acked_' || number)::regclass \$\$;
CREATE FUNCTION pens(quantity int, price numeric) RETURNS jsonb LANGUAGE sql AS \$\$
    SELECT jsonb_build_array(jsonb_build_object('product_id', 'pen', 'quantity', quantity, 'unit_price', price)) \$\$;

DO \$\$
BEGIN
    FOR number IN 1 .. $orders LOOP
        EXECUTE format('CREATE SEQUENCE acked_%s', number);
        CALL order_cqrs.order_create('o' || number, 'ada', checker.pens(1, 1));
    END LOOP;
END \$\$;

-- Writes its orders, each in another way. A price of 666 is always rolled back.
CREATE PROCEDURE write_orders(writer int, rounds int) LANGUAGE plpgsql AS \$\$
DECLARE
    number int;
    id text;
    new int;
BEGIN
    FOR round IN 1 .. rounds LOOP
        number := writer + $writers * (round % (($orders - 1) / $writers));
        id := 'o' || number;
        IF round % 4 = 1 THEN
            CALL order_cqrs.order_update(id, checker.pens(round, 666));
            ROLLBACK;
        ELSIF round % 4 = 2 THEN
            BEGIN
                CALL order_cqrs.order_update(id, checker.pens(round, 666));
                RAISE division_by_zero;
            EXCEPTION WHEN division_by_zero THEN
            END;
        END IF;
        CALL order_cqrs.order_update(id, checker.pens(round, 1), version => new);
        ASSERT (SELECT version FROM order_cqrs.order_get(id)) = new, 'a session does not see what it has not committed yet';
        COMMIT;
        PERFORM setval(checker.acked(number), new);
        ASSERT (SELECT version FROM order_cqrs.order_get(id)) = new, 'a session does not see what it has committed';
    END LOOP;
END \$\$;

CREATE PROCEDURE rename(rounds int) LANGUAGE plpgsql AS \$\$
BEGIN
    FOR number IN checker.last_of('checker.names') + 1 .. checker.last_of('checker.names') + rounds LOOP
        CALL order_cqrs.customer_put('ada', 'Ada ' || number, 'ada\@example.org');
        COMMIT;
        PERFORM setval('checker.names', number);
    END LOOP;
END \$\$;

-- Reads until the others have finished, and returns what was wrong.
CREATE FUNCTION read_orders(has_acks boolean) RETURNS SETOF text LANGUAGE plpgsql AS \$\$
DECLARE
    number int;
    acknowledged bigint;
    name bigint;
    found int;
    got record;
BEGIN
    WHILE checker.last_of('checker.finished') = 1 LOOP
        number := 1 + random() * ($orders - 1);
        acknowledged := CASE WHEN has_acks THEN checker.last_of(checker.acked(number)) ELSE 1 END;
        name := CASE WHEN has_acks THEN checker.last_of('checker.names') ELSE 1 END;
        SELECT version INTO found FROM order_cqrs.order_view WHERE order_id = 'o' || number;
        SELECT * INTO got FROM order_cqrs.order_get('o' || number);
        IF got.version < greatest(acknowledged, found) OR got.total_amount % 666 = 0 OR substr(got.customer_name, 5)::bigint < name THEN
            RETURN NEXT format('order_get: found %s, acknowledged %s and name %s, but got %s', found, acknowledged, name, got);
        END IF;

        SELECT version INTO found FROM order_cqrs.order_summary_view WHERE order_id = 'o' || number;
        SELECT * INTO got FROM order_cqrs.customer_orders('ada', page_size => 100) WHERE order_id = 'o' || number;
        IF got.version < greatest(acknowledged, found) OR got.total_amount % 666 = 0 OR substr(got.customer_name, 5)::bigint < name THEN
            RETURN NEXT format('customer_orders: found %s, acknowledged %s and name %s, but got %s', found, acknowledged, name, got);
        END IF;
    END LOOP;
END \$\$;

-- Under REPEATABLE READ what is found and what is got are the same.
CREATE PROCEDURE read_snapshots() LANGUAGE plpgsql AS \$\$
DECLARE
    number int;
    found int;
BEGIN
    WHILE checker.last_of('checker.finished') = 1 LOOP
        number := 1 + random() * ($orders - 1);
        SELECT version INTO found FROM order_cqrs.order_view WHERE order_id = 'o' || number;
        FOR i IN 1 .. 5 LOOP
            ASSERT found = (SELECT version FROM order_cqrs.order_get('o' || number)), 'a snapshot has other answers';
        END LOOP;
        COMMIT;
    END LOOP;
END \$\$;
SQL

# start_client SCRIPT [, OPTIONS] starts a psql with a script, in a file, as nobody would feed it meanwhile.
# finish_client waits for it and returns what it has printed.
sub start_client
{
	my ($script, $options) = @_;
	my ($fh, $file) = File::Temp::tempfile(DIR => PostgreSQL::Test::Utils::tempdir());
	my $client = { out => '', err => '' };
	local $ENV{PGOPTIONS} = $options // '';

	print $fh $script;
	close $fh;

	$client->{psql} = IPC::Run::start(
		[
			'psql', '--no-psqlrc', '--quiet', '--tuples-only', '--no-align', '--file', $file,
			'--dbname', $node->connstr('shop')
		],
		'<', \undef, '>', \$client->{out}, '2>', \$client->{err});
	return $client;
}

sub finish_client
{
	my ($client) = @_;
	$client->{psql}->finish;
	return substr $client->{out} . $client->{err}, 0, 2000;
}

# prepared_script returns what writes the last order by prepared transactions; every third is rolled back.
sub prepared_script
{
	my $script = '';
	my $version = $node->safe_psql('shop', "SELECT version FROM order_cqrs.order_get('o$orders')");

	foreach my $round (1 .. $rounds)
	{
		my $end = $round % 3 ? 'COMMIT' : 'ROLLBACK';
		my $price = $round % 3 ? 1 : 666;
		$script .= "BEGIN;\nCALL order_cqrs.order_update('o$orders', checker.pens($round, $price));\n"
		  . "PREPARE TRANSACTION 'cache';\n$end PREPARED 'cache';\n";
		$script .= sprintf "SELECT setval('checker.acked_%s', %s) \\g /dev/null\n", $orders, ++$version if $round % 3;
	}
	return $script;
}

# conflict_script ORDER, OTHER makes transactions that fail when they commit, if another does the reverse.
sub conflict_script
{
	my ($order, $other) = @_;
	return "BEGIN ISOLATION LEVEL SERIALIZABLE;\n"
	  . "SELECT version FROM order_cqrs.order_get('$other') \\g /dev/null\n"
	  . "CALL order_cqrs.order_update('$order', checker.pens(1, 1));\nCOMMIT;\n"
	  . "SELECT order_cqrs.order_get('$order') \\g /dev/null\n";
}

sub stats
{
	my ($column) = @_;
	return $node->safe_psql('shop', "SELECT $column FROM order_cqrs.cache_stats");
}

# differences returns the orders whose answers are not what is in the read tables.
sub differences
{
	return $node->safe_psql('shop', <<'SQL');
SELECT v.order_id, v.version, g.version, g.total_amount FROM order_cqrs.order_view v, order_cqrs.order_get(v.order_id) g
 WHERE (v.version, v.total_amount, v.customer_name) IS DISTINCT FROM (g.version, g.total_amount, g.customer_name)
UNION ALL
(SELECT order_id, version, NULL::int, total_amount FROM order_cqrs.customer_orders('ada', page_size => 100)
 EXCEPT SELECT order_id, version, NULL::int, total_amount FROM order_cqrs.order_summary_view)
SQL
}

# ok_serves NAME passes if the cache answers: nobody counts as a writer for ever.
sub ok_serves
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is(differences(), '', "$name: the answers are those of the read tables");
	my $before = stats('hits');
	is(differences(), '', "$name: so they are the second time");
	is(stats("hits - $before"), $orders + 1, "$name: that is answered from the cache");
	return;
}

# run_load HAS_ACKS runs all clients against each other. It returns what they complain about.
sub run_load
{
	my ($has_acks) = @_;
	$node->safe_psql('shop', "SELECT setval('checker.finished', 1, false)");

	my @readers = map { start_client("SELECT checker.read_orders($has_acks)") } 1 .. 2;
	push @readers, start_client('CALL checker.read_snapshots()', '-c default_transaction_isolation=repeatable\\ read');
	my @writers = map { start_client("CALL checker.write_orders($_, $rounds)") } 1 .. ($has_acks eq 'true' ? $writers : 0);
	push @writers, start_client("CALL checker.rename($rounds)"), start_client(prepared_script())
	  if $has_acks eq 'true';
	push @writers, map { start_client($_) } unacknowledged_scripts() if $has_acks ne 'true';

	my $complaints = join '', map { finish_client($_) } @writers;
	$node->safe_psql('shop', "SELECT setval('checker.finished', 2)");
	return $complaints . join '', map { finish_client($_) } @readers;
}

sub unacknowledged_scripts
{
	return map { "CALL order_cqrs.order_update('o$_', checker.pens($_, 1));\n" x $rounds } 1 .. 2;
}

is(run_load('true'), '', 'no answer is older than what was acknowledged or found');
cmp_ok(stats('hits'), '>', 100, 'many of them came from the cache');
cmp_ok(stats('stale'), '>', 100, 'and many could not');
is(stats('evictions'), 0, 'there was room for all');
ok_serves('after the load');

# Transactions that fail between the two callbacks.
my $log_end = log_end($node);
my @conflicts = map { start_client($_) } conflict_script('o1', 'o2') x $rounds, conflict_script('o2', 'o1') x $rounds;
finish_client($_) foreach @conflicts;
like(slurp_file($node->logfile, $log_end), qr/could not serialize access/, 'transactions have failed');
ok_serves('after serialization failures');

# A commit that waits for a standby may become visible at any moment: meanwhile the cache neither answers nor is filled.
my $page = q(SELECT order_id, version FROM order_cqrs.customer_orders('ada', page_size => 100) ORDER BY 1);
my $found = 'SELECT order_id, version FROM order_cqrs.order_summary_view ORDER BY 1';
$node->safe_psql('shop', $page);
set_and_reload($node, synchronous_standby_names => 'nobody');
my $waiting = start_client(join '', map { "CALL order_cqrs.order_update('o$_', checker.pens($_, 1));\n" } (1 .. $orders) x 10);
$node->poll_query_until('shop', "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
  or die 'nobody waits for a standby';
my $uses = stats('hits + misses');
is($node->safe_psql('shop', $page), $node->safe_psql('shop', $found), 'while a commit waits the answer is what is visible');
is(stats('hits + misses'), $uses, 'and does not come from the cache');
set_and_reload($node, synchronous_standby_names => '');
is(finish_client($waiting), '', 'the commit goes on');
is($node->safe_psql('shop', $page), $node->safe_psql('shop', $found), 'and is in the answer');
ok_serves('after a commit that had to wait');

# Whoever has nothing to do with the extension can neither keep the cache from answering nor empty it.
$node->safe_psql('postgres', 'CREATE ROLE stranger LOGIN');
my $stranger = start_client(<<'SQL', '-c role=stranger');
BEGIN;
SAVEPOINT s;
COMMIT PREPARED 'nosuch';
ROLLBACK TO s;
DROP DATABASE shop;
ROLLBACK TO s;
SELECT pg_sleep(1000);
SQL
$node->poll_query_until('shop', "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
  or die 'the stranger does not sleep';
ok_serves('beside a transaction in which COMMIT PREPARED has failed');

my $before = stats('hits');
finish_client(start_client(<<'SQL', '-c role=stranger'));
COMMIT PREPARED 'nosuch';
DROP DATABASE nosuch;
DROP DATABASE postgres;
BEGIN;
CREATE TEMP TABLE mine ();
DROP TABLE mine;
PREPARE TRANSACTION 'mine';
BEGIN;
SELECT set_config('application_name', 'prepared', true);
PREPARE TRANSACTION 'mine';
COMMIT PREPARED 'mine';
SQL
is(differences(), '', 'what the stranger has tried is no matter for the answers');
is(stats("hits - $before"), $orders + 1, 'all of which still come from the cache');
is($node->safe_psql('shop', 'SELECT count(*) FROM pg_prepared_xacts'), 0, 'his own prepared transaction is committed');
$before = stats('hits');
$node->safe_psql('shop', "BEGIN; CALL order_cqrs.order_update('o1', checker.pens(7, 1)); PREPARE TRANSACTION 'order'");
like(finish_client(start_client("COMMIT PREPARED 'order'", '-c role=stranger')), qr/permission denied/, 'another one he may not commit');
is(differences(), '', 'nor does his attempt change an answer');
is(stats("hits - $before"), $orders + 1, 'or drop one from the cache');
$node->safe_psql('shop', "COMMIT PREPARED 'order'");
is($node->safe_psql('shop', "SELECT total_amount FROM order_cqrs.order_get('o1')"), '7', 'once it is committed it is in the answer');
$node->safe_psql('shop', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
finish_client($stranger);

# The worker writes the read tables.
foreach my $projection ('order_view', 'order_summary_view')
{
	$node->safe_psql('shop', "CALL order_cqrs.projection_set_mode('$projection', 'async')");
}
set_and_reload($node, 'order_cqrs.databases' => 'shop');
ok(wait_served($node, 'shop'), 'there is a worker');
is(run_load('false'), '', 'no answer is older than what was found, when a worker writes it');
ok(wait_projected($node, 'shop'), 'the worker catches up');
ok_serves('after the worker');
set_and_reload($node, 'order_cqrs.databases' => '');
ok(wait_unserved($node, 'shop'), 'the worker is gone');
foreach my $projection ('order_view', 'order_summary_view')
{
	$node->safe_psql('shop', "CALL order_cqrs.projection_set_mode('$projection', 'sync')");
}

# Other databases, and another extension in the same one, have answers of their own.
create_database($node, 'other');
open_shop($node, 'other');
$node->safe_psql('other', order_sql('o1'));
is($node->safe_psql('other', "SELECT total_amount FROM order_cqrs.order_get('o1')") x 2, '10.0010.00',
	'another database has its own order');
$node->safe_psql('other', 'DROP EXTENSION order_cqrs CASCADE');
open_shop($node, 'other');
my ($status, undef, $stderr) = $node->psql('other', "\\set VERBOSITY sqlstate\nSELECT order_cqrs.order_get('o1')");
like($stderr, qr/OC101/, 'a dropped extension leaves no answers behind');

# A standby answers from its tables until it is promoted.
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
my $get = "SELECT version FROM order_cqrs.order_get('o1')";
$standby->safe_psql('shop', "$get; $get;");
$node->safe_psql('shop', "CALL order_cqrs.order_update('o1', checker.pens(3, 1))");
$node->wait_for_catchup($standby);
is($standby->safe_psql('shop', $get), $node->safe_psql('shop', $get), 'a standby answers what it has replayed');
is($standby->safe_psql('shop', 'SELECT hits + fills FROM order_cqrs.cache_stats'), 0, 'and keeps nothing');
$standby->promote;
$standby->safe_psql('shop', "CALL order_cqrs.order_update('o1', checker.pens(4, 1))");
is($standby->safe_psql('shop', "$get; $get") =~ s/\n/ /r, join(' ', ($node->safe_psql('shop', $get) + 1) x 2),
	'once promoted it answers what it has written');
is($standby->safe_psql('shop', 'SELECT hits FROM order_cqrs.cache_stats'), 1, 'from its cache');
$standby->stop;

# A crash empties the cache.
cmp_ok(stats('entries'), '>', 0, 'there are answers');
kill_process($node, $node->safe_psql('postgres',
	"SELECT pid FROM pg_stat_activity WHERE backend_type = 'order_cqrs launcher'"));
is(stats('hits + entries + bytes'), 0, 'after a crash there are none');
ok_serves('after the crash');

# A small cache, in which answers take each other's place.
$node->append_conf('postgresql.conf', "order_cqrs.cache_size = '8kB'");
$node->restart;
is(run_load('true'), '', 'no answer of a small cache is old');
cmp_ok(stats('evictions'), '>', 100, 'others had to make room for them');
cmp_ok(stats('bytes'), '<=', 8192, 'it stays as small as it is');
is(differences(), '', 'what it answers is right');

# None.
$node->append_conf('postgresql.conf', 'order_cqrs.cache_size = 0');
$node->restart;
is(run_load('true'), '', 'no answer is old without a cache');
is(stats('hits + misses + stale + fills + evictions + entries + bytes + size_bytes'), 0, 'which has nothing to show');

$node->stop;
done_testing();
