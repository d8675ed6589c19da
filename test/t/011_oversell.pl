# Stock under load. Four clients create, update, change, release, reserve, cancel, complete and ship orders of three
# products, and receive stock, one command to a transaction or several, at all isolation levels. Meanwhile a reader
# looks whether anything was ever sold twice. At the end the sums must be those of the orders.
#
# There is never enough stock, so that most of what can be refused is; and the orders name their products in a random
# sequence. No transaction waits for the stock of one order while it has locked that of another: a rollback to a
# savepoint counts as such, as PostgreSQL lets those who have begun to wait go on waiting for the transaction's end.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use IPC::Run;
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;
use Time::HiRes qw(sleep time);

my $seed = $ENV{OCQ_STRESS_SEED} // 20240501;
my $clients = 4;
my $seconds = $ENV{OCQ_STRESS_SECONDS} // 8;

# What the clients do, and how often, relative to each other. Each has orders of its own, and there are shared ones.
# A refusal by a rule of the shop (OC1.., OC2..) is an answer like any other; try() passes it over.
my %scripts = (
	create => [ 6, q{CALL try(format('order_create(%L, ''ada'', %L)', 'o-:client_id-:n', some_items(:k)));} ],
	update => [ 6, q{CALL try(format('order_update(%L, %L)', 'o-:client_id-:m', some_items(:k)));} ],
	shared => [ 4, q{CALL try(format('order_update(%L, %L)', 'shared-:s', some_items(:k)));} ],
	change => [ 2, q{CALL try(format('reservation_change(%L, %L)', 'shared-:s', some_items(:k)));} ],
	release => [ 2, q{CALL try(format('inventory_release(%L)', 'shared-:s'));} ],
	reserve => [ 2, q{CALL try(format('inventory_reserve(%L)', 'shared-:s'));} ],
	cancel => [ 4, q{CALL try(format('order_cancel(%L)', 'o-:client_id-:m'));} ],
	ship => [ 2, <<'SQL' ],
CALL try(format('order_complete(%L)', 'o-:client_id-:m'));
CALL try(format('shipping_start(%L)', 'o-:client_id-:m'));
SQL
	receive => [ 1, q{CALL try(format('stock_receive(%L, %s)', 'p:p', :k));} ],
	stocktake => [ 2, q{CALL try(format('stock_adjust(%L, %s, ''count'')', 'p:p', 3 - 2 * :k));} ],
	rollback => [ 1, <<'SQL' ],
BEGIN;
CALL try(format('order_create(%L, ''ada'', %L)', 'o-:client_id-:n', some_items(:k)));
ROLLBACK;
SQL
	savepoint => [ 1, <<'SQL' ],
BEGIN;
SAVEPOINT s;
CALL try(format('order_create(%L, ''ada'', %L)', 'o-:client_id-:n', some_items(:k)));
ROLLBACK TO s;
CALL try(format('payment_process(%L)', 'o-:client_id-:m'));
COMMIT;
SQL
	repeated => [ 1, q{CALL twice(format('order_create(%L, ''ada'', %L, command_id => %L)', 'o-:client_id-:n', some_items(1), gen_random_uuid()));} ],
);

my $node = new_server(
	'oversell',
	'order_cqrs.databases' => 'shop',
	'order_cqrs.sync_interval' => '1s',
	deadlock_timeout => '100ms');
$node->start;
create_database($node, 'shop');
open_shop($node, 'shop');
prepare_shop();

note("seed $seed");
my $log_start = log_end($node);
my $watching = start([ psql_command(), '-c', 'CALL watch()' ]);
my $ended = time + $seconds;
foreach my $level ('read committed', 'repeatable read', 'serializable', 'mixed')
{
	load($level, $seconds / 4);
}
$node->safe_psql('shop', 'INSERT INTO closing DEFAULT VALUES');
ok($watching->finish, 'the reader read to the end') or diag(${ $watching->{err} });

my ($answers, $accepted, $short) = split /\|/, $node->safe_psql('shop', <<'SQL');
SELECT count(*), count(*) FILTER (WHERE state = 'accepted'), count(*) FILTER (WHERE state = 'OC204') FROM answers
SQL
note($node->safe_psql('shop', 'SELECT state, count(*) FROM answers GROUP BY 1 ORDER BY 2 DESC'));
cmp_ok($answers, '>', 200 * $seconds / 8, 'there was a load');
cmp_ok($accepted, '>', $answers / 10, 'many commands were accepted');
cmp_ok($short, '>', $answers / 100, 'many were refused for want of stock');
is($node->safe_psql('shop', <<'SQL'), '', 'every refusal is one of the rules, or a lost race');
SELECT DISTINCT state FROM answers
 WHERE state NOT IN ('accepted', '40P01', 'OC101', 'OC102', 'OC201', 'OC204', 'OC205', 'OC206', 'OC208', '40001')
