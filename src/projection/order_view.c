/*-------------------------------------------------------------------------
 * order_view.c
 *	  The projection order_view: tables order_view and order_item_view.
 *
 * An order's row holds its lines as one jsonb, so that reading an order takes one
 * row; order_item_view has a row for each line, so that orders can be found by
 * what is in them.
 *
 * The lines of an order are replaced as a whole.  Each carries the version of the
 * event that set the items, so lines of one version are the same lines.  They
 * are written only after the order's own row, whose lock keeps other writers
 * away; a change of names locks the orders first for the same reason, and in one
 * order, as a customer's and a product's may be about the same ones.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/json.h"
#include "catalog/pg_type.h"
#include "projection/projection.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"

#define INSERT_MANY \
	"INSERT INTO order_cqrs.order_view AS v (tenant_id, order_id, version, customer_id," \
	" customer_name, customer_email, status, total_amount, item_count," \
	" created_at, updated_at, payment_status, shipped_at, items)" \
	" SELECT * FROM " OCQ_ORDER_ROWS

static OcqOrderRows order_rows = {
	.insert_one =
	OCQ_STATEMENT("INSERT INTO order_cqrs.order_view (tenant_id, order_id, version, customer_id,"
				  " customer_name, customer_email, status, total_amount, item_count,"
				  " created_at, updated_at, payment_status, shipped_at, items)"
				  " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
				  TEXTOID, TEXTOID, INT4OID, TEXTOID, TEXTOID, TEXTOID,
				  TEXTOID, NUMERICOID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID,
				  TEXTOID, TIMESTAMPTZOID, JSONBOID),
	.update_one =
	OCQ_STATEMENT("UPDATE order_cqrs.order_view SET version = $3, status = $7, total_amount = $8,"
				  " item_count = $9, updated_at = $11, payment_status = $12, shipped_at = $13,"
				  " items = coalesce($14, items)"
				  " WHERE tenant_id = $1 AND order_id = $2 AND version = $15",
				  TEXTOID, TEXTOID, INT4OID, TEXTOID, TEXTOID, TEXTOID,
				  TEXTOID, NUMERICOID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID,
				  TEXTOID, TIMESTAMPTZOID, JSONBOID, INT4OID),
	.insert_many = OCQ_STATEMENT(INSERT_MANY " RETURNING tenant_id, order_id", RECORDARRAYOID),
	.upsert_many =
	OCQ_STATEMENT(INSERT_MANY
				  " ON CONFLICT (tenant_id, order_id) DO UPDATE SET version = excluded.version,"
				  " customer_id = excluded.customer_id, customer_name = excluded.customer_name,"
				  " customer_email = excluded.customer_email, status = excluded.status,"
				  " total_amount = excluded.total_amount, item_count = excluded.item_count,"
				  " created_at = excluded.created_at, updated_at = excluded.updated_at,"
				  " payment_status = excluded.payment_status, shipped_at = excluded.shipped_at,"
				  " items = excluded.items"
				  " WHERE v.version < excluded.version"
				  " RETURNING tenant_id, order_id",
				  RECORDARRAYOID),
};

static OcqStatement lock_order =
OCQ_STATEMENT("SELECT FROM order_cqrs.order_view WHERE tenant_id = $1 AND order_id = $2"
			  " FOR NO KEY UPDATE",
			  TEXTOID, TEXTOID);

static OcqStatement delete_old_lines =
OCQ_STATEMENT("DELETE FROM order_cqrs.order_item_view i USING unnest($1)"
			  " AS k (tenant_id text, order_id text, items_version int)"
			  " WHERE i.tenant_id = k.tenant_id AND i.order_id = k.order_id"
			  " AND i.version <> k.items_version",
			  RECORDARRAYOID);

/* First those of the whole order. */
#define LINE_COLUMNS \
	"tenant_id, order_id, version, created_at, line, product_id, product_name, product_category," \
	" quantity, unit_price, total_price"

#define INSERT_LINES \
	"INSERT INTO order_cqrs.order_item_view (" LINE_COLUMNS ")" \
	" SELECT * FROM unnest($1) AS n (tenant_id text, order_id text, version int," \
	" created_at timestamptz, line int, product_id text, product_name text," \
	" product_category text, quantity int, unit_price numeric, total_price numeric)"

static OcqStatement insert_lines = OCQ_STATEMENT(INSERT_LINES, RECORDARRAYOID);

static OcqStatement insert_missing_lines =
OCQ_STATEMENT(INSERT_LINES " ON CONFLICT (tenant_id, order_id, line) DO NOTHING", RECORDARRAYOID);

