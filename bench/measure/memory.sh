# shellcheck shell=bash
# memory: what a session keeps after many commands. The first thousand fill its caches and plans; nothing may come on
# top of that. What the worker's procedures need at most is measured by the parts that run them.
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
