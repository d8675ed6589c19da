# shellcheck shell=bash
# growth: the same command, with 10,000 events in the log and with many more.
measure_growth() {
	local commits=off client_counts=1 sizes=(small large)
	make_log small "$small_log"
	need_large_log
	if [[ $ten_million == yes ]]; then
		make_log huge 10000000
		sizes+=(huge)
	fi
	contest growth orders/s "${sizes[@]}"
}
