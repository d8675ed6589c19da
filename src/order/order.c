/*-------------------------------------------------------------------------
 * order.c
 *	  The rules of the order: decide and evolve.
 *
 *	decide(state, command) -> event, or a refusal
 *	evolve(state, event)   -> state
 *
 * Neither reads or writes the database.  Rules for the arguments of a command by
 * themselves (quantities, prices, known products) are checked before decide is called,
 * and the stock for a reservation after it.
 *
 * Payment, reservation and shipping are part of the order, as its rules need them: an
 * order that is shipped cannot be cancelled, and cancelling one that is paid refunds it.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/json.h"
#include "base/statement.h"
#include "order/order.h"
#include "store/store.h"
#include "utils/builtins.h"

static const char *const status_names[] = {
	[OCQ_ORDER_PENDING] = "PENDING",
	[OCQ_ORDER_COMPLETED] = "COMPLETED",
	[OCQ_ORDER_CANCELLED] = "CANCELLED",
};

static const char *const event_names[] = {
#define OCQ_ORDER_EVENT(symbol, name) [OCQ_ORDER_EVENT_##symbol] = name,
#include "catalogue/commandlist.h"
};

const char *
ocq_order_status_name(OcqOrderStatus status)
{
	return status_names[status];
}

const char *
ocq_order_event_name(OcqOrderEventType type)
{
	return event_names[type];
}

static OcqOrderDecision
refuse(OcqOrderRefusal refusal)
{
	return (OcqOrderDecision) {.refusal = refusal};
}

static OcqOrderDecision
accept(OcqOrderEventType event)
{
	return (OcqOrderDecision) {.events = {event}, .count = 1};
}

static void
add(OcqOrderDecision *decision, OcqOrderEventType event)
{
	Assert(decision->count < (int) lengthof(decision->events));
	decision->events[decision->count++] = event;
}

static OcqOrderDecision
decide_create(const OcqOrderState *state, bool reserves)
{
	OcqOrderDecision decision = accept(OCQ_ORDER_EVENT_CREATED);

	if (state->version > 0)
		return refuse(OCQ_ORDER_REFUSED_EXISTS);
	if (reserves)
		add(&decision, OCQ_ORDER_EVENT_INVENTORY_RESERVED);
	return decision;
}

/* The requested amount is the amount that the customer pays, so it follows the items. */
static OcqOrderDecision
decide_update(const OcqOrderState *state, bool reserves)
{
	OcqOrderDecision decision = accept(OCQ_ORDER_EVENT_UPDATED);

	if (state->status != OCQ_ORDER_PENDING)
		return refuse(OCQ_ORDER_REFUSED_STATUS);
	if (state->payment.status == OCQ_PAYMENT_COMPLETED)
		return refuse(OCQ_ORDER_REFUSED_PAYMENT);
	if (state->reservation.status == OCQ_RESERVATION_HELD)
		add(&decision, OCQ_ORDER_EVENT_RESERVATION_CHANGED);
	else if (reserves)
		add(&decision, OCQ_ORDER_EVENT_INVENTORY_RESERVED);
	if (state->payment.status == OCQ_PAYMENT_PENDING)
		add(&decision, OCQ_ORDER_EVENT_PAYMENT_REQUESTED);
	return decision;
}

static OcqOrderDecision
decide_cancel(const OcqOrderState *state)
{
	OcqOrderDecision decision = accept(OCQ_ORDER_EVENT_CANCELLED);

	if (state->status == OCQ_ORDER_CANCELLED)
		return refuse(OCQ_ORDER_REFUSED_STATUS);
	if (state->is_shipped)
		return refuse(OCQ_ORDER_REFUSED_SHIPPED);
	if (state->reservation.status == OCQ_RESERVATION_HELD)
		add(&decision, OCQ_ORDER_EVENT_INVENTORY_RELEASED);
	if (state->payment.status == OCQ_PAYMENT_PENDING)
		add(&decision, OCQ_ORDER_EVENT_PAYMENT_FAILED);
	else if (state->payment.status == OCQ_PAYMENT_COMPLETED)
		add(&decision, OCQ_ORDER_EVENT_PAYMENT_REFUNDED);
	return decision;
}

