# shellcheck shell=bash
# rebuild: all read tables of orders anew from the log, beside one SQL script that does it by hand. The projections are
# rebuilt one after the other, and all at once, each in a session of its own, which is faster.
measure_rebuild() {
	local statements=() projection round
	need_large_log
	for projection in $projections; do
		statements+=("CALL order_cqrs.projection_rebuild('$projection')")
	done
	empty_read_tables
	time_events rebuild 'order_cqrs one after the other' large "${statements[@]}"
	for ((round = 1; round <= rounds; round++)); do
		empty_read_tables
		rebuild_both_ways "$round" "${statements[@]}"
		sql_on large --file="$(peer_file rebuild_check.sql)"
		sql_on large --command 'DROP SCHEMA by_hand CASCADE' 2>/dev/null
	done
	sql_on large --command 'VACUUM ANALYZE'
}

empty_read_tables() {
	sql_on large --command 'TRUNCATE order_cqrs.order_view, order_cqrs.order_item_view, order_cqrs.order_summary_view,
		order_cqrs.order_stats, order_cqrs.order_product_stats, order_cqrs.order_stats_applied' --command CHECKPOINT
}

# rebuild_both_ways ROUND STATEMENT... changes the order of the two from round to round.
rebuild_both_ways() {
	if (($1 % 2 == 0)); then time_script rebuild "$1" 'one SQL script' large rebuild.sql; fi
	time_sessions rebuild "$1" order_cqrs large "${@:2}"
	if (($1 % 2 == 1)); then time_script rebuild "$1" 'one SQL script' large rebuild.sql; fi
}

# time_sessions WORK ROUND CONTESTANT DATABASE STATEMENT... runs each statement in a session of its own, all at once.
time_sessions() {
	local started statement pids=() pid
	watch_cpu
	started=$(date +%s%N)
	for statement in "${@:5}"; do
		sql_on "$4" --output=/dev/null --command="$statement" &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do
		wait "$pid" || die 'a session failed'
	done
	record "$1" 1 "$2" "$3" events/s "$(events_since "$started")"
}

# time_script WORK ROUND CONTESTANT DATABASE FILE
time_script() {
	local started
	watch_cpu
	started=$(date +%s%N)
	sql_on "$4" --output=/dev/null --file="$(peer_file "$5")"
	record "$1" 1 "$2" "$3" events/s "$(events_since "$started")"
}
