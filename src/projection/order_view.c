/*-------------------------------------------------------------------------
 * order_view.c
 *	  The projection order_view: tables order_view and order_item_view.
 *
 * The lines of an order are replaced as a whole.  Each carries the version of the
 * event that set the items, so lines of one version are the same lines.  They
 * are written only after the order's own row, whose lock keeps other writers
 * away.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "projection/projection.h"
#include "utils/builtins.h"

static OcqOrderRows order_rows = {
	.insert_one =
	OCQ_STATEMENT("INSERT INTO order_cqrs.order_view (tenant_id, order_id, version, customer_id,"
				  " customer_name, customer_email, status, total_amount, item_count,"
				  " created_at, updated_at, payment_status, shipped_at)"
				  " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
				  TEXTOID, TEXTOID, INT4OID, TEXTOID, TEXTOID, TEXTOID,
				  TEXTOID, NUMERICOID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID,
				  TEXTOID, TIMESTAMPTZOID),
	.update_one =
	OCQ_STATEMENT("UPDATE order_cqrs.order_view SET version = $3, status = $7, total_amount = $8,"
				  " item_count = $9, updated_at = $11, payment_status = $12, shipped_at = $13"
				  " WHERE tenant_id = $1 AND order_id = $2 AND version = $14",
				  TEXTOID, TEXTOID, INT4OID, TEXTOID, TEXTOID, TEXTOID,
				  TEXTOID, NUMERICOID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID,
				  TEXTOID, TIMESTAMPTZOID, INT4OID),
	.upsert_many =
	OCQ_STATEMENT("INSERT INTO order_cqrs.order_view AS v (tenant_id, order_id, version, customer_id,"
				  " customer_name, customer_email, status, total_amount, item_count,"
				  " created_at, updated_at, payment_status, shipped_at)"
				  " SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
				  " ON CONFLICT (tenant_id, order_id) DO UPDATE SET version = excluded.version,"
				  " customer_id = excluded.customer_id, customer_name = excluded.customer_name,"
				  " customer_email = excluded.customer_email, status = excluded.status,"
				  " total_amount = excluded.total_amount, item_count = excluded.item_count,"
				  " created_at = excluded.created_at, updated_at = excluded.updated_at,"
				  " payment_status = excluded.payment_status, shipped_at = excluded.shipped_at"
				  " WHERE v.version < excluded.version"
				  " RETURNING tenant_id, order_id",
				  TEXTARRAYOID, TEXTARRAYOID, INT4ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
				  TEXTARRAYOID, NUMERICARRAYOID, INT4ARRAYOID, TIMESTAMPTZARRAYOID,
				  TIMESTAMPTZARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID),
};

static OcqStatement delete_old_lines =
OCQ_STATEMENT("DELETE FROM order_cqrs.order_item_view i USING unnest($1, $2, $3)"
			  " AS k (tenant_id, order_id, items_version)"
			  " WHERE i.tenant_id = k.tenant_id AND i.order_id = k.order_id"
			  " AND i.version <> k.items_version",
			  TEXTARRAYOID, TEXTARRAYOID, INT4ARRAYOID);

static OcqStatement insert_lines =
OCQ_STATEMENT("INSERT INTO order_cqrs.order_item_view (tenant_id, order_id, line, version,"
			  " product_id, product_name, product_category, quantity, unit_price, total_price)"
			  " SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
			  " ON CONFLICT (tenant_id, order_id, line) DO NOTHING",
			  TEXTARRAYOID, TEXTARRAYOID, INT4ARRAYOID, INT4ARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
			  TEXTARRAYOID, INT4ARRAYOID, NUMERICARRAYOID, NUMERICARRAYOID);

static OcqStatement renew_customers =
OCQ_STATEMENT("UPDATE order_cqrs.order_view v SET customer_name = k.name, customer_email = k.email"
			  " FROM unnest($1, $2, $3, $4) AS k (tenant_id, customer_id, name, email)"
			  " WHERE v.tenant_id = k.tenant_id AND v.customer_id = k.customer_id"
			  " AND (v.customer_name, v.customer_email) IS DISTINCT FROM (k.name, k.email)",
			  TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID);

static OcqStatement renew_products =
OCQ_STATEMENT("UPDATE order_cqrs.order_item_view i SET product_name = k.name,"
			  " product_category = k.category"
			  " FROM unnest($1, $2, $3, $4) AS k (tenant_id, product_id, name, category)"
			  " WHERE i.tenant_id = k.tenant_id AND i.product_id = k.product_id"
			  " AND (i.product_name, i.product_category) IS DISTINCT FROM (k.name, k.category)",
			  TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID);

static OcqStatement delete_orders =
OCQ_STATEMENT("DELETE FROM order_cqrs.order_view v USING unnest($1, $2) AS k (tenant_id, order_id)"
			  " WHERE v.tenant_id = k.tenant_id AND v.order_id = k.order_id",
			  TEXTARRAYOID, TEXTARRAYOID);

static OcqStatement delete_lines =
OCQ_STATEMENT("DELETE FROM order_cqrs.order_item_view i USING unnest($1, $2) AS k (tenant_id, order_id)"
			  " WHERE i.tenant_id = k.tenant_id AND i.order_id = k.order_id",
			  TEXTARRAYOID, TEXTARRAYOID);

static OcqStatement behind =
OCQ_STATEMENT(OCQ_ORDERS_BEHIND("order_view") " UNION ALL " OCQ_CHANGES_BEHIND " ORDER BY 4",
			  INT8OID, INT8OID, TEXTARRAYOID);

static OcqStatement differences = OCQ_DIFFERENCES("order_view");

/* The columns of order_item_view, as insert_lines takes them. */
enum
{
	LINE_TENANT_ID, LINE_ORDER_ID, LINE_NUMBER, LINE_VERSION, LINE_PRODUCT_ID, LINE_PRODUCT_NAME,
	LINE_PRODUCT_CATEGORY, LINE_QUANTITY, LINE_UNIT_PRICE, LINE_TOTAL_PRICE,
	LINE_NCOLUMNS
};

