# A dump holds the events and the settings of the projections; read tables are made again from the events.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my $node = new_server('dump', 'order_cqrs.sync_interval' => '1s');
$node->start;
create_database($node, 'source');
open_shop($node, 'source');

my $dump = $node->basedir . '/dump';
my @all_tables = qw(customers products order_view order_item_view order_stats order_product_stats order_summary_view);
pop @all_tables;    # paused in the source

my $settings = 'SELECT projection_name, mode, status, events_total, repaired_total'
  . ' FROM order_cqrs.projection_state ORDER BY projection_name';

# Orders in all states, of two tenants; aggregates of a type of one's own; metadata; a projection that was moved to
# another mode, one that is paused while it is behind, and one with repairs.
sub fill_source
{
	my $metadata = q(metadata => '{"source": "web", "correlation_id": "00000000-0000-0000-0000-0000000000aa"}');
	my $id = "command_id => '00000000-0000-0000-0000-000000000001'";

	$node->safe_psql('source', join "\n",
		(map { order_sql("o$_") } 1 .. 20),
		order_sql('known', $id, $metadata),
		'ALTER TABLE order_cqrs.events DISABLE TRIGGER events_project;',
		order_sql('repaired'),
		'ALTER TABLE order_cqrs.events ENABLE TRIGGER events_project;',
		'CALL order_cqrs.projection_sync();',
		(map { "CALL order_cqrs.order_update('o$_', " . items('ink', $_, '0.333') . ", 'ümläut \"quoted\"');" } 1 .. 8),
		(map { "CALL order_cqrs.order_complete('o$_');" } 5 .. 12),
		(map { "CALL order_cqrs.order_cancel('o$_', 'changed my mind');" } 12 .. 15),
		"CALL order_cqrs.customer_put('ada', 'Ada Lovelace', 'ada\@example.org');",
		"CALL order_cqrs.event_append('Cart', 'c1', '[{\"type\": \"Opened\", \"data\": {\"a\": null}},"
		  . " {\"type\": \"Closed\", \"data\": {}}]', $metadata);",
		"SET order_cqrs.tenant_id = 'other';",
		"CALL order_cqrs.customer_put('ada', 'Another Ada', 'ada\@example.net');",
		"CALL order_cqrs.product_put('pen', 'Feather', 'Old');",
		"CALL order_cqrs.product_put('ink', 'Blood', 'Old');",
		order_sql('o1'),
		"CALL order_cqrs.order_complete('o1');",
		'RESET order_cqrs.tenant_id;',
		"CALL order_cqrs.projection_set_mode('order_view', 'async');",
		"CALL order_cqrs.projection_set_mode('order_stats', 'sync');",
		"CALL order_cqrs.projection_pause('order_summary_view');",
		order_sql('late'),
		'BEGIN;', order_sql('gap'), 'ROLLBACK;',
		order_sql('last'),
		'CREATE ROLE web;',
		'GRANT USAGE ON SCHEMA order_api TO web;',
		'REVOKE EXECUTE ON FUNCTION order_api.order_cancel FROM PUBLIC;');
	$node->safe_psql('source', 'CALL order_cqrs.projection_sync()');
	return;
}

# contents DATABASE, TABLE ... returns the rows of tables, in order.
sub contents
{
	my ($database, @tables) = @_;
	return join "\n",
	  map { $node->safe_psql($database, "SELECT '$_', t.* FROM order_cqrs.$_ AS t ORDER BY t::text") } @tables;
}

# is_same DATABASE, NAME, TABLE ... passes if the tables hold what the source's do.
sub is_same
{
	my ($database, $name, @tables) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my %is_in_source = map { $_ => 1 } split /\n/, contents('source', @tables);
	my @rows = split /\n/, contents($database, @tables);

	# A row of order_stats that counts no order may as well not be there.
	my $counts_nothing = qr/^order_stats\|.*\|0\|[0.]+$/;
	my @more = grep { !delete $is_in_source{$_} && !/$counts_nothing/ } @rows;
	delete @is_in_source{ grep { /$counts_nothing/ } keys %is_in_source };
	ok(!@more && !%is_in_source, $name)
	  or diag("only here:\n", join("\n", @more), "\nonly in the source:\n", join("\n", sort keys %is_in_source));
	return;
}

