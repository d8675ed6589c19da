/*-------------------------------------------------------------------------
 * step.c
 *	  The step of an order in the saga.
 *
 * The step follows from the order's state alone, and so from its events.  An event makes
 * the saga look; the state that it finds may be newer than the event, and decides.  So
 * nothing has to be remembered that could disagree with the events.
 * No SQL, no I/O.  The diagram is in README.md.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "saga/saga.h"

static const char *const step_names[] = {
	[OCQ_SAGA_RESERVE_INVENTORY] = "RESERVE_INVENTORY",
	[OCQ_SAGA_AWAIT_PAYMENT] = "AWAIT_PAYMENT",
	[OCQ_SAGA_COMPLETE_ORDER] = "COMPLETE_ORDER",
	[OCQ_SAGA_CANCEL_ORDER] = "CANCEL_ORDER",
	[OCQ_SAGA_COMPENSATE] = "COMPENSATE",
	[OCQ_SAGA_SHIPPED] = "SHIPPED",
	[OCQ_SAGA_CANCELLED] = "CANCELLED",
	[OCQ_SAGA_ENDED] = "ENDED",
	[OCQ_SAGA_FAILED] = "FAILED",
};

const char *
ocq_saga_step_name(OcqSagaStep step)
{
	return step_names[step];
}

OcqSagaStep
ocq_saga_step_of_name(const char *name)
{
	for (int i = 0; i < (int) lengthof(step_names); i++)
		if (strcmp(name, step_names[i]) == 0)
			return (OcqSagaStep) i;
	elog(ERROR, "unknown step in order_cqrs.order_saga");
}

bool
ocq_saga_is_over(OcqSagaStep step)
{
	return step == OCQ_SAGA_SHIPPED || step == OCQ_SAGA_CANCELLED ||
		step == OCQ_SAGA_ENDED || step == OCQ_SAGA_FAILED;
}

/* ocq_saga_step returns the step that comes next, or that has to wait. */
OcqSagaStep
ocq_saga_step(const OcqOrderState *order)
{
	if (order->status == OCQ_ORDER_CANCELLED)
		return OCQ_SAGA_CANCELLED;

	/* Shipped by hand before it was paid: the payment is waited for all the same. */
	if (order->is_shipped)
		return order->payment.status == OCQ_PAYMENT_PENDING ?
			OCQ_SAGA_AWAIT_PAYMENT : OCQ_SAGA_SHIPPED;

	switch (order->payment.status)
	{
		case OCQ_PAYMENT_NONE:

			/* Completed by hand, without a payment: so will the rest be. */
			return order->status == OCQ_ORDER_PENDING ?
				OCQ_SAGA_RESERVE_INVENTORY : OCQ_SAGA_ENDED;
		case OCQ_PAYMENT_PENDING:
			return OCQ_SAGA_AWAIT_PAYMENT;
		case OCQ_PAYMENT_COMPLETED:
			return OCQ_SAGA_COMPLETE_ORDER;
		case OCQ_PAYMENT_FAILED:
			return OCQ_SAGA_CANCEL_ORDER;
		case OCQ_PAYMENT_REFUNDED:

			/* By hand, as the saga refunds with a cancellation only. */
			return OCQ_SAGA_ENDED;
	}
	pg_unreachable();
}
