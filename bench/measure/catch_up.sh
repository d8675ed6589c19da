# shellcheck shell=bash
# catch_up: from an empty read table to the end of the log. The peers do the same work for one narrow table, as
# order_summary_view is: Emmett by its consumer, Message DB by a consumer that writes a thousand events at a time.
measure_catch_up() {
	need_large_log
	catch_up_without_indexes
	if [[ $with_peers != yes ]]; then return; fi
	local few=$((large_log / 50)) many=$((large_log / 5))
	fill_peer_logs "$few" "$many"
	time_consumer "Emmett's consumer" emmett.mjs emmett_log "$few" consume 1000 0
	time_consumer "Emmett's consumer as it comes" emmett.mjs emmett_log "$((few / 2))" consume
	time_consumer "Message DB consumer" message_db.mjs message_db_log "$many" consume 1000
}

# catch_up_without_indexes is for comparison with the peers, whose tables have a primary key and nothing else.
catch_up_without_indexes() {
	sql_on postgres --command 'CREATE DATABASE narrow TEMPLATE large'
	sql_on narrow --output=/dev/null --file="$(peer_file narrow.sql)"
	time_events catch_up 'order_summary_view with its key only' narrow "CALL order_cqrs.projection_sync('order_summary_view')"
	sql_on postgres --command 'DROP DATABASE narrow'
}

# fill_peer_logs EMMETT MESSAGE_DB copies the first events of the large log into the peers' tables.
fill_peer_logs() {
	sql_on large --command "COPY (SELECT aggregate_id, version, event_type, data FROM order_cqrs.events
		WHERE aggregate_type = 'Order' ORDER BY position LIMIT $2) TO '$bench/log'"
	sql_on emmett_log --set=file="$bench/log" --set=events="$1" --file="$(peer_file emmett_log.sql)"
	sql_on message_db_log --set=file="$bench/log" --file="$(peer_file message_db_log.sql)"
}

# time_consumer CONTESTANT PROGRAM DATABASE EVENTS ARGUMENT... records what the program prints: events a second.
time_consumer() {
	local rate
	watch_cpu
	rate=$(node_peer "$2" "$3" "${@:5}" "$4") || die "$1 failed"
	record catch_up 1 1 "$1" events/s "$rate"
}