/* The same for the one order that a command is appending to. */
static OcqStatement delete_appended =
OCQ_STATEMENT("DELETE FROM order_cqrs.order_item_view"
			  " WHERE tenant_id = $1 AND order_id = $2 AND version <> $3",
			  TEXTOID, TEXTOID, INT4OID);

static OcqStatement lock_orders_of_customers =
OCQ_STATEMENT("SELECT FROM order_cqrs.order_view v"
			  " JOIN unnest($1, $2, $3, $4) AS k (tenant_id, customer_id, name, email)"
			  " ON v.tenant_id = k.tenant_id AND v.customer_id = k.customer_id"
			  " AND (v.customer_name, v.customer_email) IS DISTINCT FROM (k.name, k.email)"
			  " ORDER BY v.tenant_id, v.order_id FOR NO KEY UPDATE OF v",
			  TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID);

static OcqStatement renew_customers =
OCQ_STATEMENT("UPDATE order_cqrs.order_view v SET customer_name = k.name, customer_email = k.email"
			  " FROM unnest($1, $2, $3, $4) AS k (tenant_id, customer_id, name, email)"
			  " WHERE v.tenant_id = k.tenant_id AND v.customer_id = k.customer_id"
			  " AND (v.customer_name, v.customer_email) IS DISTINCT FROM (k.name, k.email)",
			  TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID);

/* The lines in which a product's name or category is another one. */
#define LINES_TO_RENEW \
	" FROM unnest($1, $2, $3, $4) AS k (tenant_id, product_id, name, category)" \
	" JOIN order_cqrs.order_item_view i ON i.tenant_id = k.tenant_id AND i.product_id = k.product_id" \
	" AND (i.product_name, i.product_category) IS DISTINCT FROM (k.name, k.category)"

static OcqStatement lock_orders_of_products =
OCQ_STATEMENT("SELECT FROM order_cqrs.order_view v"
			  " WHERE (v.tenant_id, v.order_id) IN (SELECT i.tenant_id, i.order_id" LINES_TO_RENEW ")"
			  " ORDER BY v.tenant_id, v.order_id FOR NO KEY UPDATE",
			  TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID);

static OcqStatement renew_products =
OCQ_STATEMENT("UPDATE order_cqrs.order_item_view i SET product_name = k.name,"
			  " product_category = k.category"
			  " FROM unnest($1, $2, $3, $4) AS k (tenant_id, product_id, name, category)"
			  " WHERE i.tenant_id = k.tenant_id AND i.product_id = k.product_id"
			  " AND (i.product_name, i.product_category) IS DISTINCT FROM (k.name, k.category)"
			  " RETURNING i.tenant_id, i.order_id",
			  TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID);

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

static OcqDifferences differences =
OCQ_ORDER_DIFFERENCES("order_view", "SELECT 1 FROM order_cqrs.order_view"
					  " UNION ALL SELECT 1 FROM order_cqrs.order_item_view");

/* LINE_COLUMNS, counted from 0. */
enum
{
	LINE_TENANT_ID, LINE_ORDER_ID, LINE_VERSION, LINE_CREATED_AT,
	LINE_NUMBER, LINE_PRODUCT_ID, LINE_PRODUCT_NAME, LINE_PRODUCT_CATEGORY, LINE_QUANTITY,
	LINE_UNIT_PRICE, LINE_TOTAL_PRICE,
	LINE_NCOLUMNS
};

static const Oid line_types[LINE_NCOLUMNS] = {
	TEXTOID, TEXTOID, INT4OID, TIMESTAMPTZOID, INT4OID, TEXTOID, TEXTOID, TEXTOID, INT4OID,
	NUMERICOID, NUMERICOID
};

/* The most lines that one statement with VALUES inserts. */
#define MAX_VALUES 8

StaticAssertDecl(LINE_NUMBER + MAX_VALUES * (LINE_NCOLUMNS - LINE_NUMBER) <= OCQ_STATEMENT_MAX_ARGS,
				 "each value is an argument");

typedef Datum LineValues[LINE_NCOLUMNS];
typedef bool LineNulls[LINE_NCOLUMNS];

typedef struct Lines
{
	LineValues *values;
	LineNulls  *nulls;
	OcqReference *products;
	int			count;
} Lines;

