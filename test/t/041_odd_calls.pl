# Odd calls: all routines of the extension, with arguments and under settings that nobody means. Whatever is called, the server
# stands, errors say what they are, and the read tables are what the events say.
#
#   OCQ_ODD_CALLS=100000 OCQ_ODD_SEED=7 prove ... test/t/041_odd_calls.pl
#
# makes more calls, or others. The calls follow from the seed alone; a failure names seed, session, line and statement. No
# worker runs, so that the same calls meet the same data.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use OddCalls;
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my $seed = $ENV{OCQ_ODD_SEED} // 11;
my $calls = $ENV{OCQ_ODD_CALLS} // 5000;
my $calls_of_session = 100;

# No statement runs for longer; most take a millisecond.
my $bound = '30s';

# What may be answered: the extension's own, and PostgreSQL's for what it refuses itself: types, casts, privileges, transactions,
# limits, and what the statements do on purpose.
my $may_be = qr/^(?:OC\w\w\w|0A000|0B000|21000|22\w\w\w|23\w\w\w|25\w\w\w|26000|28000|2D000|34000|3B001|3F000|40001|42\w\w\w|53\w\w\w|54\w\w\w|55\w\w\w|39P01|57014)$/;

# The codes that the extension itself answers with, other than those of class OC; see "Errors" of the reference.
my $may_be_ours = qr/^(?:OC\w\w\w|25001|25006|28000|40001|42501|42704|42883|55P03|57014|39P01)$/;
my %is_ours = map { (s{.*/}{}r => 1) } glob "$FindBin::RealBin/../../src/*.c $FindBin::RealBin/../../src/*/*.c";

