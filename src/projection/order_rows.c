/*-------------------------------------------------------------------------
 * order_rows.c
 *	  Read tables with one row for each order.
 *
 * order_view and order_summary_view are written in the same way, with statements
 * of their own that share one list of parameters:
 *
 *	$1 tenant_id	$2 order_id			$3 version
 *	$4 customer_id	$5 customer_name	$6 customer_email
 *	$7 status		$8 total_amount		$9 item_count
 *	$10 created_at	$11 updated_at		$12 payment_status
 *	$13 shipped_at	$14 items
 *
 * as values for one order, and as an array of records for many; update_one is
 * also told, as $15, which version the row must have.  An order that a command is
 * appending has either no row yet or the row of the version before, which is
 * cheap to write.  All else goes through a statement for many: orders that are new
 * are inserted, and of others is asked whether their row is older.
 *
 * Items are what the caller gives: NULL for a table that has none, or where they
 * are to stay as they are.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "projection/projection.h"
#include "utils/builtins.h"
#include "utils/inval.h"

#define NPARAMS 14

static const Oid param_types[NPARAMS] = {
	TEXTOID, TEXTOID, INT4OID, TEXTOID, TEXTOID, TEXTOID,
	TEXTOID, NUMERICOID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, TIMESTAMPTZOID,
	JSONBOID
};

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

/* set_params is given no customer where the names stay as they are. */
static void
set_params(Datum *values, bool *nulls, const OcqOrderState *order, const OcqReference *customer,
		   Jsonb *items)
{
	bool		has_customer = customer != NULL && customer->found;

	memset(nulls, 0, sizeof(bool) * NPARAMS);
	values[0] = PointerGetDatum(order->tenant_id);
	values[1] = PointerGetDatum(order->order_id);
	values[2] = Int32GetDatum(order->version);
	values[3] = PointerGetDatum(order->customer_id);
	values[4] = has_customer ? PointerGetDatum(customer->name) : (Datum) 0;
	values[5] = has_customer ? PointerGetDatum(customer->attribute) : (Datum) 0;
	nulls[4] = nulls[5] = !has_customer;
	values[6] = CStringGetTextDatum(ocq_order_status_name(order->status));
	values[7] = NumericGetDatum(order->total_amount);
	values[8] = Int32GetDatum(order->item_count);
	values[9] = TimestampTzGetDatum(order->created_at);
	values[10] = TimestampTzGetDatum(order->updated_at);
	nulls[11] = order->payment.status == OCQ_PAYMENT_NONE;
	values[11] = nulls[11] ? (Datum) 0 :
		CStringGetTextDatum(ocq_payment_status_name(order->payment.status));
	values[12] = TimestampTzGetDatum(order->shipped_at);
	nulls[12] = !order->is_shipped;
	values[13] = PointerGetDatum(items);
	nulls[13] = items == NULL;
}

static uint64
write_one(OcqStatement *statement, const OcqOrderState *order, const OcqReference *customer,
		  Jsonb *items, int32 version_before)
{
	Datum		values[NPARAMS + 1];
	bool		nulls[NPARAMS];
	char		spi_nulls[NPARAMS + 2];

	set_params(values, nulls, order, customer, items);
	values[NPARAMS] = Int32GetDatum(version_before);
	memset(spi_nulls, ' ', sizeof(spi_nulls));
	for (int param = 0; param < NPARAMS; param++)
		if (nulls[param])
			spi_nulls[param] = 'n';
	return ocq_statement_run(statement, values, spi_nulls);
}

static void
insert_one(OcqOrderRows *rows, const OcqOrderState *order, Jsonb *items)
{
	OcqReference customer = {.tenant_id = order->tenant_id, .id = order->customer_id};

	ocq_reference_lookup(OCQ_REFERENCE_CUSTOMER, &customer, 1);
	(void) write_one(&rows->insert_one, order, &customer, items, 0);
}

/*
 * ocq_order_rows_append writes the order that a command is appending, and returns
 * false if that is not the batch, or the row is not at the version before.
 */
