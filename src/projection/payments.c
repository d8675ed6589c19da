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
			  " SELECT * FROM unnest($1) AS n (tenant_id text, order_id text, customer_id text,"
			  " status text, amount numeric, reference text, reason text,"
			  " requested_at timestamptz, updated_at timestamptz, version int)"
			  " ON CONFLICT (tenant_id, order_id) DO UPDATE SET customer_id = excluded.customer_id,"
			  " status = excluded.status, amount = excluded.amount, reference = excluded.reference,"
			  " reason = excluded.reason, requested_at = excluded.requested_at,"
			  " updated_at = excluded.updated_at, version = excluded.version"
			  " WHERE p.version < excluded.version",
			  RECORDARRAYOID);

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

static OcqDifferences differences = OCQ_DIFFERENCES("payments");

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
	Datum	   *rows;
	bool	   *nulls;
	Datum		records;
	int			count = 0;

	/* An append that is not about the payment costs nothing. */
	if (batch->norders == 0 ||
		(batch->is_append && batch->orders[0].payment.version <= batch->appended_after))
		return 0;

	rows = palloc_array(Datum, NCOLUMNS * batch->norders);
	nulls = palloc_array(bool, NCOLUMNS * batch->norders);
	for (int i = 0; i < batch->norders; i++)
	{
		if (batch->orders[i].payment.status == OCQ_PAYMENT_NONE)
			continue;
		set_row(&rows[NCOLUMNS * count], &nulls[NCOLUMNS * count], &batch->orders[i]);
		count++;
	}
	if (count == 0)
		return 0;
	records = ocq_records(rows, nulls, count, column_types, NCOLUMNS);
	return ocq_statement_run(&upsert_payments, &records, NULL);
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
