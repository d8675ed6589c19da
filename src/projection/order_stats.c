/*-------------------------------------------------------------------------
 * order_stats.c
 *	  The projection order_stats: counts and revenue.
 *
 * order_stats counts the orders of each tenant, day and status; order_product_stats sums
 * the quantities and the revenue of each product, cancelled orders aside.
 * order_stats_applied holds the contribution of each order so far, and the version up to
 * which it counts.  A new state adds its contribution and takes back the old one, in one
 * statement, so that handling it twice changes nothing.
 *
 * Counters of one row queue up their writers: hence async by default.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "projection/projection.h"
#include "utils/fmgrprotos.h"

/* Adds up the rows of "change" (order, day, status, total, items, sign). */
#define APPLY_CHANGE \
	" by_day AS (INSERT INTO order_cqrs.order_stats AS s (tenant_id, day, status, orders, revenue)" \
	" SELECT tenant_id, day, status, sum(sign), sum(sign * total_amount) FROM change" \
	" GROUP BY tenant_id, day, status ORDER BY tenant_id, day, status" \
	" ON CONFLICT (tenant_id, day, status) DO UPDATE SET orders = s.orders + excluded.orders," \
	" revenue = s.revenue + excluded.revenue)," \
	" by_product AS (INSERT INTO order_cqrs.order_product_stats AS s (tenant_id, product_id, quantity, revenue)" \
	" SELECT c.tenant_id, i.product_id, sum(c.sign * i.quantity)," \
	" sum(c.sign * i.quantity * i.unit_price)" \
	" FROM change c, jsonb_to_recordset(c.items) AS i (product_id text, quantity bigint, unit_price numeric)" \
	" WHERE c.status <> 'CANCELLED'" \
	" GROUP BY c.tenant_id, i.product_id ORDER BY c.tenant_id, i.product_id" \
	" ON CONFLICT (tenant_id, product_id) DO UPDATE SET quantity = s.quantity + excluded.quantity," \
	" revenue = s.revenue + excluded.revenue)"

/* The day of a timestamptz in UTC, in which it is kept. */
static Datum
get_day(const void *order, bool *isnull)
{
	return DirectFunctionCall1(timestamp_date,
							   TimestampGetDatum(((const OcqOrderState *) order)->created_at));
}

static const OcqColumn columns[] = {
	{"tenant_id", TEXTOID, OCQ_KEY, OCQ_FIELD(0, OcqOrderState, tenant_id)},
	{"order_id", TEXTOID, OCQ_KEY, OCQ_FIELD(0, OcqOrderState, order_id)},
	{"version", INT4OID, OCQ_FIELD(0, OcqOrderState, version)},
	{"day", DATEOID, .get = get_day},
	{"status", TEXTOID, .get = ocq_get_status},
	{"total_amount", NUMERICOID, OCQ_FIELD(0, OcqOrderState, total_amount)},
	{"items", JSONBOID, .get = ocq_get_items},
};

static OcqTable applied = OCQ_TABLE("order_stats_applied", columns);

/* An order's contribution so far is looked up once, by its key. */
static OcqStatement apply_orders =
OCQ_TABLE_STATEMENT(&applied,
					"WITH new AS MATERIALIZED (SELECT n.*,"
					" a.day AS old_day, a.status AS old_status, a.total_amount AS old_total, a.items AS old_items"
					" FROM " OCQ_RECORDS " LEFT JOIN {table} a"
					" ON a.tenant_id = n.tenant_id AND a.order_id = n.order_id"
					" WHERE a.version IS NULL OR a.version < n.version),"
					" written AS (INSERT INTO {table} AS v ({columns}) SELECT {columns} FROM new"
					OCQ_UPSERT " RETURNING 1),"
					" change AS (SELECT tenant_id, day, status, total_amount, items, 1 AS sign FROM new"
					" UNION ALL SELECT tenant_id, old_day, old_status, old_total, old_items, -1 FROM new"
					" WHERE old_day IS NOT NULL),"
					APPLY_CHANGE
					" SELECT (SELECT count(*) FROM new), (SELECT count(*) FROM written)",
					RECORDARRAYOID);

static OcqStatement forget_orders =
OCQ_STATEMENT("WITH gone AS (DELETE FROM order_cqrs.order_stats_applied a"
			  " USING unnest($1) AS n (tenant_id text, order_id text)"
			  " WHERE a.tenant_id = n.tenant_id AND a.order_id = n.order_id RETURNING a.*),"
			  " change AS (SELECT g.*, -1 AS sign FROM gone g),"
			  APPLY_CHANGE
			  " SELECT count(*) FROM gone",
			  RECORDARRAYOID);

