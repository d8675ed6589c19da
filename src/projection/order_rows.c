/*-------------------------------------------------------------------------
 * order_rows.c
 *	  Read tables with one row for each order.
 *
 * order_view and order_summary_view are written in the same way.  An order that a command
 * is appending has either no row yet or the row of the version before, which is cheap to
 * write.  All other orders go through a statement for many: new ones are inserted, and
 * for the others the statement asks whether their row is older.
 *
 * Items are given by the caller: NULL for a table that has none, or where they are to
 * stay as they are.  So is the customer, whose names stay as they are, too.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "projection/projection.h"
#include "utils/builtins.h"
#include "utils/inval.h"

#define ORDER(field) OCQ_FIELD(0, OcqOrderState, field)
#define CUSTOMER(field) OCQ_FIELD(1, OcqReference, field)
#define ITEMS 2

/*
 * The columns, in the order in which queries return them.  declare.awk reads the rows
 * COLUMN(name, type, constraints, comment, ...), whose strings stand on one line.
 */
#define COLUMN(name, type, constraints, comment, ...) {name, type, __VA_ARGS__}

static const OcqColumn columns[] = {
	COLUMN("tenant_id", TEXTOID, "COLLATE \"C\" NOT NULL", "", OCQ_KEY, ORDER(tenant_id)),
	COLUMN("order_id", TEXTOID, "COLLATE \"C\" NOT NULL", "", OCQ_KEY, ORDER(order_id)),
	COLUMN("customer_id", TEXTOID, "COLLATE \"C\" NOT NULL", "", OCQ_LASTS, ORDER(customer_id)),
	COLUMN("customer_name", TEXTOID, "", "", OCQ_LASTS, CUSTOMER(name)),
	COLUMN("customer_email", TEXTOID, "", "", OCQ_LASTS, CUSTOMER(attribute)),
	COLUMN("status", TEXTOID, "COLLATE \"C\" NOT NULL", "PENDING, COMPLETED or CANCELLED", .get = ocq_get_status),
	COLUMN("payment_status", TEXTOID, "COLLATE \"C\"", "NULL before it was requested, then PENDING, COMPLETED, FAILED or REFUNDED",
		   .get = ocq_get_payment_status),
	COLUMN("total_amount", NUMERICOID, "NOT NULL", "Sum of quantity times unit_price over the items, exact", ORDER(total_amount)),
	COLUMN("item_count", INT4OID, "NOT NULL", "Number of lines", ORDER(item_count)),
	COLUMN("created_at", TIMESTAMPTZOID, "NOT NULL", "", OCQ_LASTS, ORDER(created_at)),
	COLUMN("updated_at", TIMESTAMPTZOID, "NOT NULL", "", ORDER(updated_at)),
	COLUMN("shipped_at", TIMESTAMPTZOID, "", "When shipping started; NULL before", .get = ocq_get_shipped_at),
	COLUMN("version", INT4OID, "NOT NULL", "Version of the last event applied to the row", ORDER(version)),
	/* order_view alone has these. */
	{"items", JSONBOID, OCQ_LASTS_IF_NULL, .source = ITEMS, .get = ocq_source_itself},
};

OcqTable	ocq_order_view = {
	.name = "order_view", .columns = columns, .ncolumns = lengthof(columns), .returns_keys = true
};

/* It has all but the items, which are last. */
OcqTable	ocq_order_summary_view = {
	.name = "order_summary_view", .columns = columns, .ncolumns = lengthof(columns) - 1
};

/* GETTER defines a function that makes a column's value of an order. */
#define GETTER(name, is_missing, value) \
	Datum \
	name(const void *source, bool *isnull) \
	{ \
		const OcqOrderState *order = source; \
		\
		*isnull = (is_missing); \
		return *isnull ? (Datum) 0 : (value); \
	}

GETTER(ocq_get_status, false, CStringGetTextDatum(ocq_order_status_name(order->status)))
GETTER(ocq_get_items, false, JsonbPGetDatum(ocq_order_items_jsonb(order)))
GETTER(ocq_get_shipped_at, !order->is_shipped, TimestampTzGetDatum(order->shipped_at))
GETTER(ocq_get_payment_status, order->payment.status == OCQ_PAYMENT_NONE,
	   CStringGetTextDatum(ocq_payment_status_name(order->payment.status)))
GETTER(ocq_get_reservation_status, false,
	   CStringGetTextDatum(ocq_reservation_status_name(order->reservation.status)))
GETTER(ocq_get_reservation_items, false,
	   JsonbPGetDatum(ocq_reservation_items_jsonb(&order->reservation)))

static OcqReference *
look_up_customers(const OcqBatch *batch)
{
	OcqReference *customers = palloc_array(OcqReference, batch->norders);

	for (int i = 0; i < batch->norders; i++)
		customers[i] = (OcqReference) {
		.tenant_id = batch->orders[i].tenant_id, .id = batch->orders[i].customer_id
	};
	ocq_reference_lookup(OCQ_REFERENCE_CUSTOMER, customers, batch->norders);
	return customers;
}