SQL
cmp_ok($node->safe_psql('shop', 'SELECT count(*) FROM seen'), '>', 50, 'the reader looked often');
is($node->safe_psql('shop', 'SELECT * FROM seen WHERE problem IS NOT NULL LIMIT 5'),
	'', 'never was more reserved than there is, nor another sum than that of the orders');

# No transaction is about two orders.
my $log = slurp_file($node->logfile, $log_start);
my $caught = $node->safe_psql('shop', "SELECT count(*) FROM answers WHERE state = '40P01'");
my $uncaught = () = $log =~ /deadlock detected/g;
is($caught + $uncaught, 0, 'no two orders waited for each other');
is(join("\n", grep { !/40001|could not serialize/ } loud_lines($node, $log_start)), '', 'nothing else is in the log');

is($node->safe_psql('shop', <<'SQL'), '', 'what is reserved is what the orders hold');
SELECT i.product_id, i.reserved, h.held FROM order_cqrs.inventory i
  LEFT JOIN (SELECT x.product_id, sum(x.quantity) AS held
               FROM order_cqrs.reservations r, jsonb_to_recordset(r.items) AS x (product_id text, quantity bigint)
              WHERE r.status = 'HELD' GROUP BY 1) AS h USING (product_id)
 WHERE i.reserved <> coalesce(h.held, 0) OR i.available < 0 OR i.reserved < 0
SQL
is($node->safe_psql('shop', <<'SQL'), '', 'what an order holds is what it is for, unless it was told otherwise');
SELECT r.order_id, r.items, i.items FROM order_cqrs.reservations r
  JOIN (SELECT order_id, jsonb_object_agg(product_id, quantity) AS items
          FROM (SELECT order_id, product_id, sum(quantity) AS quantity
                  FROM order_cqrs.order_item_view GROUP BY 1, 2) AS s GROUP BY 1) AS i USING (order_id)
 WHERE r.status = 'HELD' AND r.order_id LIKE 'o-%'
   AND i.items <> (SELECT jsonb_object_agg(x.product_id, x.quantity)
                     FROM jsonb_to_recordset(r.items) AS x (product_id text, quantity bigint))
SQL
is($node->safe_psql('shop', <<'SQL'), '', 'what came in is on hand, or was shipped, or is gone');
SELECT i.product_id FROM order_cqrs.inventory i
 WHERE on_hand <> (SELECT sum((data->>'quantity')::int) FROM order_cqrs.events
                    WHERE aggregate_type = 'Inventory' AND aggregate_id = i.product_id)
               - coalesce((SELECT sum(x.quantity)
                             FROM order_cqrs.reservations r, jsonb_to_recordset(r.items) AS x (product_id text, quantity bigint)
                            WHERE r.status = 'SHIPPED' AND x.product_id = i.product_id), 0)
SQL
cmp_ok($node->safe_psql('shop', 'SELECT min(shipped) FROM order_cqrs.inventory'), '>', 0, 'of each product something was shipped');
is($node->safe_psql('shop', "SELECT sum(repaired_total) FROM order_cqrs.projection_state WHERE projection_name = 'inventory'"),
	0, 'there was nothing to repair');
ok(wait_projected($node, 'shop'), 'the workers get to the end of the log');
ok_shop_is_true($node, 'shop', 'after the load');

$node->stop;
done_testing();