# check_restored DATABASE, NAME, PARAMETERS: with is_served, workers synchronise the database; with is_data_only, nothing
# but data was restored.
sub check_restored
{
	my ($database, $name, %params) = @_;

	is_same($database, "$name: the events are the same", 'events');
	if ($params{is_served})
	{
		ok($node->poll_query_until($database,
				"SELECT sum(lag_events + unchecked_events) = 0 FROM order_cqrs.projection_status WHERE status <> 'paused'"),
			"$name: the workers catch up");
	}
	else
	{
		is($node->safe_psql($database, $settings), $node->safe_psql('source', $settings),
			"$name: the projections have the same settings and counters");
		$node->safe_psql($database, 'CALL order_cqrs.projection_sync()');
	}
	is_same($database, "$name: the read tables are the same", @all_tables);
	is(join("\n", grep { !/^order_summary_view/ } split /\n/, untrue_rows($node, $database)),
		'', "$name: they are what the events say");

	check_api($database, $name) unless $params{is_data_only};
	check_goes_on($database, $name);
	return;
}

# check_api DATABASE, NAME: order_api is a member of the extension, with the privileges that were granted.
sub check_api
{
	my ($database, $name) = @_;

	is($node->safe_psql($database, q{SELECT has_schema_privilege('web', 'order_api', 'USAGE'),
		has_function_privilege('web', 'order_api.order_cancel(text, text, uuid, int, jsonb, text)', 'EXECUTE')}),
		't|f', "$name: privileges on order_api are as they were");
	is($node->safe_psql($database, q{SET ROLE web; SELECT status FROM order_api.order_get('late')}),
		'PENDING', "$name: its functions work");
	return;
}

# check_goes_on DATABASE, NAME: what one does next works.
sub check_goes_on
{
	my ($database, $name) = @_;
	my $last = $node->safe_psql($database, 'SELECT max(position) FROM order_cqrs.events');
	my $count = 'SELECT count(*) FROM order_cqrs.events';
	my $events = $node->safe_psql($database, $count);

	$node->safe_psql($database, order_sql('known', "command_id => '00000000-0000-0000-0000-000000000001'"));
	is($node->safe_psql($database, $count), $events, "$name: a command that was handled before the dump is known");

	$node->safe_psql($database, join "\n",
		order_sql('next'),
		"CALL order_cqrs.order_complete('o2');",
		"CALL order_cqrs.customer_put('ada', 'Ada King', 'ada\@example.org');");
	cmp_ok($node->safe_psql($database, "SELECT min(position) FROM order_cqrs.order_history('next')"),
		'>', $last, "$name: the next position is beyond the old ones");

	$node->safe_psql($database,
		"CALL order_cqrs.projection_resume('order_summary_view'); CALL order_cqrs.projection_sync();");
	is( $node->safe_psql($database, <<'SQL'),
SELECT DISTINCT 'order_view', customer_name FROM order_cqrs.order_view WHERE tenant_id = 'default'
UNION ALL
SELECT DISTINCT 'order_summary_view', customer_name FROM order_cqrs.order_summary_view WHERE tenant_id = 'default'
SQL
		"order_view|Ada King\norder_summary_view|Ada King", "$name: a customer is renamed in every row");
	ok_shop_is_true($node, $database, $name);
	return;
}

sub restored_into
{
	my ($database, $name, @command) = @_;
	create_database($node, $database);
	$node->command_ok([ @command, '--dbname', $node->connstr($database) ], "$name: restored");
	return;
}

sub dumped
{
	my ($name, @options) = @_;
	$node->command_ok([ 'pg_dump', '--file', $dump, @options, $node->connstr('source') ], "$name: dumped");
	return;
}

