# shellcheck shell=bash
# wal: bytes of write-ahead log for a command, once every page has been written since the last checkpoint.
measure_wal() {
	local script
	for script in append/bare append/order_cqrs create/order_cqrs create/crud_one; do
		wal_of "$script"
	done
	if [[ $with_peers != yes ]]; then return; fi
	for script in append/message_db append/emmett; do
		wal_of "$script"
	done
}

# wal_of WORK/CONTESTANT
wal_of() {
	local script=$project/bench/work/$1.sql commands=2000 before after
	if [[ $quick == yes ]]; then commands=20; fi
	watch_cpu
	run_pgbench "$script" 1 off --transactions=$commands
	before=$(wal_position)
	run_pgbench "$script" 1 off --transactions="$commands"
	after=$(wal_position)
	record wal 1 1 "$(header_of "$script" Title): ${1%/*}" bytes $(((after - before) / commands))
}

wal_position() {
	value_on postgres "SELECT pg_current_wal_insert_lsn() - '0/0'"
}
