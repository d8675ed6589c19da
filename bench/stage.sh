# shellcheck shell=bash
# bench/stage.sh: the cluster and the databases on it. It is sourced, never run.
#
#   sync          order_cqrs as it is installed: three read tables of an order change with the command
#   async         all its projections async that can be, and no worker on the database; the bare INSERT, too
#   crud          normalised tables
#   message_db    Message DB
#   emmett        Emmett; emmett_log, emmett_lag and message_db_log are theirs for consumers
#
# Others are made by the parts that need them. fsync is on: without it synchronous_commit = on would
# not wait for the disk. With synchronous_commit = off the figures show the work of a command alone; with on, it waits for
# the disk, as the other contestants do.

results=$project/bench/results
with_peers=yes
large_log=1000000
small_log=10000
ten_million=no

customers=1000
products=1000
message_db=1.3.1
emmett=0.42.0

# The order of all contestants.
items='[{"product_id": "17", "quantity": 2, "unit_price": "4.50"}, {"product_id": "42", "quantity": 1, "unit_price": "12.00"}, {"product_id": "99", "quantity": 10, "unit_price": "0.75"}]'
items2='[{"product_id": "17", "quantity": 1, "unit_price": "4.50"}, {"product_id": "42", "quantity": 10, "unit_price": "12.00"}, {"product_id": "99", "quantity": 2, "unit_price": "0.75"}]'

# The data of the events of order_create, order_update and order_complete, as the measured extension writes them.
event_data=
updated_data=
completed_data=

stage_settings=(
	"fsync = on"
	"shared_preload_libraries = 'order_cqrs'"
	"order_cqrs.databases = 'lag, served'"
	"order_cqrs.saga = off"
	"max_connections = 50"
	"track_commit_timestamp = on"
)

open_stage() {
	open_bench "${stage_settings[@]}"
	open_rounds
	make_shop sync
	make_shop async
	make_async async
	sql_on async --file="$(peer_file bare.sql)"
	learn_events
	make_database crud
	sql_on crud --set=customers=$customers --set=products=$products --file="$(peer_file crud.sql)"
	if [[ $with_peers == yes ]]; then open_peers; fi
}

learn_events() {
	local data
	mapfile -t data < <(value_on sync "BEGIN; CALL order_cqrs.order_create('model', '1', '$items');
		CALL order_cqrs.order_update('model', '$items2'); CALL order_cqrs.order_complete('model');
		SELECT data FROM order_cqrs.events WHERE aggregate_id = 'model' ORDER BY version; ROLLBACK")
	event_data=${data[0]} updated_data=${data[1]} completed_data=${data[2]}
}

# order_variables prints the variables of the pgbench scripts, NAME=VALUE, one a line.
order_variables() {
	printf '%s\n' "customers=$customers" "orders=$((large_log / 5 * 2))" "items=$items" "items2=$items2" 'reason=changed her mind' "data=$event_data" 'total=28.50' \
		'p1=17' 'q1=2' 'u1=4.50' 'p2=42' 'q2=1' 'u2=12.00' 'p3=99' 'q3=10' 'u3=0.75'
}

# --- databases -----------------------------------------------------------------------------------------

# sql_on DATABASE ARGUMENT... is psql; value_on DATABASE QUERY prints the result of a query, and nothing else.
sql_on() {
	psql_in "$bench" "$@"
}

value_on() {
	sql_on "$1" --tuples-only --no-align --command "$2"
}

make_database() {
	sql_on postgres --command "CREATE DATABASE $1"
}

# make_shop DATABASE makes a database with the extension, customers and products.
make_shop() {
	make_database "$1"
	sql_on "$1" --command 'SET client_min_messages = warning' --command 'CREATE EXTENSION order_cqrs CASCADE' \
		--command "DO \$\$ BEGIN
			FOR i IN 1 .. $customers LOOP CALL order_cqrs.customer_put(i::text, 'Customer ' || i, i || '@example.org'); END LOOP;
			FOR i IN 1 .. $products LOOP CALL order_cqrs.product_put(i::text, 'Product ' || i, 'Category ' || i % 20); END LOOP;
		END \$\$"
}

# make_async DATABASE makes every projection async that can be: reference and inventory cannot.
make_async() {
	local projection
	for projection in order_view order_summary_view payments; do
		sql_on "$1" --command "CALL order_cqrs.projection_set_mode('$projection', 'async')"
	done
}

# peer_file NAME is a file of bench/peers where the server's user can read it.
peer_file() {
	echo "$work/src/bench/peers/$1"
}

# --- the peers -----------------------------------------------------------------------------------------

open_peers() {
	local database
	require_node
	say "Fetching Message DB $message_db and Emmett $emmett"
	mkdir "$work/npm"
	cp "$project/bench/peers/"*.mjs "$work/npm"
	quietly npm install --prefix "$work/npm" --no-audit --no-fund --cache "$work/npm-cache" \
		"@eventide/message-db@$message_db" "@event-driven-io/emmett-postgresql@$emmett" || die "npm failed"
	quietly as_server env PATH="$bindir:$PATH" PGHOST="$bench/socket" PGUSER=postgres DATABASE_NAME=message_db \
		bash "$work/npm/node_modules/@eventide/message-db/database/install.sh" || die "Message DB could not be installed"
	make_database emmett
	node_peer emmett.mjs emmett setup
	for database in emmett_log emmett_lag message_db_log; do
		sql_on postgres --command "CREATE DATABASE $database TEMPLATE ${database%_l??}"
	done
	for database in message_db message_db_log; do
		sql_on postgres --command "ALTER DATABASE $database SET search_path = message_store, public"
	done
}

require_node() {
	if command -v npm >/dev/null; then return; fi
	require_packages nodejs npm
}

# node_peer PROGRAM DATABASE ARGUMENT... runs a program of bench/peers.
node_peer() {
	as_server env PGOPTIONS='-c synchronous_commit=off' DATABASE_URL="postgresql://postgres@localhost/$2?host=$bench/socket" \
		QUICK="$quick" node "$work/npm/$1" "${@:3}"
}

# --- conditions of the figures -------------------------------------------------------------------------

describe_stage() {
	echo "order_cqrs $(value_on sync "SELECT extversion FROM pg_extension WHERE extname = 'order_cqrs'")"
	echo "$(date -u +%F), $(environment)"
	echo "An order of 3 items; $rounds rounds of $seconds s; the figures are medians, in brackets (greatest - least) / median."
	if [[ $with_peers == yes ]]; then echo "Message DB $message_db, Emmett $emmett, Node.js $(node --version)"; fi
}
