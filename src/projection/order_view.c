/*-------------------------------------------------------------------------
 * order_view.c
 *	  The projection order_view: tables order_view and order_item_view.
 *
 * An order's row holds its lines as one jsonb, so that reading an order takes one row;
 * order_item_view has a row for each line, so that orders can be found by their contents.
 *
 * The lines of an order are replaced as a whole.  Each carries the version of the event
 * that set the items, so lines of one version are the same lines.  They are written only
 * after the order's own row, whose lock keeps other writers away; a change of names locks
 * the orders first for the same reason, and in a fixed sequence, as a customer's change
 * and a product's may concern the same orders.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/json.h"
#include "catalog/pg_type.h"
#include "projection/projection.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"

#define ORDER(field) OCQ_FIELD(0, OcqOrderState, field)
#define ITEM(field) OCQ_FIELD(1, OcqOrderItem, field)
#define PRODUCT(field) OCQ_FIELD(2, OcqReference, field)
#define LINE 3

static const OcqColumn line_columns[] = {
	{"tenant_id", TEXTOID, OCQ_KEY, ORDER(tenant_id)},
	{"order_id", TEXTOID, OCQ_KEY, ORDER(order_id)},
	{"version", INT4OID, ORDER(items_version)},
	{"created_at", TIMESTAMPTZOID, ORDER(created_at)},
	{"line", INT4OID, OCQ_KEY, .source = LINE},
	{"product_id", TEXTOID, ITEM(product_id)},
	{"product_name", TEXTOID, PRODUCT(name)},
	{"product_category", TEXTOID, PRODUCT(attribute)},
	{"quantity", INT4OID, ITEM(quantity)},
	{"unit_price", NUMERICOID, ITEM(unit_price)},
	{"total_price", NUMERICOID, ITEM(total_price)},
};

static OcqTable order_item_view = OCQ_TABLE("order_item_view", line_columns);

static OcqStatement lock_order =
OCQ_STATEMENT("SELECT FROM order_cqrs.order_view WHERE tenant_id = $1 AND order_id = $2"
			  " FOR NO KEY UPDATE",
			  TEXTOID, TEXTOID);

static const OcqColumn version_columns[] = {
	{"tenant_id", TEXTOID, ORDER(tenant_id)},
	{"order_id", TEXTOID, ORDER(order_id)},
	{"items_version", INT4OID, ORDER(items_version)},
};

static OcqTable items_versions = OCQ_TABLE(NULL, version_columns);

static OcqStatement delete_old_lines =
OCQ_TABLE_STATEMENT(&items_versions,
					"DELETE FROM order_cqrs.order_item_view i USING " OCQ_RECORDS
					" WHERE i.tenant_id = n.tenant_id AND i.order_id = n.order_id"
					" AND i.version <> n.items_version",
					RECORDARRAYOID);

static OcqStatement insert_missing_lines =
OCQ_TABLE_STATEMENT(&order_item_view,
					"INSERT INTO {table} ({columns}) SELECT * FROM " OCQ_RECORDS
					" ON CONFLICT ({key}) DO NOTHING",
					RECORDARRAYOID);

/* The same for the one order that a command is appending to. */
static OcqStatement delete_appended =
OCQ_STATEMENT("DELETE FROM order_cqrs.order_item_view"
			  " WHERE tenant_id = $1 AND order_id = $2 AND version <> $3",
			  TEXTOID, TEXTOID, INT4OID);

static OcqStatement lock_orders_of_customers =
OCQ_TABLE_STATEMENT(&ocq_names,
					"SELECT FROM order_cqrs.order_view v JOIN " OCQ_RECORDS
					" ON v.tenant_id = n.tenant_id AND v.customer_id = n.id"
					" AND (v.customer_name, v.customer_email) IS DISTINCT FROM (n.name, n.attribute)"
					" ORDER BY v.tenant_id, v.order_id FOR NO KEY UPDATE OF v",
					RECORDARRAYOID);

static OcqStatement renew_customers =
OCQ_TABLE_STATEMENT(&ocq_names,
					"UPDATE order_cqrs.order_view v SET customer_name = n.name, customer_email = n.attribute"
					" FROM " OCQ_RECORDS " WHERE v.tenant_id = n.tenant_id AND v.customer_id = n.id"
					" AND (v.customer_name, v.customer_email) IS DISTINCT FROM (n.name, n.attribute)",
					RECORDARRAYOID);

/* The lines in which a product's name or category is another one. */
#define IS_TO_RENEW \
	" i.tenant_id = n.tenant_id AND i.product_id = n.id" \
	" AND (i.product_name, i.product_category) IS DISTINCT FROM (n.name, n.attribute)"

static OcqStatement lock_orders_of_products =
OCQ_TABLE_STATEMENT(&ocq_names,
					"SELECT FROM order_cqrs.order_view v"
					" WHERE (v.tenant_id, v.order_id) IN (SELECT i.tenant_id, i.order_id FROM " OCQ_RECORDS
					" JOIN order_cqrs.order_item_view i ON" IS_TO_RENEW ")"
					" ORDER BY v.tenant_id, v.order_id FOR NO KEY UPDATE",
					RECORDARRAYOID);

