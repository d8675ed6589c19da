# shellcheck shell=bash
# read: one order with its items and names, and the 20 newest orders of a customer, from the large log.
measure_read() {
	local commits=off
	need_large_log
	contest get queries/s order_cqrs select crud
	contest page queries/s order_cqrs select crud
}
