# shellcheck shell=bash
# lag: from the commit of a command to the commit that makes it visible in an async read table, of every single
# command, by the server's own commit timestamps. The worker runs, as it does in production.
measure_lag() {
	local per_second lag_seconds=10 settle=3
	if [[ $quick == yes ]]; then lag_seconds=1 settle=0; fi
	make_shop lag
	make_async lag
	for per_second in 100 1000; do
		lag_of order_cqrs lag/order_cqrs "$per_second" order_cqrs_lag.sql
	done
	if [[ $with_peers != yes ]]; then return; fi
	lag_of_emmett 100
}

# lag_of CONTESTANT SCRIPT PER_SECOND QUERY
lag_of() {
	local script=$project/bench/work/$2.sql p50 p99
	watch_cpu
	run_pgbench "$script" 4 off --time="$lag_seconds" --rate="$3"
	sleep "$settle"
	IFS='|' read -r p50 p99 < <(sql_on "$(header_of "$script" Database)" --tuples-only --no-align \
		--set=first="$(<"$turns_file")0000000" --file="$(peer_file "$4")")
	record "lag at $3/s p50" 4 1 "$1" ms "$p50"
	record "lag at $3/s p99" 4 1 "$1" ms "$p99"
}

# lag_of_emmett PER_SECOND has Emmett's consumer, with its default settings, run meanwhile.
lag_of_emmett() {
	local consumer
	node_peer emmett.mjs emmett_lag follow $((lag_seconds + settle + 4)) &
	consumer=$!
	sleep 2
	lag_of "Emmett's consumer as it comes" lag/emmett "$1" emmett_lag.sql
	wait "$consumer"
}
