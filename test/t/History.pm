# History.pm: what 040_history.pl is made of: sessions that survive their server, and clients that remember what they were
# told.

package History;

use strict;
use warnings;

use Exporter 'import';
use IPC::Open2;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(open_session ask in_transaction uuid pick one_of note_line read_lines is_up wait_file);

# A session is a psql whose server may go away. ask returns the SQLSTATE, 00000 for success, or 'lost' if nobody knows; and
# what was printed.
sub open_session
{
	my ($connection, $name) = @_;
	return { connection => $connection, name => $name, marks => 0 };
}

sub start_psql
{
	my ($session) = @_;
	my ($out, $in);

	local $ENV{PGAPPNAME} = $session->{name};
	local $ENV{PGCONNECT_TIMEOUT} = 10;
	open my $saved, '>&', \*STDERR or die;
	open STDERR, '>', '/dev/null' or die;
	my $pid = open2($out, $in, 'psql', '--no-psqlrc', '--quiet', '--tuples-only', '--no-align', '-d', $session->{connection});
	open STDERR, '>&', $saved or die;
	$in->autoflush(1);
	@$session{qw(pid in out)} = ($pid, $in, $out);
	return;
}

sub end_psql
{
	my ($session) = @_;
	close $session->{in};
	close $session->{out};
	waitpid $session->{pid}, 0;
	delete @$session{qw(pid in out)};
	return;
}

sub ask
{
	my ($session, $sql) = @_;
	my $mark = 'mark-' . ++$session->{marks};
	my $text = '';

	local $SIG{PIPE} = 'IGNORE';
	start_psql($session) unless $session->{pid};
	print { $session->{in} } "$sql;\n\\echo $mark :SQLSTATE\n";
	while (defined(my $line = readline $session->{out}))
	{
		if ($line =~ /^\Q$mark\E/)
		{
			# Without a connection there is no SQLSTATE; psql may stay and have none for ever.
			last unless $line =~ / (\w{5})$/;
			chomp $text;
			return ($1, $text);
		}
		$text .= $line;
	}
	end_psql($session);
	return ('lost', $text);
}

# in_transaction SESSION, LEVEL, CODE runs code, which returns whether to commit, between BEGIN and an end. It returns what
# became of it: 'committed', 'refused', or 'lost'. With a name the transaction is prepared, and committed by it.
sub in_transaction
{
	my ($session, $level, $code, $name) = @_;
	my ($state) = ask($session, "BEGIN ISOLATION LEVEL $level");

	return $state eq 'lost' ? 'refused' : 'lost' if $state ne '00000';
	if (!$code->())
	{
		ask($session, 'ROLLBACK') if $session->{pid};
		return 'refused';
	}
	($state) = ask($session, defined $name ? "PREPARE TRANSACTION '$name'" : 'COMMIT');
	if (defined $name && $state eq '00000')
	{
		do { ($state) = ask($session, "COMMIT PREPARED '$name'"); sleep 0.05 if $state eq 'lost'; }
		  while ($state !~ /^(00000|42704)$/);
		return 'committed';
	}
	return 'lost' if $state eq 'lost';
	return $state eq '00000' ? 'committed' : 'refused';
}

sub uuid { return join '-', map { join '', map { sprintf '%04x', int rand 65536 } 1 .. $_ } 2, 1, 1, 1, 3; }

sub pick { return int rand $_[0]; }

sub one_of { return $_[ int rand @_ ]; }

# Notes go to files, as clients are processes; each line is complete or not there.
sub note_line
{
	my ($file, @values) = @_;
	open my $handle, '>>', $file or die "$file: $!";
	syswrite $handle, join("\t", @values) . "\n";
	close $handle;
	return;
}

sub read_lines
{
	my ($file) = @_;
	open my $handle, '<', $file or return ();
	my @lines = map { chomp; [ split /\t/ ] } readline $handle;
	return @lines;
}

sub is_up
{
	my ($session) = @_;
	my ($state) = ask($session, 'SELECT 1');
	return $state eq '00000';
}

1;
