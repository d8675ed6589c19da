/*-------------------------------------------------------------------------
 * inventory.c
 *	  The projection inventory: tables inventory and reservations.
 *
 * The quantities received and adjusted come from the product's Inventory stream.  The
 * quantities reserved and shipped are sums over the orders; reservations holds the
 * contribution of each order, and the version up to which it counts.  A new state adds
 * its contribution and takes back the old one, in one statement, so that handling it
 * twice changes nothing.  Products are written in the order of their ids, as claims lock
 * them (stock/stock.c).
 *
 * Commands check against it: always sync.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "stock/stock.h"
#include "projection/projection.h"
#include "utils/builtins.h"

/* Adds up the rows of "change" (tenant, status, items, sign), and tells of new rows. */
#define APPLY_CHANGE \
	" by_product AS (INSERT INTO order_cqrs.inventory AS i" \
	" (tenant_id, product_id, received, shipped, reserved, version)" \
	" SELECT c.tenant_id, x.product_id, 0," \
	" sum(CASE c.status WHEN 'SHIPPED' THEN c.sign * x.quantity ELSE 0 END)," \
	" sum(CASE c.status WHEN 'HELD' THEN c.sign * x.quantity ELSE 0 END), 0" \
	" FROM change c, jsonb_to_recordset(c.items) AS x (product_id text, quantity bigint)" \
	" GROUP BY c.tenant_id, x.product_id" \
	" HAVING sum(CASE c.status WHEN 'SHIPPED' THEN c.sign * x.quantity ELSE 0 END) <> 0" \
	" OR sum(CASE c.status WHEN 'HELD' THEN c.sign * x.quantity ELSE 0 END) <> 0" \
	" ORDER BY c.tenant_id COLLATE \"C\", x.product_id COLLATE \"C\"" \
	" ON CONFLICT (tenant_id, product_id) DO UPDATE SET shipped = i.shipped + excluded.shipped," \
	" reserved = i.reserved + excluded.reserved RETURNING xmax = 0 AS is_new)"

#define ORDER(field) OCQ_FIELD(0, OcqOrderState, field)

static const OcqColumn reservation_columns[] = {
	{"tenant_id", TEXTOID, OCQ_KEY, ORDER(tenant_id)},
	{"order_id", TEXTOID, OCQ_KEY, ORDER(order_id)},
	{"status", TEXTOID, .get = ocq_get_reservation_status},
	{"items", JSONBOID, .get = ocq_get_reservation_items},
	{"version", INT4OID, ORDER(reservation.version)},
};

static OcqTable reservations = OCQ_TABLE("reservations", reservation_columns);

static OcqStatement apply_orders =
OCQ_TABLE_STATEMENT(&reservations,
					"WITH new AS (SELECT * FROM " OCQ_RECORDS "),"
					" old AS (SELECT r.* FROM new n JOIN {table} r"
					" ON r.tenant_id = n.tenant_id AND r.order_id = n.order_id),"
					" written AS (INSERT INTO {table} AS v ({columns}) SELECT * FROM new"
					OCQ_UPSERT " RETURNING {key}),"
					" change AS (SELECT n.tenant_id, n.status, n.items, 1 AS sign FROM new n JOIN written w"
					" ON w.tenant_id = n.tenant_id AND w.order_id = n.order_id"
					" UNION ALL SELECT o.tenant_id, o.status, o.items, -1 FROM old o JOIN written w"
					" ON w.tenant_id = o.tenant_id AND w.order_id = o.order_id),"
					APPLY_CHANGE
					" SELECT (SELECT count(*) FROM written), (SELECT count(*) FROM by_product WHERE is_new)",
					RECORDARRAYOID);

static OcqStatement forget_orders =
OCQ_STATEMENT("WITH gone AS (DELETE FROM order_cqrs.reservations r"
			  " USING unnest($1) AS n (tenant_id text, order_id text)"
			  " WHERE r.tenant_id = n.tenant_id AND r.order_id = n.order_id RETURNING r.*),"
			  " change AS (SELECT g.tenant_id, g.status, g.items, -1 AS sign FROM gone g),"
			  APPLY_CHANGE
			  " SELECT count(*) FROM gone",
			  RECORDARRAYOID);

/*
 * The columns that the product's own stream sets: shipped and reserved are sums over the
 * orders.
 */
static const OcqColumn stock_columns[] = {
	{"tenant_id", TEXTOID, OCQ_KEY, OCQ_FIELD(0, OcqStockChange, stream.tenant_id)},
	{"product_id", TEXTOID, OCQ_KEY, OCQ_FIELD(0, OcqStockChange, stream.aggregate_id)},
	{"received", INT8OID, OCQ_FIELD(0, OcqStockChange, totals.received)},
	{"adjusted", INT8OID, OCQ_FIELD(0, OcqStockChange, totals.adjusted)},
	{"version", INT4OID, OCQ_FIELD(0, OcqStockChange, version)},
};