/*
 * The sums of the contributions less the counters, in one snapshot.  Adding the
 * difference is right even if other transactions add at the same time.
 */
static OcqStatement reconcile_days =
OCQ_STATEMENT_ON_ALL("INSERT INTO order_cqrs.order_stats AS s (tenant_id, day, status, orders, revenue)"
					 " SELECT coalesce(e.tenant_id, a.tenant_id), coalesce(e.day, a.day),"
					 " coalesce(e.status, a.status),"
					 " coalesce(e.orders, 0) - coalesce(a.orders, 0),"
					 " coalesce(e.revenue, 0) - coalesce(a.revenue, 0)"
					 " FROM (SELECT tenant_id, day, status, count(*) AS orders, sum(total_amount) AS revenue"
					 " FROM order_cqrs.order_stats_applied GROUP BY 1, 2, 3) e"
					 " FULL JOIN order_cqrs.order_stats a ON a.tenant_id = e.tenant_id"
					 " AND a.day = e.day AND a.status = e.status"
					 " WHERE (coalesce(e.orders, 0), coalesce(e.revenue, 0))"
					 " <> (coalesce(a.orders, 0), coalesce(a.revenue, 0))"
					 " ON CONFLICT (tenant_id, day, status) DO UPDATE"
					 " SET orders = s.orders + excluded.orders, revenue = s.revenue + excluded.revenue");

static OcqStatement reconcile_products =
OCQ_STATEMENT_ON_ALL("INSERT INTO order_cqrs.order_product_stats AS s (tenant_id, product_id, quantity, revenue)"
					 " SELECT coalesce(e.tenant_id, a.tenant_id), coalesce(e.product_id, a.product_id),"
					 " coalesce(e.quantity, 0) - coalesce(a.quantity, 0),"
					 " coalesce(e.revenue, 0) - coalesce(a.revenue, 0)"
					 " FROM (SELECT p.tenant_id, i.product_id, sum(i.quantity) AS quantity,"
					 " sum(i.quantity * i.unit_price) AS revenue"
					 " FROM order_cqrs.order_stats_applied p, jsonb_to_recordset(p.items)"
					 " AS i (product_id text, quantity bigint, unit_price numeric)"
					 " WHERE p.status <> 'CANCELLED' GROUP BY 1, 2) e"
					 " FULL JOIN order_cqrs.order_product_stats a ON a.tenant_id = e.tenant_id"
					 " AND a.product_id = e.product_id"
					 " WHERE (coalesce(e.quantity, 0), coalesce(e.revenue, 0))"
					 " <> (coalesce(a.quantity, 0), coalesce(a.revenue, 0))"
					 " ON CONFLICT (tenant_id, product_id) DO UPDATE"
					 " SET quantity = s.quantity + excluded.quantity, revenue = s.revenue + excluded.revenue");

static int64
handle(const OcqBatch *batch)
{
	OcqRows		rows = ocq_rows_make(&applied, batch->norders);

	if (batch->norders == 0)
		return 0;
	for (int i = 0; i < batch->norders; i++)
	{
		/* The statement takes them apart; malformed ones are reported here. */
		(void) ocq_order_items_of_state(&batch->orders[i]);
		ocq_rows_add(&rows, OCQ_SOURCES(&batch->orders[i]));
	}
	(void) ocq_rows_run(&rows, &apply_orders);
	if (DatumGetInt64(ocq_row_datum(0, 1)) != DatumGetInt64(ocq_row_datum(0, 2)))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("another transaction has counted some of the same orders"),
				 errdetail("What they contributed before is not what this one has read."),
				 errhint("Run the transaction again.")));
	return DatumGetInt64(ocq_row_datum(0, 2));
}

static void
forget(const OcqStreams *streams)
{
	OcqRows		keys = ocq_stream_keys(streams, OCQ_AGGREGATE_ORDER);

	(void) ocq_rows_run(&keys, &forget_orders);
}

static void
reconcile(void)
{
	(void) ocq_statement_run(&reconcile_days, NULL, NULL);
	(void) ocq_statement_run(&reconcile_products, NULL, NULL);
}

static const OcqReadTable tables[] = {{.table = &applied, .aggregate_type = OCQ_AGGREGATE_ORDER}, {NULL}};

static const char *const aggregate_types[] = {OCQ_AGGREGATE_ORDER, NULL};

const OcqProjection ocq_projection_order_stats = {
	.name = "order_stats",
	.aggregate_types = aggregate_types,
	.shares_rows = true,
	.tables = tables,
	.handle = handle,
	.forget = forget,
	.reconcile = reconcile,
};