# prepare_shop makes products, shared orders, and what the clients and the reader need. "answers" has a row for each
# command: 'accepted' or an SQLSTATE.
sub prepare_shop
{
	$node->safe_psql('shop', <<'SQL');
CREATE TABLE answers (state text);
CREATE TABLE seen (at timestamptz DEFAULT clock_timestamp(), problem text);
CREATE TABLE closing ();

-- One to three products, in any sequence, at times one of them twice.
CREATE FUNCTION some_items(most int) RETURNS jsonb LANGUAGE sql VOLATILE AS $$
    SELECT jsonb_agg(jsonb_build_object('product_id', 'p' || p, 'quantity', 1 + floor(random() * most), 'unit_price', 1.25) ORDER BY random())
      FROM generate_series(1, 3) AS p, generate_series(1, CASE WHEN random() < 0.1 THEN 2 ELSE 1 END) AS n
     WHERE p = 1 + floor(random() * 3) OR random() < 0.5
    HAVING count(*) > 0 $$;

-- It is caught where it happens: what comes before it in the transaction stays.
CREATE PROCEDURE try(command text) LANGUAGE plpgsql AS $$
DECLARE
    answer text := 'accepted';
BEGIN
    IF command LIKE '%NULL%' THEN RETURN; END IF;
    BEGIN
        EXECUTE 'CALL order_cqrs.' || command;
    EXCEPTION WHEN OTHERS THEN
        answer := SQLSTATE;
    END;
    INSERT INTO answers VALUES (answer);
END $$;

CREATE PROCEDURE twice(command text) LANGUAGE plpgsql AS $$
BEGIN
    CALL try(command);
    COMMIT;
    CALL try(command);
END $$;

-- One statement has one snapshot.
CREATE PROCEDURE watch() LANGUAGE plpgsql AS $$
DECLARE
    found text;
BEGIN
    LOOP
        SELECT string_agg(format('%s: %s on hand, %s reserved, %s available, %s held', product_id, on_hand, reserved, available, held), '; ')
          INTO found
          FROM (SELECT i.*, coalesce(h.held, 0) AS held FROM order_cqrs.inventory i
                  LEFT JOIN (SELECT x.product_id, sum(x.quantity) AS held
                               FROM order_cqrs.reservations r, jsonb_to_recordset(r.items) AS x (product_id text, quantity bigint)
                              WHERE r.status = 'HELD' GROUP BY 1) AS h USING (product_id)) AS s
         WHERE available < 0 OR reserved < 0 OR reserved > on_hand OR reserved <> held;
        INSERT INTO seen (problem) VALUES (found);
        EXIT WHEN EXISTS (SELECT FROM closing);
        COMMIT;
        PERFORM pg_sleep(0.005);
    END LOOP;
END $$;

DO $$
BEGIN
    FOR n IN 1 .. 3 LOOP
        CALL order_cqrs.product_put('p' || n, 'P', 'x');
        CALL order_cqrs.stock_receive('p' || n, 20);
    END LOOP;
    FOR n IN 1 .. 5 LOOP
        CALL order_cqrs.order_create('shared-' || n, 'ada', '[{"product_id": "p1", "quantity": 1, "unit_price": 1}]');
    END LOOP;
END $$;
SQL
	return;
}

# load LEVEL, SECONDS lets the clients work for so long. Where the levels are mixed each transaction has its own.
sub load
{
	my ($level, $duration) = @_;
	my @files;
	foreach my $name (sort keys %scripts)
	{
		my ($weight, $sql) = @{ $scripts{$name} };
		my $file = $node->basedir . "/$level $name.sql";
		my $own = $level ne 'mixed' ? '' : <<'SQL';
\set l random(1, 3)
SELECT set_config('default_transaction_isolation', (ARRAY['read committed', 'repeatable read', 'serializable'])[:l], false);
SQL
		$own .= "\\set n :n + 1\n" if $sql =~ /order_create/;
		append_to_file($file, <<'SQL' . "$own$sql\n");
\set m random(:n - 10, :n)
\set k random(1, 4)
\set p random(1, 3)
\set s random(1, 5)
SQL
		push @files, '-f', "$file\@$weight";
	}
	my $default = $level eq 'mixed' ? 'read committed' : $level;
	local $ENV{PGOPTIONS} = "-c default_transaction_isolation=" . ($default =~ s/ /\\ /r);
	my $first = 1000000 * (1 + index 'rrsm', substr($level, 0, 1));
	$first += 500000 if $level eq 'repeatable read';
	my $loading = start(
		[   'pgbench', '-n', '-c', $clients, '-j', 2, '-T', int($duration + 0.5) || 1, "--random-seed=$seed",
			'-D', "n=$first", @files, $node->connstr('shop') ]);
	ok($loading->finish, "$level: the clients worked") or diag(${ $loading->{err} // \'' });
	return;
}

# start returns a program that runs beside this one.
sub start
{
	my ($command) = @_;
	my $timeout = IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default);
	return IPC::Run::start($command, '<', \undef, $timeout);
}

sub psql_command
{
	return ('psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('shop'));
}
