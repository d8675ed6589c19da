# Searches are exact while their table follows the commands. Sessions create, change, cancel and rename, and others compare
# order_search and order_search_count, by random criteria, with a SELECT on the tables that are exact at commit, in the
# same snapshot. The worker is stopped and started meanwhile, and at last it is gone.
#
# SEARCH_STRESS_SECONDS is how long each part goes on; a few in CI.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;
use Time::HiRes qw(sleep time);

my $seconds = $ENV{SEARCH_STRESS_SECONDS} // 8;

my $node = new_server(
	'search',
	'order_cqrs.databases' => 'shop',
	'order_cqrs.sync_interval' => '1s',
	max_pred_locks_per_transaction => 256);
$node->start;
create_database($node, 'shop');
open_shop($node, 'shop');
$node->safe_psql('shop', <<'SQL');
CREATE SCHEMA checker;
CREATE SEQUENCE checker.finished;
CREATE SEQUENCE checker.compared;
CREATE SEQUENCE checker.in_delta;
CREATE SEQUENCE checker.numbers;

CREATE FUNCTION checker.goes_on() RETURNS boolean LANGUAGE sql VOLATILE
    AS $$ SELECT coalesce(pg_sequence_last_value('checker.finished'), 1) = 1 $$;
CREATE FUNCTION checker.pick(VARIADIC choices text[]) RETURNS text LANGUAGE sql VOLATILE
    AS $$ SELECT choices[1 + floor(random() * cardinality(choices))::int] $$;
CREATE FUNCTION checker.lines() RETURNS jsonb LANGUAGE sql VOLATILE AS $$
    SELECT jsonb_agg(jsonb_build_object('product_id', checker.pick('pen', 'ink'), 'quantity', 1 + floor(random() * 3), 'unit_price', 1))
      FROM generate_series(1, 1 + floor(random() * 3)::int) $$;

-- A rename keeps out other commands: order_summary_view may show an old name after a race until the worker has looked it over.
CREATE PROCEDURE checker.command() LANGUAGE plpgsql AS $$
DECLARE
    id text := (SELECT order_id FROM order_cqrs.order_summary_view ORDER BY created_at DESC OFFSET floor(random() * 30) LIMIT 1);
    what int := CASE WHEN id IS NULL THEN 0 ELSE floor(random() * 12) END;
BEGIN
    IF what = 11 THEN
        PERFORM pg_advisory_xact_lock(1);
    ELSE
        PERFORM pg_advisory_xact_lock_shared(1);
    END IF;
    CASE
        WHEN what < 5 THEN
            CALL order_cqrs.order_create('o' || nextval('checker.numbers'), checker.pick('ada', 'alan'), checker.lines());
        WHEN what < 7 THEN CALL order_cqrs.order_cancel(id);
        WHEN what < 8 THEN CALL order_cqrs.order_complete(id);
        WHEN what < 11 THEN CALL order_cqrs.order_update(id, checker.lines());
        ELSE CALL order_cqrs.customer_put('alan', checker.pick('Alan', 'Alan Turing', 'A. Turing'), 'alan@example.org');
    END CASE;
    IF random() < 0.2 THEN
        PERFORM pg_sleep(random() / 50);
    END IF;
END $$;
CREATE PROCEDURE checker.write() LANGUAGE plpgsql AS $$
BEGIN
    WHILE checker.goes_on() LOOP
        BEGIN
            CALL checker.command();
        EXCEPTION WHEN OTHERS THEN
            -- The rules, as another session was first.
            IF SQLSTATE !~ '^OC[12]' THEN
                RAISE;
            END IF;
        END;
        COMMIT;
    END LOOP;
END $$;