my $node = new_server('odd', log_min_duration_statement => $bound, log_min_messages => 'warning', restart_after_crash => 'off');
$node->start;
create_database($node, 'shop');
open_shop($node, 'shop');
$node->safe_psql('shop', <<'SQL');
CREATE ROLE client LOGIN;
CREATE ROLE operator LOGIN;
CREATE ROLE stranger LOGIN;
GRANT USAGE ON SCHEMA order_cqrs TO client, operator;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA order_cqrs TO operator;
CREATE SCHEMA hostile AUTHORIZATION client;
GRANT USAGE ON SCHEMA hostile TO PUBLIC;
CREATE FUNCTION odd_null(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb';
CREATE FUNCTION odd_fail(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE division_by_zero; END $$;
CREATE FUNCTION odd_nested(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM /* odd */ order_cqrs.command_send('CancelOrder', payload);
    RETURN order_cqrs.query_send('GetOrder', payload);
EXCEPTION WHEN OTHERS THEN RETURN context;
END $$;
CREATE FUNCTION odd_settings(payload jsonb, context jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    SET search_path = hostile;
    SET order_cqrs.tenant_id = 'odd';
    SET default_transaction_read_only = on;
    RETURN payload;
END $$;
SELECT order_cqrs.command_handler_register('Odd0', 'odd_null(jsonb,jsonb)'), order_cqrs.command_handler_register('Odd1', 'odd_nested(jsonb,jsonb)'),
       order_cqrs.query_handler_register('Odd0', 'odd_settings(jsonb,jsonb)'), order_cqrs.query_handler_register('Odd1', 'odd_fail(jsonb,jsonb)');
SET ROLE client;
CREATE TABLE hostile.events (LIKE pg_class);
CREATE TABLE hostile.order_view (order_id text);
CREATE FUNCTION hostile.text_equal(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT 1 / 0 = 1';
CREATE OPERATOR hostile.= (LEFTARG = text, RIGHTARG = text, FUNCTION = hostile.text_equal);
CREATE FUNCTION hostile.jsonb_build_object(VARIADIC text[]) RETURNS jsonb LANGUAGE sql AS 'SELECT (1 / 0)::text::jsonb';
RESET ROLE;
DO $$
BEGIN
    FOR i IN 0 .. 3 LOOP
        CALL order_cqrs.customer_put('c' || i, 'Customer ' || i, 'c@example.org');
        CALL order_cqrs.product_put('p' || i, 'Product ' || i, 'x');
    END LOOP;
    CALL order_cqrs.stock_receive('p1', 100000);
    CALL order_cqrs.stock_receive('p2', 10);
    FOR i IN 0 .. 9 LOOP
        CALL order_cqrs.order_create('o' || i, 'c' || i % 3, '[{"product_id": "p1", "quantity": 2, "unit_price": 1.5}]');
    END LOOP;
END $$;
SQL

my @routines = read_routines($node->safe_psql('shop', routines_query()));
my (%seen, %called, %known, @faults);
my $sessions = 0;
my $dir = $node->basedir;

cmp_ok(scalar(@routines), '>', 60, 'there are routines to call');

# fault WHAT, NUMBER, LINE keeps a fault for the end, with all that is needed to see it again. Of those that differ in values
# only, the first will do.
sub fault
{
	my ($what, $number, $line) = @_;
	return if $known{ $what =~ s/".*?"|[\d]+|^(?:DETAIL|LINE|QUERY|HINT).*$//mgr }++;
	push @faults, "seed $seed, session $sessions, line $number: $what\n" . substr($line // '', 0, 2000);
	return;
}

# judge looks at one message of psql about a line: its severity, and the rest of it.
sub judge
{
	my ($number, $line, $severity, $message) = @_;
	my ($state) = $message =~ /^\s*(\w{5}):/ or return;
	my ($file) = $message =~ /^LOCATION:\s+\S+ (\S+):\d+$/m;
	my $is_ours = defined $file && $is_ours{$file};
	my $text = substr $message, 0, 1500;

	return if $severity !~ /^(?:ERROR|FATAL|PANIC|WARNING)$/ || $state eq '01000';
	$seen{$state}++;
	if ($state !~ $may_be && !($severity eq 'WARNING' && $state =~ /^(?:01|P0001|25P01)/))
	{
		fault("this is no answer: $severity: $text", $number, $line);
	}
	elsif ($is_ours && $state !~ $may_be_ours)
	{
		fault("the extension has no SQLSTATE of its own for this: $text", $number, $line);
	}
	# A statement that was cancelled, or that found no memory or disk, may have been ours.
	while ($state !~ /^5[347]/ && $message =~ /^(?:CONTEXT:\s+)?SQL statement "(.*?)"$/msg)
	{
		fault("a caller sees a statement of ours: $text", $number, $line) if $1 !~ m{/\* odd \*/};
	}
	return;
}

sub run_session
{
	my ($user, @lines) = @_;
	my $file = "$dir/odd.sql";
	my $error = '';

	open my $script, '>', $file or die "$file: $!";
	print $script "$_\n" foreach @lines;
	close $script;
	IPC::Run::run(
		[
			'psql', '--no-psqlrc', '--quiet', '--set=VERBOSITY=verbose', '--set=SHOW_CONTEXT=always',
			# Otherwise most of a block would be refused for the first error in it.
			'--set=ON_ERROR_ROLLBACK=' . ($sessions % 6 ? 'on' : 'off'),
			'--username' => $user, '--file' => $file, '--dbname' => $node->connstr('shop')
		],
		'<', \undef, '>', '/dev/null', '2>', \$error);
	fault('psql ended with status ' . ($? >> 8) . ': ' . substr($error, -2000), 0, '') if $? != 0;
	my @parts = split /^psql:\S+?:(\d+): ([A-Z]+):/m, $error;
	shift @parts;
	while (my ($number, $severity, $message) = splice @parts, 0, 3)
	{
		judge($number, $lines[ $number - 1 ], $severity, $message);
	}
	return;
}

srand $seed;
for (my $done = 0; $done < $calls && @faults < 20; $done += $calls_of_session)
{
	my ($user, @lines) = make_session(\@routines, $calls_of_session);

	$sessions++;
	$called{$_}++ foreach join("\n", @lines) =~ /order_cqrs\.(\w+)\(/g;
	run_session($user, @lines);
	last unless $node->psql('shop', 'SELECT 1') == 0;
}

is(join("\n\n", @faults), '', 'every call is answered as it should be');
is(join(' ', grep { !$called{$_} } sort map { $_->{name} } @routines), '', 'each routine was called') if $calls >= 5000;
note(join ' ', map { "$_: $seen{$_}" } sort keys %seen);

my $log = slurp_file($node->logfile);
is(join("\n", $log =~ /^.*(?:PANIC: |TRAP: |terminated by signal|AddressSanitizer|runtime error: ).*$/mg), '', 'no process of the server has died');
is(join("\n", map { substr $_, 0, 500 } $log =~ /^.*LOG:  duration: .*$/mg), '', "no statement took longer than $bound");

# What the calls have paused goes on, and then all is as the events say.
$node->safe_psql('shop', "CALL order_cqrs.projection_resume('$_')") foreach @Shop::projections;
$node->safe_psql('shop', 'CALL order_cqrs.projection_sync()');
ok_shop_is_true($node, 'shop', "seed $seed");
$node->stop;

done_testing();
