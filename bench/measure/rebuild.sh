# shellcheck shell=bash
# rebuild: all read tables of orders anew from the log, beside one SQL script that does it by hand.
measure_rebuild() {
	local statements=() projection
	need_large_log
	sql_on large --command 'TRUNCATE order_cqrs.order_view, order_cqrs.order_item_view, order_cqrs.order_summary_view,
		order_cqrs.order_stats, order_cqrs.order_product_stats, order_cqrs.order_stats_applied'
	for projection in $projections; do
		statements+=("CALL order_cqrs.projection_rebuild('$projection')")
	done
	time_events rebuild order_cqrs large "${statements[@]}"
	time_script rebuild 'one SQL script' large rebuild.sql
	sql_on large --file="$(peer_file rebuild_check.sql)"
	sql_on large --command 'DROP SCHEMA by_hand CASCADE' --command 'VACUUM ANALYZE' 2>/dev/null
}

# time_script WORK CONTESTANT DATABASE FILE
time_script() {
	local started ended
	watch_cpu
	started=$(date +%s%N)
	sql_on "$3" --output=/dev/null --file="$(peer_file "$4")"
	ended=$(date +%s%N)
	record "$1" 1 1 "$2" events/s $((large_log * 1000000000 / (ended - started)))
}