/* Reserving an order that holds its stock, and releasing one that holds none, needs no event. */
static OcqOrderDecision
decide_inventory(const OcqOrderState *state, OcqOrderCommandType command)
{
	bool		holds = state->reservation.status == OCQ_RESERVATION_HELD;

	if (command == OCQ_ORDER_RELEASE_INVENTORY)
		return holds ? accept(OCQ_ORDER_EVENT_INVENTORY_RELEASED) : (OcqOrderDecision) {0};
	if (state->is_shipped)
		return refuse(OCQ_ORDER_REFUSED_SHIPPED);
	if (state->status == OCQ_ORDER_CANCELLED)
		return refuse(OCQ_ORDER_REFUSED_STATUS);
	if (command == OCQ_ORDER_CHANGE_RESERVATION)
		return accept(OCQ_ORDER_EVENT_RESERVATION_CHANGED);
	return holds ? (OcqOrderDecision) {0} : accept(OCQ_ORDER_EVENT_INVENTORY_RESERVED);
}

/*
 * A payment that went through although its order had been cancelled meanwhile is a fact,
 * and is refunded at once.  An order whose money goes back before it has been shipped is
 * not shipped any more, so the stock that it holds goes back, too.
 *
 * A payment of an earlier request, of another amount, is not the price that the order has
 * now: a report of it neither completes nor fails the payment.
 */
static OcqOrderDecision
decide_payment(const OcqOrderState *state, OcqPaymentStatus to, OcqOrderEventType event,
			   Numeric amount)
{
	OcqOrderDecision decision = accept(event);
	bool		is_cancelled = state->status == OCQ_ORDER_CANCELLED;

	bool		comes_late = to == OCQ_PAYMENT_COMPLETED && is_cancelled &&
		state->payment.status == OCQ_PAYMENT_FAILED;

	if (to == OCQ_PAYMENT_PENDING && is_cancelled)
		return refuse(OCQ_ORDER_REFUSED_STATUS);
	if (!comes_late && !ocq_payment_allows(state->payment.status, to))
		return refuse(OCQ_ORDER_REFUSED_PAYMENT);
	if (to != OCQ_PAYMENT_PENDING && !ocq_payment_is_meant(&state->payment, to, amount))
		return refuse(OCQ_ORDER_REFUSED_AMOUNT);
	if (comes_late)
		add(&decision, OCQ_ORDER_EVENT_PAYMENT_REFUNDED);
	if (to == OCQ_PAYMENT_REFUNDED && state->reservation.status == OCQ_RESERVATION_HELD)
		add(&decision, OCQ_ORDER_EVENT_INVENTORY_RELEASED);
	return decision;
}

static OcqOrderDecision
decide_shipping(const OcqOrderState *state)
{
	if (state->is_shipped)
		return refuse(OCQ_ORDER_REFUSED_SHIPPED);
	return state->status == OCQ_ORDER_COMPLETED ?
		accept(OCQ_ORDER_EVENT_SHIPPING_STARTED) : refuse(OCQ_ORDER_REFUSED_STATUS);
}

/*
 * ocq_order_decide returns the events that the command leads to, or the reason of its
 * refusal.  With reserves, creating and updating an order claims stock for it.  amount is
 * the one that a report or a refund names; NULL if it names none.
 */
OcqOrderDecision
ocq_order_decide(const OcqOrderState *state, OcqOrderCommandType command, bool reserves,
				 Numeric amount)
{
	if (command == OCQ_ORDER_CREATE)
		return decide_create(state, reserves);
	if (state->version == 0)
		return refuse(OCQ_ORDER_REFUSED_NOT_FOUND);

	switch (command)
	{
		case OCQ_ORDER_UPDATE:
			return decide_update(state, reserves);
		case OCQ_ORDER_CANCEL:
			return decide_cancel(state);
		case OCQ_ORDER_COMPLETE:
			return state->status == OCQ_ORDER_PENDING ?
				accept(OCQ_ORDER_EVENT_COMPLETED) : refuse(OCQ_ORDER_REFUSED_STATUS);
		case OCQ_ORDER_RESERVE_INVENTORY:
		case OCQ_ORDER_CHANGE_RESERVATION:
		case OCQ_ORDER_RELEASE_INVENTORY:
			return decide_inventory(state, command);
		case OCQ_ORDER_REQUEST_PAYMENT:
			return decide_payment(state, OCQ_PAYMENT_PENDING, OCQ_ORDER_EVENT_PAYMENT_REQUESTED, NULL);
		case OCQ_ORDER_COMPLETE_PAYMENT:
			return decide_payment(state, OCQ_PAYMENT_COMPLETED, OCQ_ORDER_EVENT_PAYMENT_COMPLETED,
								  amount);
		case OCQ_ORDER_FAIL_PAYMENT:
			return decide_payment(state, OCQ_PAYMENT_FAILED, OCQ_ORDER_EVENT_PAYMENT_FAILED, amount);
		case OCQ_ORDER_REFUND_PAYMENT:
			return decide_payment(state, OCQ_PAYMENT_REFUNDED, OCQ_ORDER_EVENT_PAYMENT_REFUNDED,
								  amount);
		case OCQ_ORDER_START_SHIPPING:
			return decide_shipping(state);
		case OCQ_ORDER_CREATE:
			break;
	}
	pg_unreachable();
}

