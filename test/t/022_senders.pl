# A future belongs to a role, and not to the name that the role had: after renames and drops, and after a restore into
# another cluster, where OIDs mean other roles. It runs with the sender's settings, and in a session as good as new.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my @settings = ('order_cqrs.sync_interval' => '1h', 'order_cqrs.bus_workers' => 0);
my $node = new_server('senders', @settings);
$node->start;

# The same OIDs are given to other roles in another cluster.
my @roles = qw(clerk other gone temp absent);
$node->safe_psql('postgres', join ';', map { "CREATE ROLE $_ LOGIN" } @roles);
create_database($node, 'shop');
set_and_reload($node, 'order_cqrs.databases' => 'shop');
open_shop($node, 'shop');

my $handlers = <<'SQL';
CREATE FUNCTION who(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE sql
	AS $$ SELECT jsonb_build_object('who', session_user, 'pid', pg_backend_pid()) $$;
CREATE FUNCTION style(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE sql
	AS $$ SELECT to_jsonb((payload->>'time')::timestamptz::text) $$;
-- Leaves its session with settings that the next future would fail with.
CREATE FUNCTION mess(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN
		SET default_transaction_read_only = on;
		SET default_transaction_isolation = 'serializable';
		SET search_path = nowhere;
		SET statement_timeout = 1;
		SET TimeZone = 'Asia/Tokyo';
		SET order_cqrs.tenant_id = 'mess';
		RETURN to_jsonb(pg_backend_pid());
	END $$;
CREATE FUNCTION settings(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT to_jsonb(concat_ws(' ', pg_backend_pid(), current_setting('transaction_read_only'), current_setting('transaction_isolation'),
		current_setting('search_path'), current_setting('statement_timeout'))) $$;
GRANT USAGE ON SCHEMA order_cqrs TO PUBLIC;
SQL
$node->safe_psql('shop', $handlers . <<'SQL');
SELECT order_cqrs.command_handler_register(upper(left(f, 1)) || substr(f, 2), (f || '(jsonb, jsonb)')::regprocedure)
  FROM unnest('{who,style,mess,settings}'::text[]) AS f;
SQL

# as USER, QUERY returns what a session of that user is answered.
sub as
{
	my ($user, $query) = @_;
	return $node->safe_psql('shop', "SET search_path = order_cqrs; $query", extra_params => [ '--username', $user, '--quiet' ]);
}

# refused_as USER, QUERY returns the SQLSTATE.
sub refused_as
{
	my ($user, $query) = @_;
	my ($status, $output, $error) = $node->psql('shop', "\\set VERBOSITY sqlstate\nSET search_path = order_cqrs;\n$query;",
		extra_params => [ '--username', $user, '--quiet' ]);
	return $error =~ /ERROR:  (\w+)/ ? $1 : "no error: $output";
}

sub sent
{
	my ($user, $type, $payload) = @_;
	return as($user, "SELECT command_send_async('$type', '" . ($payload // '{}') . "')");
}

sub answer
{
	my ($user, $id) = @_;
	return as($user, "SELECT future_get('$id', '60 s')");
}

sub set_workers
{
	my ($count) = @_;
	set_and_reload($node, 'order_cqrs.bus_workers' => $count);
	$node->poll_query_until('postgres', q(SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'order_cqrs pool worker'))
	  if $count == 0;
	return;
}

sub order
{
	my ($id) = @_;
	return qq({"order_id": "$id", "customer_id": "ada", "items": [{"product_id": "pen", "quantity": 1, "unit_price": 1}]});
}

sub test_rename
{
	my ($id, $new);

	$id = sent('temp', 'Who');
	$node->safe_psql('postgres', 'ALTER ROLE temp RENAME TO "Temp 2"; CREATE ROLE temp LOGIN SUPERUSER');
	$node->safe_psql('postgres', 'ALTER ROLE temp NOSUPERUSER');
	$new = sent('temp', 'Who');
	set_workers(4);
	is(as('Temp 2', "SELECT future_get('$id', '60 s')->>'who'"), 'Temp 2', 'after a rename a future runs as its sender');
	is(as('temp', "SELECT future_get('$new', '60 s')->>'who'"), 'temp', 'and that of the new role of the old name as that');
	is(refused_as('temp', "SELECT future_get('$id')"), 'OC105', 'who does not see the result');
	is(refused_as('Temp 2', "SELECT future_get('$new')"), 'OC105', 'nor the other his');
	is($node->safe_psql('shop', "SELECT session_role, role FROM order_cqrs.bus_future WHERE id = '$id'"),
		'"Temp 2"|"Temp 2"', 'the table shows the name of now');
	set_workers(0);
	$node->safe_psql('postgres', 'DROP ROLE temp; ALTER ROLE "Temp 2" RENAME TO temp');
	return;
}

sub test_drop
{
	my $id = sent('gone', 'CreateOrder', order('gone'));

	$node->safe_psql('postgres', 'DROP ROLE gone; CREATE ROLE gone LOGIN');
	set_workers(4);
	is(refused_as('postgres', "SELECT future_get('$id', '60 s')"), 'OC506', 'a future of a dropped role fails');
	is($node->safe_psql('shop', "SELECT attempts, session_role, role FROM order_cqrs.bus_future WHERE id = '$id'"), '0|-|-', 'without being begun');
	is(refused_as('gone', "SELECT future_status('$id')"), 'OC105', 'a role of the same name does not see it');
	is($node->safe_psql('shop', q(SELECT count(*) FROM order_cqrs.events WHERE aggregate_id = 'gone')), '0', 'nothing was done in its name');

	# A worker has logged in as him, and is idle.
	like(answer('gone', sent('gone', 'Who')), qr/"gone"/, 'the new role is served');
	$node->safe_psql('postgres', 'DROP ROLE gone; CREATE ROLE gone LOGIN');
	$id = sent('gone', 'Who');
	like(answer('gone', $id), qr/"gone"/, 'so is the next one');
	is($node->safe_psql('shop', "SELECT count(*) FROM order_cqrs.bus_future f JOIN pg_stat_activity a ON a.pid = (f.result->>'pid')::int"
			  . " JOIN pg_roles r ON r.oid = a.usesysid WHERE f.id = '$id' AND r.rolname = 'gone'"),
		'1', 'by a worker of its own');

	# The same for a session's role.
	$node->safe_psql('postgres', 'CREATE ROLE hat; GRANT hat TO clerk');
	set_workers(0);
	$id = as('clerk', q(SET ROLE hat; SELECT command_send_async('Who', '{}')));
	$node->safe_psql('postgres', 'DROP ROLE hat; CREATE ROLE hat; GRANT hat TO clerk');
	set_workers(4);
	is(refused_as('postgres', "SELECT future_get('$id', '60 s')"), 'OC506', 'a future whose role was dropped fails');
	is(refused_as('clerk', "SELECT future_status('$id')"), 'OC105', 'members of a role of the same name do not see it');
	set_workers(0);
	$node->safe_psql('postgres', 'DROP ROLE hat');
	return;
}

# A role that may not log in any more, while a worker has.
sub test_no_login
{
	my $session = $node->background_psql('shop', extra_params => [ '--username', 'other' ]);
	my $count = q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'order_cqrs pool worker' AND usename = 'other');

	set_workers(4);
	answer('other', sent('other', 'Who'));
	is($node->safe_psql('postgres', $count), '1', 'a worker has logged in');
	$node->safe_psql('postgres', 'ALTER ROLE other NOLOGIN');
	my $id = $session->query_safe(q(SELECT order_cqrs.command_send_async('Who', '{}')));
	is(refused_as('postgres', "SELECT future_get('$id', '60 s')"), '28000', 'it runs no futures once its role may not log in');
	ok($node->poll_query_until('postgres', "SELECT ($count) = 0"), 'and ends');
	$node->safe_psql('postgres', 'ALTER ROLE other LOGIN');
	$session->quit;
	return;
}

sub test_settings
{
	my $style = q(SELECT command_send_async('Style', '{"time": "2024-05-06 12:00"}'));

	is(answer('clerk', as('clerk', "SET TimeZone = 'Asia/Seoul'; SET DateStyle = 'SQL, DMY'; $style")),
		'"06/05/2024 12:00:00 KST"', 'a future has the TimeZone and the DateStyle of its sender');
	is(answer('clerk', as('clerk', "SET TimeZone = 'America/New_York'; $style")), '"2024-05-06 12:00:00-04"', 'the next one its own');

	set_workers(0);
	set_workers(1);
	my $pid = answer('clerk', sent('clerk', 'Mess'));
	is(answer('clerk', as('clerk', q(SELECT command_send_async('Settings', '{}')))),
		qq("$pid off read committed \\"\$user\\", public 0"), 'a worker survives a handler\'s settings, and forgets them');
	is(answer('clerk', as('clerk', 'SELECT command_send_async(\'CreateOrder\', \'' . order('after') . "')")),
		'{"version": 1, "order_id": "after"}', 'commands work after that');
	set_workers(4);
	return;
}

# What a connection brings along has not been verified by anybody, and would be in the log for ever.
sub test_encodings
{
	foreach my $setting ('actor', 'tenant_id')
	{
		local $ENV{PGOPTIONS} = "-c order_cqrs.$setting=a\xffb";
		is(refused_as('clerk', q(CALL event_append('Note', 'n', '[{"type": "T", "data": {}}]'))), '22021', "a command refuses an $setting that is no text");
		is(refused_as('clerk', q(SELECT command_send_async('Who', '{}'))), '22021', "and so does a send");
	}
	return;
}

# A dump into another cluster: the roles are the same by name, one does not exist, and OIDs mean other roles.
sub test_restore
{
	my $dump = $node->basedir . '/dump';
	my $other = new_server('elsewhere', @settings);
	my (%waiting, %done);

	$done{$_} = sent($_, 'Who') foreach qw(clerk absent);
	answer($_, $done{$_}) foreach qw(clerk absent);
	set_workers(0);
	$waiting{$_} = sent($_, 'Who') foreach qw(clerk temp absent);
	$node->safe_psql('postgres', 'DROP ROLE other; ALTER ROLE temp RENAME TO other; CREATE ROLE temp LOGIN');
	$node->command_ok([ 'pg_dump', '--format=custom', '--file', $dump, $node->connstr('shop') ], 'dumped');
	my $oids = q(SELECT string_agg(rolname, ' ' ORDER BY oid) FROM pg_roles WHERE oid BETWEEN %s AND %s);
	my ($first, $last) = split /\|/, $node->safe_psql('postgres', q(SELECT min(oid), max(oid) FROM pg_roles WHERE rolname IN ('clerk', 'absent', 'other')));
	note $node->safe_psql('postgres', sprintf $oids, $first, $last);
	$node->stop;

	$other->start;
	$other->safe_psql('postgres', join ';', map { "CREATE ROLE $_ LOGIN" } qw(stranger temp other gone clerk));
	is($other->safe_psql('postgres', "SELECT rolname FROM pg_roles WHERE oid = $first"), 'stranger', 'OIDs mean other roles in another cluster');
	$node = $other;

	foreach my $how ([ 'restored' ], [ 'triggers', '--data-only', '--disable-triggers' ])
	{
		my ($database, @options) = @$how;
		create_database($node, $database);
		$node->safe_psql($database, "CREATE EXTENSION order_cqrs CASCADE; $handlers") if @options;
		my $restore = "pg_restore --dbname='" . $node->connstr($database) . "' @options '$dump' 2>&1";
		my $output = `$restore`;
		unlike($output, qr/bus_future/, "$database: the futures are restored") or diag($output);
		is($node->safe_psql($database, 'SELECT session_role::text || $$ $$ || status FROM order_cqrs.bus_future WHERE id IN '
				  . "('" . join("', '", values %waiting) . "') ORDER BY number"),
			"clerk waiting\nother waiting\n- waiting", "$database: bound by names");
		set_and_reload($node, 'order_cqrs.databases' => $database, 'order_cqrs.bus_workers' => 4);
		$node->safe_psql($database, 'CALL order_cqrs.restore_end()');
		my $get = sub {
			my ($user, $id) = @_;
			my ($status, $result, $error) = $node->psql($database, "\\set VERBOSITY sqlstate\nSELECT order_cqrs.future_get('$id', '60 s')->>'who';",
				extra_params => [ '--username', $user ]);
			return $error =~ /ERROR:  (\w+)/ ? $1 : $result;
		};
		is($get->('clerk', $waiting{clerk}), 'clerk', "$database: a future runs as its sender");
		is($get->('other', $waiting{temp}), 'other', "$database: also one that was renamed since it was sent");
		is($get->('postgres', $waiting{absent}), 'OC506', "$database: a role that is not there is nobody");
		is($get->('clerk', $done{clerk}), 'clerk', "$database: a result is its sender's");
		is($get->('stranger', $done{clerk}), 'OC105', "$database: and not another role's with his OID");
		is($get->($_, $done{absent}), 'OC105', "$database: that of a role that is not there is nobody's") foreach qw(stranger temp other clerk);
	}
	return;
}

test_rename();
test_drop();
test_no_login();
test_settings();
test_encodings();
test_restore();

$node->stop;
done_testing();
