/*-------------------------------------------------------------------------
 * payments.c
 *	  The projection payments: one row for each order whose payment was requested.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "projection/projection.h"

#define ORDER(field) OCQ_FIELD(0, OcqOrderState, field)

static const OcqColumn columns[] = {
	{"tenant_id", TEXTOID, OCQ_KEY, ORDER(tenant_id)},
	{"order_id", TEXTOID, OCQ_KEY, ORDER(order_id)},
	{"customer_id", TEXTOID, ORDER(customer_id)},
	{"status", TEXTOID, .get = ocq_get_payment_status},
	{"amount", NUMERICOID, ORDER(payment.amount)},
	{"reference", TEXTOID, ORDER(payment.reference)},
	{"reason", TEXTOID, ORDER(payment.reason)},
	{"requested_at", TIMESTAMPTZOID, ORDER(payment.requested_at)},
	{"updated_at", TIMESTAMPTZOID, ORDER(payment.updated_at)},
	{"version", INT4OID, ORDER(payment.version)},
};

static OcqTable payments = OCQ_TABLE("payments", columns);

/* append_one returns false if the row is not as it was before the command. */
static bool
append_one(const OcqBatch *batch)
{
	const OcqOrderState *order = batch->orders;

	if (batch->before == NULL || order->payment.status == OCQ_PAYMENT_NONE)
		return false;
	if (batch->before->payment.version == 0)
		return ocq_table_insert_one(&payments, OCQ_SOURCES(order)) == 1;
	return ocq_table_update_one(&payments, OCQ_SOURCES(order), batch->before->payment.version) == 1;
}

static int64
handle(const OcqBatch *batch)
{
	OcqRows		rows;

	/* An append that is not about the payment costs nothing. */
	if (batch->norders == 0 ||
		(batch->is_append && batch->orders[0].payment.version <= batch->appended_after))
		return 0;
	if (append_one(batch))
		return 1;

	rows = ocq_rows_make(&payments, batch->norders);
	for (int i = 0; i < batch->norders; i++)
		if (batch->orders[i].payment.status != OCQ_PAYMENT_NONE)
			ocq_rows_add(&rows, OCQ_SOURCES(&batch->orders[i]));
	return rows.count == 0 ? 0 : ocq_rows_upsert(&rows);
}

static const char *const aggregate_types[] = {OCQ_AGGREGATE_ORDER, NULL};

static const OcqReadTable tables[] = {
	{
		.table = &payments, .aggregate_type = OCQ_AGGREGATE_ORDER,
		.events = 1 << OCQ_ORDER_EVENT_PAYMENT_REQUESTED | 1 << OCQ_ORDER_EVENT_PAYMENT_COMPLETED |
		1 << OCQ_ORDER_EVENT_PAYMENT_FAILED | 1 << OCQ_ORDER_EVENT_PAYMENT_REFUNDED
	},
	{NULL}
};

const OcqProjection ocq_projection_payments = {
	.name = "payments",
	.aggregate_types = aggregate_types,
	.tables = tables,
	.handle = handle,
};