/*
 * ocq_order_rows_append writes the order that a command is appending, and returns
 * false if that is not the batch, or the row is not at the version before.
 */
bool
ocq_order_rows_append(OcqTable *table, const OcqBatch *batch, Jsonb *items)
{
	const OcqOrderState *order = batch->orders;
	OcqReference customer;

	if (!batch->is_append || batch->norders == 0)
		return false;
	if (batch->appended_after > 0)
		return ocq_table_update_one(table, OCQ_SOURCES(order, NULL, items), batch->appended_after) == 1;

	customer = (OcqReference) {.tenant_id = order->tenant_id, .id = order->customer_id};
	ocq_reference_lookup(OCQ_REFERENCE_CUSTOMER, &customer, 1);
	(void) ocq_table_insert_one(table, OCQ_SOURCES(order, &customer, items));
	return true;
}

/*
 * number_of_order finds an order of the batch by a returned key.  They come back
 * in the order of the batch, so each is looked for from the one before on.
 */
static int
number_of_order(const OcqBatch *batch, int from, const text *tenant_id, const text *order_id)
{
	for (int i = 0; i < batch->norders; i++)
	{
		int			number = (from + i) % batch->norders;

		if (ocq_text_equal(batch->orders[number].order_id, order_id) &&
			ocq_text_equal(batch->orders[number].tenant_id, tenant_id))
			return number;
	}
	elog(ERROR, "an order was written that was not in the batch");
}

static void
tell_written(const OcqBatch *batch, uint64 changed, bool *written)
{
	int			number = 0;

	memset(written, changed == (uint64) batch->norders, sizeof(bool) * batch->norders);
	if (changed == (uint64) batch->norders)
		return;
	for (uint64 row = 0; row < changed; row++)
	{
		number = number_of_order(batch, number, DatumGetTextPP(ocq_row_datum(row, 1)),
								 DatumGetTextPP(ocq_row_datum(row, 2)));
		written[number] = true;
	}
}

/*
 * ocq_order_rows_write writes the batch's orders where they are new or their rows are
 * older, and returns how many it has written.  items has an element for each order, or is
 * NULL; written, if not NULL, is told the orders that were written, by the keys that the
 * statements return: a trigger of the user's may suppress a row, a new one too.
 */
int64
ocq_order_rows_write(OcqTable *table, const OcqBatch *batch, Jsonb **items, bool *written)
{
	OcqReference *customers = look_up_customers(batch);
	OcqRows		rows = ocq_rows_make(table, batch->norders);
	uint64		changed;

	if (batch->norders == 0)
		return 0;
	for (int i = 0; i < batch->norders; i++)
		ocq_rows_add(&rows, OCQ_SOURCES(&batch->orders[i], &customers[i], items == NULL ? NULL : items[i]));
	changed = batch->nnew == batch->norders ? ocq_rows_insert(&rows) : ocq_rows_upsert(&rows);
	if (written != NULL)
		tell_written(batch, changed, written);
	return changed;
}

static const OcqColumn name_columns[] = {
	{"tenant_id", TEXTOID, OCQ_FIELD(0, OcqReference, tenant_id)},
	{"id", TEXTOID, OCQ_FIELD(0, OcqReference, id)},
	{"name", TEXTOID, OCQ_FIELD(0, OcqReference, name)},
	{"attribute", TEXTOID, OCQ_FIELD(0, OcqReference, attribute)},
};

OcqTable	ocq_names = OCQ_TABLE(NULL, name_columns);

/*
 * ocq_names_renew gives the statement, as records of ocq_names, the names and
 * attributes that the batch's changes of one kind have led to, and returns the
 * number of rows that it changed.
 *
 * The names are the current ones and not the event's, which may be older than those in a
 * row.  The caller holds the streams' locks, so no other names can become current before
 * it has ended; announcements of earlier changes are received first.
 */
int64
ocq_names_renew(OcqStatement *statement, const OcqBatch *batch, OcqReferenceKind kind)
{
	OcqReference *references = palloc_array(OcqReference, batch->nchanges);
	OcqRows		names = ocq_rows_make(&ocq_names, batch->nchanges);
	int			count = 0;

	for (int i = 0; i < batch->nchanges; i++)
		if (batch->changes[i].kind == kind)
			references[count++] = (OcqReference) {
			.tenant_id = batch->changes[i].stream.tenant_id,
				.id = batch->changes[i].stream.aggregate_id
		};
	if (count == 0)
		return 0;

	AcceptInvalidationMessages();
	ocq_reference_lookup(kind, references, count);
	for (int i = 0; i < count; i++)
		if (references[i].found)
			ocq_rows_add(&names, OCQ_SOURCES(&references[i]));
	return names.count == 0 ? 0 : ocq_rows_run(&names, statement);
}
