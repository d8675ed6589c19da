/*-------------------------------------------------------------------------
 * order_summary_view.c
 *	  The projection order_summary_view, for lists of orders and searches.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "projection/projection.h"

#define INSERT_MANY \
	"INSERT INTO order_cqrs.order_summary_view AS v (tenant_id, order_id, version," \
	" customer_id, customer_name, customer_email, status, payment_status," \
	" total_amount, item_count, created_at, updated_at, shipped_at)" \
	" SELECT n.tenant_id, n.order_id, n.version, n.customer_id, n.customer_name," \
	" n.customer_email, n.status, n.payment_status, n.total_amount, n.item_count," \
	" n.created_at, n.updated_at, n.shipped_at" \
	" FROM " OCQ_ORDER_ROWS

static OcqOrderRows order_rows = {
	.insert_one =
	OCQ_STATEMENT("INSERT INTO order_cqrs.order_summary_view (tenant_id, order_id, version,"
				  " customer_id, customer_name, customer_email, status, payment_status,"
				  " total_amount, item_count, created_at, updated_at, shipped_at)"
				  " VALUES ($1, $2, $3, $4, $5, $6, $7, $12, $8, $9, $10, $11, $13)",
				  TEXTOID, TEXTOID, INT4OID, TEXTOID, TEXTOID, TEXTOID,
				  TEXTOID, NUMERICOID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID,
				  TEXTOID, TIMESTAMPTZOID, JSONBOID),
	.update_one =
	OCQ_STATEMENT("UPDATE order_cqrs.order_summary_view SET version = $3, status = $7,"
				  " payment_status = $12, total_amount = $8, item_count = $9, updated_at = $11,"
				  " shipped_at = $13"
				  " WHERE tenant_id = $1 AND order_id = $2 AND version = $15",
				  TEXTOID, TEXTOID, INT4OID, TEXTOID, TEXTOID, TEXTOID,
				  TEXTOID, NUMERICOID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID,
				  TEXTOID, TIMESTAMPTZOID, JSONBOID, INT4OID),
	.insert_many = OCQ_STATEMENT(INSERT_MANY, RECORDARRAYOID),
	.upsert_many =
	OCQ_STATEMENT(INSERT_MANY
				  " ON CONFLICT (tenant_id, order_id) DO UPDATE SET version = excluded.version,"
				  " customer_id = excluded.customer_id, customer_name = excluded.customer_name,"
				  " customer_email = excluded.customer_email,"
				  " status = excluded.status, payment_status = excluded.payment_status,"
				  " total_amount = excluded.total_amount,"
				  " item_count = excluded.item_count, created_at = excluded.created_at,"
				  " updated_at = excluded.updated_at, shipped_at = excluded.shipped_at"
				  " WHERE v.version < excluded.version",
				  RECORDARRAYOID),
};

static OcqStatement renew_customers =
OCQ_STATEMENT("UPDATE order_cqrs.order_summary_view v SET customer_name = k.name,"
			  " customer_email = k.email"
			  " FROM unnest($1, $2, $3, $4) AS k (tenant_id, customer_id, name, email)"
			  " WHERE v.tenant_id = k.tenant_id AND v.customer_id = k.customer_id"
			  " AND (v.customer_name, v.customer_email) IS DISTINCT FROM (k.name, k.email)",
			  TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID);

static OcqStatement delete_orders =
OCQ_STATEMENT("DELETE FROM order_cqrs.order_summary_view v"
			  " USING unnest($1, $2) AS k (tenant_id, order_id)"
			  " WHERE v.tenant_id = k.tenant_id AND v.order_id = k.order_id",
			  TEXTARRAYOID, TEXTARRAYOID);

static OcqStatement behind =
OCQ_STATEMENT(OCQ_ORDERS_BEHIND("order_summary_view") " UNION ALL " OCQ_CHANGES_BEHIND
			  " ORDER BY 4",
			  INT8OID, INT8OID, TEXTARRAYOID);

static OcqDifferences differences =
OCQ_ORDER_DIFFERENCES("order_summary_view", "SELECT FROM order_cqrs.order_summary_view");

static int64
handle(const OcqBatch *batch)
{
	if (ocq_order_rows_append(&order_rows, batch, NULL))
		return 1;
	return ocq_order_rows_write(&order_rows, batch, NULL, NULL) +
		ocq_names_renew(&renew_customers, batch, OCQ_REFERENCE_CUSTOMER);
}

static void
forget(const OcqStreams *streams)
{
	ocq_rows_forget(&delete_orders, streams, OCQ_AGGREGATE_ORDER);
}

static const char *const aggregate_types[] = {
	OCQ_AGGREGATE_ORDER, OCQ_AGGREGATE_CUSTOMER, NULL
};

const OcqProjection ocq_projection_order_summary_view = {
	.name = "order_summary_view",
	.aggregate_types = aggregate_types,
	.answers_queries = true,
	.shows_names = true,
	.handle = handle,
	.forget = forget,
	.behind = &behind,
	.differences = &differences,
};
