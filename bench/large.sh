# shellcheck shell=bash
# bench/large.sh: databases with a long log. It is sourced, never run.
#
# The database large has a log of large_log events and read tables that hold it. The first part that needs it
# makes it, and the time for that is the figure of catch_up.

projections='order_view order_summary_view order_stats'

# need_large_log makes the database large unless it is there.
need_large_log() {
	if [[ -n $(value_on postgres "SELECT 1 FROM pg_database WHERE datname = 'large'") ]]; then return; fi
	local projection
	make_shop large
	make_async large
	load_log large "$large_log"
	for projection in $projections; do
		time_events catch_up "$projection" large "CALL order_cqrs.projection_sync('$projection')"
	done
	finish_log large
}

# make_log DATABASE EVENTS is the same without measuring.
make_log() {
	make_shop "$1"
	make_async "$1"
	load_log "$1" "$2"
	finish_log "$1"
}

load_log() {
	sql_on "$1" --set=events="$2" --set=customers="$customers" --set=created="$event_data" \
		--set=updated="$updated_data" --set=completed="$completed_data" --file="$(peer_file log.sql)"
}

# finish_log DATABASE makes the projections sync again and leaves the tables as after a night.
finish_log() {
	local projection
	sql_on "$1" --command 'CALL order_cqrs.projection_sync()'
	for projection in order_view order_summary_view payments; do
		sql_on "$1" --command "CALL order_cqrs.projection_set_mode('$projection', 'sync')"
	done
	sql_on "$1" --command 'VACUUM ANALYZE' --command 'CHECKPOINT'
}

# time_events WORK CONTESTANT DATABASE STATEMENT... records events a second and the most memory that the session had.
time_events() {
	local started
	watch_cpu
	started=$(date +%s%N)
	watch_memory "$3" "${@:4}"
	record "$1" 1 1 "$2" events/s "$(events_since "$started")"
	record memory 1 1 "$1 of $2" MB "$peak_memory"
}

# events_since NANOSECONDS prints how many events of the large log that is a second.
events_since() {
	echo $((large_log * 1000000000 / ($(date +%s%N) - $1)))
}

# watch_memory DATABASE STATEMENT... runs statements in one session and leaves in peak_memory the most private memory,
# in MB, that the session had; looked at ten times a second.
watch_memory() {
	local pid backend now most=0 statements=("${@:2}")
	PGAPPNAME=watched sql_on "$1" --output=/dev/null "${statements[@]/#/--command=}" &
	pid=$!
	sleep 0.2
	backend=$(value_on postgres "SELECT pid FROM pg_stat_activity WHERE application_name = 'watched'")
	while kill -0 "$pid" 2>/dev/null; do
		now=$(private_memory "${backend:-0}")
		if ((now > most)); then most=$now; fi
		sleep 0.1
	done
	wait "$pid" || die "this failed: ${statements[*]}"
	peak_memory=$(awk -v kb="$most" 'BEGIN { printf "%.1f", kb / 1024 }')
}

# private_memory PID prints the kilobytes that a process shares with no other.
private_memory() {
	awk '/^RssAnon:/ { kb = $2 } END { print kb + 0 }' "/proc/$1/status" 2>/dev/null || echo 0
}
