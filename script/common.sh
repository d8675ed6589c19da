# shellcheck shell=bash
# common.sh: functions that the scripts beside it share. It is sourced, never run.
#
# Words: a "major" is a PostgreSQL version such as 15; a "cluster" is always a throwaway one here, in a
# directory of its own, reachable through the Unix socket in that directory and by nothing else.
#
# Invariants: the checkout is only read (builds happen in a copy, so that object files of two majors never
# mix); no server runs as root; processes and files of a script are gone when the script ends, also by a
# signal, unless they are meant to stay.

set -euo pipefail

# The caller's PGHOST or language would reach every client and server; PG_CONFIG alone is meant for the scripts.
chosen_pg_config=${PG_CONFIG:-}
unset "${!PG@}" LC_ALL LANGUAGE
export LANG=C.UTF-8
export PATH=$PATH:/usr/sbin:/sbin

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# PostgreSQL refuses to run as root, so root lends the server to the user that Debian has for it.
if [[ $EUID -eq 0 ]]; then server_user=postgres; else server_user=$(id -un); fi

work=       # directory of everything temporary, made by open_work
litter=()   # directories to remove at the end, with the servers in them
attended=   # process group of the command that attend is waiting for

say() {
	printf '%s\n' "$*" >&2
}

die() {
	say "error: $*"
	exit 1
}

# as_server COMMAND... runs a program as the user that owns the servers. It closes the descriptor that
# lock_postgres holds: a server that outlives the script must not keep the lock.
as_server() {
	if [[ $EUID -eq 0 ]]; then
		HOME=/nonexistent setpriv --reuid="$server_user" --regid="$server_user" --init-groups "$@" 9>&-
	else
		"$@" 9>&-
	fi
}

# --- temporary things and their end --------------------------------------------------------------------

# open_work makes the directory `work` and has it removed when the script ends.
open_work() {
	work=$(mktemp -d "${TMPDIR:-/tmp}/order_cqrs.XXXXXX")
	litter+=("$work")
	trap at_exit EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
	chmod 755 "$work"
	mkdir "$work/tmp"
	chmod 1777 "$work/tmp"
	export TMPDIR=$work/tmp
	# The server's user need not be able to enter the directory that the script was called from.
	cd "$work"
}

# at_exit cleans up, and calls last_words if the script defines it.
at_exit() {
	local status=$? dir
	set +e
	trap '' HUP INT TERM
	end_attended
	cd /
	for dir in "${litter[@]}"; do
		remove_directory "$dir"
	done
	if declare -F last_words >/dev/null; then last_words "$status"; fi
	exit "$status"
}

# remove_directory DIR removes DIR, if there is one, once the servers in it are stopped.
remove_directory() {
	if [[ ! -d $1 ]]; then return; fi
	stop_servers_below "$1"
	rm -rf "$1"
}

# attend COMMAND... runs a command or a function in a process group of its own and returns its status.
# Because the script only waits, a signal to it takes effect at once. Never nested: only the outermost
# group is known to end_attended.
attend() {
	local status=0
	set -m
	"$@" </dev/null &
	attended=$!
	set +m
	wait "$attended" || status=$?
	attended=
	return "$status"
}

# end_attended ends the attended command, if a signal came meanwhile, and gives it time to clean up.
end_attended() {
	local tries
	if [[ -z $attended ]]; then return; fi
	kill -TERM -- "-$attended" 2>/dev/null
	for ((tries = 0; tries < 300; tries++)); do
		kill -0 -- "-$attended" 2>/dev/null || return
		sleep 0.1
	done
	kill -KILL -- "-$attended" 2>/dev/null
}

# logged FILE COMMAND... shows a command's output and keeps it.
logged() {
	local file=$1
	shift
	"$@" 2>&1 | tee "$file"
}

# quietly COMMAND... attends a command and shows its output only if it fails.
quietly() {
	local status=0
	attend "$@" >"$work/quiet.log" 2>&1 || status=$?
	if [[ $status -ne 0 ]]; then cat "$work/quiet.log" >&2; fi
	return "$status"
}

# --- Debian --------------------------------------------------------------------------------------------

# suite_of MAJOR names the Debian release that ships a major.
suite_of() {
	case $1 in
	15) echo bookworm ;;
	17) echo trixie ;;
	18) echo forky ;;
	*) return 1 ;;
	esac
}

# is_native MAJOR tells whether a major is installed here or comes from this machine's own Debian release.
is_native() {
	[[ -x /usr/lib/postgresql/$1/bin/postgres || $(suite_of "$1") == "$(own_suite)" ]]
}

own_suite() {
	# shellcheck source=/dev/null
	(. /etc/os-release && echo "${VERSION_CODENAME:-}")
}

# default_major names the major to work with when the caller names none.
default_major() {
	local major
	if [[ -n $chosen_pg_config ]]; then
		"$chosen_pg_config" --version | sed -E 's/^PostgreSQL ([0-9]+).*/\1/'
		return
	fi
	for major in 15 17 18; do
		if is_native "$major"; then
			echo "$major"
			return
		fi
	done
	die "this Debian release has none of PostgreSQL 15, 17 and 18; set PG_CONFIG"
}

build_packages() {
	printf '%s\n' make gcc libc6-dev "postgresql-$1" "postgresql-server-dev-$1"
}

test_packages() {
	build_packages "$1"
	printf '%s\n' perl libipc-run-perl libtap-parser-sourcehandler-pgtap-perl "postgresql-$1-pgtap" redis-server
}

