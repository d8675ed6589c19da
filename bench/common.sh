# shellcheck shell=bash
# bench/common.sh: functions that the measuring scripts share. It is sourced, never run.
#
# Words: a "bench cluster" is a throwaway cluster whose settings suit measuring; its database is called bench.
#
# Invariants: both sides of a comparison run on one cluster, in one run, with the same settings; the
# conditions are printed with the figures.

# shellcheck source=script/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../script/common.sh"

# Work is compared, not disks: everything fits into memory and start_cluster turns fsync off. Nothing runs on its
# own while something is timed. JIT would compile the slow searches of one side and make them slower still.
bench_settings=(
	"shared_buffers = 2GB"
	"effective_cache_size = 6GB"
	"random_page_cost = 1.1"
	"work_mem = 64MB"
	"maintenance_work_mem = 512MB"
	"max_wal_size = 16GB"
	"checkpoint_timeout = 1h"
	"autovacuum = off"
	"jit = off"
)

bench= # directory of the bench cluster, made by open_bench

# build_bench builds and installs the extension, without the bitcode, which takes longer to make than all the rest and
# is for JIT. A caller that runs several of these scripts builds once, holds the lock on PostgreSQL, and exports
# bench_is_built.
build_bench() {
	if [[ -n ${bench_is_built:-} ]]; then
		copy_sources "$work/src" && chown -R "$server_user:" "$work/src"
		return
	fi
	quietly build_copy "$work/src" with_llvm=no || die "the build failed"
	quietly make_in "$work/src" with_llvm=no install || die "the installation failed"
}

# open_bench [SETTING...] builds and installs the extension and starts a bench cluster. Later settings win.
open_bench() {
	local major packages
	major=$(default_major)
	open_work
	mapfile -t packages <<<"$(build_packages "$major")"
	if [[ -n ${bench_is_built:-} ]]; then lock_postgres() { :; }; fi
	use_postgres "$major" "${packages[@]}"
	build_bench
	bench=$work/bench
	install --directory --mode=700 --owner="$server_user" "$bench"
	start_cluster "$bench" "${bench_settings[@]}" "$@"
	psql_in "$bench" postgres --command 'CREATE DATABASE bench'
	in_bench --command 'CREATE EXTENSION order_cqrs CASCADE' 2>/dev/null
}

# in_bench ARGUMENT... is psql on the bench database; bench_value prints the result of a query, and nothing else.
in_bench() {
	psql_in "$bench" bench "$@"
}

bench_value() {
	in_bench --tuples-only --no-align --command "$1"
}

# pgbench_in_bench ARGUMENT... is pgbench on the bench database.
pgbench_in_bench() {
	as_server "$bindir/pgbench" --no-vacuum --host="$bench/socket" --port="$(sed -n 4p "$bench/data/postmaster.pid")" \
		--username=postgres "$@" bench
}

# load_orders N fills the extension with a shop of N orders and says how long each phase took. The events are
# inserted as a restore would, without any projection, and projected in batches as the workers would: reference
# first, as order_view and the summary need the names, the others side by side.
load_orders() {
	local projection running
	for projection in payments order_view order_summary_view; do
		in_bench --command "CALL order_cqrs.projection_set_mode('$projection', 'async')"
	done
	timed events in_bench --set=orders="$1" --file="$work/src/bench/load.sql"
	sync_projection reference
	timed 'vacuum of the events' in_bench --command 'VACUUM ANALYZE order_cqrs.events'
	for projection in inventory payments order_summary_view order_stats; do
		sync_projection "$projection"
	done &
	running=$!
	sync_projection order_view
	wait "$running"
	for projection in payments order_view order_summary_view; do
		in_bench --command "CALL order_cqrs.projection_set_mode('$projection', 'sync')"
	done
	timed vacuum in_bench --command 'VACUUM ANALYZE'
}

sync_projection() {
	timed "$1" in_bench --command "CALL order_cqrs.projection_sync('$1')"
}

# timed PHASE COMMAND... says how long a command took.
timed() {
	local start=$EPOCHREALTIME
	"${@:2}"
	say "$(awk -v n="$1" -v s="$start" -v e="$EPOCHREALTIME" 'BEGIN { printf "%s: %.1f s", n, e - s }')"
}

# --- numbers -------------------------------------------------------------------------------------------

# percentile P prints the number below or at which P percent of the numbers on stdin are; median is the usual one.
percentile() {
	sort --general-numeric-sort |
		awk -v p="$1" '{ x[NR] = $1 } END { if (NR) { i = int(NR * p / 100); if (i < NR * p / 100) i++; print x[i < 1 ? 1 : i] } }'
}

median() {
	sort --general-numeric-sort |
		awk '{ x[NR] = $1 } END { if (NR) print NR % 2 ? x[(NR + 1) / 2] : (x[NR / 2] + x[NR / 2 + 1]) / 2 }'
}

# --- the machine ---------------------------------------------------------------------------------------

# cpu_ticks prints the ticks that the hypervisor gave to others, the ticks that processes here used, and all.
cpu_ticks() {
	awk '/^cpu / { print $9, $2 + $3 + $4 + $7 + $8, $2 + $3 + $4 + $5 + $6 + $7 + $8 + $9 }' /proc/stat
}

# watch_cpu starts a watch; cpu_watched prints the load of the machine since then. A figure from a machine
# whose time was stolen, or shared with others, is doubtful.
watch_cpu() {
	read -r -a watched < <(cpu_ticks)
}

cpu_watched() {
	cpu_ticks | awk -v s="${watched[0]}" -v b="${watched[1]}" -v a="${watched[2]}" '$3 > a {
		printf "CPU: %.1f %% stolen by the hypervisor, %.0f %% busy\n", 100 * ($1 - s) / ($3 - a), 100 * ($2 - b) / ($3 - a) }'
}

# environment prints the conditions that the figures depend on, in one line.
environment() {
	local model memory
	model=$(sed -n '/^model name/ { s/.*: *//p; q }' /proc/cpuinfo)
	memory=$(awk '/^MemTotal/ { printf "%.0f GB", $2 / 1048576 }' /proc/meminfo)
	printf '%s, %s cores, %s; %s; %s\n' "${model:-$(uname -m)}" "$(nproc)" "$memory" \
		"$(bench_value "SELECT split_part(version(), ' on ', 1)")" \
		"$(bench_value "SELECT string_agg(name || ' ' || current_setting(name), ', ' ORDER BY name) FROM pg_settings
			WHERE name IN ('shared_buffers', 'fsync', 'work_mem', 'random_page_cost', 'jit', 'synchronous_commit')")"
}
