# A subscriber of logical replication has the events and no read tables, and says so.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my $problem = 'SELECT DISTINCT problem FROM order_cqrs.projection_status';
my $warning = qr/WARNING:  OC311: order_cqrs\.events is filled by a subscription/;

my $publisher = new_server('publisher', allows_streaming => 'logical');
$publisher->start;
create_database($publisher, 'shop');
open_shop($publisher, 'shop');
$publisher->safe_psql('shop', order_sql('early'));
$publisher->safe_psql('shop', 'CREATE PUBLICATION log FOR TABLE order_cqrs.events');

my $subscriber = new_server('subscriber', 'order_cqrs.databases' => 'shop', 'order_cqrs.sync_interval' => '1s',
	log_error_verbosity => 'verbose');
$subscriber->start;
create_database($subscriber, 'shop');
$subscriber->safe_psql('shop', 'CREATE EXTENSION order_cqrs CASCADE');
ok(wait_served($subscriber, 'shop'), 'the subscriber has a worker');
is($subscriber->safe_psql('shop', $problem), '', 'no problem before there is a subscription');

# warning_count returns how often the subscriber's log has the warning.
sub warning_count
{
	return scalar(() = slurp_file($subscriber->logfile) =~ /$warning/g);
}

# wait_rounds COUNT waits until the worker has come to rest so many times.
sub wait_rounds
{
	my ($count) = @_;
	my $pid = worker_pid($subscriber, 'synchroniser', 'shop');

	foreach (1 .. $count)
	{
		my $last = $subscriber->safe_psql('shop', "SELECT state_change FROM pg_stat_activity WHERE pid = $pid");
		$subscriber->poll_query_until('shop',
			"SELECT state_change > '$last' AND state = 'idle' FROM pg_stat_activity WHERE pid = $pid")
		  or die 'the worker does nothing';
	}
	return;
}

wait_rounds(2);
is(warning_count(), 0, 'and no warning');

my $connection = $publisher->connstr('shop');
$subscriber->safe_psql('shop', "CREATE SUBSCRIPTION copy CONNECTION \$\$$connection\$\$ PUBLICATION log");
$publisher->safe_psql('shop', order_sql('late'));
my $events = $publisher->safe_psql('shop', 'SELECT count(*) FROM order_cqrs.events');
ok($subscriber->poll_query_until('shop', "SELECT count(*) = $events FROM order_cqrs.events"), 'the events arrive');

wait_rounds(4);
is(warning_count(), 1, 'the worker warns once');
is($subscriber->safe_psql('shop', 'SELECT count(*) FROM order_cqrs.order_view'), 0, 'read tables are empty');
is( $subscriber->safe_psql('shop', $problem),
	'events is filled by a subscription (copy): read tables are not made from it',
	'which projection_status explains, for each projection');
is($publisher->safe_psql('shop', $problem), '', 'the publisher has no problem');
is($subscriber->safe_psql('shop', "SELECT count(*) FROM order_cqrs.stream_read('Order', 'late')"), 1,
	'a stream can be read on the subscriber');

$subscriber->safe_psql('shop', 'DROP SUBSCRIPTION copy');
is($subscriber->safe_psql('shop', $problem), '', 'without the subscription the problem is gone');

$subscriber->stop;
$publisher->stop;
done_testing();