static Lines
make_room_for_lines(const OcqOrderState *orders, int norders)
{
	Lines		lines = {0};
	int			room = 0;

	for (int i = 0; i < norders; i++)
		room += orders[i].item_count;
	lines.values = palloc_array(LineValues, room);
	lines.nulls = palloc0_array(LineNulls, room);
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
		Datum	   *values = lines->values[lines->count];

		values[LINE_TENANT_ID] = PointerGetDatum(order->tenant_id);
		values[LINE_ORDER_ID] = PointerGetDatum(order->order_id);
		values[LINE_NUMBER] = Int32GetDatum(i + 1);
		values[LINE_VERSION] = Int32GetDatum(order->items_version);
		values[LINE_CREATED_AT] = TimestampTzGetDatum(order->created_at);
		values[LINE_PRODUCT_ID] = PointerGetDatum(item->product_id);
		values[LINE_QUANTITY] = Int32GetDatum(item->quantity);
		values[LINE_UNIT_PRICE] = NumericGetDatum(item->unit_price);
		values[LINE_TOTAL_PRICE] = NumericGetDatum(item->total_price);
		lines->products[lines->count] = (OcqReference) {
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
		bool		is_unknown = !lines->products[i].found;

		lines->values[i][LINE_PRODUCT_NAME] = PointerGetDatum(lines->products[i].name);
		lines->values[i][LINE_PRODUCT_CATEGORY] = PointerGetDatum(lines->products[i].attribute);
		lines->nulls[i][LINE_PRODUCT_NAME] = lines->nulls[i][LINE_PRODUCT_CATEGORY] = is_unknown;
	}
}

static Lines
lines_of(const OcqOrderState *orders, int norders)
{
	Lines		lines = make_room_for_lines(orders, norders);

	for (int i = 0; i < norders; i++)
		add_lines(&lines, &orders[i]);
	add_product_names(&lines);
	return lines;
}

#define ITEM_PAIRS 6

