# The documents tell the truth: what README.md and doc/reference.md show is run, and doc/reference.md names all that
# there is.
#
# The blocks marked ```sql of a document are run by psql, in their order, in one session of a fresh database. A
# statement fails if and only if a comment behind it says so:
#
#     CALL order_cancel('A-2');  -- ERROR: OC201
#
# A block marked ```text right behind is what it prints. Blocks of other languages are not run.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my $reference = 'doc/reference.md';

# Without a worker nothing happens but what the documents say.
my $node = new_server('readme');
$node->start;

# read_blocks FILE returns the document's lines, and its blocks: language, first and last line of the inside,
# numbered from 1.
sub read_blocks
{
	my ($file) = @_;
	my @lines = split /\n/, slurp_file($file);
	my (@blocks, $block);

	foreach my $number (1 .. @lines)
	{
		next unless $lines[ $number - 1 ] =~ /^```(\w*)$/;
		if ($block)
		{
			$block->{last} = $number - 1;
			push @blocks, $block;
			undef $block;
		}
		else
		{
			$block = { language => $1, first => $number + 1 };
		}
	}
	die "$file: a block has no end" if $block;
	return (\@lines, @blocks);
}

# make_script LINES, BLOCKS returns the sql blocks as a script in which each statement has the line number that it
# has in the document. Around each block it prints its first line's number.
sub make_script
{
	my ($lines, @blocks) = @_;
	my @script = ('') x @$lines;

	foreach my $block (grep { $_->{language} eq 'sql' } @blocks)
	{
		my ($first, $last) = @$block{qw(first last)};
		$script[ $first - 2 ] = "\\echo BEGIN $first";
		@script[ $first - 1 .. $last - 1 ] = @$lines[ $first - 1 .. $last - 1 ];
		$script[$last] = "\\echo END $first";
	}
	return join("\n", @script) . "\n";
}

# announced_errors LINES, BLOCKS returns "line: SQLSTATE" of the statements that are to fail.
sub announced_errors
{
	my ($lines, @blocks) = @_;
	my @errors;

	foreach my $block (grep { $_->{language} eq 'sql' } @blocks)
	{
		foreach my $number ($block->{first} .. $block->{last})
		{
			push @errors, "$number: $1" if $lines->[ $number - 1 ] =~ /;\s+-- ERROR: (\w{5})$/;
		}
	}
	return join "\n", @errors;
}

# run_script DATABASE, SCRIPT returns what psql prints, and what it reports.
sub run_script
{
	my ($database, $script) = @_;
	my ($fh, $file) = File::Temp::tempfile(DIR => PostgreSQL::Test::Utils::tempdir());
	my ($out, $err) = ('', '');

	print $fh $script;
	close $fh;
	IPC::Run::run(
		[
			'psql', '--no-psqlrc', '--quiet', '--set=VERBOSITY=verbose', '--pset=footer=off', '--pset=pager=off',
			'--dbname', $node->connstr($database), '--file', $file
		],
		'<', \'', '>', \$out, '2>', \$err);
	return ($out, $err);
}

# reported_errors REPORT is like announced_errors, of the statements that did fail.
sub reported_errors
{
	my ($report) = @_;
	my @errors;

	while ($report =~ /^psql:.*:(\d+): (?:ERROR|FATAL|PANIC): +(\w{5}):/mg)
	{
		push @errors, "$1: $2";
	}
	return join "\n", @errors;
}

# plain TEXT is the text without what nobody sees.
sub plain
{
	my ($text) = @_;
	$text =~ s/[ \t]+$//mg;
	$text =~ s/^\n+//;
	$text =~ s/\n+$//;
	return $text;
}

sub test_examples
{
	my ($file, $database) = @_;
	my ($lines, @blocks) = read_blocks($file);

	create_database($node, $database);
	my ($out, $err) = run_script($database, make_script($lines, @blocks));
	is(reported_errors($err), announced_errors($lines, @blocks), "$file: what fails is what is said to fail")
	  or diag($err);

	my $sql;
	foreach my $block (@blocks)
	{
		if ($block->{language} eq 'text' && $sql && $block->{first} - $sql->{last} == 4)
		{
			my ($printed) = $out =~ /^BEGIN $sql->{first}\n(.*?)^END $sql->{first}$/ms;
			my $shown = join "\n", @$lines[ $block->{first} - 1 .. $block->{last} - 1 ];
			is(plain($printed // ''), plain($shown), "$file, line $sql->{first}: the result is as shown");
		}
		elsif ($block->{language} eq 'text')
		{
			fail("$file, line $block->{first}: a result stands right behind its statements");
		}
		$sql = $block->{language} eq 'sql' ? $block : undef;
	}
	return;
}

# rows QUERY returns an array of arrays, of a query in the database of the reference's examples.
sub rows
{
	my ($query) = @_;
	return map { [ split /\|/, $_, -1 ] } split /\n/, $node->safe_psql('reference', $query);
}

# section DOCUMENT, NAME returns what stands below the heading of that name, or '' if there is none.
sub section
{
	my ($document, $name) = @_;
	return $document =~ /^###+ `\Q$name\E`\n(.*?)(?=^##|\z)/ms ? $1 : '';
}

# ok_named TEXT, NAME, WHAT passes if the text has the name somewhere in backquotes.
sub ok_named
{
	my ($text, $name, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok($text =~ /`(?:[^`\n]*\W)?\Q$name\E(?:\W[^`\n]*)?`/, $what);
}

sub test_errors
{
	my ($document) = @_;
	my @states = slurp_file('src/base/errors.h') =~ /OCQ_SQLSTATE\('(\d)', '(\d)', '(\d)'\)/g;

	cmp_ok(scalar @states, '>', 30, 'errors.h has been understood');
	while (my @digits = splice @states, 0, 3)
	{
		my $state = 'OC' . join '', @digits;
		ok($document =~ m{^\| `$state` \|}m, "$reference: $state is in the table of errors");
	}
	return;
}

sub test_relations
{
	my ($document) = @_;
	my @columns = rows(<<'SQL');
SELECT c.relname, a.attname
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
 WHERE c.relnamespace = 'order_cqrs'::regnamespace AND c.relkind IN ('r', 'v', 'm', 'p')
   AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY 1, a.attnum
SQL
	cmp_ok(scalar @columns, '>', 50, 'there are tables and views');
	my %columns;
	push @{ $columns{ $_->[0] } }, $_->[1] foreach @columns;
	foreach my $relation (sort keys %columns)
	{
		my $section = section($document, $relation);
		my @missing = grep { $section !~ /`\Q$_\E`/ } @{ $columns{$relation} };
		is("@missing", '', "$reference: all columns of $relation");
	}
	return;
}

sub test_routines
{
	my ($document) = @_;
	my @routines = rows(<<'SQL');
SELECT p.proname, a.name
  FROM pg_proc p
  LEFT JOIN LATERAL (SELECT n.name FROM unnest(p.proargnames, p.proargmodes) AS n (name, mode)
                      WHERE coalesce(n.mode, 'i') IN ('i', 'b')) AS a ON true
 WHERE p.pronamespace = 'order_cqrs'::regnamespace
 GROUP BY 1, 2 ORDER BY 1, 2
SQL
	my ($shared) = $document =~ /^### Shared parameters\n(.*?)(?=^##)/ms;

	cmp_ok(scalar @routines, '>', 50, 'there are procedures and functions');
	foreach my $routine (@routines)
	{
		my ($name, $argument) = @$routine;
		my $section = section($document, $name);

		ok_named($document, $name, "$reference: $name");
		ok_named($section . $shared, $argument, "$reference: $argument of $name") if $section && $argument;
	}
	return;
}

sub test_others
{
	my ($document) = @_;
	my @names = map { $_->[0] } rows(<<'SQL');
SELECT name FROM pg_settings WHERE name LIKE 'order\_cqrs.%'
UNION ALL
SELECT projection_name FROM order_cqrs.projection_state
UNION ALL
SELECT typname FROM pg_type WHERE typnamespace = 'order_cqrs'::regnamespace AND typtype IN ('d', 'e')
UNION ALL
SELECT tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
 WHERE c.relnamespace = 'order_cqrs'::regnamespace AND NOT t.tgisinternal
UNION ALL
SELECT relname FROM pg_class WHERE relnamespace = 'order_cqrs'::regnamespace AND relkind = 'S'
 ORDER BY 1
SQL
	cmp_ok(scalar @names, '>', 8, 'there are settings, projections and others');
	ok_named($document, $_, "$reference: $_") foreach @names;
	return;
}

test_examples('README.md', 'readme');
test_examples($reference, 'reference');

my $document = slurp_file($reference);
test_errors($document);
test_relations($document);
test_routines($document);
test_others($document);

$node->stop;

done_testing();
