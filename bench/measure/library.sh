# shellcheck shell=bash
# library: the same from an application in Node.js, the platform of Emmett. Its inline projection corresponds to the
# sync read tables of order_cqrs, for one table.
measure_library() {
	local clients round
	if [[ $with_peers != yes ]]; then say "   skipped: it needs Node.js and npm"; return; fi
	for clients in 1 4; do
		for ((round = 1; round <= rounds; round++)); do
			library_turn "$clients" "$round" order_cqrs order_cqrs.mjs sync append
			library_turn "$clients" "$round" "Emmett" emmett.mjs emmett append
			library_turn "$clients" "$round" "Emmett with an inline projection" emmett.mjs emmett inline
		done
	done
}

# library_turn CLIENTS ROUND CONTESTANT PROGRAM DATABASE WORK
library_turn() {
	local rate
	watch_cpu
	rate=$(node_peer "$4" "$5" "$6" "$1" "$seconds") || die "$3 failed"
	record library "$1" "$2" "$3" orders/s "$rate"
}
