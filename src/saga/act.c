/*-------------------------------------------------------------------------
 * act.c
 *	  The commands of a step.
 *
 * They go through the command bus, as an application's would.  The id of each is
 * derived from the event that the step reacts to and the step, so that a command
 * cannot take effect twice even if the saga's own table were lost.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/argument.h"
#include "base/errors.h"
#include "base/json.h"
#include "base/statement.h"
#include "bus/bus.h"
#include "common/hashfn.h"
#include "mb/pg_wchar.h"
#include "port/pg_bswap.h"
#include "saga/saga.h"
#include "store/command.h"
#include "store/store.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

/* An order goes through fewer steps than this at one look. */
#define MAX_STEPS 10

/* The texts are the guide's. */
#define REASON_INVENTORY "Insufficient inventory"
#define REASON_PAYMENT "Payment failed: "
#define REASON_SYSTEM "System error - order cancelled"
#define REASON_TIMEOUT "timeout"

/* The event that a step reacts to: the payment's last, or the first of the order. */
static int32
cause_version(const OcqOrderState *order)
{
	return order->payment.version > 0 ? order->payment.version : 1;
}

/* derive_id makes a UUID of version 8: 122 bits of a hash. */
static pg_uuid_t *
derive_id(const OcqOrderState *order, OcqSagaStep step, const char *command)
{
	char	   *name = psprintf("%s/%s/%d/%s/%s", ocq_stream_name(&(OcqStream) {
		.tenant_id = order->tenant_id, .aggregate_type = cstring_to_text(OCQ_AGGREGATE_ORDER),
		.aggregate_id = order->order_id
	}), "order saga", cause_version(order), ocq_saga_step_name(step), command);
	pg_uuid_t  *id = palloc_object(pg_uuid_t);
	uint64		halves[2];

	for (int i = 0; i < 2; i++)
		halves[i] = pg_hton64(hash_any_extended((const unsigned char *) name, strlen(name), i + 1));
	memcpy(id->data, halves, UUID_LEN);
	id->data[6] = (id->data[6] & 0x0f) | 0x80;
	id->data[8] = (id->data[8] & 0x3f) | 0x80;
	return id;
}

