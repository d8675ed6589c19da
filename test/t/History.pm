# History.pm: the parts of 040_history.pl: sessions that survive their server, transactions whose end is unknown, and what
# processes of the test tell each other through files.

package History;

use strict;
use warnings;

use Exporter 'import';
use IO::Select;
use IPC::Open2;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(%history open_session ask in_transaction end_prepared uuid pick one_of note_line read_lines is_up complain
  publish published is_lost);

# Seconds without an answer after which a session is stuck.
my $patience = 180;

# What all processes know: the directory of their notes, the prefix of a complaint, and more for HistoryClient.pm.
our %history;

sub complain
{
	note_line("$history{directory}/complaints", join ' ', $history{prefix}, @_);
	return;
}

# A session is a psql whose server may go away. ask returns the SQLSTATE, 00000 for success, or 'lost' if nobody knows; and
# the output. The next ask after that starts a new psql, but never within a transaction block: there all is lost.
sub open_session
{
	my ($connection, $name) = @_;
	return { connection => $connection, name => $name, marks => 0, in_block => 0 };
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
	@$session{qw(pid in out buffer)} = ($pid, $in, $out, '');
	return;
}

sub end_psql
{
	my ($session) = @_;
	close $session->{in};
	close $session->{out};
	waitpid $session->{pid}, 0;
	delete @$session{qw(pid in out buffer)};
	return;
}

# read_answer returns the SQLSTATE behind a mark and the text before it, or nothing if psql ends first.
sub read_answer
{
	my ($session, $mark, $sql) = @_;
	my $select = IO::Select->new($session->{out});
	my $end = time + $patience;

	while (time < $end)
	{
		# Without a connection there is no SQLSTATE; psql may stay and have none for ever.
		return ($2, $1) if $session->{buffer} =~ s/\A(.*?)\n?^\Q$mark\E (\w{5})\n//ms;
		return () if $session->{buffer} =~ /^\Q$mark\E.*\n/m;
		next unless $select->can_read(1);
		return () unless sysread $session->{out}, $session->{buffer}, 65536, length $session->{buffer};
	}
	complain("$session->{name} is stuck for $patience s: $sql");
	kill 'KILL', $session->{pid};
	return ();
}

sub ask
{
	my ($session, $sql) = @_;
	my $mark = 'mark-' . ++$session->{marks};

	local $SIG{PIPE} = 'IGNORE';
	if (!$session->{pid})
	{
		return ('lost', '') if $session->{in_block};
		start_psql($session);
	}
	print { $session->{in} } "$sql;\n\\echo $mark :SQLSTATE\n";
	my ($state, $text) = read_answer($session, $mark, $sql);
	$session->{has_failed} = ($state // 'lost') ne '00000';
	return ($state, $text) if defined $state;
	end_psql($session);
	return ('lost', '');
}

# is_lost tells whether a state leaves open if the statement was carried out.
sub is_lost { return $_[0] =~ /^(?:lost|57P0\d|08\w\w\w)$/; }

# in_transaction SESSION, LEVEL, END, NAME, CODE runs code, which returns whether to go on, between BEGIN and an end:
# 'commit', 'rollback', 'prepare' (and commit), or 'unprepare' (and roll back), the last two by name. It returns the outcome:
# 'committed', 'refused' (nothing of it can be there), 'broken' (the same, as the session ended before COMMIT was sent), or
# 'lost' (nobody knows). After an error it does not commit: COMMIT of a failed transaction is a success, and rolls back.
sub in_transaction
{
	my ($session, $level, $end, $name, $code) = @_;
	my ($state) = ask($session, "BEGIN ISOLATION LEVEL $level");
	my $outcome;

	return 'broken' if $state ne '00000';
	$session->{in_block} = 1;
	my $succeeds = $code->();
	if (!$session->{pid})
	{
		$outcome = 'broken';
	}
	elsif (!$succeeds || $session->{has_failed} || $end eq 'rollback')
	{
		ask($session, 'ROLLBACK');
		$outcome = 'refused';
	}
	else
	{
		my $is_prepared = $end =~ /prepare$/;
		($state) = ask($session, $is_prepared ? "PREPARE TRANSACTION '$name'" : 'COMMIT');
		$outcome = $state eq '00000' ? 'committed' : is_lost($state) ? 'lost' : 'refused';
		$session->{in_block} = 0;
		if ($is_prepared && $outcome eq 'committed')
		{
			$outcome = end_prepared($session, $name, $end eq 'prepare', 1);
			$outcome = 'lost' if $outcome eq 'unknown';
		}
	}
	$session->{in_block} = 0;
	return $outcome;
}

# end_prepared SESSION, NAME, COMMITS, IS_THERE ends a prepared transaction, which must be there or may be. It returns
# 'committed', 'refused', or 'unknown' if there is none now.
sub end_prepared
{
	my ($session, $name, $commits, $is_there) = @_;
	my $end = time + $patience;
	my $is_asked = 0;

	while (time < $end)
	{
		my ($state, $count) = $is_there ? ('00000', 1) : ask($session, "SELECT count(*) FROM pg_prepared_xacts WHERE gid = '$name'");
		return 'unknown' if $state eq '00000' && $count eq '0';
		if ($state eq '00000')
		{
			($state) = ask($session, ($commits ? 'COMMIT' : 'ROLLBACK') . " PREPARED '$name'");
			return $commits ? 'committed' : 'refused' if $state eq '00000' || ($state eq '42704' && $is_there && $is_asked);
			complain("the prepared transaction $name is not there") if $state eq '42704' && $is_there;
			return 'unknown' if $state eq '42704';
			$is_asked = 1;
		}
		sleep 0.05;
	}
	complain("the prepared transaction $name cannot be ended");
	return 'unknown';
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

# publish WRITER, SLOT, NUMBER tells all processes of a number that was acknowledged; published returns the greatest.
my %boards;
my $slot_bytes = 8;

sub publish
{
	my ($writer, $slot, $number) = @_;
	my $file = "$history{directory}/board-$writer";

	if (!$boards{$writer})
	{
		open $boards{$writer}, '>', $file or die "$file: $!";
	}
	sysseek $boards{$writer}, $slot * $slot_bytes, 0;
	syswrite $boards{$writer}, sprintf "%0${slot_bytes}d", $number;
	return;
}

sub published
{
	my ($slot) = @_;
	my $most = 0;

	foreach my $file (glob "$history{directory}/board-*")
	{
		my $text;
		open my $handle, '<', $file or next;
		sysseek $handle, $slot * $slot_bytes, 0;
		next unless sysread $handle, $text, $slot_bytes;
		$text =~ tr/\0/0/;
		$most = $text if $text > $most;
	}
	return $most;
}

sub is_up
{
	my ($session) = @_;
	my ($state) = ask($session, 'SELECT 1');
	return $state eq '00000';
}

1;
