/*-------------------------------------------------------------------------
 * payment.c
 *	  The payment of an order: its states, and the moves between them.
 *
 *	NONE ------> PENDING ------> COMPLETED ------> REFUNDED
 *				  |   ^
 *				  v   |
 *				 FAILED
 *
 * The provider is outside.  An application reads the payments that are PENDING, has them
 * made, and reports the outcome.  An order that changes while its payment is PENDING
 * requests it anew, and a report about the earlier request may still come: the amount
 * tells it from one about the later request.  No SQL, no I/O.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/json.h"
#include "order/payment.h"
#include "store/store.h"
#include "utils/fmgrprotos.h"

static const char *const status_names[] = {
	[OCQ_PAYMENT_NONE] = "NONE",
	[OCQ_PAYMENT_PENDING] = "PENDING",
	[OCQ_PAYMENT_COMPLETED] = "COMPLETED",
	[OCQ_PAYMENT_FAILED] = "FAILED",
	[OCQ_PAYMENT_REFUNDED] = "REFUNDED",
};

const char *
ocq_payment_status_name(OcqPaymentStatus status)
{
	return status_names[status];
}

bool
ocq_payment_allows(OcqPaymentStatus from, OcqPaymentStatus to)
{
	switch (to)
	{
		case OCQ_PAYMENT_PENDING:
			return from == OCQ_PAYMENT_NONE || from == OCQ_PAYMENT_FAILED;
		case OCQ_PAYMENT_COMPLETED:
		case OCQ_PAYMENT_FAILED:
			return from == OCQ_PAYMENT_PENDING;
		case OCQ_PAYMENT_REFUNDED:
			return from == OCQ_PAYMENT_COMPLETED;
		case OCQ_PAYMENT_NONE:
			break;
	}
	return false;
}

static bool
same_amount(Numeric a, Numeric b)
{
	return DatumGetBool(DirectFunctionCall2(numeric_eq, NumericGetDatum(a), NumericGetDatum(b)));
}

/*
 * ocq_payment_is_meant tells whether a command that names this amount, or none if it is
 * NULL, is about the payment as it was requested last.  A report without an amount may be
 * about an earlier request, which is of consequence if that was of another amount.  A
 * refund is always of the amount that was paid.
 */
bool
ocq_payment_is_meant(const OcqPayment *payment, OcqPaymentStatus to, Numeric amount)
{
	if (amount != NULL)
		return same_amount(amount, payment->amount);
	return to == OCQ_PAYMENT_REFUNDED || !payment->amount_changed;
}

static void
set_request(OcqPayment *payment, const OcqEvent *event)
{
	Numeric		amount = ocq_event_value(event, "amount", jbvNumeric).val.numeric;

	if (payment->amount != NULL && !same_amount(amount, payment->amount))
		payment->amount_changed = true;
	payment->amount = amount;
	payment->requested_at = event->occurred_at;
	payment->reference = NULL;
	payment->reason = NULL;
}

/* ocq_payment_evolve applies an event that has moved the payment to a status. */
void
ocq_payment_evolve(OcqPayment *payment, OcqPaymentStatus to, const OcqEvent *event)
{
	if (to != OCQ_PAYMENT_PENDING && payment->status == OCQ_PAYMENT_NONE)
		ocq_event_report_malformed(event, "is about a payment that was never requested");
	payment->status = to;
	payment->version = event->version;
	payment->updated_at = event->occurred_at;
	switch (to)
	{
		case OCQ_PAYMENT_PENDING:
			set_request(payment, event);
			break;
		case OCQ_PAYMENT_COMPLETED:
			payment->reference = ocq_event_text(event, "reference");
			payment->reason = NULL;
			break;
		case OCQ_PAYMENT_FAILED:
			payment->reason = ocq_event_text(event, "reason");
			break;
		case OCQ_PAYMENT_REFUNDED:
		case OCQ_PAYMENT_NONE:
			break;
	}
}

/*
 * ocq_payment_data builds the data of an event: a report has a key, a request and a refund
 * have not.  An amount that is NULL is left out.
 */
Jsonb *
ocq_payment_data(const char *key, const text *value, Numeric amount)
{
	JsonbParseState *state = NULL;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	if (key != NULL)
		ocq_json_push_text(&state, key, value);
	if (amount != NULL)
		ocq_json_push_numeric(&state, "amount", amount);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}
