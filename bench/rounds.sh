# shellcheck shell=bash
# bench/rounds.sh: contests. It is sourced, never run.
#
# A contestant's pgbench script is bench/work/WORK/CONTESTANT.sql; its first lines have the title of its figures
# and the database in which it runs. It may use the variables that order_variables sets, so that all work on
# the same order; :first is different for each turn, so that no id is made twice.
#
# Contestants take turns, each round begins with another one, and ratios are taken within a round: a drift
# of the machine affects all. A round in which the hypervisor took more than max_stolen percent of the machine stays in the
# file, marked as not counting, and is repeated, but not without end.

rounds=3
seconds=1
client_counts='1 4 16'
commits='off on'
max_stolen=3
max_repeats=10    # of a series
quick=no          # whether it is enough that each script runs: then figures mean nothing

rounds_file=      # CSV of all rounds, made by open_rounds
turns_file=       # how many turns there have been: the counter has to outlive the subshells of attend

open_rounds() {
	rounds_file=$work/rounds.csv
	turns_file=$work/turns
	echo 0 >"$turns_file"
	echo 'work,clients,commit,round,contestant,unit,value,stolen,counts' >"$rounds_file"
}

# contest WORK UNIT CONTESTANT... has a series of rounds for each number of clients and each synchronous_commit.
contest() {
	local commit clients
	for commit in $commits; do
		for clients in $client_counts; do
			series "$1" "$2" "$clients" "$commit" "${@:3}"
		done
	done
}

# series WORK UNIT CLIENTS COMMIT CONTESTANT...
series() {
	local round repeats=0
	for ((round = 1; round <= rounds; round++)); do
		run_round "$round" "$@"
		if ! round_counts && ((repeats++ < max_repeats)); then
			mark_round
			((round--))
		fi
		cat "$work/round" >>"$rounds_file"
	done
	say "   $1, $3 clients, synchronous_commit $4"
}

# run_round ROUND WORK UNIT CLIENTS COMMIT CONTESTANT... leaves the round's figures in a file.
run_round() {
	local round=$1 job=$2 unit=$3 clients=$4 commit=$5 contestants=("${@:6}") i script rate
	: >"$work/round"
	for ((i = 0; i < ${#contestants[@]}; i++)); do
		script=$project/bench/work/$job/${contestants[(i + round - 1) % ${#contestants[@]}]}.sql
		watch_cpu
		take_turn "$script" "$clients" "$commit"
		echo "$job,$clients,$commit,$round,$(header_of "$script" Title),$unit,$rate,$(cpu_stolen),yes" >>"$work/round"
	done
}

# record WORK CLIENTS ROUND CONTESTANT UNIT VALUE notes a figure that was found in another way; the caller has
# called watch_cpu before.
record() {
	echo "$1,$2,off,$3,$4,$5,$6,$(cpu_stolen),yes" >>"$rounds_file"
	say "   $1: $4: $6 $5"
}

round_counts() {
	if [[ $quick == yes ]]; then return; fi
	awk -F, -v most="$max_stolen" '$8 > most { exit 1 }' "$work/round"
}

mark_round() {
	sed -i 's/,yes$/,no/' "$work/round"
}

# take_turn SCRIPT CLIENTS COMMIT leaves transactions per second in `rate`. A session's first command loads
# catalogues and plans; a second of warming up is therefore not counted. pgbench's reports of progress count time from
# before the connections are made, its final rate does not.
take_turn() {
	if [[ $quick == yes ]]; then
		run_pgbench "$1" "$2" "$3" --transactions=20
	else
		run_pgbench "$1" "$2" "$3" --time=$((seconds + 1)) --progress=1
	fi
	rate=$(awk '
		/^progress:/ && !warm { warm = $2; done = $2 * $4 }
		/^number of transactions actually processed/ { all = $NF; sub("/.*", "", all) }
		/^initial connection time/ { connecting = $5 / 1000 }
		/^tps = / { total = all / $3; counted = connecting + total - warm
			printf "%.2f", (warm && counted > 0.2 ? (all - done) / counted : $3) }' "$work/pgbench.log")
}

# run_pgbench SCRIPT CLIENTS COMMIT ARGUMENT... leaves the report in pgbench.log.
run_pgbench() {
	local turn variables
	turn=$(($(<"$turns_file") + 1))
	echo "$turn" >"$turns_file"
	mapfile -t variables <<<"$(order_variables)"
	PGOPTIONS="-c synchronous_commit=$3" as_server "$bindir/pgbench" --no-vacuum --protocol=prepared \
		--host="$bench/socket" --username=postgres --client="$2" --jobs=1 --file="$1" \
		--define=first="${turn}0000000" --define=n=0 "${variables[@]/#/--define=}" \
		"${@:4}" "$(header_of "$1" Database)" >"$work/pgbench.log" 2>&1 ||
		{ tail -n 20 "$work/pgbench.log" >&2; die "pgbench failed with $1"; }
}

# header_of SCRIPT NAME prints the text after "-- NAME: " in a script.
header_of() {
	sed -n "s/^-- $2: //p" "$1"
}

# cpu_stolen prints how many percent of the machine the hypervisor took since watch_cpu.
cpu_stolen() {
	cpu_ticks | awk -v s="${watched[0]}" -v a="${watched[2]}" '{ printf "%.1f", ($3 > a ? 100 * ($1 - s) / ($3 - a) : 0) }'
}
