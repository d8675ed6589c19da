# Notifications of changes, and what an application does with them: the scripts that doc/reference.md gives Redis are
# run by a real server, as the application there does.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

eval { IPC::Run::run([ 'redis-server', '--version' ], '>', \my $version) }
  or plan skip_all => 'there is no redis-server';

my $node = new_server('notify');
$node->start;
create_database($node, 'shop');
open_shop($node, 'shop');

# The application's listener: a psql, which shows what it was notified of when it is asked something.
my ($questions, $answers) = ('', '');
my $listener = IPC::Run::start(
	[ 'psql', '--no-psqlrc', '--quiet', '--tuples-only', '--no-align', '--dbname', $node->connstr('shop') ],
	'<', \$questions, '>', \$answers, IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
my $sentinels = 0;

# ask SQL returns what the listener prints until it has done that.
sub ask
{
	my ($sql) = @_;
	$answers = '';
	$questions .= "$sql;\n\\echo asked\n";
	$listener->pump until $answers =~ /^asked$/m;
	return $answers;
}

# received returns the payloads of the notifications that have come since it was last called. One of its own tells it
# that there are no others on the way.
sub received
{
	my $sentinel = 'sentinel ' . ++$sentinels;
	my $seen = '';

	$node->safe_psql('shop', "NOTIFY order_cqrs, '$sentinel'");
	$seen .= ask('SELECT 1') until $seen =~ /"\Q$sentinel\E"/;
	return map { decode_json($_) } $seen =~ /with payload "(\{.*\})" received/g;
}

sub brief { return join ' ', map { JSON::PP->new->canonical->encode($_) } @_; }

# run_sql SQL does something in another session.
sub run_sql { return $node->safe_psql('shop', $_[0]); }

ask('LISTEN order_cqrs');

# Off.
run_sql(order_sql('quiet'));
is(brief(received()), '', 'nothing is sent unless it is asked for');

# On: one for each command.
run_sql('ALTER SYSTEM SET order_cqrs.notify = on; SELECT pg_reload_conf()');
$node->poll_query_until('shop', 'SHOW order_cqrs.notify', 'on');
run_sql(order_sql('o1'));
is( brief(received()),
	'{"customer_id":"ada","event_type":"OrderCreated","order_id":"o1","tenant_id":"default","version":1}',
	'a new order');
run_sql("CALL order_cqrs.stock_receive('pen', 10); CALL order_cqrs.order_update('o1', " . items('pen', 1, '1.00') . ');');
is( brief(received()),
	'{"customer_id":"ada","event_type":"OrderUpdated","order_id":"o1","tenant_id":"default","version":3}',
	'one for a command, with the version after what follows from it');
run_sql("BEGIN; CALL order_cqrs.order_cancel('o1'); ROLLBACK;");
run_sql("BEGIN; SAVEPOINT s; CALL order_cqrs.order_cancel('o1'); ROLLBACK TO s; COMMIT;");
is(brief(received()), '', 'none of what is rolled back');
run_sql("CALL order_cqrs.customer_put('ada', 'Ada', 'ada\@example.org'); CALL order_cqrs.customer_put('eve', 'Eve', '');");
is(brief(received()), '', 'none of a customer who is new or the same');
run_sql("CALL order_cqrs.customer_put('ada', 'Ada L.', 'ada\@example.org'); CALL order_cqrs.product_put('pen', 'Quill', '');");
is( brief(received()),
	'{"customer_id":"ada","event_type":"CustomerChanged","tenant_id":"default","version":2}'
	  . ' {"event_type":"ProductChanged","product_id":"pen","tenant_id":"default","version":2}',
	'a customer and a product with another name');
my ($status) = $node->psql('shop', "BEGIN; CALL order_cqrs.order_cancel('o1'); PREPARE TRANSACTION 'notifies';");
isnt($status, 0, 'a transaction that notifies cannot be prepared');

# The longest ids there are, in the longest form.
my $longest = "repeat(E'\\x01', 255)";
run_sql("CALL order_cqrs.customer_put($longest, '', '', tenant_id => $longest); CALL order_cqrs.product_put('pen', '', '', tenant_id => $longest);");
run_sql("CALL order_cqrs.order_create($longest, $longest, " . items('pen', 1, '1.00') . ", tenant_id => $longest);");
my ($long) = received();
is(length $long->{$_}, 255, "the longest $_ arrives") foreach qw(tenant_id order_id customer_id);

# The application.
my $socket = PostgreSQL::Test::Utils::tempdir_short() . '/redis.sock';
my $redis = IPC::Run::start(
	[
		'redis-server', '--port', 0, '--unixsocket', $socket, '--save', '', '--appendonly', 'no',
		'--dir', PostgreSQL::Test::Utils::tempdir()
	],
	'<', \undef, '>', \my $redis_log, '2>&1');

sub redis_cli
{
	my @command = @_;
	my ($out, $err);
	IPC::Run::run([ 'redis-cli', '-s', $socket, @command ], '<', \undef, '>', \$out, '2>', \$err);
	chomp $out;
	return $out;
}

foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
{
	last if redis_cli('PING') eq 'PONG';
	select undef, undef, undef, 0.1;
}
is(redis_cli('PING'), 'PONG', 'there is a Redis');

my %scripts = slurp_file('doc/reference.md') =~ /^(\w+) = store\.register_script\("""\n(.*?)^"""\)/msg;

sub key_of
{
	my ($order_id) = @_;
	return JSON::PP->new->encode([ redis_cli('GET', 'generation'), 'default', $order_id ]);
}

# read_order returns the order's answer from the database, to be kept.
sub read_order
{
	my ($order_id) = @_;
	return split /\|/, run_sql("SELECT version, status || ' of ' || customer_name FROM order_cqrs.order_get('$order_id')");
}

sub keep_order
{
	my ($key, $version, $answer) = @_;
	redis_cli('EVAL', $scripts{keep}, 1, $key, $version, $answer);
	return;
}

# kept returns what there is in Redis of the order.
sub kept { return redis_cli('HGET', key_of($_[0]), 'answer'); }

sub get_order
{
	my ($order_id) = @_;
	my $key = key_of($order_id);
	my $answer = redis_cli('HGET', $key, 'answer');

	if ($answer eq '')
	{
		(my $version, $answer) = read_order($order_id);
		keep_order($key, $version, $answer);
	}
	return $answer;
}

sub take_notifications
{
	foreach my $change (received())
	{
		if (exists $change->{order_id})
		{
			redis_cli('EVAL', $scripts{evict}, 1, key_of($change->{order_id}), $change->{version});
		}
		else
		{
			redis_cli('INCR', 'generation');
		}
	}
	return;
}

redis_cli('INCR', 'generation');
is(get_order('o1'), 'PENDING of Ada L.', 'an order is read');
is(kept('o1'), 'PENDING of Ada L.', 'and kept');
run_sql("BEGIN; CALL order_cqrs.order_complete('o1'); ROLLBACK;");
take_notifications();
is(kept('o1'), 'PENDING of Ada L.', 'a rollback evicts nothing');

my $key = key_of('o1');
my @old = read_order('o1');
run_sql("CALL order_cqrs.order_complete('o1')");
take_notifications();
is(kept('o1'), '', 'a commit evicts');
keep_order($key, @old);
is(kept('o1'), '', 'what was read before it is not kept any more');
is(get_order('o1'), 'COMPLETED of Ada L.', 'the order is read again');
is(kept('o1'), 'COMPLETED of Ada L.', 'and kept again');

$key = key_of('o1');
@old = read_order('o1');
run_sql("CALL order_cqrs.customer_put('ada', 'Countess Ada', '')");
take_notifications();
keep_order($key, @old);
is(get_order('o1'), 'COMPLETED of Countess Ada', 'a new name evicts as well');

# With an async read table the answer may be older than the notification.
run_sql("CALL order_cqrs.projection_set_mode('order_view', 'async')");
run_sql("CALL order_cqrs.order_cancel('o1')");
take_notifications();
is(get_order('o1'), 'COMPLETED of Countess Ada', 'the read table is behind');
is(kept('o1'), '', 'its answer is not kept');
run_sql('CALL order_cqrs.projection_sync()');
is(get_order('o1'), 'CANCELLED of Countess Ada', 'once it has caught up');
is(kept('o1'), 'CANCELLED of Countess Ada', 'it is');

$redis->kill_kill;
$questions .= "\\q\n";
$listener->finish;
$node->stop;
done_testing();