my @psql = ('psql', '--no-psqlrc', '--quiet', '--set', 'ON_ERROR_STOP=1', '--output', '/dev/null', '--file', $dump);
my @pg_restore = ('pg_restore', '--exit-on-error', $dump);

sub test_plain
{
	dumped('plain');
	unlike(slurp_file($dump), qr/^COPY order_cqrs\.(?!events |projection_state |order_saga |saga_state |restore_state |bus_)/m,
		'plain: the dump has no read table');
	restored_into('plain', 'plain', @psql);
	check_restored('plain', 'plain');

	dumped('inserts', '--inserts', '--rows-per-insert=10');
	restored_into('inserts', 'inserts', @psql, '--single-transaction');
	check_restored('inserts', 'inserts');
}

sub test_custom
{
	dumped('custom', '--format=custom');
	restored_into('parallel', 'parallel', @pg_restore, '--jobs=2');
	check_restored('parallel', 'parallel');

	restored_into('single', 'single transaction', @pg_restore, '--single-transaction');
	check_restored('single', 'single transaction');

	restored_into('clean', 'first restore', @pg_restore);
	$node->command_ok([ @pg_restore, '--clean', '--dbname', $node->connstr('clean') ], 'clean: restored again');
	check_restored('clean', 'clean');
}

# The dump of a database's data goes to a database in which the extension already is.
sub test_data_only
{
	dumped('data only', '--data-only');
	create_database($node, 'data_only');
	$node->safe_psql('data_only', 'CREATE EXTENSION order_cqrs CASCADE');
	$node->command_ok([ @psql, '--dbname', $node->connstr('data_only') ], 'data only: restored');
	check_restored('data_only', 'data only', is_data_only => 1);
}

# Workers look at a database while it is restored.
sub test_served
{
	create_database($node, 'served');
	set_and_reload($node, 'order_cqrs.databases' => 'served');
	wait_served($node, 'served');
	dumped('served', '--format=custom');
	$node->command_ok([ @pg_restore, '--jobs=2', '--dbname', $node->connstr('served') ], 'served: restored');
	check_restored('served', 'served', is_served => 1);
	is(join("\n", grep { /served|synchroniser/ } loud_lines($node, 0)), '', 'served: no worker has failed');
}

# A restore in slow motion: the events' transaction is open while the sequence is set and commands run. The workers
# may not pass the rows by, though their positions were not drawn.
sub test_rows_by_hand
{
	my $session = $node->background_psql('served');

	# At the end of a restore positions go on far ahead, when the runner has seen it.
	ok($node->poll_query_until('served', "SELECT count(*) = 0 FROM order_cqrs.restore_state WHERE kind <> 'content'"), 'served: the restore has ended');
	my $last = $node->safe_psql('served', 'SELECT last_value FROM order_cqrs.events_position_seq');
	$session->query_safe(<<"SQL");
BEGIN;
INSERT INTO order_cqrs.events OVERRIDING SYSTEM VALUE
SELECT $last + 100000 + version, tenant_id, aggregate_type, 'copy', version, event_type, schema_version, data, command_id,
       correlation_id, causation_id, session_role, actor, metadata, occurred_at
  FROM order_cqrs.events WHERE aggregate_type = 'Order' AND aggregate_id = 'o5' AND tenant_id = 'default';
SQL
	$node->safe_psql('served', "SELECT setval('order_cqrs.events_position_seq', $last + 200000)");
	$node->safe_psql('served', order_sql('beside', "tenant_id => 'other'"));

	# Either the workers wait for the session, or they pass its rows by.
	$node->poll_query_until('served', <<"SQL");
SELECT EXISTS (SELECT FROM order_cqrs.projection_state WHERE projection_name = 'order_view' AND last_position > $last + 200000)
    OR EXISTS (SELECT FROM pg_stat_activity a, pg_stat_activity b
                WHERE a.backend_type LIKE 'order_cqrs %' AND b.pid = ANY (pg_blocking_pids(a.pid))
                  AND b.state = 'idle in transaction')
SQL
	$session->query_safe('COMMIT');
	$session->quit;
	ok(wait_projected($node, 'served'), 'rows by hand: the workers catch up');
	ok_shop_is_true($node, 'served', 'rows by hand');
}

