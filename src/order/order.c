/*-------------------------------------------------------------------------
 * order.c
 *	  The rules of the order: decide and evolve.
 *
 *	decide(state, command) -> event, or a refusal
 *	evolve(state, event)   -> state
 *
 * Neither reads or writes the database.  What holds for the arguments of a
 * command by themselves (quantities, prices, known products) is checked before
 * decide is asked.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/errors.h"
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
	[OCQ_ORDER_EVENT_CREATED] = "OrderCreated",
	[OCQ_ORDER_EVENT_UPDATED] = "OrderUpdated",
	[OCQ_ORDER_EVENT_CANCELLED] = "OrderCancelled",
	[OCQ_ORDER_EVENT_COMPLETED] = "OrderCompleted",
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

/*
 * ocq_order_decide says which event the command leads to, or why it is refused.
 */
OcqOrderRefusal
ocq_order_decide(const OcqOrderState *state, OcqOrderCommandType command,
				 OcqOrderEventType *event)
{
	bool		exists = state->version > 0;

	if (command == OCQ_ORDER_CREATE)
	{
		*event = OCQ_ORDER_EVENT_CREATED;
		return exists ? OCQ_ORDER_REFUSED_EXISTS : OCQ_ORDER_ACCEPTED;
	}

	if (!exists)
		return OCQ_ORDER_REFUSED_NOT_FOUND;

	switch (command)
	{
		case OCQ_ORDER_UPDATE:
			*event = OCQ_ORDER_EVENT_UPDATED;
			return state->status == OCQ_ORDER_PENDING ?
				OCQ_ORDER_ACCEPTED : OCQ_ORDER_REFUSED_STATUS;
		case OCQ_ORDER_CANCEL:
			*event = OCQ_ORDER_EVENT_CANCELLED;
			return state->status != OCQ_ORDER_CANCELLED ?
				OCQ_ORDER_ACCEPTED : OCQ_ORDER_REFUSED_STATUS;
		case OCQ_ORDER_COMPLETE:
			*event = OCQ_ORDER_EVENT_COMPLETED;
			return state->status == OCQ_ORDER_PENDING ?
				OCQ_ORDER_ACCEPTED : OCQ_ORDER_REFUSED_STATUS;
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

/* get_value returns a value of an event's data, of a type that must be as expected. */
static JsonbValue
get_value(const OcqEvent *event, const char *key, enum jbvType type)
{
	JsonbValue	value;

	if (!JB_ROOT_IS_OBJECT(event->data) ||
		getKeyJsonValueFromContainer(&event->data->root, key, strlen(key), &value) == NULL ||
		value.type != type)
		ocq_event_report_malformed(event, psprintf("has no valid \"%s\"", key));
	return value;
}

static void
set_items(OcqOrderState *state, const OcqEvent *event)
{
	JsonbValue	items = get_value(event, "items", jbvBinary);

	state->items = items.val.binary.data;
	state->items_bytes = items.val.binary.len;
	state->items_version = event->version;
	state->item_count = JsonContainerSize(state->items);
	state->total_amount = get_value(event, "total_amount", jbvNumeric).val.numeric;
}

static void
set_customer(OcqOrderState *state, const OcqEvent *event)
{
	JsonbValue	customer = get_value(event, "customer_id", jbvString);

	state->customer_id = cstring_to_text_with_len(customer.val.string.val, customer.val.string.len);
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
	JsonbValue	value;

	value.type = jbvBinary;
	value.val.binary.data = state->items;
	value.val.binary.len = state->items_bytes;
	return JsonbValueToJsonb(&value);
}