static const Oid line_types[LINE_NCOLUMNS] = {
	TEXTOID, TEXTOID, INT4OID, INT4OID, TEXTOID, TEXTOID, TEXTOID, INT4OID, NUMERICOID, NUMERICOID
};

typedef struct Lines
{
	Datum	   *columns[LINE_NCOLUMNS];
	bool	   *is_unknown;		/* the product is */
	OcqReference *products;
	int			count;
} Lines;

static Lines
make_room_for_lines(const OcqOrderState **orders, int norders)
{
	Lines		lines = {0};
	int			room = 0;

	for (int i = 0; i < norders; i++)
		room += orders[i]->item_count;
	for (int column = 0; column < LINE_NCOLUMNS; column++)
		lines.columns[column] = palloc_array(Datum, room);
	lines.is_unknown = palloc_array(bool, room);
	lines.products = palloc_array(OcqReference, room);
	return lines;
}

static void
add_lines(Lines *lines, const OcqOrderState *order)
{
	OcqOrderItems items = ocq_order_items_of_state(order);

	for (int i = 0; i < items.count; i++, lines->count++)
	{
		const OcqOrderItem *item = &items.items[i];
		int			line = lines->count;

		lines->columns[LINE_TENANT_ID][line] = PointerGetDatum(order->tenant_id);
		lines->columns[LINE_ORDER_ID][line] = PointerGetDatum(order->order_id);
		lines->columns[LINE_NUMBER][line] = Int32GetDatum(i + 1);
		lines->columns[LINE_VERSION][line] = Int32GetDatum(order->items_version);
		lines->columns[LINE_PRODUCT_ID][line] = PointerGetDatum(item->product_id);
		lines->columns[LINE_QUANTITY][line] = Int32GetDatum(item->quantity);
		lines->columns[LINE_UNIT_PRICE][line] = NumericGetDatum(item->unit_price);
		lines->columns[LINE_TOTAL_PRICE][line] = NumericGetDatum(item->total_price);
		lines->products[line] = (OcqReference) {
			.tenant_id = order->tenant_id, .id = item->product_id
		};
	}
}

