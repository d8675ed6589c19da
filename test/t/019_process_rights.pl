# Whose rights code has that is not the extension's and runs within its work. The processes are connected as the
# bootstrap superuser, and the extension is owned by another role: so every trigger that fires tells who it runs as.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my $node = new_server('rights', 'order_cqrs.saga' => 'on', 'order_cqrs.audit_delay' => '1s', 'order_cqrs.result_retention' => '1s');
$node->start;
create_database($node, 'shop');

# Whoever has the TRIGGER privilege has the owner's rights: nobody has it unless it is granted. He gets no others.
$node->safe_psql('shop', <<'SQL');
CREATE ROLE installer SUPERUSER;
CREATE ROLE guest;
GRANT CREATE ON DATABASE shop TO guest;
CREATE EXTENSION pg_trgm;
SET ROLE installer;
CREATE EXTENSION order_cqrs;
DO $$
DECLARE
	relation regclass;
BEGIN
	FOR relation IN SELECT oid FROM pg_class WHERE relnamespace = 'order_cqrs'::regnamespace AND relkind = 'r' LOOP
		ASSERT NOT has_table_privilege('guest', relation, 'TRIGGER');
		EXECUTE format('GRANT TRIGGER ON %s TO guest', relation);
	END LOOP;
END $$;
GRANT USAGE ON SCHEMA order_cqrs TO guest;
RESET ROLE;

