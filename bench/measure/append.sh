# shellcheck shell=bash
# append: one command, one event. Projections are async, and no worker runs meanwhile.
measure_append() {
	local peers=()
	if [[ $with_peers == yes ]]; then peers=(message_db emmett); fi
	contest append orders/s order_cqrs bare "${peers[@]}"
}
