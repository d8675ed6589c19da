# OddCalls.pm: makes the statements of 041_odd_calls.pl. All of them follow from a seed.
#
# A session is a role and lines for one psql; a line is whole statements, so that psql's number of a line names them. A line
# that calls a routine of the extension counts as a call. Statements are ASCII, and strings with a backslash are E'', so that
# psql splits them alike under any client_encoding and with standard_conforming_strings off. A DO block marks its
# statements with the comment /* odd */: a statement in the context of an error that lacks it is the extension's own.

package OddCalls;

use strict;
use warnings;

use Exporter 'import';

our @EXPORT = qw(routines_query read_routines make_session);

# --- choices -------------------------------------------------------------------------------------------

sub one_of { return $_[ rand @_ ]; }

sub chance { return rand() < $_[0]; }

sub number { return int rand $_[0]; }

sub quote
{
	my ($text) = @_;
	return "'$text'" unless $text =~ /['\\]/;
	$text =~ s/(['\\])/\\$1/g;
	return "E'$text'";
}

# --- values: usual ones by the parameter's name, odd ones by its type ----------------------------------

my @projections = qw(reference inventory payments order_view order_summary_view order_stats);
my @sorts = map { ($_, "-$_") } qw(created_at updated_at total_amount item_count customer_name);
my @statuses = qw(PENDING COMPLETED CANCELLED);
my @handlers = map { "public.odd_$_(jsonb,jsonb)" } qw(null fail nested settings);

my @odd_texts = (
	'NULL', "''", "' '", "'NULL'", "'x'", "'-1'", "'%'", "'_'", q('"'), "'{}'", "'o1 '", "E'\\\\'", "E'\\''", "E'a\\nb\\tc'",
	"E'\\'; DROP TABLE order_cqrs.events; --'", "'\$1'", "'pg_catalog'", 'chr(233)', 'chr(1)', 'chr(55295)', 'chr(1114111)',
	'repeat(chr(8364), 85)', 'repeat(chr(8364), 86)', "repeat('x', 255)", "repeat('x', 256)", "repeat('\"', 1000)",
	"repeat('x', 1001)", "repeat('x', 1048576)", 'repeat(chr(128512), 63)');

my @odd_jsons = (
	'NULL', "'null'", "'{}'", "'[]'", "'[[]]'", "'[{}]'", "'[null]'", "'0'", "'\"\"'", "'true'", "'1e400'", "'-1e-400'", "'{'", "''",
	"'{\"\": null}'", "'{\"a\": {\"a\": {\"a\": []}}}'", "E'\"\\\\\\\\u0000\"'", "E'{\"a\": \"\\\\\\\\ud800\"}'", "'{\"a\": 1, \"a\": 2}'",
	"(repeat('[', 1000) || repeat(']', 1000))::jsonb", "(repeat('[', 100000) || repeat(']', 100000))::jsonb",
	"(SELECT jsonb_agg(i) FROM generate_series(1, 20000) AS i)", "to_jsonb(repeat('x', 1048576))",
	"jsonb_build_object('type', repeat('t', 300), 'data', repeat('d', 100000))",
	"jsonb_build_object('correlation_id', 'x', 'causation_id', 1)", "jsonb_build_object('correlation_id', NULL)");

my @odd_items = (
	'{"product_id": "p1"}', '{"product_id": 1, "quantity": 1, "unit_price": 1}', '{"product_id": "p1", "quantity": 0, "unit_price": 1}',
	'{"product_id": "p1", "quantity": -1, "unit_price": 1}', '{"product_id": "p1", "quantity": 1.5, "unit_price": 1}',
	'{"product_id": "p1", "quantity": 2147483648, "unit_price": 1}', '{"product_id": "p1", "quantity": 1e400, "unit_price": 1}',
	'{"product_id": "p1", "quantity": 2147483647, "unit_price": "999999999999.999999"}',
	'{"product_id": "p1", "quantity": 1, "unit_price": "NaN"}', '{"product_id": "p1", "quantity": 1, "unit_price": "infinity"}',
	'{"product_id": "p1", "quantity": 1, "unit_price": "1e5"}', '{"product_id": "p1", "quantity": 1, "unit_price": -1}',
	'{"product_id": "p1", "quantity": 1, "unit_price": 1e400}', '{"product_id": "p1", "quantity": 1, "unit_price": ""}',
	'{"product_id": "", "quantity": 1, "unit_price": 1}', '{"product_id": "nowhere", "quantity": 1, "unit_price": 1}',
	'{"product_id": "p1", "quantity": null, "unit_price": null}', '{"product_id": ["p1"], "quantity": {}, "unit_price": []}',
	'{"product_id": "p1", "quantity": 1, "unit_price": 1, "colour": "red"}', '[]', 'null', '"p1"');

my %odd = (
	text => sub { return one_of(@odd_texts); },
	jsonb => sub { return one_of(@odd_jsons); },
	integer => sub { return one_of(qw(NULL 0 1 -1 2 1000 1001 2147483647 -2147483648), "'2147483648'", "'x'", '1 / 0'); },
	bigint => sub { return one_of(qw(NULL 0 1 -1 5 1000000000 9223372036854775807 -9223372036854775808), "'1e3'"); },
	numeric => sub {
		return one_of('NULL', '0', '-1', "'NaN'", "'infinity'", "'-infinity'", '1e400', '-1e-400', "repeat('9', 1000)", '0.000000000001');
	},
	uuid => sub {
		return one_of('NULL', "'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'", "'x'", 'gen_random_uuid()');
	},
	'timestamp with time zone' => sub {
		return one_of('NULL', "'infinity'", "'-infinity'", "'4713-01-01 00:00 BC'", "'294276-12-31 23:59:59.999999+00'", "'epoch'",
			"'now'", "'0044-03-15 BC'", "'2024-02-30'", "'x'", 'clock_timestamp()');
	},
	interval => sub { return one_of('NULL', "'0'", "'-1 s'", "'1 ms'", "'-178000000 years'", "'x'"); },
	boolean => sub { return one_of(qw(NULL true false), "'x'"); },
	'text[]' => sub {
		return one_of('NULL', "'{}'", "'{NULL}'", "'{PENDING,NULL}'", "'{{PENDING,COMPLETED},{CANCELLED,PENDING}}'", "'[5:6]={PENDING,X}'",
			"'{'", "'{\"\"}'", "array_fill('PENDING'::text, '{3000}')", "ARRAY[repeat('x', 1048576)]");
	},
	regprocedure => sub { return one_of('NULL', '0', '4294967295', "'now()'", "'nosuch(jsonb)'", "'order_cqrs.order_cancel(text,text,int,uuid,jsonb,text)'"); });

sub usual_items
{
	my @items = map {
		sprintf '{"product_id": "p%d", "quantity": %d, "unit_price": %s}', number(4), 1 + number(3), one_of('1', '"2.50"', '0', '3.000000')
	} 0 .. number(3);
	push @items, one_of(@odd_items) if chance(0.1);
	return quote('[' . join(', ', @items) . ']');
}

sub usual_events
{
	my @events = map { sprintf '{"type": "%s", "data": {"n": %d}}', one_of('Opened', 'Closed', 'it\'s', 'a \\\\ b', ''), number(9) } 0 .. number(3);
	return quote('[' . join(', ', @events) . ']');
}

# A payload has keys of the built-in messages, with values as usual or odd.
sub usual_payload
{
	my %values = (
		order_id => sub { return '"o' . number(12) . '"'; },
		customer_id => sub { return '"c' . number(3) . '"'; },
		product_id => sub { return '"p' . number(4) . '"'; },
		items => sub { return '[{"product_id": "p1", "quantity": 1, "unit_price": 1}]'; },
		quantity => sub { return one_of(1, 5, '1e2', '2.0'); },
		expected_version => sub { return one_of(0, 1, 2, 1e9); },
		metadata => sub { return '{"odd": true}'; },
		criteria => sub {
			return one_of('{}', '{"status": ["PENDING"]}', '{"min_total": 1e400}', '{"created_from": "infinity"}', '{"min_items": 1.5}',
				'{"status": "PENDING"}', '{"customer_name": "c", "product_name": "P"}', '{"payment_status": [null]}');
		},
		pageable => sub { return one_of('{}', '{"page": 1, "page_size": 2}', '{"page_size": 1e9}', '{"sort": "-total_amount"}', '{"after": "00"}'); },
		aggregate_type => sub { return one_of('"Basket"', '"Order"'); },
		aggregate_id => sub { return '"b' . number(3) . '"'; },
		events => sub { return one_of('[{"type": "T", "data": {}}]', '[{"type": "T"}]'); },
		map { ($_ => sub { return one_of('"x"', '""', 'null'); }) } qw(name email category reason reference from to));
	my @keys = (one_of(qw(order_id customer_id product_id aggregate_type)), grep { chance(0.3) } sort keys %values);
	my @pairs = map { "\"$_\": " . (chance(0.1) ? one_of('null', '[]', '{}', '1e400', '""', 'false') : $values{$_}->()) } @keys;
	return quote('{' . join(', ', @pairs) . '}');
}

sub crc32c
{
	my $crc = 0xffffffff;

	foreach my $byte (unpack 'C*', $_[0])
	{
		$crc ^= $byte;
		$crc = $crc & 1 ? ($crc >> 1) ^ 0x82f63b78 : $crc >> 1 foreach 1 .. 8;
	}
	return $crc ^ 0xffffffff;
}

# forged_cursor returns one whose check is right, of the tenant "default": see query/cursor.c.
sub forged_cursor
{
	my $head = pack 'CC', 1, number(14);
	my $id = one_of('o1', 'x', '', "\xff\xfe", 'x' x 300);
	my $length = chance(0.1) ? one_of(0xffffffff, 0x7fffffff, 1) : length $id;
	my $key = one_of('', '0', '1.5', 'NaN', '1e400', '-', '9' x 140000, "\xff", "\0", pack('N', 7), pack('NN', 1, 2), pack('NN', 0x7fffffff, 0xffffffff),
		pack('NN', 0x80000000, 0), join '', map { chr number(256) } 0 .. number(12));
	my $tail = pack('N', $length) . $id . $key;
	my $customer = one_of(pack('N', 0xffffffff), pack('N', 2) . 'c1');
	my $check = crc32c($head . $tail . pack('N', 7) . 'default' . $customer);

	return quote(unpack 'H*', $head . pack('N', $check) . $tail);
}

# A cursor: a true one, one that was true, digits, or a forged one. Those that the statement reads are of the moment.
sub usual_cursor
{
	my $sort = one_of(@sorts);
	my $true = "(SELECT min(s.cursor) FROM order_cqrs.order_search(sort => '$sort', page_size => 3) AS s)";
	my $other = "(SELECT min(s.cursor) FROM order_cqrs.customer_orders('c1', page_size => 1) AS s)";
	my $place = 1 + number(60);

	return forged_cursor() if chance(0.4);
	return one_of(
		$true, $true, $other, "left($true, -2)", "$true || '00'", "overlay($true placing 'ff' from $place)", "overlay($other placing '30' from $place)",
		quote(join '', map { sprintf '%02x', number(256) } 0 .. number(90)), "repeat('00', 100000)", "upper($true)");
}

my %usual = (
	order_id => sub { return "'o" . number(12) . "'"; },
	customer_id => sub { return "'c" . number(3) . "'"; },
	product_id => sub { return "'p" . number(4) . "'"; },
	aggregate_type => sub { return one_of("'Basket'", "'Basket'", "'Order'", "'Inventory'", "'Customer'"); },
	aggregate_id => sub { return one_of("'b1'", "'b2'", "'o1'", "'p1'", "'c1'"); },
	items => \&usual_items,
	events => \&usual_events,
	payload => \&usual_payload,
	after => \&usual_cursor,
	name => sub { return one_of("'Pen'", "'Ada'", 'chr(223)', "'I'", 'chr(304)'); },
	sort => sub { return quote(one_of(@sorts)); },
	status => sub { return "'{" . join(',', map { one_of(@statuses) } 0 .. number(2)) . "}'"; },
	payment_status => sub { return one_of("'{PENDING}'", "'{COMPLETED,FAILED}'", "'{REFUNDED}'"); },
	quantity => sub { return 1 + number(50); },
	page => sub { return one_of(0, 0, 0, 1, 5); },
	page_size => sub { return one_of(1, 3, 20, 1000); },
	max_count => sub { return one_of(1, 10, 1000); },
	max_items => sub { return one_of(1, 5); },
	expected_version => sub { return one_of('NULL', 'NULL', 'NULL', 0 .. 6); },
	command_id => sub { return one_of('NULL', 'NULL', "'00000000-0000-0000-0000-00000000000" . number(10) . "'"); },
	metadata => sub { return one_of('NULL', "'{\"odd\": true}'", "'{\"correlation_id\": \"00000000-0000-0000-0000-000000000001\"}'"); },
	tenant_id => sub { return one_of('NULL', 'NULL', 'NULL', "'default'", "'t1'"); },
	projection_name => sub { return quote(one_of(@projections)); },
	mode => sub { return one_of("'sync'", "'async'"); },
	command_type => sub {
		return quote(one_of(qw(CreateOrder UpdateOrder CancelOrder CompleteOrder ReceiveStock AdjustStock ReserveInventory ChangeReservation ReleaseInventory
			  ProcessPayment CompletePayment FailPayment RefundPayment StartShipping PutCustomer PutProduct AppendEvents), map { "Odd$_" } 0 .. 3));
	},
	query_type => sub { return quote(one_of(qw(GetOrder GetCustomerOrders SearchOrders CheckInventory), map { "Odd$_" } 0 .. 3)); },
	handler => sub { return quote(one_of(@handlers)); },
	id => sub { return one_of("'00000000-0000-0000-0000-000000000001'", "order_cqrs.command_send_async('CancelOrder', '{\"order_id\": \"o1\"}')",
			"order_cqrs.query_send_async('GetOrder', '{\"order_id\": \"o1\"}')"); },
	timeout => sub { return one_of("'0'", "'1 ms'"); });

# --- calls ---------------------------------------------------------------------------------------------

# routines_query is for read_routines: a line for each routine, name|kind|number of defaults|name:type,name:type ...
sub routines_query
{
	return <<'SQL';
SELECT format('%s|%s|%s|%s', p.proname, p.prokind, p.pronargdefaults,
              (SELECT string_agg(p.proargnames[t.n] || ':' || format_type(t.type, NULL), ',' ORDER BY t.n)
                 FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS t (type, n)))
  FROM pg_proc AS p WHERE p.pronamespace = 'order_cqrs'::regnamespace
 ORDER BY p.oid::regprocedure::text COLLATE "C"
SQL
}

sub read_routines
{
	my @routines;
	foreach (split /\n/, $_[0])
	{
		my ($name, $kind, $defaults, $arguments) = split /\|/, $_, 4;
		my @parameters = map { { name => (split /:/, $_, 2)[0], type => (split /:/, $_, 2)[1] } } split /,/, $arguments // '';
		$_->{type} =~ s/.*identifier$/text/ foreach @parameters;
		push @routines, { name => $name, kind => $kind, required => @parameters - $defaults, parameters => \@parameters };
	}
	return @routines;
}

sub value_for
{
	my ($parameter, $is_odd) = @_;
	my $value = $usual{ $parameter->{name} };
	my $odd = $odd{ $parameter->{type} };

	$value = $odd if !$value || $is_odd && $odd;
	# It waits for ever: a NULL, a long one, and a default that is left out.
	return "'1 ms'" if $parameter->{name} eq 'timeout' && chance(0.5);
	return $value ? $value->() : 'NULL';
}

# arguments_of returns [name, type, value] for each argument of one call. All are usual, one is odd, or all are.
sub arguments_of
{
	my ($routine) = @_;
	my @parameters = @{ $routine->{parameters} };
	my $mood = one_of(qw(usual usual one one one all));
	my $target = number(scalar @parameters);
	my @arguments;

	foreach my $n (0 .. $#parameters)
	{
		my $p = $parameters[$n];
		next if $n >= $routine->{required} && !($p->{name} =~ /^(?:timeout|version)$/) && chance(0.6);
		my $is_odd = $mood eq 'all' || $mood eq 'one' && $n == $target;
		push @arguments, [ $p->{name}, $p->{type}, value_for($p, $is_odd), $n ];
	}
	return @arguments;
}

# written_call returns routine(arguments). Those that follow a gap are named, and others may be.
sub written_call
{
	my ($routine, @arguments) = @_;
	my $positional = chance(0.5) ? @arguments : number(1 + @arguments);
	my @written;

	foreach my $n (0 .. $#arguments)
	{
		my ($name, $type, $value, $place) = @{ $arguments[$n] };
		my $typed = chance(0.7) ? "($value)::$type" : $value;
		$positional = $n if $n < $positional && $place != $n;
		push @written, $n < $positional ? $typed : "$name => $typed";
	}
	return "order_cqrs.$routine->{name}(" . join(', ', @written) . ')';
}

my $report = "EXCEPTION WHEN OTHERS THEN RAISE WARNING USING ERRCODE = SQLSTATE, MESSAGE = left(SQLERRM, 500);";

sub procedure_line
{
	my ($routine, @arguments) = @_;
	my $call = 'CALL ' . written_call($routine, @arguments);
	my $odd = $call =~ s/^CALL/CALL \/* odd *\//r;

	# PL/pgSQL wants a variable for an INOUT argument.
	$odd =~ s/\bversion => .*?(\)$)/version => odd_version$1/;
	return one_of(
		"$call;", "$call;", "$call; $call;",
		"DO \$odd\$ DECLARE odd_version int; BEGIN $odd; $report END \$odd\$;",
		"DO \$odd\$ DECLARE odd_version int; BEGIN FOR i IN 1 .. 3 LOOP BEGIN $odd; $report END; END LOOP; END \$odd\$;",
		"DO \$odd\$ DECLARE odd_version int; BEGIN $odd; RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN NULL; END \$odd\$;");
}

# prepared_line calls with parameters, often enough for a generic plan.
sub prepared_line
{
	my ($routine, @arguments) = @_;
	my $n = 0;
	my $types = join ', ', map { $_->[1] } @arguments;
	my $marks = join ', ', map { "$_->[0] => \$" . ++$n } @arguments;
	my $values = join ', ', map { $_->[2] } @arguments;
	my $prepare = @arguments ? "PREPARE odd ($types)" : 'PREPARE odd';
	my $execute = @arguments ? "EXECUTE odd ($values);" : 'EXECUTE odd;';

	return "$prepare AS SELECT * FROM order_cqrs.$routine->{name}($marks); " . ("$execute " x one_of(1, 2, 7)) . 'DEALLOCATE odd;';
}

sub function_line
{
	my ($routine, @arguments) = @_;
	my $call = written_call($routine, @arguments);

	return prepared_line($routine, @arguments) if chance(0.15) && !grep { /SELECT|jsonb_agg/ } map { $_->[2] } @arguments;
	return one_of(
		"SELECT * FROM $call;", "SELECT * FROM $call;", "SELECT * FROM $call;", "SELECT $call;", "SELECT $call;",
		"SELECT * FROM $call LIMIT 1;",
		"SELECT count(*) FROM generate_series(1, 3) AS g, LATERAL $call AS f;",
		"SELECT 1 WHERE ($call) IS NULL;",
		"BEGIN; DECLARE odd SCROLL CURSOR FOR SELECT * FROM $call; FETCH 1 FROM odd; FETCH LAST FROM odd; FETCH PRIOR FROM odd; CLOSE odd; COMMIT;",
		"DO \$odd\$ BEGIN PERFORM /* odd */ $call; $report END \$odd\$;",
		"DO \$odd\$ DECLARE r record; BEGIN FOR r IN SELECT /* odd */ * FROM $call LOOP EXIT; END LOOP; $report END \$odd\$;",
		"EXPLAIN (ANALYZE, VERBOSE) SELECT * FROM $call;",
		"CREATE TEMP TABLE odd AS SELECT * FROM $call; DROP TABLE IF EXISTS pg_temp.odd;",
		"COPY (SELECT * FROM $call) TO STDOUT;");
}

# --- sessions ------------------------------------------------------------------------------------------

my @settings = (
	"search_path = ''", 'search_path = hostile, pg_catalog', 'search_path = pg_temp, hostile, order_cqrs', 'search_path = nosuch',
	"DateStyle = 'German'", "DateStyle = 'SQL, DMY'", "DateStyle = 'Postgres, YMD'", "TimeZone = 'Pacific/Apia'", "TimeZone = 'America/St_Johns'",
	"TimeZone = '+167:59'", "IntervalStyle = 'sql_standard'", 'default_transaction_read_only = on', 'transaction_read_only = on',
	'row_security = off', "lc_messages = 'C'", "lc_numeric = 'C'", "lc_monetary = 'C'", "lc_time = 'nosuch'",
	"client_encoding = 'LATIN1'", "client_encoding = 'SQL_ASCII'", "client_encoding = 'SJIS'", "client_encoding = 'GB18030'", "bytea_output = 'escape'",
	'extra_float_digits = -15', "work_mem = '64kB'", "temp_buffers = '800kB'", 'enable_indexscan = off', 'enable_seqscan = off', 'enable_bitmapscan = off',
	'enable_hashjoin = off', 'enable_nestloop = off', 'enable_sort = off', 'enable_hashagg = off', 'force_parallel_mode = on', 'jit = on',
	'standard_conforming_strings = off', "backslash_quote = 'off'", 'transform_null_equals = on', 'array_nulls = off', 'quote_all_identifiers = on',
	"plan_cache_mode = 'force_generic_plan'", "plan_cache_mode = 'force_custom_plan'", "default_transaction_isolation = 'serializable'",
	"default_transaction_isolation = 'repeatable read'", 'default_transaction_deferrable = on', "constraint_exclusion = 'on'", 'from_collapse_limit = 1',
	'geqo_threshold = 2', 'check_function_bodies = off', "xmloption = 'document'", "session_replication_role = 'origin'", "max_stack_depth = '100kB'",
	"order_cqrs.tenant_id = 't1'", "order_cqrs.tenant_id = ''", "order_cqrs.notify = on", "order_cqrs.reserve_on = 'off'",
	"order_cqrs.reserve_on = 'saga'", 'order_cqrs.nosuch = 1', "default_table_access_method = 'nosuch'", "default_tablespace = 'nosuch'",
	"default_toast_compression = 'pglz'", 'debug_print_parse = off', 'track_activities = off', 'synchronous_commit = off');

my @isolations = ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE', 'READ UNCOMMITTED');

sub setting_line
{
	my $setting = one_of(@settings);
	return chance(0.4) ? "SET LOCAL $setting;" : "SET $setting;";
}

sub role_line
{
	return one_of('SET ROLE client;', 'SET ROLE operator;', 'SET ROLE stranger;', 'SET ROLE NONE;', 'RESET ROLE;',
		'SET SESSION AUTHORIZATION client;', 'SET SESSION AUTHORIZATION postgres;', 'RESET SESSION AUTHORIZATION;');
}

sub begin_line
{
	return 'BEGIN ISOLATION LEVEL ' . one_of(@isolations) . one_of('', '', ' READ ONLY', ' READ ONLY, DEFERRABLE') . ';';
}

sub end_line
{
	my ($session) = @_;
	return one_of('COMMIT;', 'COMMIT;', 'ROLLBACK;', 'COMMIT AND CHAIN; COMMIT;', 'ABORT;',
		map { "PREPARE TRANSACTION 'odd'; ROLLBACK; $_ PREPARED 'odd';" } qw(COMMIT ROLLBACK));
}

# other_line is a line that calls nothing: it changes the conditions under which the others are called.
sub other_line
{
	my ($session) = @_;
	my $n = number(20);

	if ($n < 5) { return setting_line(); }
	if ($n < 7) { return 'RESET ALL;'; }
	if ($n < 8) { return role_line(); }
	if ($n < 9) { return one_of('DISCARD PLANS;', 'DISCARD TEMP;', 'DISCARD ALL;', 'LISTEN odd;', 'SET CONSTRAINTS ALL IMMEDIATE;'); }
	if ($n < 11) { return one_of('SAVEPOINT a;', 'SAVEPOINT a; SAVEPOINT b;', 'RELEASE a;'); }
	if ($n < 13) { return one_of('ROLLBACK TO a;', 'ROLLBACK TO b;'); }
	if ($n < 14) { return 'CREATE TEMP TABLE events (LIKE hostile.events); CREATE TEMP TABLE order_view (x int);'; }
	$session->{in_block} = !$session->{in_block};
	return $session->{in_block} ? begin_line() : end_line();
}

# make_session ROUTINES CALLS returns [role, line, line ...] and how often they call.
sub make_session
{
	my ($routines, $calls) = @_;
	my %session = (in_block => 0);
	my %names = map { ($_->{name} => 1) } @$routines;
	my @names = sort keys %names;
	my @lines;

	while ($calls > 0)
	{
		if (chance(0.25)) { push @lines, other_line(\%session); next; }
		my $name = one_of(@names);
		my $routine = one_of(grep { $_->{name} eq $name } @$routines);
		my $line = $routine->{kind} eq 'p' ? procedure_line($routine, arguments_of($routine)) : function_line($routine, arguments_of($routine));
		$line = "SET statement_timeout = '" . one_of('1ms', '2ms', '5ms') . "'; $line SET statement_timeout = 0;" if chance(0.02);
		push @lines, $line;
		$calls--;
	}
	return (one_of('postgres', 'postgres', 'postgres', 'client', 'client', 'client', 'operator', 'stranger'), @lines);
}

1;