SET ROLE guest;
CREATE SCHEMA guest;
CREATE TABLE guest.fired (relation name, kind text, process text, fired_as name, session name, became text);
GRANT USAGE ON SCHEMA guest TO PUBLIC;
GRANT INSERT ON guest.fired TO PUBLIC;
-- become tells what comes of putting on another role.
CREATE FUNCTION guest.become(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RETURN 'became ' || current_user;
EXCEPTION WHEN OTHERS THEN
	RETURN sqlstate;
END $$;
CREATE FUNCTION guest.note(relation text, kind text) RETURNS void LANGUAGE sql AS $$
	INSERT INTO guest.fired VALUES (relation, kind,
		(SELECT backend_type FROM pg_stat_activity WHERE pid = pg_backend_pid()), current_user, session_user,
		guest.become('SET LOCAL ROLE postgres') || ' ' || guest.become('RESET ROLE') || ' ' ||
		guest.become('SET LOCAL SESSION AUTHORIZATION postgres') || ' ' || guest.become($s$SELECT set_config('role', 'postgres', true)$s$));
$$;
-- A deferred trigger queues another one, and a cursor WITH HOLD is run by the commit: both are later than all checks.
CREATE TABLE guest.again (relation text);
GRANT INSERT ON guest.again TO PUBLIC;
CREATE FUNCTION guest.tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM guest.note(tg_relid::regclass::text, tg_argv[0]);
	IF tg_argv[0] = 'deferred' THEN
		SET CONSTRAINTS ALL DEFERRED;
		INSERT INTO guest.again VALUES (tg_relid::regclass);
		IF NOT EXISTS (SELECT FROM pg_cursors WHERE name = 'held') AND
				(SELECT backend_type FROM pg_stat_activity WHERE pid = pg_backend_pid()) LIKE 'order_cqrs%' THEN
			EXECUTE format('DECLARE held CURSOR WITH HOLD FOR SELECT guest.note(%L, %L)', tg_relid::regclass, 'held');
		END IF;
	END IF;
	RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER later AFTER INSERT ON guest.again DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION guest.tell('queued');
DO $$
DECLARE
	relation regclass;
BEGIN
	FOR relation IN SELECT oid FROM pg_class WHERE relnamespace = 'order_cqrs'::regnamespace AND relkind = 'r' LOOP
		EXECUTE format('CREATE TRIGGER now AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION guest.tell(%L)',
			relation, 'immediate');
		EXECUTE format('CREATE CONSTRAINT TRIGGER later AFTER INSERT OR UPDATE OR DELETE ON %s DEFERRABLE INITIALLY DEFERRED'
			' FOR EACH ROW EXECUTE FUNCTION guest.tell(%L)', relation, 'deferred');
	END LOOP;
END $$;
RESET ROLE;
CREATE ROLE clerk LOGIN;
GRANT USAGE ON SCHEMA order_cqrs TO clerk;
CALL order_cqrs.customer_put('ada', 'Ada', 'ada@example.org');
CALL order_cqrs.product_put('pen', 'Pen', 'Writing');
CALL order_cqrs.product_put('ink', 'Ink', 'Supplies');
SQL

set_and_reload($node, 'order_cqrs.databases' => 'shop');
ok(wait_served($node, 'shop'), 'there are workers');
$node->safe_psql('shop', order_sql("o$_")) foreach 1 .. 3;
$node->safe_psql('shop', "CALL order_cqrs.customer_put('ada', 'Ada Lovelace', 'ada\@example.org')");
ok($node->poll_query_until('shop', "SELECT count(*) = 3 FROM order_cqrs.payments"), 'the saga asks for payments');
my $sent = $node->safe_psql('shop', q{SELECT order_cqrs.command_send_async('CompletePayment', '{"order_id": "o1"}')}, extra_params => [ '--username', 'clerk' ]);
ok($node->poll_query_until('shop', "SELECT count(*) = 1 FROM order_cqrs.order_view WHERE shipped_at IS NOT NULL"), 'an order is shipped');
ok(wait_projected($node, 'shop'), 'all is projected');
ok($node->poll_query_until('shop', "SELECT count(*) = 0 FROM order_cqrs.bus_future"), 'the future has been deleted');
ok($node->poll_query_until('shop', "SELECT count(*) > 0 FROM order_cqrs.projection_ledger WHERE verified_at IS NOT NULL"), 'there was an audit');

foreach my $process ('synchroniser', 'runner')
{
	is($node->safe_psql('shop', "SELECT DISTINCT kind, fired_as, session FROM guest.fired WHERE process = 'order_cqrs $process' ORDER BY 1"),
		join("\n", map { "$_|installer|postgres" } qw(deferred held immediate queued)), "in the $process every trigger runs as the owner of the extension");
}
foreach my $relation ('events', 'order_stats', 'projection_state', 'projection_ledger', 'order_saga', 'saga_state', 'bus_future')
{
	cmp_ok($node->safe_psql('shop', "SELECT count(*) FROM guest.fired WHERE relation = 'order_cqrs.$relation' AND kind = 'deferred' AND process LIKE 'order_cqrs %'"),
		'>', 0, "a process has written $relation");
}
is($node->safe_psql('shop', "SELECT DISTINCT fired_as FROM guest.fired WHERE kind = 'immediate'"),
	'installer', 'a trigger that fires at once runs as the owner, wherever it fires');
is($node->safe_psql('shop', "SELECT DISTINCT became FROM guest.fired WHERE kind = 'immediate' OR process ~ '^order_cqrs [sr]'"),
	'42501 42501 42501 42501', 'nothing that runs within a scope puts on another role');
is($node->safe_psql('shop', "SELECT DISTINCT fired_as FROM guest.fired WHERE kind = 'deferred' AND process = 'order_cqrs pool worker' AND relation <> 'order_cqrs.bus_future'"),
	$node->pg_version >= 18 ? 'installer' : 'clerk',
	'in a pool worker what is deferred runs as the sender, who has logged in; since 18 as the role that wrote');
ok_shop_is_true($node, 'shop', 'at the end');

# A trigger that drops the extension does so after the last statement of ours, so nothing but the commit is left to refuse it.
$node->safe_psql('shop', <<'SQL');
DROP OWNED BY guest CASCADE;
CREATE TABLE last_order (id text);
CREATE FUNCTION note_last() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.last_order VALUES ('o4'); RETURN NULL; END $$;
CREATE FUNCTION drop_all() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DROP EXTENSION order_cqrs CASCADE; RETURN NULL; END $$;
GRANT INSERT ON last_order TO installer;
CREATE TRIGGER note AFTER UPDATE ON order_cqrs.order_stats FOR EACH STATEMENT EXECUTE FUNCTION note_last();
CREATE CONSTRAINT TRIGGER last AFTER INSERT ON last_order DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION drop_all();
SQL
my $log_start = -s $node->logfile;
$node->safe_psql('shop', order_sql('o4'));
$node->wait_for_log(qr/ERROR:  .*\n.*order_cqrs/, $log_start);
is($node->safe_psql('shop', 'SELECT count(*) FROM last_order'), '0', 'the transaction of a process that drops the extension is not committed');
is($node->safe_psql('shop', "SELECT count(*) FROM order_cqrs.order_view WHERE order_id = 'o4'"), '1', 'and the order is there');
$node->safe_psql('shop', 'DROP TABLE last_order CASCADE; DROP TRIGGER note ON order_cqrs.order_stats');
ok(wait_projected($node, 'shop'), 'without the trigger the work goes on');
ok_shop_is_true($node, 'shop', 'after that');

$node->stop;
done_testing();
