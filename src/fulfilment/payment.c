/*-------------------------------------------------------------------------
 * payment.c
 *	  The payment of an order: its states, and what moves between them.
 *
 *	NONE ------> PENDING ------> COMPLETED ------> REFUNDED
 *				  |   ^
 *				  v   |
 *				 FAILED
 *
 * The provider is outside.  An application reads which payments are PENDING,
 * has them made, and reports the outcome.  No SQL, no I/O.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/json.h"
#include "fulfilment/fulfilment.h"
#include "store/store.h"

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
			payment->amount = ocq_event_value(event, "amount", jbvNumeric).val.numeric;
			payment->requested_at = event->occurred_at;
			payment->reference = NULL;
			payment->reason = NULL;
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

/* ocq_payment_amount_data builds the data of a request and of a refund. */
Jsonb *
ocq_payment_amount_data(Numeric amount)
{
	JsonbParseState *state = NULL;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	ocq_json_push_numeric(&state, "amount", amount);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

static Jsonb *
text_data(const char *key, const text *value)
{
	JsonbParseState *state = NULL;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	ocq_json_push_text(&state, key, value);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

Jsonb *
ocq_payment_completed_data(const text *reference)
{
	return text_data("reference", reference);
}

Jsonb *
ocq_payment_failed_data(const text *reason)
{
	return text_data("reason", reason);
}
