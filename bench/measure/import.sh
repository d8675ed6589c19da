# shellcheck shell=bash
# import: a shop's old orders by commands, in one session and a hundred to a transaction, as a shop that moves in would do
# it; and the dump of that shop restored, with workers and without. A restore counts from its start until every read table
# is true: where no worker serves the database, projection_sync makes it so.
measure_import() {
	local orders=100000
	if [[ $quick == yes ]]; then orders=200; fi
	make_shop imported
	watch_cpu
	start_clock
	sql_on imported --command "DO \$\$ BEGIN
		FOR i IN 1 .. $orders LOOP
			CALL order_cqrs.order_create('import-' || i, (1 + i % $customers)::text, '$items');
			IF i % 100 = 0 THEN COMMIT; END IF;
		END LOOP;
	END \$\$"
	record_pace "$orders" 'order_create'
	as_server "$bindir/pg_dump" --host="$bench/socket" --username=postgres --format=custom --file="$bench/dump" imported
	restore "$orders" 'pg_restore and projection_sync' alone
	restore "$orders" 'pg_restore with workers' served
	sql_on postgres --command 'DROP DATABASE imported' --command 'DROP DATABASE alone' --command 'DROP DATABASE served'
}

start_clock() {
	clock=$(date +%s%N)
}

# record_pace ORDERS CONTESTANT records orders a second since the clock was started.
record_pace() {
	record import 1 1 "$2" orders/s $(($1 * 1000000000 / ($(date +%s%N) - clock)))
}

# restore ORDERS CONTESTANT DATABASE: the stage's settings have workers serve the database served, and not alone.
restore() {
	make_database "$3"
	watch_cpu
	start_clock
	as_server "$bindir/pg_restore" --host="$bench/socket" --username=postgres --jobs=2 --dbname="$3" "$bench/dump"
	if [[ $3 == served ]]; then
		until [[ $(value_on served 'SELECT sum(lag_events + unchecked_events) FROM order_cqrs.projection_status') == 0 ]]; do sleep 0.1; done
	else
		sql_on "$3" --command 'CALL order_cqrs.projection_sync()'
	fi
	record_pace "$1" "$2"
	[[ $(value_on "$3" 'SELECT count(*) FROM order_cqrs.order_view') == "$1" ]] || die "not all orders are in $3"
}