-- A criterion as order_search and as a SELECT have it.
CREATE TABLE checker.criteria (argument text, condition text);
INSERT INTO checker.criteria VALUES
    ('tenant_id => ''default''', 'true'),
    ('status => ''{PENDING}''', 'v.status = ''PENDING'''),
    ('status => ''{COMPLETED,CANCELLED}''', 'v.status <> ''PENDING'''),
    ('customer_id => ''ada''', 'v.customer_id = ''ada'''),
    ('customer_name => ''TUR''', 'v.customer_name LIKE ''%Tur%'''),
    ('min_total => 3, max_total => 5', 'v.total_amount BETWEEN 3 AND 5'),
    ('min_items => 3', 'v.item_count >= 3'),
    ('updated_from => now() - interval ''1 s''', 'v.updated_at >= now() - interval ''1 s'''),
    ('product_id => ''pen''', 'EXISTS (SELECT FROM items i WHERE i.id = v.order_id AND i.product_id = ''pen'')'),
    ('product_category => ''Supplies''', 'EXISTS (SELECT FROM items i WHERE i.id = v.order_id AND i.product_category = ''Supplies'')');

CREATE FUNCTION checker.compare() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    a checker.criteria := (SELECT c FROM checker.criteria c ORDER BY random() LIMIT 1);
    b checker.criteria := (SELECT c FROM checker.criteria c WHERE left(c.argument, 4) <> left(a.argument, 4) ORDER BY random() LIMIT 1);
    has_both boolean := random() < 0.5;
    arguments text := CASE WHEN has_both THEN concat_ws(', ', a.argument, b.argument) ELSE a.argument END;
    conditions text := CASE WHEN has_both THEN concat_ws(' AND ', a.condition, b.condition) ELSE a.condition END;
    sort text := checker.pick('created_at', 'updated_at', 'total_amount', 'item_count', 'customer_name');
    down text := checker.pick('', '-');
    direction text := CASE down WHEN '-' THEN 'DESC' ELSE 'ASC' END;
    page int := floor(random() * 3);
    found text[];
    expected text[];
    counted bigint;
    expected_count bigint;
BEGIN
    EXECUTE format('SELECT array_agg(concat_ws('' '', order_id, version, customer_name, total_amount))'
        ' FROM order_cqrs.order_search(%s, sort => %L, page => %s, page_size => 40)', arguments, down || sort, page) INTO found;
    EXECUTE format('SELECT order_cqrs.order_search_count(%s, exact => true)', arguments) INTO counted;
    EXECUTE format('WITH items AS (SELECT order_id AS id, product_id, product_category FROM order_cqrs.order_item_view),'
        ' page AS (SELECT * FROM order_cqrs.order_summary_view v WHERE %s ORDER BY %s %s, order_id COLLATE "C" %s LIMIT 40 OFFSET %s)'
        ' SELECT (SELECT array_agg(concat_ws('' '', order_id, version, customer_name, total_amount)) FROM page),'
        ' (SELECT count(*) FROM order_cqrs.order_summary_view v WHERE %s)',
        conditions, CASE sort WHEN 'customer_name' THEN 'customer_name COLLATE "C"' ELSE sort END, direction, direction,
        page * 40, conditions) INTO expected, expected_count;
    PERFORM nextval('checker.compared');
    IF (SELECT s.last_position < (SELECT max(position) FROM order_cqrs.events) FROM order_cqrs.projection_state s
         WHERE s.projection_name = 'order_search' AND s.mode = 'async') THEN
        PERFORM nextval('checker.in_delta');
    END IF;
    RETURN CASE WHEN found IS DISTINCT FROM expected OR counted <> expected_count
                THEN format(E'%s, sort %s%s, page %s: %s (%s)\n instead of %s (%s)\n', arguments, down, sort, page, found, counted,
                            expected, expected_count) END;
END $$;

-- Some compare with an order of their own in the transaction.
CREATE PROCEDURE checker.read(creates boolean) LANGUAGE plpgsql AS $$
DECLARE
    problem text;