static void
push_metadata(JsonbParseState **state)
{
	ocq_json_push_key(state, "metadata");
	(void) pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	ocq_json_push_string(state, "saga", "order");
	(void) pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

/* send_report sends a command on the order; with reason or amount it has one. */
static void
send_report(const OcqOrderState *order, OcqSagaStep step, const char *command, const char *reason,
			Numeric amount)
{
	JsonbParseState *state = NULL;
	Jsonb	   *payload;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	ocq_json_push_text(&state, "order_id", order->order_id);
	if (reason != NULL)
		ocq_json_push_string(&state, "reason", reason);
	if (amount != NULL)
		ocq_json_push_numeric(&state, "amount", amount);
	push_metadata(&state);
	payload = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
	(void) ocq_command_bus_send(cstring_to_text(command), payload,
								derive_id(order, step, command), order->tenant_id);
}

static void
send(const OcqOrderState *order, OcqSagaStep step, const char *command, const char *reason)
{
	send_report(order, step, command, reason, NULL);
}

/*
 * claim_stock locks the stock that the order needs, so that reserving it afterwards
 * cannot fail.
 */
static OcqClaim
claim_stock(const OcqOrderState *order)
{
	OcqOrderItems items = ocq_order_items_of_state(order);
	OcqStockLines wanted = ocq_order_items_stock(&items);
	OcqStockLines held = {0};

	return ocq_stock_claim(order->tenant_id, &wanted, &held);
}

static void
complete_order(const OcqOrderState *order, OcqSagaStep step)
{
	if (order->status == OCQ_ORDER_PENDING)
		send(order, step, "CompleteOrder", NULL);
	send(order, step, "StartShipping", NULL);
}

/*
 * is_zero tells whether an amount is nothing to pay: no provider takes a payment of 0.
 * An order may also come to cost nothing while its payment is waited for.
 */
static bool
is_zero(Numeric amount)
{
	Datum		zero = DirectFunctionCall1(int4_numeric, Int32GetDatum(0));

	return DatumGetBool(DirectFunctionCall2(numeric_eq, NumericGetDatum(amount), zero));
}

static void
reserve_inventory(const OcqOrderState *order)
{
	const OcqSagaStep step = OCQ_SAGA_RESERVE_INVENTORY;

	if (ocq_reserve_on != OCQ_RESERVE_OFF && order->reservation.status != OCQ_RESERVATION_HELD)
	{
		OcqClaim	claim = claim_stock(order);

		if (claim.nshortages > 0)
		{
			send(order, step, "CancelOrder", REASON_INVENTORY);
			return;
		}
		if (claim.reserved.count > 0)
			send(order, step, "ReserveInventory", NULL);
	}
	if (is_zero(order->total_amount))
		complete_order(order, step);
	else
		send(order, step, "ProcessPayment", NULL);
}

static void
release_and_cancel(const OcqOrderState *order, OcqSagaStep step, const char *reason)
{
	if (order->reservation.status == OCQ_RESERVATION_HELD)
		send(order, step, "ReleaseInventory", NULL);
	send(order, step, "CancelOrder", reason);
}

/* payment_failed makes the reason of a cancellation from that of a payment, no longer than it may be. */
static char *
payment_failed(const OcqPayment *payment)
{
	char	   *reason = psprintf(REASON_PAYMENT "%s", payment->reason == NULL ? "no reason given" :
								  text_to_cstring(payment->reason));

	return pnstrdup(reason, pg_mbcliplen(reason, strlen(reason), OCQ_TEXT_MAX_BYTES));
}

static TimestampTz
payment_deadline(const OcqOrderState *order)
{
	/* A time that no clock shows is an event's that no command wrote. */
	if (order->payment.requested_at > END_TIMESTAMP - ocq_payment_timeout * USECS_PER_SEC)
		return DT_NOEND;
	return TimestampTzPlusMilliseconds(order->payment.requested_at,
									   ocq_payment_timeout * INT64CONST(1000));
}

/* act carries out a step, or returns false if the step has to wait. */
static bool
act(const OcqOrderState *order, OcqSagaStep step)
{
	switch (step)
	{
		case OCQ_SAGA_RESERVE_INVENTORY:
			reserve_inventory(order);
			return true;
		case OCQ_SAGA_AWAIT_PAYMENT:
			if (is_zero(order->payment.amount))
			{
				send_report(order, step, "CompletePayment", NULL, order->payment.amount);
				return true;
			}
			if (GetCurrentTimestamp() < payment_deadline(order))
				return false;
			send_report(order, step, "FailPayment", REASON_TIMEOUT, order->payment.amount);
			return true;
		case OCQ_SAGA_COMPLETE_ORDER:
			complete_order(order, step);
			return true;
		case OCQ_SAGA_CANCEL_ORDER:
			release_and_cancel(order, step, payment_failed(&order->payment));
			return true;
		case OCQ_SAGA_COMPENSATE:
			release_and_cancel(order, step, REASON_SYSTEM);
			return true;
		case OCQ_SAGA_SHIPPED:
		case OCQ_SAGA_CANCELLED:
		case OCQ_SAGA_ENDED:
		case OCQ_SAGA_FAILED:
			return false;
	}
	pg_unreachable();
}

/*
 * fold raises OCQ_ERR_INCOMPLETE_STREAM if the log does not have the whole order: its
 * state is not known then, and no step may be derived from it.
 */
static OcqOrderState
fold(const OcqStream *order)
{
	OcqEvents	events = ocq_stream_read(order);

	if (events.count == 0)
		ereport(ERROR,
				(errcode(OCQ_ERR_INCOMPLETE_STREAM),
				 errmsg("%s has no events", ocq_stream_name(order)),
				 errdetail("The order has a row in order_cqrs.order_saga."),
				 errhint("Restore its events from a backup, or delete that row if they were erased for good.")));
	ocq_stream_check_complete(events.items, events.count);
	return ocq_order_fold(events.items, events.count);
}

/*
 * next_step keeps to a compensation that has been decided on, until the order is at an
 * end, or has been shipped by hand, after which it cannot be cancelled.
 */
static OcqSagaStep
next_step(const OcqSagaRecord *record, const OcqOrderState *order)
{
	OcqSagaStep step = ocq_saga_step(order);

	return record->step == OCQ_SAGA_COMPENSATE && !ocq_saga_is_over(step) && !order->is_shipped ?
		OCQ_SAGA_COMPENSATE : step;
}

/*
 * ocq_saga_advance takes an order as far as it goes, and returns its record then.  At once
 * it fills in the step that it begins with, which remains if it fails.  The caller holds
 * the order's stream lock.
 */
OcqSagaRecord
ocq_saga_advance(OcqSagaRecord *record)
{
	OcqOrderState order = fold(&record->order);
	OcqSagaRecord rest;

	record->step = next_step(record, &order);
	record->version = order.version;

	rest = *record;
	for (int i = 0; act(&order, rest.step); i++)
	{
		if (i == MAX_STEPS)
			elog(ERROR, "the saga of %s does not come to rest", ocq_stream_name(&record->order));
		order = fold(&record->order);
		rest.step = next_step(&rest, &order);
	}
	rest.attempts = 0;
	if (record->step != OCQ_SAGA_COMPENSATE)
		rest.last_error = NULL; /* the cause of a compensation remains */
	rest.version = order.version;
	rest.has_next = rest.step == OCQ_SAGA_AWAIT_PAYMENT;
	if (rest.has_next)
		rest.next_attempt_at = payment_deadline(&order);
	return rest;
}
