# A rename that was acknowledged is seen by everybody who asks afterwards. Sessions rename customers and products, others
# write the orders that show them, at each isolation level, and readers compare what order_get, customer_orders and the
# read tables show with what was acknowledged before they asked. A worker looks over the read tables meanwhile.
#
# A name ends with a number. A renamer acknowledges it by setval() of a sequence: everybody sees that at once, whatever his
# snapshot. Each name has one renamer, so the numbers only grow.
#
# RENAME_STRESS_SECONDS is how long it goes on; a few in CI.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my $seconds = $ENV{RENAME_STRESS_SECONDS} // 5;
my $orders = 12;
my @levels = ('read committed', 'repeatable read', 'serializable');

my $node = new_server(
	'rename',
	'order_cqrs.cache_size' => '4MB',
	'order_cqrs.databases' => 'shop',
	'order_cqrs.sync_interval' => '1s',
	max_pred_locks_per_transaction => 256);
$node->start;
create_database($node, 'shop');
open_shop($node, 'shop');
$node->safe_psql('shop', <<"SQL");
CREATE SCHEMA checker;
SET search_path = checker;
CREATE SEQUENCE finished;

CREATE FUNCTION last_of(sequence regclass) RETURNS bigint LANGUAGE sql VOLATILE
    AS 'SELECT coalesce(pg_sequence_last_value(sequence), 1)';
CREATE FUNCTION acked(kind text, number int) RETURNS regclass LANGUAGE sql
    AS \$\$ SELECT format('checker.acked_%s_%s', kind, number)::regclass \$\$;
CREATE FUNCTION number_of(name text) RETURNS bigint LANGUAGE sql AS \$\$ SELECT substring(name from '[0-9]+\$')::bigint \$\$;

-- Every order has every product, so that a name's change is about all of them.
CREATE FUNCTION lines(quantity int) RETURNS jsonb LANGUAGE sql AS \$\$
    SELECT jsonb_agg(jsonb_build_object('product_id', 'p' || i, 'quantity', quantity, 'unit_price', 1)) FROM generate_series(0, 2) i \$\$;

DO \$\$
BEGIN
    FOR i IN 0 .. 2 LOOP
        EXECUTE format('CREATE SEQUENCE acked_customer_%s', i);
        EXECUTE format('CREATE SEQUENCE acked_product_%s', i);
        CALL order_cqrs.customer_put('c' || i, 'c 1', 'c');
        CALL order_cqrs.product_put('p' || i, 'p 1', 'p');
    END LOOP;
    FOR i IN 1 .. $orders LOOP
        CALL order_cqrs.order_create('o' || i, 'c' || i % 3, checker.lines(1));
    END LOOP;
END \$\$;

-- Renames one customer and one product, in turn; a transaction that has lost a race is done again. One that fails when it
-- commits ends the call.
CREATE PROCEDURE rename(i int) LANGUAGE plpgsql AS \$\$
DECLARE
    number int := greatest(checker.last_of(checker.acked('customer', i)), checker.last_of(checker.acked('product', i)));
    failed boolean;
BEGIN
    WHILE checker.last_of('checker.finished') = 1 LOOP
        number := number + 1;
        LOOP
            BEGIN
                failed := false;
                IF number % 2 = 0 THEN
                    CALL order_cqrs.customer_put('c' || i, 'c ' || number, 'c');
                ELSE
                    CALL order_cqrs.product_put('p' || i, 'p ' || number, 'p');
                END IF;
            EXCEPTION WHEN serialization_failure OR deadlock_detected THEN
                failed := true;
            END;
            COMMIT;
            EXIT WHEN NOT failed;
        END LOOP;
        PERFORM setval(checker.acked(CASE WHEN number % 2 = 0 THEN 'customer' ELSE 'product' END, i), number);
    END LOOP;
END \$\$;

CREATE PROCEDURE update_orders() LANGUAGE plpgsql AS \$\$
BEGIN
    WHILE checker.last_of('checker.finished') = 1 LOOP
        BEGIN
            CALL order_cqrs.order_update('o' || 1 + floor(random() * $orders), checker.lines(1 + (random() * 9)::int));
        EXCEPTION WHEN serialization_failure OR deadlock_detected THEN
        END;
        COMMIT;
    END LOOP;
END \$\$;

-- What is older than an acknowledged name; NULL if nothing is.
CREATE FUNCTION too_old(customer int, name text, items jsonb, customer_acked bigint, product_acked bigint[]) RETURNS text
LANGUAGE sql AS \$\$
    SELECT string_agg(problem, ', ') FROM (
        SELECT format('customer %s is %s after %s', customer, checker.number_of(name), customer_acked) AS problem
         WHERE checker.number_of(name) < customer_acked
         UNION ALL
        SELECT format('product %s is %s after %s', i - 1, checker.number_of(items -> i - 1 ->> 'product_name'), product_acked[i])
          FROM generate_series(1, jsonb_array_length(items)) AS i
         WHERE checker.number_of(items -> i - 1 ->> 'product_name') < product_acked[i]) AS p \$\$;

