# The order saga in the worker: orders go their way, and every step takes effect once, wherever the worker is killed.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my $node = new_server(
	'saga',
	allows_streaming => 1,
	'order_cqrs.saga' => 'on',
	'order_cqrs.actor' => 'of the configuration',
	'order_cqrs.reserve_on' => 'saga',
	'order_cqrs.saga_retry_delay' => '50ms',
	'order_cqrs.saga_max_attempts' => 2,
	'order_cqrs.sync_interval' => '1s',
	restart_after_crash => 'on');
$node->start;
create_database($node, 'shop');
open_shop($node, 'shop');

# Whoever inserts what is written down in "gate" stays there until the row is gone, if it is the runner. What is
# written down in "failing" fails. Both name an event type, or a table, and an order.
$node->safe_psql('shop', <<'SQL');
CREATE TABLE gate (place text, tense text, order_id text);
CREATE TABLE failing (event_type text, order_id text);
CALL order_cqrs.stock_receive('ink', 1000000);
CALL order_cqrs.product_put('gold', 'Gold', 'Metal');
CALL order_cqrs.stock_receive('gold', 1);

CREATE FUNCTION pass_gate() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
DECLARE
	this_place text := CASE TG_TABLE_NAME WHEN 'events' THEN to_jsonb(NEW) ->> 'event_type' ELSE TG_TABLE_NAME END;
	id text := coalesce(to_jsonb(NEW) ->> 'aggregate_id', to_jsonb(NEW) ->> 'order_id', '');
	this_tense text := CASE WHEN TG_NAME = 'gate_commit' THEN 'COMMIT' ELSE TG_WHEN END;
BEGIN
	IF TG_TABLE_NAME = 'events' AND TG_WHEN = 'BEFORE' AND EXISTS (SELECT FROM failing f WHERE f.event_type = this_place AND f.order_id = id) THEN
		RAISE 'it fails';
	END IF;
	WHILE EXISTS (SELECT FROM gate g WHERE g.place = this_place AND g.tense = this_tense AND g.order_id IN (id, '*'))
		  AND 'order_cqrs runner' = (SELECT backend_type FROM pg_stat_activity WHERE pid = pg_backend_pid()) LOOP
		PERFORM pg_sleep(0.1);
	END LOOP;
	RETURN NEW;
END $$;
CREATE TRIGGER gate_before BEFORE INSERT ON order_cqrs.events FOR EACH ROW EXECUTE FUNCTION pass_gate();
CREATE TRIGGER gate_after AFTER INSERT ON order_cqrs.events FOR EACH ROW EXECUTE FUNCTION pass_gate();
CREATE CONSTRAINT TRIGGER gate_commit AFTER INSERT ON order_cqrs.events DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION pass_gate();
CREATE TRIGGER gate_before BEFORE INSERT OR UPDATE ON order_cqrs.order_saga FOR EACH ROW EXECUTE FUNCTION pass_gate();
CREATE TRIGGER gate_after AFTER INSERT OR UPDATE ON order_cqrs.order_saga FOR EACH ROW EXECUTE FUNCTION pass_gate();
CREATE TRIGGER gate_after AFTER UPDATE ON order_cqrs.saga_state FOR EACH ROW EXECUTE FUNCTION pass_gate();
SQL
set_and_reload($node, 'order_cqrs.databases' => 'shop');

my $at_gate = "backend_type = 'order_cqrs runner' AND wait_event = 'PgSleep'";

# events_of ID returns the types of the order's events.
sub events_of
{
	my ($id, $database) = @_;
	return $node->safe_psql($database // 'shop',
		"SELECT string_agg(event_type, ' ' ORDER BY version) FROM order_cqrs.events"
		  . " WHERE aggregate_type = 'Order' AND aggregate_id = '$id'");
}

sub saga_of
{
	my ($id, $columns) = @_;
	return $node->safe_psql('shop', "SELECT $columns FROM order_cqrs.saga_status WHERE order_id = '$id'");
}