static void
add_product_names(Lines *lines)
{
	ocq_reference_lookup(OCQ_REFERENCE_PRODUCT, lines->products, lines->count);
	for (int i = 0; i < lines->count; i++)
	{
		lines->is_unknown[i] = !lines->products[i].found;
		lines->columns[LINE_PRODUCT_NAME][i] = PointerGetDatum(lines->products[i].name);
		lines->columns[LINE_PRODUCT_CATEGORY][i] = PointerGetDatum(lines->products[i].attribute);
	}
}

static void
insert_lines_of(const OcqOrderState **orders, int norders)
{
	Lines		lines = make_room_for_lines(orders, norders);
	Datum		values[LINE_NCOLUMNS];

	for (int i = 0; i < norders; i++)
		add_lines(&lines, orders[i]);
	add_product_names(&lines);
	for (int column = 0; column < LINE_NCOLUMNS; column++)
	{
		bool		may_be_null = column == LINE_PRODUCT_NAME || column == LINE_PRODUCT_CATEGORY;

		values[column] = ocq_array(lines.columns[column], may_be_null ? lines.is_unknown : NULL,
								   lines.count, line_types[column]);
	}
	(void) ocq_statement_run(&insert_lines, values, NULL);
}

static void
delete_old_lines_of(const OcqOrderState **orders, int norders)
{
	Datum	   *tenants = palloc_array(Datum, norders);
	Datum	   *ids = palloc_array(Datum, norders);
	Datum	   *versions = palloc_array(Datum, norders);
	Datum		values[3];

	for (int i = 0; i < norders; i++)
	{
		tenants[i] = PointerGetDatum(orders[i]->tenant_id);
		ids[i] = PointerGetDatum(orders[i]->order_id);
		versions[i] = Int32GetDatum(orders[i]->items_version);
	}
	values[0] = ocq_array(tenants, NULL, norders, TEXTOID);
	values[1] = ocq_array(ids, NULL, norders, TEXTOID);
	values[2] = ocq_array(versions, NULL, norders, INT4OID);
	(void) ocq_statement_run(&delete_old_lines, values, NULL);
}

/*
 * needs_lines tells whether the order's lines may differ from its new state, after
 * its row was at the version "before" or was replaced.
 */
static bool
needs_lines(const OcqOrderState *order, OcqRowWritten written, int32 before)
{
	switch (written)
	{
		case OCQ_ROW_UNCHANGED:
			return false;
		case OCQ_ROW_FOLLOWED:
			return order->items_version > before;
		case OCQ_ROW_REPLACED:
			return true;
	}
	pg_unreachable();
}

static int64
handle(const OcqBatch *batch)
{
	OcqRowWritten *written = palloc_array(OcqRowWritten, batch->norders);
	const OcqOrderState **orders = palloc_array(const OcqOrderState *, batch->norders);
	int			norders = 0;
	int64		changed = ocq_order_rows_write(&order_rows, batch, written);

	for (int i = 0; i < batch->norders; i++)
		if (needs_lines(&batch->orders[i], written[i], batch->appended_after))
			orders[norders++] = &batch->orders[i];
	if (norders > 0)
	{
		bool		is_new = batch->is_append && batch->appended_after == 0;

		if (!is_new)
			delete_old_lines_of(orders, norders);
		insert_lines_of(orders, norders);
	}

	changed += ocq_names_renew(&renew_customers, batch, OCQ_REFERENCE_CUSTOMER);
	changed += ocq_names_renew(&renew_products, batch, OCQ_REFERENCE_PRODUCT);
	return changed;
}

static void
forget(const OcqStreams *streams)
{
	ocq_rows_forget(&delete_orders, streams, OCQ_AGGREGATE_ORDER);
	ocq_rows_forget(&delete_lines, streams, OCQ_AGGREGATE_ORDER);
}

static const char *const aggregate_types[] = {
	OCQ_AGGREGATE_ORDER, OCQ_AGGREGATE_CUSTOMER, OCQ_AGGREGATE_PRODUCT, NULL
};

const OcqProjection ocq_projection_order_view = {
	.name = "order_view",
	.aggregate_types = aggregate_types,
	.handle = handle,
	.forget = forget,
	.behind = &behind,
	.differences = &differences,
};