CREATE FUNCTION read_orders() RETURNS SETOF text LANGUAGE plpgsql AS \$\$
DECLARE
    o int;
    customer_acked bigint;
    product_acked bigint[];
    problem text;
    in_table text;
    ask text;
BEGIN
    WHILE checker.last_of('checker.finished') = 1 LOOP
        o := 1 + floor(random() * $orders);
        customer_acked := checker.last_of(checker.acked('customer', o % 3));
        product_acked := ARRAY[checker.last_of(checker.acked('product', 0)), checker.last_of(checker.acked('product', 1)),
                               checker.last_of(checker.acked('product', 2))];
        FOREACH ask IN ARRAY '{order_get,customer_orders}'::text[] LOOP
            IF ask = 'order_get' THEN
                SELECT checker.too_old(o % 3, g.customer_name, g.items, customer_acked, product_acked)
                  INTO problem FROM order_cqrs.order_get('o' || o) AS g;
            ELSE
                SELECT checker.too_old(o % 3, g.customer_name, '[]', customer_acked, product_acked)
                  INTO problem FROM order_cqrs.customer_orders('c' || o % 3, page_size => 100) AS g WHERE g.order_id = 'o' || o;
            END IF;
            CONTINUE WHEN problem IS NULL;
            SELECT CASE WHEN ask = 'order_get'
                        THEN (SELECT checker.too_old(o % 3, v.customer_name, v.items, customer_acked, product_acked)
                                FROM order_cqrs.order_view AS v WHERE v.order_id = 'o' || o)
                        ELSE (SELECT checker.too_old(o % 3, v.customer_name, '[]', customer_acked, product_acked)
                                FROM order_cqrs.order_summary_view AS v WHERE v.order_id = 'o' || o) END INTO in_table;
            RETURN NEXT format('%s %s o%s: %s; the read table then: %s', clock_timestamp(), ask, o, problem, coalesce(in_table, 'right'));
        END LOOP;
    END LOOP;
END \$\$;
SQL

# start_client CALL [, LEVEL] starts a psql that makes a call again and again: commits fail under SERIALIZABLE. finish_client
# waits for it and returns what it has printed but for that.
sub start_client
{
	my ($call, $level) = @_;
	my $client = { out => '', err => '' };
	my ($fh, $file) = File::Temp::tempfile(DIR => PostgreSQL::Test::Utils::tempdir());
	local $ENV{PGOPTIONS} = '-c default_transaction_isolation=' . ($level // $levels[0]) =~ s/ /\\ /r;

	print $fh "\\set VERBOSITY sqlstate\n", "$call;\n" x 1000;
	close $fh;
	$client->{psql} = IPC::Run::start(
		[ 'psql', '--no-psqlrc', '--quiet', '--tuples-only', '--no-align', '--file', $file, '--dbname', $node->connstr('shop') ],
		'<', \undef, '>', \$client->{out}, '2>', \$client->{err});
	return $client;
}

sub finish_client
{
	my ($client) = @_;
	$client->{psql}->finish;
	return join '', grep { !/ERROR:  40001$/ } map { "$_\n" } split /\n/, $client->{out} . $client->{err};
}

ok(wait_served($node, 'shop'), 'there is a worker');
my @clients = (
	(map { start_client("CALL checker.rename($_)", $levels[$_]) } 0 .. $#levels),
	(map { start_client('CALL checker.update_orders()', $_) } @levels),
	(map { start_client('SELECT checker.read_orders()') } 1 .. 2));

sleep $seconds;
$node->safe_psql('shop', "SELECT setval('checker.finished', 2)");
my $complaints = join '', map { finish_client($_) } @clients;
is(substr($complaints, 0, 5000), '', 'no answer shows a name that is older than what was acknowledged');

my $renames = $node->safe_psql('shop', "SELECT min(version) FROM order_cqrs.customers WHERE customer_id ~ '^c'");
cmp_ok($renames, '>', 2, 'each customer was renamed');
note "$renames renames of the least renamed customer; complaints: " . ($complaints =~ tr/\n//);
cmp_ok($node->safe_psql('shop', 'SELECT hits FROM order_cqrs.cache_stats'), '>', 10, 'answers came from the cache');
ok(wait_projected($node, 'shop'), 'the worker comes to the end of the log');
ok_shop_is_true($node, 'shop', 'after the load');

$node->stop;
done_testing();