BEGIN
    WHILE checker.goes_on() LOOP
        IF creates AND random() < 0.5 THEN
            CALL order_cqrs.order_create('o' || nextval('checker.numbers'), 'ada', checker.lines());
        END IF;
        FOR n IN 1 .. 3 LOOP
            problem := checker.compare();
            IF problem IS NOT NULL THEN
                RAISE EXCEPTION '%', problem;
            END IF;
        END LOOP;
        ROLLBACK;
    END LOOP;
END $$;
SQL

# start_client CALL [, LEVEL] starts a psql with a call. finish_client waits for it and returns what it has printed.
sub start_client
{
	my ($call, $level) = @_;
	my $client = { output => '' };
	local $ENV{PGOPTIONS} = '-c client_min_messages=warning -c default_transaction_isolation=' . ($level // 'read committed') =~ s/ /\\ /r;

	$client->{psql} = IPC::Run::start(
		[ 'psql', '--no-psqlrc', '--quiet', '--command', $call, '--dbname', $node->connstr('shop') ],
		'<', \undef, '>&', \$client->{output});
	return $client;
}

sub finish_client
{
	my ($client) = @_;
	$client->{psql}->finish;
	return $client->{output};
}

# compare_during NAME, DISTURBANCE has sessions write and compare, while something is done each half second.
sub compare_during
{
	my ($name, $disturb) = @_;
	my $end = time + $seconds;
	my @clients;

	$node->safe_psql('shop',
		"SELECT setval('checker.finished', 1), setval('checker.compared', 1), setval('checker.in_delta', 1)");
	@clients = (
		(map { start_client('CALL checker.write()') } 1 .. 3),
		(map { start_client('CALL checker.read(true)', 'repeatable read') } 1 .. 2),
		start_client('CALL checker.read(false)', 'serializable'));
	while (time < $end)
	{
		sleep 0.5;
		$disturb->();
	}
	$node->safe_psql('shop', "SELECT setval('checker.finished', 2)");
	is(substr(join('', map { finish_client($_) } @clients), 0, 5000), '', "$name: searches find what there is");
	my ($compared, $in_delta) = split /\|/,
	  $node->safe_psql('shop', 'SELECT c.last_value, d.last_value FROM checker.compared c, checker.in_delta d');
	note "$compared compared, $in_delta of them while the projection was behind";
	cmp_ok($in_delta, '>', 10, "$name: the projection was behind");
	return;
}

sub set_status
{
	my ($status) = @_;
	$node->safe_psql('shop', "CALL order_cqrs.projection_$status('order_search')");
	return;
}

ok( $node->poll_query_until('shop',
		"SELECT mode = 'async' AND follows_worker FROM order_cqrs.projection_state WHERE projection_name = 'order_search'"),
	'the worker takes the projection over');
$node->safe_psql('shop', order_sql('first'));
compare_during('with a worker', sub { });
compare_during('with a worker that is stopped',
	sub { $node->safe_psql('shop', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'order_cqrs synchroniser'"); });
my $calls = 0;
compare_during('with pauses', sub { set_status($calls++ % 2 == 0 ? 'pause' : 'resume'); });
set_status('resume');
ok(wait_projected($node, 'shop'), 'the worker comes to the end of the log');
ok_shop_is_true($node, 'shop', 'after that');

set_and_reload($node, 'order_cqrs.databases' => '');
ok(wait_unserved($node, 'shop'), 'the worker is gone');
compare_during('without a worker', sub { });

# An administrator's choice is kept.
$node->safe_psql('shop', "CALL order_cqrs.projection_set_mode('order_search', 'sync')");
set_and_reload($node, 'order_cqrs.databases' => 'shop');
ok(wait_served($node, 'shop') && wait_projected($node, 'shop'), 'the worker comes back');
is($node->safe_psql('shop', "SELECT mode FROM order_cqrs.projection_state WHERE projection_name = 'order_search'"),
	'sync', 'a mode that was set stays');
ok_shop_is_true($node, 'shop', 'at the end');

$node->stop;
done_testing();