# Many rows are projected when their transaction ends, few at once; nothing of the caller's runs in the owner's scope.
sub test_many_rows
{
	my $insert = sub {
		my ($prefix, $start, $count) = @_;
		return 'INSERT INTO order_cqrs.events OVERRIDING SYSTEM VALUE'
		  . " SELECT $start + n, tenant_id, aggregate_type, '$prefix' || n, 1, event_type, schema_version, data, command_id,"
		  . ' correlation_id, causation_id, session_role, actor, metadata, occurred_at'
		  . " FROM order_cqrs.events, generate_series(1, $count) AS n"
		  . " WHERE aggregate_type = 'Order' AND aggregate_id = 'o1' AND tenant_id = 'default' AND version = 1;";
	};
	my $count = sub { "SELECT count(*) FROM order_cqrs.order_view WHERE order_id LIKE '$_[0]%';" };
	my $repaired = 'SELECT sum(repaired_total) FROM order_cqrs.projection_state';

	create_database($node, 'many');
	open_shop($node, 'many');
	$node->safe_psql('many', order_sql('o1') . <<'SQL');
CREATE TABLE fired (as_whom name);
CREATE ROLE keeper SUPERUSER;
CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.fired VALUES (current_user); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER fire AFTER INSERT ON order_cqrs.events DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
	WHEN (NEW.aggregate_id = 'n1') EXECUTE FUNCTION fire();
SQL
	is($node->safe_psql('many', 'SET ROLE keeper; BEGIN;' . $insert->('m', 1000, 150) . $count->('m') . $insert->('n', 1150, 1)
			  . 'SET CONSTRAINTS order_cqrs.restore_project IMMEDIATE; COMMIT;' . $count->('m')),
		"100\n150", 'many rows: the first 100 are projected at once, all when the transaction ends');
	is($node->safe_psql('many', 'SELECT * FROM fired'), 'keeper', 'many rows: a deferred trigger fires as the caller');
	is($node->safe_psql('many', 'SELECT count(*) FROM order_cqrs.projection_state WHERE mode = $$sync$$ AND last_position <> 1151'),
		'0', 'many rows: the checkpoints are at the last of them');
	is($node->safe_psql('many', $repaired), '0', 'many rows: that is no repair');
	is( $node->safe_psql('many', 'BEGIN;' . $insert->('s', 2000, 150) . 'SET CONSTRAINTS ALL IMMEDIATE;' . $count->('s')
			  . $insert->('t', 2200, 150) . 'COMMIT;' . $count->('s') . $count->('t')),
		"150\n150\n150", 'many rows: also if constraints are not deferred');
	is( $node->safe_psql('many', 'BEGIN;' . $insert->('r', 1300, 150) . 'SAVEPOINT s;' . $insert->('u', 1500, 150) . 'ROLLBACK TO s;' . $insert->('v', 1500, 150)
			  . 'COMMIT;' . $count->('r') . $count->('u') . $count->('v')),
		"150\n0\n150", 'many rows: also with savepoints');

	# Nobody waits for long for another who appends.
	my $session = $node->background_psql('many');
	$session->query_safe("SELECT setval('order_cqrs.events_position_seq', 10000); BEGIN;" . order_sql('beside'));
	is($node->safe_psql('many', $insert->('w', 3000, 150) . $count->('w')), '100', 'many rows: beside a command the rest is left');
	$session->query_safe('COMMIT');
	$session->quit;
	$node->safe_psql('many', 'CALL order_cqrs.projection_sync()');
	is($node->safe_psql('many', $count->('w')), '150', 'many rows: to projection_sync');
	ok_shop_is_true($node, 'many', 'many rows');
}

fill_source();
test_many_rows();
test_plain();
test_custom();
test_data_only();
test_served();
test_rows_by_hand();

$node->stop;
done_testing();
