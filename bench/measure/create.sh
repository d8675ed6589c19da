# shellcheck shell=bash
# create: a new order that the next statement of any session can read: read tables in the command's transaction.
measure_create() {
	contest create orders/s order_cqrs crud_one crud_four
}