static OcqStatement renew_products =
OCQ_TABLE_STATEMENT(&ocq_names,
					"UPDATE order_cqrs.order_item_view i SET product_name = n.name,"
					" product_category = n.attribute FROM " OCQ_RECORDS " WHERE" IS_TO_RENEW
					" RETURNING i.tenant_id, i.order_id",
					RECORDARRAYOID);

static OcqStatement renew_items =
OCQ_STATEMENT("UPDATE order_cqrs.order_view v SET items = n.items"
			  " FROM (SELECT i.tenant_id, i.order_id, jsonb_agg(jsonb_build_object("
			  "'product_id', i.product_id, 'product_name', i.product_name,"
			  " 'product_category', i.product_category, 'quantity', i.quantity,"
			  " 'unit_price', i.unit_price, 'total_price', i.total_price) ORDER BY i.line) AS items"
			  " FROM (SELECT DISTINCT * FROM unnest($1, $2)) AS k (tenant_id, order_id)"
			  " JOIN order_cqrs.order_item_view i ON i.tenant_id = k.tenant_id AND i.order_id = k.order_id"
			  " GROUP BY i.tenant_id, i.order_id) n"
			  " WHERE v.tenant_id = n.tenant_id AND v.order_id = n.order_id",
			  TEXTARRAYOID, TEXTARRAYOID);

/* The lines of some orders, in their order. */
typedef struct Lines
{
	OcqOrderItem **items;
	OcqReference *products;
	int			count;
} Lines;

static Lines
lines_of(const OcqOrderState *orders, int norders)
{
	Lines		lines = {0};
	int			room = 0;

	for (int i = 0; i < norders; i++)
		room += orders[i].item_count;
	lines.items = palloc_array(OcqOrderItem *, room);
	lines.products = palloc_array(OcqReference, room);
	for (int i = 0; i < norders; i++)
	{
		OcqOrderItems items = ocq_order_items_of_state(&orders[i]);

		for (int line = 0; line < items.count; line++, lines.count++)
		{
			lines.items[lines.count] = &items.items[line];
			lines.products[lines.count] = (OcqReference) {
				.tenant_id = orders[i].tenant_id, .id = items.items[line].product_id
			};
		}
	}
	ocq_reference_lookup(OCQ_REFERENCE_PRODUCT, lines.products, lines.count);
	return lines;
}

/* rows_of returns the rows of those orders that are written; NULL: of all. */
static OcqRows
rows_of(const Lines *lines, const OcqOrderState *orders, int norders, const bool *written)
{
	OcqRows		rows = ocq_rows_make(&order_item_view, lines->count);
	int			first = 0;

	for (int i = 0; i < norders; i++)
	{
		for (int32 line = 1; line <= orders[i].item_count; line++)
			if (written == NULL || written[i])
				ocq_rows_add(&rows, OCQ_SOURCES(&orders[i], lines->items[first + line - 1],
												&lines->products[first + line - 1], &line));
		first += orders[i].item_count;
	}
	return rows;
}

#define ITEM_PAIRS 6

static JsonbValue
item_value(const Lines *lines, int line, JsonbPair *pairs)
{
	const OcqReference *product = &lines->products[line];
	const OcqOrderItem *item = lines->items[line];

	pairs[0] = ocq_json_pair("quantity", ocq_json_numeric(item->quantity_number));
	pairs[1] = ocq_json_pair("product_id", ocq_json_text(item->product_id));
	pairs[2] = ocq_json_pair("unit_price", ocq_json_numeric(item->unit_price));
	pairs[3] = ocq_json_pair("total_price", ocq_json_numeric(item->total_price));
	pairs[4] = ocq_json_pair("product_name", ocq_json_text(product->found ? product->name : NULL));
	pairs[5] = ocq_json_pair("product_category",
							 ocq_json_text(product->found ? product->attribute : NULL));
	return ocq_json_object(pairs, ITEM_PAIRS);
}

/* items_of makes the column items of an order, of count lines from a line on. */
static Jsonb *
items_of(const Lines *lines, int first, int count)
{
	JsonbValue *elements = palloc_array(JsonbValue, count);
	JsonbPair  *pairs = palloc_array(JsonbPair, ITEM_PAIRS * count);
	JsonbValue	items = ocq_json_array(elements, count);

	for (int i = 0; i < count; i++)
		elements[i] = item_value(lines, first + i, &pairs[ITEM_PAIRS * i]);
	return JsonbValueToJsonb(&items);
}

/* replace_appended is for the lines of the order that a command is appending to. */
static void
replace_appended(const OcqOrderState *order, const Lines *lines, bool is_new)
{
	OcqRows		rows = rows_of(lines, order, 1, NULL);
	Datum		values[] = {
		PointerGetDatum(order->tenant_id), PointerGetDatum(order->order_id),
		Int32GetDatum(order->items_version)
	};

	if (!is_new)
		(void) ocq_statement_run(&delete_appended, values, NULL);
	(void) ocq_rows_insert(&rows);
}