bool
ocq_order_rows_append(OcqOrderRows *rows, const OcqBatch *batch, Jsonb *items)
{
	if (!batch->is_append || batch->norders == 0)
		return false;
	if (batch->appended_after > 0)
		return write_one(&rows->update_one, &batch->orders[0], NULL, items,
						 batch->appended_after) == 1;
	insert_one(rows, &batch->orders[0], items);
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
 * NULL; written, if not NULL, is told which they were, by what the statements return:
 * a trigger of the user's may suppress a row, a new one too.
 */
int64
ocq_order_rows_write(OcqOrderRows *rows, const OcqBatch *batch, Jsonb **items, bool *written)
{
	int			norders = batch->norders;
	OcqReference *customers;
	Datum	   *values;
	bool	   *nulls;
	Datum		records;
	uint64		changed;

	if (norders == 0)
		return 0;
	customers = look_up_customers(batch);
	values = palloc_array(Datum, NPARAMS * norders);
	nulls = palloc_array(bool, NPARAMS * norders);
	for (int i = 0; i < norders; i++)
		set_params(&values[NPARAMS * i], &nulls[NPARAMS * i], &batch->orders[i], &customers[i],
				   items == NULL ? NULL : items[i]);
	records = ocq_records(values, nulls, norders, param_types, NPARAMS);
	changed = ocq_statement_run(batch->nnew == norders ? &rows->insert_many : &rows->upsert_many,
								&records, NULL);
	if (written != NULL)
		tell_written(batch, changed, written);
	return changed;
}

/*
 * ocq_names_renew gives the statement, as $1 to $4, the tenants, ids, names and
 * attributes that the batch's changes of one kind have led to, and returns the
 * number of rows that it changed.
 *
 * The names are today's and not the event's, which may be older than what a row
 * shows.  The caller holds the streams' locks, so no others can become today's before
 * it has ended; those that have become so before are asked for.
 */
int64
ocq_names_renew(OcqStatement *statement, const OcqBatch *batch, OcqReferenceKind kind)
{
	OcqReference *references = palloc_array(OcqReference, batch->nchanges);
	Datum	   *columns[4];
	Datum		values[4];
	int			count = 0;
	int			found = 0;

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
	for (int column = 0; column < 4; column++)
		columns[column] = palloc_array(Datum, count);
	for (int i = 0; i < count; i++)
	{
		if (!references[i].found)
			continue;
		columns[0][found] = PointerGetDatum(references[i].tenant_id);
		columns[1][found] = PointerGetDatum(references[i].id);
		columns[2][found] = PointerGetDatum(references[i].name);
		columns[3][found] = PointerGetDatum(references[i].attribute);
		found++;
	}
	if (found == 0)
		return 0;
	for (int column = 0; column < 4; column++)
		values[column] = ocq_array(columns[column], NULL, found, TEXTOID);
	return ocq_statement_run(statement, values, NULL);
}

/*
 * ocq_rows_forget runs a DELETE whose $1 and $2 are the tenants and ids of those
 * streams that are of one aggregate type.
 */
void
ocq_rows_forget(OcqStatement *statement, const OcqStreams *streams, const char *aggregate_type)
{
	Datum	   *tenants = palloc_array(Datum, streams->count);
	Datum	   *ids = palloc_array(Datum, streams->count);
	Datum		values[2];
	int			count = 0;

	for (int i = 0; i < streams->count; i++)
	{
		if (!ocq_text_is(streams->streams[i].aggregate_type, aggregate_type))
			continue;
		tenants[count] = PointerGetDatum(streams->streams[i].tenant_id);
		ids[count] = PointerGetDatum(streams->streams[i].aggregate_id);
		count++;
	}
	values[0] = ocq_array(tenants, NULL, count, TEXTOID);
	values[1] = ocq_array(ids, NULL, count, TEXTOID);
	(void) ocq_statement_run(statement, values, NULL);
}