is_installed() {
	[[ $(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

# require_packages PACKAGE... installs the packages that are missing; it does nothing when none is.
require_packages() {
	local package missing=()
	for package in "$@"; do
		is_installed "$package" || missing+=("$package")
	done
	if [[ ${#missing[@]} -eq 0 ]]; then return; fi
	if [[ $EUID -ne 0 ]]; then die "root must install what is missing: ${missing[*]}"; fi
	say "Installing ${missing[*]}"
	quietly install_packages "${missing[@]}" || die "the packages could not be installed"
}

# install_packages PACKAGE... keeps Debian from making a cluster for a new server package, and from starting any
# service. A policy of the administrator's own stays.
install_packages() {
	local conf=/etc/postgresql-common/createcluster.d/order_cqrs.conf policy=/usr/sbin/policy-rc.d own_policy= status=0
	export DEBIAN_FRONTEND=noninteractive
	# A source that fails may be one that is not needed; the installation fails if it is.
	apt-get update || true
	mkdir -p "${conf%/*}" && echo 'create_main_cluster = false' >"$conf"
	if [[ ! -e $policy ]]; then
		own_policy=$policy
		printf '%s\n' '#!/bin/sh' 'exit 101' >"$policy" && chmod 755 "$policy"
	fi
	apt-get install --yes --no-install-recommends "$@" || status=$?
	rm -f "$conf" ${own_policy:+"$own_policy"}
	return "$status"
}

# --- PostgreSQL and the extension ----------------------------------------------------------------------

# use_postgres MAJOR PACKAGE... chooses the PostgreSQL that the script works with: the caller's PG_CONFIG, or
# Debian's of that major, with the packages named. Sets pg_config, bindir and pgxs.
use_postgres() {
	local major=$1
	shift
	pg_config=$chosen_pg_config
	if [[ -z $pg_config ]]; then
		require_packages "$@"
		pg_config=/usr/lib/postgresql/$major/bin/pg_config
	fi
	bindir=$("$pg_config" --bindir)
	pgxs=$("$pg_config" --pgxs)
	pgxs=${pgxs%/src/makefiles/pgxs.mk}
	lock_postgres
}

# lock_postgres makes the scripts that use one PostgreSQL take turns: each installs its own build there.
lock_postgres() {
	exec 9<"$pg_config"
	if ! flock --nonblock 9; then
		say "Waiting for another run that uses $pg_config"
		flock 9
	fi
}

# copy_sources DIR makes DIR a copy of the checkout without its repository and without the products of a build.
copy_sources() {
	mkdir -p "$1"
	tar -C "$project" --exclude-vcs --exclude='*.o' --exclude='*.so' --exclude='*.bc' -cf - . |
		tar -C "$1" --no-same-owner -xf -
}

# make_in DIR ARGUMENT... is make with the PostgreSQL in use.
make_in() {
	make --silent --no-print-directory -C "$1" PG_CONFIG="$pg_config" "${@:2}"
}

# build_copy DIR [ARGUMENT...] builds a copy of the checkout in DIR, for the server's user to work in. It first
# removes other products of a build that were copied.
build_copy() {
	copy_sources "$1" &&
		make_in "$1" clean &&
		make_in "$1" --jobs="$(nproc)" "${@:2}" &&
		chown -R "$server_user:" "$1"
}

# make_server_directory DIR makes a directory that only the server's user, and root, can enter.
make_server_directory() {
	install --directory --mode=700 --owner="$server_user" "$1"
}

# start_cluster DIR [SETTING...] makes and starts a cluster in DIR/data with its socket in DIR/socket. Trust
# authentication is enough, as only the server's user and root can enter DIR.
start_cluster() {
	local dir=$1
	shift
	make_server_directory "$dir/socket"
	as_server "$bindir/initdb" --pgdata="$dir/data" --username=postgres --auth=trust --encoding=UTF8 \
		--no-sync >"$work/initdb.log" 2>&1 || { cat "$work/initdb.log" >&2; die "initdb failed"; }
	printf '%s\n' "listen_addresses = ''" "unix_socket_directories = '$dir/socket'" "fsync = off" "$@" |
		as_server tee -a "$dir/data/postgresql.conf" >/dev/null
	as_server "$bindir/pg_ctl" --silent --wait --pgdata="$dir/data" --log="$dir/log" start ||
		{ cat "$dir/log" >&2; die "the server did not start"; }
}

# psql_in DIR DATABASE ARGUMENT... is psql on the cluster in DIR.
psql_in() {
	as_server "$bindir/psql" --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --host="$1/socket" \
		--port="$(sed -n 4p "$1/data/postmaster.pid")" --username=postgres --dbname="$2" "${@:3}"
}

# stop_servers_below DIR stops every server whose data directory is somewhere in DIR.
stop_servers_below() {
	find "$1" -name postmaster.pid -print0 2>/dev/null | while IFS= read -r -d '' pid_file; do
		stop_server "${pid_file%/*}" "$(head -n 1 "$pid_file")"
	done
}

# stop_server DATA PID waits until the server is gone; its data is not needed any more.
stop_server() {
	local tries
	for ((tries = 0; tries < 100; tries++)); do
		is_server "$1" "$2" || return 0
		kill -QUIT "$2" 2>/dev/null || true
		sleep 0.1
	done
}

# is_server DATA PID tells whether that process is the server of that directory. A server that was killed
# leaves its file behind, and its number may belong to another process by now. Without /proc, only the owner of
# the process can be compared.
is_server() {
	if [[ ! -e /proc/self ]]; then as_server "$BASH" -c "kill -0 $2" 2>/dev/null; return; fi
	[[ $(as_server readlink "/proc/$2/cwd") == "$1" ]]
}