/* delete_old_lines_of deletes the lines of those orders that are written. */
static void
delete_old_lines_of(const OcqOrderState *orders, const bool *written, int norders)
{
	OcqRows		rows = ocq_rows_make(&items_versions, norders);

	for (int i = 0; i < norders; i++)
		if (written[i])
			ocq_rows_add(&rows, OCQ_SOURCES(&orders[i]));
	(void) ocq_rows_run(&rows, &delete_old_lines);
}

/*
 * lock_row has the order wait for a transaction that changes its products' names.  That
 * transaction announces the change before it releases the row, so the names that are
 * looked up afterwards are the new ones.
 */
static void
lock_row(const OcqOrderState *order)
{
	Datum		values[] = {PointerGetDatum(order->tenant_id), PointerGetDatum(order->order_id)};

	(void) ocq_statement_run(&lock_order, values, NULL);
	AcceptInvalidationMessages();
}

/*
 * append_one writes the rows of a command's append, or returns false if the batch needs
 * the statements for many.
 */
static bool
append_one(const OcqBatch *batch)
{
	const OcqOrderState *order = batch->orders;
	Lines		lines;

	if (!batch->is_append || batch->norders == 0)
		return false;
	if (order->items_version <= batch->appended_after)
		return ocq_order_rows_append(&ocq_order_view, batch, NULL);

	if (batch->appended_after > 0)
		lock_row(order);
	lines = lines_of(order, 1);
	if (!ocq_order_rows_append(&ocq_order_view, batch, items_of(&lines, 0, lines.count)))
		return false;
	replace_appended(order, &lines, batch->appended_after == 0);
	return true;
}

static Jsonb **
items_of_orders(const Lines *lines, const OcqOrderState *orders, int norders)
{
	Jsonb	  **items = palloc_array(Jsonb *, norders);
	int			first = 0;

	for (int i = 0; i < norders; i++)
	{
		items[i] = items_of(lines, first, orders[i].item_count);
		first += orders[i].item_count;
	}
	return items;
}

static int64
write_orders(const OcqBatch *batch)
{
	Lines		lines = lines_of(batch->orders, batch->norders);
	Jsonb	  **items = items_of_orders(&lines, batch->orders, batch->norders);
	bool	   *written = palloc_array(bool, batch->norders);
	int64		changed = ocq_order_rows_write(&ocq_order_view, batch, items, written);
	OcqRows		rows;

	if (changed == 0)
		return 0;
	rows = rows_of(&lines, batch->orders, batch->norders, written);
	if (batch->nnew == batch->norders)
		(void) ocq_rows_insert(&rows);
	else
	{
		delete_old_lines_of(batch->orders, written, batch->norders);
		(void) ocq_rows_run(&rows, &insert_missing_lines);
	}
	return changed;
}

/* renew_items_of makes the column items anew where the last statement has renewed lines. */
static void
renew_items_of(uint64 nlines)
{
	Datum	   *tenants = palloc_array(Datum, nlines);
	Datum	   *ids = palloc_array(Datum, nlines);
	Datum		values[2];

	for (uint64 row = 0; row < nlines; row++)
	{
		tenants[row] = ocq_row_datum(row, 1);
		ids[row] = ocq_row_datum(row, 2);
	}
	values[0] = ocq_array(tenants, NULL, (int) nlines, TEXTOID);
	values[1] = ocq_array(ids, NULL, (int) nlines, TEXTOID);
	(void) ocq_statement_run(&renew_items, values, NULL);
}

static int64
renew_names(const OcqBatch *batch)
{
	int64		orders = 0;
	int64		lines = 0;

	if (ocq_names_renew(&lock_orders_of_customers, batch, OCQ_REFERENCE_CUSTOMER) > 0)
		orders = ocq_names_renew(&renew_customers, batch, OCQ_REFERENCE_CUSTOMER);
	if (ocq_names_renew(&lock_orders_of_products, batch, OCQ_REFERENCE_PRODUCT) > 0)
		lines = ocq_names_renew(&renew_products, batch, OCQ_REFERENCE_PRODUCT);
	if (lines > 0)
		renew_items_of(lines);
	return orders + lines;
}

static int64
handle(const OcqBatch *batch)
{
	if (append_one(batch))
		return 1;
	return (batch->norders > 0 ? write_orders(batch) : 0) + renew_names(batch);
}

static const OcqReadTable tables[] = {
	{.table = &ocq_order_view, .aggregate_type = OCQ_AGGREGATE_ORDER},
	{.table = &order_item_view, .aggregate_type = OCQ_AGGREGATE_ORDER, .is_detail = true},
	{NULL}
};

static const char *const aggregate_types[] = {
	OCQ_AGGREGATE_ORDER, OCQ_AGGREGATE_CUSTOMER, OCQ_AGGREGATE_PRODUCT, NULL
};

const OcqProjection ocq_projection_order_view = {
	.name = "order_view",
	.aggregate_types = aggregate_types,
	.answers_queries = true,
	.shows_names = true,
	.tables = tables,
	.handle = handle,
};
