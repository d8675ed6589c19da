/*-------------------------------------------------------------------------
 * order_refusals.c
 *	  The errors of commands that an order refuses.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/errors.h"
#include "order/order_handle.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define HINT_EXISTS \
	"Choose another order_id, such as order_next_id(), or call order_update. To make a create repeatable, pass a command_id."

/* For "cannot be ...". */
static const char *const verbs[] = {
#define OCQ_ORDER_COMMAND(routine, message, symbol, event, verb, comment, ...) \
	[OCQ_ORDER_##symbol] = verb,
#include "catalogue/commandlist.h"
};

static const char *
hint_for_status(OcqOrderCommandType type, OcqOrderStatus status)
{
	switch (type)
	{
		case OCQ_ORDER_CANCEL:
			return "An order can be cancelled once.";
		case OCQ_ORDER_START_SHIPPING:
			return "Only an order whose status is COMPLETED can be shipped.";
		case OCQ_ORDER_UPDATE:
		case OCQ_ORDER_COMPLETE:
			return psprintf("Only an order whose status is PENDING can be %s.", verbs[type]);
		default:
			return status == OCQ_ORDER_CANCELLED ? "A cancelled order needs neither stock nor payment." :
				"The status of the order does not allow the command.";
	}
}

pg_noreturn static void
report_payment(const OcqOrderState *state, OcqOrderCommandType type)
{
	char	   *order_id = text_to_cstring(state->order_id);
	const char *status = ocq_payment_status_name(state->payment.status);

	ereport(ERROR,
			(errcode(OCQ_ERR_PAYMENT_STATE),
			 type == OCQ_ORDER_UPDATE ?
			 errmsg("order \"%s\" cannot be updated: its payment is %s", order_id, status) :
			 errmsg("payment of order \"%s\" cannot be %s: it is %s", order_id, verbs[type], status),
			 errdetail("The order belongs to tenant \"%s\", has status %s and is at version %d.",
					   text_to_cstring(state->tenant_id), ocq_order_status_name(state->status),
					   state->version),
			 errhint("A payment is requested by payment_process; while PENDING it can be completed or failed, and once COMPLETED refunded.")));
}

static char *
amount_text(Numeric amount)
{
	return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(amount)));
}

/* hint_for_amount names the remedy for a payment that was not requested, or not of this amount. */
static char *
hint_for_amount(const OcqPayment *payment, const OcqOrderRequest *request)
{
	char	   *requested = amount_text(payment->amount);

	if (request->type == OCQ_ORDER_REFUND_PAYMENT)
		return psprintf("A payment is refunded as a whole: pass amount => %s, or leave it out.", requested);
	if (request->amount == NULL)
		return "Pass the amount that the report is about, as amount => ...; reports on an earlier request are refused.";
	if (request->type == OCQ_ORDER_FAIL_PAYMENT)
		return "The report is about an earlier request, and can be dropped; payment_requests has the payments that are due.";
	return "Return what was paid for an earlier request at the provider; payment_requests has the payments that are due.";
}

pg_noreturn static void
report_amount(const OcqOrderState *state, const OcqOrderRequest *request)
{
	const OcqPayment *payment = &state->payment;
	char	   *order_id = text_to_cstring(state->order_id);

	ereport(ERROR,
			(errcode(OCQ_ERR_PAYMENT_AMOUNT),
			 request->amount == NULL ?
			 errmsg("payment of order \"%s\" cannot be %s without its amount, which has changed",
					order_id, verbs[request->type]) :
			 errmsg("payment of order \"%s\" cannot be %s: its amount is not %s",
					order_id, verbs[request->type], amount_text(request->amount)),
			 errdetail("The amount requested last is %s. Order \"%s\" belongs to tenant \"%s\" and is at version %d.",
					   amount_text(payment->amount), order_id, text_to_cstring(state->tenant_id),
					   state->version),
			 errhint("%s", hint_for_amount(payment, request))));
}

void
ocq_order_report_refusal(const OcqCommand *command, OcqOrderRefusal refusal,
						 const OcqOrderState *state, const OcqOrderRequest *request)
{
	OcqOrderCommandType type = request->type;
	char	   *order_id = text_to_cstring(command->stream.aggregate_id);
	char	   *tenant_id = text_to_cstring(command->stream.tenant_id);

	switch (refusal)
	{
		case OCQ_ORDER_REFUSED_EXISTS:
			ereport(ERROR,
					(errcode(OCQ_ERR_ORDER_EXISTS),
					 errmsg("order \"%s\" exists already", order_id),
					 errdetail("It belongs to tenant \"%s\", has status %s and is at version %d.",
							   tenant_id, ocq_order_status_name(state->status), state->version),
					 errhint(HINT_EXISTS)));
			break;
		case OCQ_ORDER_REFUSED_NOT_FOUND:
			ereport(ERROR,
					(errcode(OCQ_ERR_ORDER_NOT_FOUND),
					 errmsg("order \"%s\" does not exist", order_id),
					 errdetail("Tenant \"%s\" has no order with this id.", tenant_id),
					 errhint("Check the id and the tenant (tenant_id, or the setting order_cqrs.tenant_id).")));
			break;
		case OCQ_ORDER_REFUSED_STATUS:
			ereport(ERROR,
					(errcode(OCQ_ERR_ORDER_STATE),
					 errmsg("order \"%s\" cannot be %s: its status is %s", order_id,
							type == OCQ_ORDER_REQUEST_PAYMENT ? "paid" : verbs[type],
							ocq_order_status_name(state->status)),
					 errdetail("It belongs to tenant \"%s\" and is at version %d.",
							   tenant_id, state->version),
					 errhint("%s", hint_for_status(type, state->status))));
			break;
		case OCQ_ORDER_REFUSED_PAYMENT:
			report_payment(state, type);
			break;
		case OCQ_ORDER_REFUSED_AMOUNT:
			report_amount(state, request);
			break;
		case OCQ_ORDER_REFUSED_SHIPPED:
			ereport(ERROR,
					(errcode(OCQ_ERR_ORDER_SHIPPED),
					 errmsg("order \"%s\" cannot be %s: it has been shipped", order_id, verbs[type]),
					 errdetail("It belongs to tenant \"%s\" and is at version %d; shipping started at %s.",
							   tenant_id, state->version, timestamptz_to_str(state->shipped_at)),
					 errhint("What has left can be taken back outside of this order only; payment_refund returns the money.")));
			break;
		case OCQ_ORDER_ACCEPTED:
			break;
	}
	pg_unreachable();
}

/*
 * ocq_order_report_exists knows only the key that exists already: it is too late to read
 * the order.
 */
void
ocq_order_report_exists(const OcqAppend *append)
{
	ereport(ERROR,
			(errcode(OCQ_ERR_ORDER_EXISTS),
			 errmsg("order \"%s\" exists already", text_to_cstring(append->stream->aggregate_id)),
			 errdetail("It belongs to tenant \"%s\".", text_to_cstring(append->stream->tenant_id)),
			 errhint(HINT_EXISTS)));
}