static OcqOrderEventType
event_type(const OcqEvent *event)
{
	for (int i = 0; i < OCQ_ORDER_EVENT_UNKNOWN; i++)
		if (ocq_text_is(event->type, event_names[i]))
			return (OcqOrderEventType) i;
	return OCQ_ORDER_EVENT_UNKNOWN;
}

static void
set_items(OcqOrderState *state, const OcqEvent *event)
{
	JsonbValue	items = ocq_event_value(event, "items", jbvBinary);

	state->items = items.val.binary.data;
	state->parsed_items = NULL;
	state->items_bytes = items.val.binary.len;
	state->items_version = event->version;
	state->item_count = JsonContainerSize(state->items);
	state->total_amount = ocq_event_value(event, "total_amount", jbvNumeric).val.numeric;
}

static void
set_customer(OcqOrderState *state, const OcqEvent *event)
{
	JsonbValue	customer = ocq_event_value(event, "customer_id", jbvString);

	state->customer_id = cstring_to_text_with_len(customer.val.string.val, customer.val.string.len);
}

static void
set_shipped(OcqOrderState *state, const OcqEvent *event)
{
	state->is_shipped = true;
	state->shipped_at = event->occurred_at;
	ocq_reservation_end(&state->reservation, OCQ_RESERVATION_SHIPPED, event);
}

/*
 * ocq_order_evolve applies one event.  The state points into the event's data
 * afterwards.  Event types that it does not know count a version and no more.
 */
void
ocq_order_evolve(OcqOrderState *state, const OcqEvent *event)
{
	OcqOrderEventType type = event_type(event);

	if (state->version == 0 && type != OCQ_ORDER_EVENT_CREATED)
		ocq_event_report_malformed(event, "is the first of its order, but not OrderCreated");

	switch (type)
	{
		case OCQ_ORDER_EVENT_CREATED:
			state->tenant_id = event->stream.tenant_id;
			state->order_id = event->stream.aggregate_id;
			state->status = OCQ_ORDER_PENDING;
			state->created_at = event->occurred_at;
			set_customer(state, event);
			set_items(state, event);
			break;
		case OCQ_ORDER_EVENT_UPDATED:
			set_items(state, event);
			break;
		case OCQ_ORDER_EVENT_CANCELLED:
			state->status = OCQ_ORDER_CANCELLED;
			break;
		case OCQ_ORDER_EVENT_COMPLETED:
			state->status = OCQ_ORDER_COMPLETED;
			break;
		case OCQ_ORDER_EVENT_INVENTORY_RESERVED:
		case OCQ_ORDER_EVENT_RESERVATION_CHANGED:
			ocq_reservation_hold(&state->reservation, event);
			break;
		case OCQ_ORDER_EVENT_INVENTORY_RELEASED:
			ocq_reservation_end(&state->reservation, OCQ_RESERVATION_RELEASED, event);
			break;
		case OCQ_ORDER_EVENT_PAYMENT_REQUESTED:
			ocq_payment_evolve(&state->payment, OCQ_PAYMENT_PENDING, event);
			break;
		case OCQ_ORDER_EVENT_PAYMENT_COMPLETED:
			ocq_payment_evolve(&state->payment, OCQ_PAYMENT_COMPLETED, event);
			break;
		case OCQ_ORDER_EVENT_PAYMENT_FAILED:
			ocq_payment_evolve(&state->payment, OCQ_PAYMENT_FAILED, event);
			break;
		case OCQ_ORDER_EVENT_PAYMENT_REFUNDED:
			ocq_payment_evolve(&state->payment, OCQ_PAYMENT_REFUNDED, event);
			break;
		case OCQ_ORDER_EVENT_SHIPPING_STARTED:
			set_shipped(state, event);
			break;
		case OCQ_ORDER_EVENT_UNKNOWN:
			break;
	}
	state->version = event->version;
	state->updated_at = event->occurred_at;
}

/* ocq_order_fold folds the events of one order, from its first. */
OcqOrderState
ocq_order_fold(const OcqEvent *events, int count)
{
	OcqOrderState state = {0};

	for (int i = 0; i < count; i++)
		ocq_order_evolve(&state, &events[i]);
	return state;
}

/* ocq_order_items_jsonb returns a copy of the items as a value of their own. */
Jsonb *
ocq_order_items_jsonb(const OcqOrderState *state)
{
	return ocq_json_of_container(state->items, state->items_bytes);
}
