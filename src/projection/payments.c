/*-------------------------------------------------------------------------
 * payments.c
 *	  The projection payments: one row for each order whose payment was requested.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "projection/projection.h"
#include "utils/builtins.h"

static OcqStatement upsert_payments =
OCQ_STATEMENT("INSERT INTO order_cqrs.payments AS p (tenant_id, order_id, customer_id, status, amount,"
			  " reference, reason, requested_at, updated_at, version)"
			  " SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
			  " ON CONFLICT (tenant_id, order_id) DO UPDATE SET customer_id = excluded.customer_id,"
			  " status = excluded.status, amount = excluded.amount, reference = excluded.reference,"
			  " reason = excluded.reason, requested_at = excluded.requested_at,"
			  " updated_at = excluded.updated_at, version = excluded.version"
			  " WHERE p.version < excluded.version",
			  TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, NUMERICARRAYOID,
			  TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID, INT4ARRAYOID);

static OcqStatement delete_payments =
OCQ_STATEMENT("DELETE FROM order_cqrs.payments p USING unnest($1, $2) AS k (tenant_id, order_id)"
			  " WHERE p.tenant_id = k.tenant_id AND p.order_id = k.order_id",
			  TEXTARRAYOID, TEXTARRAYOID);

static OcqStatement behind =
OCQ_STATEMENT("SELECT e.tenant_id, e.aggregate_type, e.aggregate_id, min(e.position)"
			  " FROM order_cqrs.events e LEFT JOIN order_cqrs.payments p"
			  " ON p.tenant_id = e.tenant_id AND p.order_id = e.aggregate_id"
			  " WHERE e.aggregate_type = 'Order' AND e.position > $1 AND e.position <= $2"
			  " AND e.event_type IN ('PaymentRequested', 'PaymentCompleted', 'PaymentFailed',"
			  " 'PaymentRefunded') AND (p.version IS NULL OR p.version < e.version)"
			  " GROUP BY 1, 2, 3 ORDER BY 4",
			  INT8OID, INT8OID, TEXTARRAYOID);

static OcqStatement differences = OCQ_DIFFERENCES("payments");

/* The columns, as upsert_payments takes them. */
enum
{
	TENANT_ID, ORDER_ID, CUSTOMER_ID, STATUS, AMOUNT, REFERENCE, REASON, REQUESTED_AT, UPDATED_AT,
	VERSION,
	NCOLUMNS
};

static const Oid column_types[NCOLUMNS] = {
	TEXTOID, TEXTOID, TEXTOID, TEXTOID, NUMERICOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID,
	INT4OID
};

static void
set_row(Datum *row, bool *nulls, const OcqOrderState *order)
{
	const OcqPayment *payment = &order->payment;

	memset(nulls, 0, sizeof(bool) * NCOLUMNS);
	row[TENANT_ID] = PointerGetDatum(order->tenant_id);
	row[ORDER_ID] = PointerGetDatum(order->order_id);
	row[CUSTOMER_ID] = PointerGetDatum(order->customer_id);
	row[STATUS] = CStringGetTextDatum(ocq_payment_status_name(payment->status));
	row[AMOUNT] = NumericGetDatum(payment->amount);
	nulls[AMOUNT] = payment->amount == NULL;
	row[REFERENCE] = PointerGetDatum(payment->reference);
	nulls[REFERENCE] = payment->reference == NULL;
	row[REASON] = PointerGetDatum(payment->reason);
	nulls[REASON] = payment->reason == NULL;
	row[REQUESTED_AT] = TimestampTzGetDatum(payment->requested_at);
	row[UPDATED_AT] = TimestampTzGetDatum(payment->updated_at);
	row[VERSION] = Int32GetDatum(payment->version);
}

static int64
handle(const OcqBatch *batch)
{
	Datum	   *columns[NCOLUMNS];
	bool	   *nulls[NCOLUMNS];
	Datum		values[NCOLUMNS];
	int			count = 0;

	/* An append that is not about the payment costs nothing. */
	if (batch->norders == 0 ||
		(batch->is_append && batch->orders[0].payment.version <= batch->appended_after))
		return 0;

	for (int column = 0; column < NCOLUMNS; column++)
	{
		columns[column] = palloc_array(Datum, batch->norders);
		nulls[column] = palloc_array(bool, batch->norders);
	}
	for (int i = 0; i < batch->norders; i++)
	{
		Datum		row[NCOLUMNS];
		bool		row_nulls[NCOLUMNS];

		if (batch->orders[i].payment.status == OCQ_PAYMENT_NONE)
			continue;
		set_row(row, row_nulls, &batch->orders[i]);
		for (int column = 0; column < NCOLUMNS; column++)
		{
			columns[column][count] = row[column];
			nulls[column][count] = row_nulls[column];
		}
		count++;
	}
	if (count == 0)
		return 0;
	for (int column = 0; column < NCOLUMNS; column++)
		values[column] = ocq_array(columns[column], nulls[column], count, column_types[column]);
	return ocq_statement_run(&upsert_payments, values, NULL);
}

static void
forget(const OcqStreams *streams)
{
	ocq_rows_forget(&delete_payments, streams, OCQ_AGGREGATE_ORDER);
}

static const char *const aggregate_types[] = {OCQ_AGGREGATE_ORDER, NULL};

const OcqProjection ocq_projection_payments = {
	.name = "payments",
	.aggregate_types = aggregate_types,
	.handle = handle,
	.forget = forget,
	.behind = &behind,
	.differences = &differences,
};