static JsonbValue
item_value(const Lines *lines, int line, JsonbPair *pairs)
{
	const OcqReference *product = &lines->products[line];
	const Datum *values = lines->values[line];
	Numeric		quantity = int64_to_numeric(DatumGetInt32(values[LINE_QUANTITY]));

	pairs[0] = ocq_json_pair("quantity", ocq_json_numeric(quantity));
	pairs[1] = ocq_json_pair("product_id", ocq_json_text(product->id));
	pairs[2] = ocq_json_pair("unit_price", ocq_json_numeric(DatumGetNumeric(values[LINE_UNIT_PRICE])));
	pairs[3] = ocq_json_pair("total_price", ocq_json_numeric(DatumGetNumeric(values[LINE_TOTAL_PRICE])));
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

static void
insert(OcqStatement *statement, const Lines *lines)
{
	Datum		records = ocq_records(lines->values[0], lines->nulls[0], lines->count,
									  line_types, LINE_NCOLUMNS);

	(void) ocq_statement_run(statement, &records, NULL);
}

/*
 * insert_of returns the INSERT of some lines of one order, $1 to $4 of which are the
 * columns that they share.  It is for the order that a command is appending to: its
 * own row has kept others away, so there is nothing to conflict with, and for a few
 * rows VALUES are much cheaper than arrays, each of which fills a store of its own.
 */
static OcqStatement *
insert_of(int nlines)
{
	static OcqStatement statements[MAX_VALUES + 1];
	OcqStatement *statement = &statements[nlines];
	MemoryContext old;
	StringInfoData sql;

	if (statement->sql != NULL)
		return statement;

	old = MemoryContextSwitchTo(TopMemoryContext);
	initStringInfo(&sql);
	appendStringInfoString(&sql, "INSERT INTO order_cqrs.order_item_view (" LINE_COLUMNS ")"
						   " SELECT $1, $2, $3, $4, l.* FROM (VALUES ");
	memcpy(statement->argtypes, line_types, sizeof(Oid) * LINE_NUMBER);
	statement->nargs = LINE_NUMBER;
	for (int line = 0; line < nlines; line++)
		for (int column = LINE_NUMBER; column < LINE_NCOLUMNS; column++)
		{
			statement->argtypes[statement->nargs++] = line_types[column];
			appendStringInfo(&sql, "%s$%d%s", column == LINE_NUMBER ? "(" : ", ", statement->nargs,
							 column + 1 < LINE_NCOLUMNS ? "" : line + 1 < nlines ? "), " : ")) AS l");
		}
	MemoryContextSwitchTo(old);
	statement->sql = sql.data;
	return statement;
}

static void
insert_some(const Lines *lines, int first, int nlines)
{
	Datum		values[OCQ_STATEMENT_MAX_ARGS];
	char		nulls[OCQ_STATEMENT_MAX_ARGS];
	int			nvalues = LINE_NUMBER;

	memset(nulls, ' ', sizeof(nulls));
	memcpy(values, lines->values[first], sizeof(Datum) * LINE_NUMBER);
	for (int line = first; line < first + nlines; line++)
		for (int column = LINE_NUMBER; column < LINE_NCOLUMNS; column++)
		{
			if (lines->nulls[line][column])
				nulls[nvalues] = 'n';
			values[nvalues++] = lines->values[line][column];
		}
	(void) ocq_statement_run(insert_of(nlines), values, nulls);
}

/* replace_appended is for the lines of the order that a command is appending to. */
static void
replace_appended(const OcqOrderState *order, const Lines *lines, bool is_new)
{
	Datum		values[] = {
		PointerGetDatum(order->tenant_id), PointerGetDatum(order->order_id),
		Int32GetDatum(order->items_version)
	};

	if (!is_new)
		(void) ocq_statement_run(&delete_appended, values, NULL);
	for (int first = 0; first < lines->count; first += MAX_VALUES)
		insert_some(lines, first, Min(lines->count - first, MAX_VALUES));
}

/* delete_old_lines_of deletes the lines of those orders that are written. */
static void
delete_old_lines_of(const OcqOrderState *orders, const bool *written, int norders)
{
	static const Oid types[] = {TEXTOID, TEXTOID, INT4OID};
	Datum	   *values = palloc_array(Datum, 3 * norders);
	bool	   *nulls = palloc0_array(bool, 3 * norders);
	Datum		records;
	int			count = 0;

	for (int i = 0; i < norders; i++)
	{
		if (!written[i])
			continue;
		values[3 * count] = PointerGetDatum(orders[i].tenant_id);
		values[3 * count + 1] = PointerGetDatum(orders[i].order_id);
		values[3 * count + 2] = Int32GetDatum(orders[i].items_version);
		count++;
	}
	records = ocq_records(values, nulls, count, types, 3);
	(void) ocq_statement_run(&delete_old_lines, &records, NULL);
}

/*
 * lock_row has the order wait for a change of its products' names, which are
 * announced before that lets go of the row: those looked up after it are the new
 * ones.
 */
static void
lock_row(const OcqOrderState *order)
{
	Datum		values[] = {PointerGetDatum(order->tenant_id), PointerGetDatum(order->order_id)};

	(void) ocq_statement_run(&lock_order, values, NULL);
	AcceptInvalidationMessages();
}

/* append_one writes what a command appends; it returns false if that needs the other way. */
static bool
append_one(const OcqBatch *batch)
{
	const OcqOrderState *order = batch->orders;
	Lines		lines;

	if (!batch->is_append || batch->norders == 0)
		return false;
	if (order->items_version <= batch->appended_after)
		return ocq_order_rows_append(&order_rows, batch, NULL);

	if (batch->appended_after > 0)
		lock_row(order);
	lines = lines_of(order, 1);
	if (!ocq_order_rows_append(&order_rows, batch, items_of(&lines, 0, lines.count)))
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

/* keep_written drops the lines of orders that are not written. */
static void
keep_written(Lines *lines, const OcqOrderState *orders, const bool *written, int norders)
{
	int			line = 0;

	lines->count = 0;
	for (int i = 0; i < norders; i++)
	{
		for (int end = line + orders[i].item_count; line < end; line++)
		{
			if (!written[i])
				continue;
			memmove(lines->values[lines->count], lines->values[line], sizeof(LineValues));
			memmove(lines->nulls[lines->count], lines->nulls[line], sizeof(LineNulls));
			lines->count++;
		}
	}
}

static int64
write_orders(const OcqBatch *batch)
{
	Lines		lines = lines_of(batch->orders, batch->norders);
	Jsonb	  **items = items_of_orders(&lines, batch->orders, batch->norders);
	bool	   *written = palloc_array(bool, batch->norders);
	int64		changed = ocq_order_rows_write(&order_rows, batch, items, written);

	if (changed == 0)
		return 0;
	if (changed < batch->norders)
		keep_written(&lines, batch->orders, written, batch->norders);
	if (batch->nnew == batch->norders)
		insert(&insert_lines, &lines);
	else
	{
		delete_old_lines_of(batch->orders, written, batch->norders);
		insert(&insert_missing_lines, &lines);
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
	.answers_queries = true,
	.shows_names = true,
	.handle = handle,
	.forget = forget,
	.behind = &behind,
	.differences = &differences,
};
