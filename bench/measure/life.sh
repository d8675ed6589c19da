# shellcheck shell=bash
# life: each order is created, updated and completed; or created and cancelled. Every command is a transaction.
measure_life() {
	local commits=off
	contest life lives/s order_cqrs crud
	contest cancelled lives/s order_cqrs crud
}