static OcqTable stock = OCQ_TABLE("inventory", stock_columns);

static OcqStatement apply_stocks =
OCQ_TABLE_STATEMENT(&stock,
					"INSERT INTO {table} AS v ({columns}, shipped, reserved)"
					" SELECT {columns}, 0, 0 FROM " OCQ_RECORDS
					" ORDER BY n.tenant_id COLLATE \"C\", n.product_id COLLATE \"C\""
					OCQ_UPSERT " RETURNING xmax = 0",
					RECORDARRAYOID);

static OcqStatement forget_stocks =
OCQ_STATEMENT("UPDATE order_cqrs.inventory i SET received = 0, adjusted = 0, version = 0"
			  " FROM unnest($1) AS n (tenant_id text, product_id text)"
			  " WHERE i.tenant_id = n.tenant_id AND i.product_id = n.product_id",
			  RECORDARRAYOID);

/*
 * The sums of the reservations less the counters, in one snapshot.  Adding the difference
 * is right even if other transactions add at the same time.
 */
static OcqStatement reconcile_products =
OCQ_STATEMENT_ON_ALL("INSERT INTO order_cqrs.inventory AS i"
					 " (tenant_id, product_id, received, shipped, reserved, version)"
					 " SELECT coalesce(e.tenant_id, a.tenant_id), coalesce(e.product_id, a.product_id), 0,"
					 " coalesce(e.shipped, 0) - coalesce(a.shipped, 0),"
					 " coalesce(e.reserved, 0) - coalesce(a.reserved, 0), 0"
					 " FROM (SELECT r.tenant_id, x.product_id,"
					 " coalesce(sum(x.quantity) FILTER (WHERE r.status = 'SHIPPED'), 0) AS shipped,"
					 " coalesce(sum(x.quantity) FILTER (WHERE r.status = 'HELD'), 0) AS reserved"
					 " FROM order_cqrs.reservations r, jsonb_to_recordset(r.items)"
					 " AS x (product_id text, quantity bigint) GROUP BY 1, 2) e"
					 " FULL JOIN order_cqrs.inventory a ON a.tenant_id = e.tenant_id"
					 " AND a.product_id = e.product_id"
					 " WHERE (coalesce(e.shipped, 0), coalesce(e.reserved, 0))"
					 " <> (coalesce(a.shipped, 0), coalesce(a.reserved, 0))"
					 " ORDER BY 1, 2"
					 " ON CONFLICT (tenant_id, product_id) DO UPDATE"
					 " SET shipped = i.shipped + excluded.shipped, reserved = i.reserved + excluded.reserved");

/* A row without an event behind it would limit a product that is unlimited. */
static OcqStatement delete_unfounded =
OCQ_STATEMENT_ON_ALL("DELETE FROM order_cqrs.inventory"
					 " WHERE version = 0 AND received = 0 AND adjusted = 0 AND shipped = 0 AND reserved = 0");

/*
 * Locks all rows that a transaction is going to write for these streams, whatever
 * their reservations were and will be, as it writes by more than one statement.
 */
static OcqStatement lock_products =
OCQ_TABLE_STATEMENT(&ocq_stream_table,
					"WITH streams AS (SELECT * FROM " OCQ_RECORDS ")"
					" SELECT FROM order_cqrs.inventory i WHERE (i.tenant_id, i.product_id) IN ("
					" SELECT k.tenant_id, x.product_id FROM streams k JOIN order_cqrs.reservations r"
					" ON r.tenant_id = k.tenant_id AND r.order_id = k.aggregate_id,"
					" jsonb_to_recordset(r.items) AS x (product_id text) WHERE k.aggregate_type = '" OCQ_AGGREGATE_ORDER "'"
					" UNION ALL SELECT k.tenant_id, x.item ->> 'product_id' FROM streams k"
					" JOIN order_cqrs.events e ON e.tenant_id = k.tenant_id"
					" AND e.aggregate_type = '" OCQ_AGGREGATE_ORDER "' AND e.aggregate_id = k.aggregate_id,"
					" jsonb_array_elements(CASE jsonb_typeof(e.data -> 'items') WHEN 'array'"
					" THEN e.data -> 'items' ELSE '[]' END) AS x (item) WHERE k.aggregate_type = '" OCQ_AGGREGATE_ORDER "'"
					" AND e.event_type IN ('" OCQ_EVENT_INVENTORY_RESERVED "', '" OCQ_EVENT_RESERVATION_CHANGED "')"
					" UNION ALL SELECT k.tenant_id, k.aggregate_id FROM streams k"
					" WHERE k.aggregate_type = '" OCQ_AGGREGATE_INVENTORY "')"
					" ORDER BY i.tenant_id, i.product_id FOR NO KEY UPDATE OF i",
					RECORDARRAYOID);

