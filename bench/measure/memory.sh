# shellcheck shell=bash
# memory: the memory of a session after many commands. The first thousand fill its caches and plans; no more may be
# added after them. The parts that run the worker's procedures measure the most that these need.
measure_memory() {
	local commands=$((large_log / 10)) before after
	if [[ $quick == yes ]]; then commands=1100; fi
	make_shop memory
	IFS='|' read -r before after < <(sql_on memory --tuples-only --no-align --set=items="$items" \
		--set=customers="$customers" --set=commands="$commands" --file="$(peer_file memory.sql)" | paste -s -d '|')
	watch_cpu
	record memory 1 1 'session after 1000 commands' MB "$before"
	record memory 1 1 "session after $commands commands" MB "$after"
}