# wait_saga ID, CONDITION waits for a condition on the order's row in saga_status.
sub wait_saga
{
	my ($id, $condition, $database) = @_;
	return $node->poll_query_until($database // 'shop',
		"SELECT EXISTS (SELECT FROM order_cqrs.saga_status WHERE order_id = '$id' AND $condition)");
}

sub wait_step
{
	my ($id, $step, $database) = @_;
	return wait_saga($id, "step = '$step'", $database);
}

sub create_sql
{
	my ($id, $product) = @_;
	return "CALL order_cqrs.order_create('$id', 'ada', " . items($product // 'ink', 2, '3.50', 'pen', 1, '1') . ');';
}

# The ways of an order: what is done by hand, the step where it comes to rest then, and its events at the end.
my %ways = (
	paid => {
		steps => [ [ \&create_sql => 'AWAIT_PAYMENT' ], [ report('payment_complete') => 'SHIPPED' ] ],
		events => 'OrderCreated InventoryReserved PaymentRequested PaymentCompleted OrderCompleted ShippingStarted'
	},
	declined => {
		steps => [ [ \&create_sql => 'AWAIT_PAYMENT' ], [ report('payment_fail') => 'CANCELLED' ] ],
		events => 'OrderCreated InventoryReserved PaymentRequested PaymentFailed InventoryReleased OrderCancelled'
	},
	forgotten => {
		timeout => 1,
		steps => [ [ \&create_sql => 'CANCELLED' ] ],
		events => 'OrderCreated InventoryReserved PaymentRequested PaymentFailed InventoryReleased OrderCancelled'
	},
	lacking => {
		steps => [ [ sub { create_sql($_[0], 'gold') } => 'CANCELLED' ] ],
		events => 'OrderCreated OrderCancelled'
	},
	unlucky => {
		failing => 'PaymentRequested',
		steps => [ [ \&create_sql => 'CANCELLED' ] ],
		events => 'OrderCreated OrderCancelled'
	},
	unshippable => {
		failing => 'ShippingStarted',
		steps => [ [ \&create_sql => 'AWAIT_PAYMENT' ], [ report('payment_complete') => 'CANCELLED' ] ],
		events => 'OrderCreated InventoryReserved PaymentRequested PaymentCompleted InventoryReleased OrderCancelled'
		  . ' PaymentRefunded'
	});

sub report
{
	my ($command) = @_;
	return sub { "CALL order_cqrs.$command('$_[0]', 'by hand');" };
}

# go_way ID, WAY sends an order on its way. If the runner stops at a gate it is killed there; when it has come
# there again, the gate is opened. Returns how often it was killed.
sub go_way
{
	my ($id, $way) = @_;
	my $kills = 0;

	set_and_reload($node, 'order_cqrs.payment_timeout' => $way->{timeout} ? '1s' : '15min');
	$node->safe_psql('shop', "INSERT INTO failing VALUES ('$way->{failing}', '$id')") if $way->{failing};
	foreach my $step (@{ $way->{steps} })
	{
		my ($sql, $end) = @$step;
		my $is_over = "EXISTS (SELECT FROM order_cqrs.order_saga WHERE order_id = '$id' AND step = '$end')";

		$node->safe_psql('shop', $sql->($id));
		my $pid = wait_row($node, 'shop', "SELECT pid FROM pg_stat_activity WHERE $at_gate UNION ALL SELECT 0 WHERE $is_over LIMIT 1");
		if ($pid)
		{
			kill_and_start($node, $pid);
			$kills++;
			wait_row($node, 'shop', "SELECT pid FROM pg_stat_activity WHERE $at_gate AND pid <> $pid");
			$node->safe_psql('shop', 'DELETE FROM gate');
			$node->poll_query_until('shop', "SELECT $is_over") or return $kills;
		}
	}
	return $kills;
}

sub ok_way
{
	my ($id, $way, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(events_of($id), $way->{events}, "$name: each event once");
	is(saga_of($id, 'state, attempts, next_attempt_at, last_error'),
		'done|0||' . ($way->{failing} ? 'P0001: it fails' : ''), "$name: the saga has ended");
	return;
}

sub test_ways
{
	foreach my $name (sort keys %ways)
	{
		is(go_way($name, $ways{$name}), 0, "$name: it goes its way");
		ok_way($name, $ways{$name}, $name);
	}
	is($node->safe_psql('shop', "SELECT string_agg(order_id || ': ' || (data ->> 'reason'), ', ' ORDER BY order_id, e.version)"
			  . " FROM order_cqrs.saga_status s JOIN order_cqrs.events e ON aggregate_id = order_id"
			  . " WHERE event_type = 'OrderCancelled' OR (event_type = 'PaymentFailed' AND order_id = 'forgotten')"),
		'declined: Payment failed: by hand, forgotten: timeout, forgotten: Payment failed: timeout,'
		  . ' lacking: Insufficient inventory, unlucky: System error - order cancelled,'
		  . ' unshippable: System error - order cancelled',
		'they are cancelled for the reasons that there are');
}

# Where the runner is killed: way, event type or table, and when.
my @gates = (
	(map { [ 'paid', $_, 'BEFORE' ], [ 'paid', $_, 'AFTER' ] }
		  qw(InventoryReserved PaymentRequested OrderCompleted ShippingStarted order_saga)),
	[ 'paid', 'saga_state', 'AFTER' ],
	[ 'paid', 'PaymentRequested', 'COMMIT' ],
	[ 'paid', 'ShippingStarted', 'COMMIT' ],
	(map { [ 'declined', $_, 'BEFORE' ], [ 'declined', $_, 'AFTER' ] } qw(InventoryReleased OrderCancelled)),
	[ 'declined', 'OrderCancelled', 'COMMIT' ],
	(map { [ 'lacking', 'OrderCancelled', $_ ] } qw(BEFORE AFTER)),
	(map { [ 'forgotten', 'PaymentFailed', $_ ] } qw(BEFORE AFTER COMMIT)),
	[ 'unlucky', 'OrderCancelled', 'AFTER' ],
	(map { [ 'unshippable', $_, 'AFTER' ] } qw(InventoryReleased OrderCancelled PaymentRefunded)));

sub test_kills
{
	my $number = 0;
	foreach my $gate (@gates)
	{
		my ($way, $place, $tense) = @$gate;
		my $id = "killed $way " . ++$number;
		my $name = "$way, killed " . lc($tense) . " $place";
		my $whose = $place eq 'saga_state' ? '*' : $id;

		$node->safe_psql('shop', "INSERT INTO gate VALUES ('$place', '$tense', '$whose')");
		is(go_way($id, $ways{$way}), 1, "$name: it is, and goes on");
		ok_way($id, $ways{$way}, $name);
	}
	is(twice('shop'), '', 'no command has taken effect twice');
	$node->safe_psql('shop', 'CALL order_cqrs.projection_sync()');
	ok_shop_is_true($node, 'shop', 'after the kills');
}

# twice DATABASE returns events of the saga that are there more often than once, and ids that two orders share.
sub twice
{
	my ($database) = @_;
	return $node->safe_psql($database, <<'SQL');
SELECT aggregate_id, event_type, count(*) FROM order_cqrs.events
 WHERE aggregate_type = 'Order' AND metadata ->> 'saga' = 'order' GROUP BY 1, 2 HAVING count(*) > 1
UNION ALL
SELECT command_id::text, min(aggregate_id), count(DISTINCT aggregate_id) FROM order_cqrs.events
 WHERE aggregate_type = 'Order' AND metadata ->> 'saga' = 'order' GROUP BY 1 HAVING count(DISTINCT aggregate_id) > 1
SQL
}

# When an order is to be tried again stands in its row, so a restart changes nothing about it.
sub test_restart
{
	set_and_reload($node, 'order_cqrs.saga_retry_delay' => '300s', 'order_cqrs.saga_max_attempts' => 5,
		'order_cqrs.payment_timeout' => '15min');
	$node->safe_psql('shop', "INSERT INTO failing VALUES ('PaymentRequested', 'backoff')");
	$node->safe_psql('shop', create_sql('backoff'));
	ok(wait_saga('backoff', "state = 'retrying'"), 'backoff: an attempt has failed');
	my $saga = saga_of('backoff', 'step, attempts, next_attempt_at, last_error');
	like($saga, qr/^RESERVE_INVENTORY\|1\|.*\|P0001: it fails$/, 'backoff: it is noted');

	foreach my $mode ('fast', 'immediate')
	{
		$node->stop($mode);
		$node->start;
		$node->safe_psql('shop', create_sql("beside $mode"));
		ok(wait_step("beside $mode", 'AWAIT_PAYMENT'), "backoff: the others go on after a restart, $mode");
		is(saga_of('backoff', 'step, attempts, next_attempt_at, last_error'), $saga, "backoff: it waits for its time, $mode");
	}
	$node->safe_psql('shop', 'TRUNCATE failing');
	$node->safe_psql('shop', "CALL order_cqrs.saga_retry('backoff')");
	ok(wait_step('backoff', 'AWAIT_PAYMENT'), 'backoff: saga_retry has it tried at once');
	is(saga_of('backoff', 'attempts, last_error'), '0|', 'backoff: and the failure is forgotten');

	# The second attempt comes by itself.
	set_and_reload($node, 'order_cqrs.saga_retry_delay' => '1s');
	$node->safe_psql('shop', "INSERT INTO failing VALUES ('PaymentRequested', 'by itself')");
	$node->safe_psql('shop', create_sql('by itself'));
	ok(wait_saga('by itself', 'attempts = 1'), 'an attempt has failed');
	ok(wait_saga('by itself', 'attempts = 2'), 'the second attempt comes by itself');
	$node->safe_psql('shop', 'TRUNCATE failing');
	ok(wait_step('by itself', 'AWAIT_PAYMENT'), 'so does the third');
}

# bus_works passes if a future is run.
sub bus_works
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $id = $node->safe_psql('shop', "SELECT order_cqrs.query_send_async('GetOrder', '{\"order_id\": \"paid\"}')");
	ok($node->poll_query_until('shop', "SELECT status NOT IN ('waiting', 'running') FROM order_cqrs.bus_future WHERE id = '$id'"), $name);
	return;
}

# A transaction that has appended and does not end holds up new events, and nothing else.
sub test_horizon
{
	set_and_reload($node, 'order_cqrs.payment_timeout' => '3s');
	$node->safe_psql('shop', create_sql('due'));
	ok(wait_step('due', 'AWAIT_PAYMENT'), 'horizon: an order waits for its payment');

	my $session = $node->background_psql('shop');
	$session->query_safe('BEGIN; ' . create_sql('idle'));
	$node->safe_psql('shop', create_sql('behind'));
	ok(wait_step('due', 'CANCELLED'), 'horizon: its time comes while a transaction holds the horizon');
	bus_works('horizon: futures are run');
	is(saga_of('behind', 'step'), '', 'horizon: new events are for later');
	$session->query_safe('COMMIT');
	$session->quit;
	ok(wait_saga($_, "step IN ('AWAIT_PAYMENT', 'CANCELLED')"), "horizon: then $_ has its turn") foreach qw(behind idle);
	set_and_reload($node, 'order_cqrs.payment_timeout' => '15min');
}

# A stream that somebody has locked is not waited for.
sub test_lock
{
	my $session = $node->background_psql('shop');

	$node->safe_psql('shop', create_sql('locked'));
	ok(wait_step('locked', 'AWAIT_PAYMENT'), 'lock: an order waits for its payment');
	set_and_reload($node, 'order_cqrs.saga' => 'off');
	bus_works('lock: the runner has heard of it');
	$node->safe_psql('shop', report('payment_complete')->('locked'));
	$session->query_safe("BEGIN; CALL order_cqrs.inventory_reserve('locked');");
	set_and_reload($node, 'order_cqrs.saga' => 'on');
	$node->safe_psql('shop', create_sql('free'));
	ok(wait_step('free', 'AWAIT_PAYMENT'), 'lock: another order is not held up');
	ok(wait_saga('locked', 'next_attempt_at < clock_timestamp() + interval \'1 s\''), 'lock: the order itself is put off for a moment');
	is(saga_of('locked', 'attempts, last_error'), '0|', 'lock: which is no failed attempt');
	$session->query_safe('COMMIT');
	$session->quit;
	ok(wait_step('locked', 'SHIPPED'), 'lock: then it goes on');
	is(events_of('locked'), $ways{paid}{events}, 'lock: each event once');
}

sub test_switch
{
	set_and_reload($node, 'order_cqrs.saga' => 'off');
	bus_works('off: futures are run');
	$node->safe_psql('shop', create_sql('off'));
	bus_works('off: still');
	is(saga_of('off', 'step') . events_of('off'), 'OrderCreated', 'off: nothing happens to an order');
	$node->safe_psql('shop', 'CALL order_cqrs.saga_run()');
	is(saga_of('off', 'step'), 'AWAIT_PAYMENT', 'off: unless by hand');
	$node->safe_psql('shop', create_sql('off2'));
	set_and_reload($node, 'order_cqrs.saga' => 'on');
	ok(wait_step('off2', 'AWAIT_PAYMENT'), 'on: it goes on');
}

# Four clients send commands, somebody reports payments, and the runner is killed again and again.
my ($clients, $orders, $kills) = (4, 50, 6);

sub client_script
{
	my ($client) = @_;
	my @script = ('SET synchronous_commit = off;');

	foreach my $number (1 .. $orders)
	{
		my $id = "load $client $number";
		my @calls = ("order_create('$id', 'ada', " . items('ink', $number % 3 + 1, '1.25'));
		push @calls, "order_update('$id', " . items('ink', 2, '2', 'pen', 1, '1') . ", 'changed'" if $number % 4 == 0;
		push @calls, "order_cancel('$id', 'changed my mind'" if $number % 7 == 0;
		push @calls, "order_complete('$id'" if $number % 11 == 0;
		foreach my $call (0 .. $#calls)
		{
			push @script, sprintf "CALL order_cqrs.%s, command_id => '%08x-%04x-4000-8000-%012x');",
			  $calls[$call], $client, $call, $number;
		}
		push @script, 'SELECT pg_sleep(0.02);' if $number % 3 == 0;
	}
	# A crash may take the last of them with it, unless something that waits for the log comes after them.
	push @script, 'SET synchronous_commit = on;', "SELECT pg_logical_emit_message(true, 'sent', '');";
	return join "\n", @script;
}

# start_client NUMBER starts a psql that sends a script; when the server goes, it is sent again from the start, unless the
# script is gone as well.
sub start_client
{
	my ($number) = @_;
	my $file = $node->basedir . "/client$number.sql";
	append_to_file($file, client_script($number));
	my $psql = 'until psql --no-psqlrc --quiet --file "$0" --dbname "$1" >/dev/null 2>&1; do test -e "$0" || exit; sleep 0.2; done; touch "$0.sent"';
	return { sent => "$file.sent", run => IPC::Run::start([ 'sh', '-c', $psql, $file, $node->connstr('shop') ], '<', \undef) };
}

my $report_payments = <<'SQL';
DO $$
DECLARE
	r record;
BEGIN
	FOR r IN SELECT order_id, amount FROM order_cqrs.payment_requests WHERE order_id LIKE 'load %' AND right(order_id, 1) <> '9' LOOP
		BEGIN
			IF right(order_id, 1) IN ('3', '6') FROM (SELECT r.order_id) AS x THEN
				CALL order_cqrs.payment_fail(r.order_id, 'declined', amount => r.amount);
			ELSE
				CALL order_cqrs.payment_complete(r.order_id, 'x', amount => r.amount);
			END IF;
		EXCEPTION WHEN SQLSTATE 'OC205' OR SQLSTATE 'OC201' THEN
			NULL;
		END;
	END LOOP;
END $$;
SQL

sub test_load
{
	my @clients = map { start_client($_) } 1 .. $clients;
	my $is_open = "SELECT count(*) FROM order_cqrs.order_view v LEFT JOIN order_cqrs.order_saga s USING (tenant_id, order_id)"
	  . " WHERE order_id LIKE 'load %' AND (step IS NULL OR step NOT IN ('SHIPPED', 'CANCELLED', 'ENDED')"
	  . " AND NOT (step = 'AWAIT_PAYMENT' AND right(order_id, 1) = '9'))";
	my ($killed, $open) = (0, '');

	foreach my $round (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		# The server may be down: then psql fails, or IPC::Run does. A report fails, too, if it has lost a race.
		my ($is_up, $pid) = (eval { $node->psql('shop', 'SELECT') == 0 }, '');
		eval { $node->psql('shop', $report_payments) };
		if ($is_up && $killed < $kills)
		{
			eval { $node->psql('shop', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'order_cqrs runner'", stdout => \$pid) };
			$killed++ if $pid && system('pg_ctl', 'kill', 'KILL', $pid) == 0;
		}
		elsif ($killed == $kills && !grep { !-e $_->{sent} } @clients)
		{
			last if eval { $node->psql('shop', $is_open, stdout => \$open) == 0 } && $open eq '0';
		}
		select undef, undef, undef, 0.1 + rand 0.3;
	}
	$_->{run}->finish foreach @clients;
	is($killed, $kills, 'load: the runner was killed');
	is($node->safe_psql('shop', "SELECT count(*) FROM order_cqrs.order_saga WHERE order_id LIKE 'load %'"),
		$clients * $orders, 'load: every order has a saga');
	is($open, '0', 'load: every order has come to an end, or waits for its payment');
	is(twice('shop'), '', 'load: no command of the saga has taken effect twice');
	is($node->safe_psql('shop', <<'SQL'), '', 'load: steps and orders agree');
SELECT s.order_id, s.step, s.attempts, s.last_error, v.status, p.status, r.status
  FROM order_cqrs.order_saga s JOIN order_cqrs.order_view v USING (tenant_id, order_id)
  LEFT JOIN order_cqrs.payments p USING (tenant_id, order_id) LEFT JOIN order_cqrs.reservations r USING (tenant_id, order_id)
 WHERE order_id LIKE 'load %'
   AND NOT coalesce(CASE step
        WHEN 'SHIPPED' THEN v.status = 'COMPLETED' AND p.status = 'COMPLETED' AND r.status = 'SHIPPED'
        WHEN 'CANCELLED' THEN v.status = 'CANCELLED' AND p.status IS DISTINCT FROM 'PENDING'
             AND p.status IS DISTINCT FROM 'COMPLETED' AND r.status IS DISTINCT FROM 'HELD'
        WHEN 'AWAIT_PAYMENT' THEN v.status <> 'CANCELLED' AND p.status = 'PENDING' AND r.status = 'HELD'
        WHEN 'ENDED' THEN v.status = 'COMPLETED' AND p.status IS NULL END, false)
SQL
	ok(wait_projected($node, 'shop'), 'load: the projections follow');
	ok_shop_is_true($node, 'shop', 'load');
}

# Orders at every step are dumped, and restored into a database in which the saga runs meanwhile.
sub test_dump
{
	my $dump = $node->basedir . '/dump';
	my $rows = 'SELECT order_id, step, attempts, next_attempt_at, last_error, version, started_at FROM order_cqrs.order_saga ORDER BY 1';

	create_database($node, 'source');
	open_shop($node, 'source');
	$node->safe_psql('source', <<'SQL' . join "\n", map { create_sql($_) } qw(compensate failed));
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.aggregate_id = 'reserve' AND NEW.event_type = 'PaymentRequested'
	   OR NEW.aggregate_id = 'complete' AND NEW.event_type = 'ShippingStarted'
	   OR NEW.aggregate_id = 'cancel' AND NEW.event_type = 'OrderCancelled'
	   OR NEW.aggregate_id IN ('compensate', 'failed') AND NEW.event_type IN ('PaymentRequested', 'OrderCancelled') THEN
		RAISE 'it fails';
	END IF;
	RETURN NEW;
END $$;
CALL order_cqrs.stock_receive('ink', 1000);
CREATE TRIGGER fail BEFORE INSERT ON order_cqrs.events FOR EACH ROW EXECUTE FUNCTION fail();
SQL
	my @set = ("SET order_cqrs.saga_retry_delay = '300s'; SET client_min_messages = error;");
	$node->safe_psql('source', join "\n", @set, 'SET order_cqrs.saga_max_attempts = 1;', 'CALL order_cqrs.saga_run();',
		"CALL order_cqrs.saga_retry('compensate');");
	$node->safe_psql('source', join "\n", @set, 'SET order_cqrs.saga_max_attempts = 2;',
		"UPDATE order_cqrs.order_saga SET step = 'COMPENSATE' WHERE order_id = 'compensate';", 'CALL order_cqrs.saga_run();',
		(map { create_sql($_) } qw(reserve wait shipped complete cancel cancelled ended)),
		'CALL order_cqrs.saga_run();',
		(map { report('payment_complete')->($_) } qw(shipped complete)),
		(map { report('payment_fail')->($_) } qw(cancel cancelled)),
		"CALL order_cqrs.payment_complete('ended'); CALL order_cqrs.payment_refund('ended');",
		'CALL order_cqrs.saga_run();');
	is($node->safe_psql('source', 'SELECT DISTINCT step FROM order_cqrs.order_saga ORDER BY 1'),
		join("\n", qw(AWAIT_PAYMENT CANCELLED CANCEL_ORDER COMPENSATE COMPLETE_ORDER ENDED FAILED RESERVE_INVENTORY SHIPPED)),
		'dump: there are orders at every step');
	# One that the saga has not seen yet.
	$node->safe_psql('source', create_sql('unseen'));

	my %restores = (
		plain => [ [], [ 'psql', '--no-psqlrc', '--quiet', '--set', 'ON_ERROR_STOP=1', '--output', '/dev/null', '--file', $dump ] ],
		parallel => [ ['--format=custom'], [ 'pg_restore', '--exit-on-error', '--jobs=2', $dump ] ],
		single => [ ['--format=custom'], [ 'pg_restore', '--exit-on-error', '--single-transaction', $dump ] ]);
	set_and_reload($node, 'order_cqrs.databases' => join ', ', 'shop', sort keys %restores);
	my $offset = log_end($node);
	foreach my $name (sort keys %restores)
	{
		my ($options, $command) = @{ $restores{$name} };
		create_database($node, $name);
		worker_pid($node, 'runner', $name);
		$node->command_ok([ 'pg_dump', '--file', $dump, @$options, $node->connstr('source') ], "$name: dumped");
		$node->command_ok([ @$command, '--dbname', $node->connstr($name) ], "$name: restored");
		ok(wait_step('unseen', 'AWAIT_PAYMENT', $name), "$name: the saga goes on with what it had not seen");
		is($node->safe_psql($name, "SELECT * FROM ($rows) AS r WHERE order_id <> 'unseen'"),
			$node->safe_psql('source', $rows), "$name: the orders are where they were");
		is($node->safe_psql($name, "SELECT md5(string_agg(e::text, '' ORDER BY position)) FROM order_cqrs.events e WHERE aggregate_id <> 'unseen'"),
			$node->safe_psql('source', "SELECT md5(string_agg(e::text, '' ORDER BY position)) FROM order_cqrs.events e WHERE aggregate_id <> 'unseen'"),
			"$name: nothing was done again");

		$node->safe_psql($name, join "\n", report('payment_complete')->('wait'),
			map { "CALL order_cqrs.saga_retry('$_');" } qw(reserve complete cancel failed));
		ok(wait_step('wait', 'SHIPPED', $name), "$name: the one that waited goes on");
		ok(wait_step($_->[0], $_->[1], $name), "$name: $_->[0] goes on") foreach
		  [ reserve => 'AWAIT_PAYMENT' ], [ complete => 'SHIPPED' ], [ cancel => 'CANCELLED' ], [ failed => 'AWAIT_PAYMENT' ];
		is(events_of($_->[0], $name), $_->[1], "$name: $_->[0] has each event once") foreach
		  [ wait => $ways{paid}{events} ], [ complete => $ways{paid}{events} ], [ cancel => $ways{declined}{events} ];
		is(twice($name), '', "$name: no command has taken effect twice");
		ok(wait_projected($node, $name), "$name: the projections follow");
		ok_shop_is_true($node, $name, $name);
	}
	is(join("\n", loud_lines($node, $offset)), '', 'dump: no worker has failed');
	set_and_reload($node, 'order_cqrs.databases' => 'shop');
}

# On a standby the saga does not run; after promotion it does.
sub test_standby
{
	my $standby = PostgreSQL::Test::Cluster->new('standby');

	$node->backup('backup');
	$standby->init_from_backup($node, 'backup', has_streaming => 1);
	set_and_reload($node, 'order_cqrs.saga' => 'off');
	$standby->append_conf('postgresql.conf', "order_cqrs.saga = 'on'");
	$standby->start;
	bus_works('standby: the saga of the primary is off');
	$node->safe_psql('shop', create_sql('moved'));
	$node->wait_for_catchup($standby);
	is($standby->safe_psql('shop', "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'order_cqrs %'"),
		'0', 'standby: no process of ours is there');
	is($standby->safe_psql('shop', "SELECT count(*) FROM order_cqrs.order_saga WHERE order_id = 'moved'"),
		'0', 'standby: the saga does not run');
	is($standby->safe_psql('shop', "SELECT step FROM order_cqrs.saga_status WHERE order_id = 'paid'"), 'SHIPPED', 'standby: its state can be read');
	my ($status, undef, $error) = $standby->psql('shop', '\set VERBOSITY sqlstate' . "\nCALL order_cqrs.saga_run()");
	isnt($status, 0, 'standby: nor by hand');
	like($error, qr/OC310/, 'standby: as an error says');
	$node->stop;
	$standby->promote;
	ok($standby->poll_query_until('shop', "SELECT step = 'AWAIT_PAYMENT' FROM order_cqrs.order_saga WHERE order_id = 'moved'"),
		'standby: promoted, it runs');
	$standby->safe_psql('shop', report('payment_complete')->('moved'));
	ok($standby->poll_query_until('shop', "SELECT step = 'SHIPPED' FROM order_cqrs.order_saga WHERE order_id = 'moved'"),
		'standby: and goes on');
	$standby->stop;
}

# What the runner has done is in its own name, whatever the configuration says.
sub test_actor
{
	is($node->safe_psql('shop', q(SELECT DISTINCT metadata ? 'saga', actor = session_role FROM order_cqrs.events WHERE metadata ? 'saga')),
		't|t', 'the saga acts in its own name');
	is($node->safe_psql('shop', q(SELECT DISTINCT actor FROM order_cqrs.events WHERE event_type = 'OrderCreated')),
		'of the configuration', 'a client in that of the configuration');
	return;
}

subtest 'ways' => \&test_ways;
subtest 'actor' => \&test_actor;
subtest 'kills' => \&test_kills;
subtest 'restart' => \&test_restart;
subtest 'horizon' => \&test_horizon;
subtest 'lock' => \&test_lock;
subtest 'switch' => \&test_switch;
subtest 'load' => \&test_load;
subtest 'dump' => \&test_dump;
subtest 'standby' => \&test_standby;

done_testing();