/* concerns tells whether an order's reservation may be newer than the read tables. */
static bool
concerns(const OcqBatch *batch, const OcqOrderState *order)
{
	return order->reservation.version > batch->appended_after;
}

static void
lock_streams_products(const OcqStream *streams, int count)
{
	OcqRows		rows = ocq_rows_make(&ocq_stream_table, count);

	for (int i = 0; i < count; i++)
		ocq_rows_add(&rows, OCQ_SOURCES(&streams[i]));
	(void) ocq_rows_run(&rows, &lock_products);
}

/* lock_batch_products is for a batch of the worker's; a command holds its locks already. */
static void
lock_batch_products(const OcqBatch *batch)
{
	OcqStream  *streams = palloc_array(OcqStream, batch->norders + batch->nstocks);
	int			count = 0;

	for (int i = 0; i < batch->norders; i++)
		if (concerns(batch, &batch->orders[i]))
			streams[count++] = (OcqStream) {
			.tenant_id = batch->orders[i].tenant_id,
				.aggregate_type = cstring_to_text(OCQ_AGGREGATE_ORDER),
				.aggregate_id = batch->orders[i].order_id
		};
	for (int i = 0; i < batch->nstocks; i++)
		streams[count++] = batch->stocks[i].stream;
	if (count > 0)
		lock_streams_products(streams, count);
}

static int64
handle_orders(const OcqBatch *batch)
{
	OcqRows		rows = ocq_rows_make(&reservations, batch->norders);

	for (int i = 0; i < batch->norders; i++)
	{
		if (!concerns(batch, &batch->orders[i]))
			continue;

		/* The statement takes the items apart; malformed ones are reported here. */
		(void) ocq_reservation_lines(&batch->orders[i].reservation);
		ocq_rows_add(&rows, OCQ_SOURCES(&batch->orders[i]));
	}
	if (rows.count == 0)
		return 0;
	(void) ocq_rows_run(&rows, &apply_orders);
	if (DatumGetInt64(ocq_row_datum(0, 2)) > 0)
		ocq_stock_changed();
	return DatumGetInt64(ocq_row_datum(0, 1));
}

static int64
handle_stocks(const OcqBatch *batch)
{
	OcqRows		rows = ocq_rows_make(&stock, batch->nstocks);
	uint64		changed;
	bool		has_new = false;

	for (int i = 0; i < batch->nstocks; i++)
		ocq_rows_add(&rows, OCQ_SOURCES(&batch->stocks[i]));
	changed = ocq_rows_run(&rows, &apply_stocks);
	for (uint64 row = 0; row < changed; row++)
		has_new |= DatumGetBool(ocq_row_datum(row, 1));
	if (has_new)
		ocq_stock_changed();
	return changed;
}

static int64
handle(const OcqBatch *batch)
{
	int64		changed = 0;

	if (!batch->is_append)
		lock_batch_products(batch);
	if (batch->nstocks > 0)
		changed += handle_stocks(batch);
	if (batch->norders > 0 && !(batch->is_append && !concerns(batch, &batch->orders[0])))
		changed += handle_orders(batch);
	return changed;
}

static void
forget(const OcqStreams *streams)
{
	OcqRows		orders = ocq_stream_keys(streams, OCQ_AGGREGATE_ORDER);
	OcqRows		products = ocq_stream_keys(streams, OCQ_AGGREGATE_INVENTORY);

	lock_streams_products(streams->streams, streams->count);
	(void) ocq_rows_run(&orders, &forget_orders);
	(void) ocq_rows_run(&products, &forget_stocks);
}

static void
reconcile(void)
{
	(void) ocq_statement_run(&reconcile_products, NULL, NULL);
	(void) ocq_statement_run(&delete_unfounded, NULL, NULL);
	ocq_stock_changed();
}

static const char *const aggregate_types[] = {
	OCQ_AGGREGATE_ORDER, OCQ_AGGREGATE_INVENTORY, NULL
};

static const OcqReadTable tables[] = {
	{
		.table = &reservations, .aggregate_type = OCQ_AGGREGATE_ORDER,
		.events = 1 << OCQ_ORDER_EVENT_INVENTORY_RESERVED | 1 << OCQ_ORDER_EVENT_RESERVATION_CHANGED |
		1 << OCQ_ORDER_EVENT_INVENTORY_RELEASED | 1 << OCQ_ORDER_EVENT_SHIPPING_STARTED
	},
	{.table = &stock, .aggregate_type = OCQ_AGGREGATE_INVENTORY},
	{NULL}
};

const OcqProjection ocq_projection_inventory = {
	.name = "inventory",
	.aggregate_types = aggregate_types,
	.always_sync = true,
	.shares_rows = true,
	.tables = tables,
	.handle = handle,
	.forget = forget,
	.reconcile = reconcile,
};
