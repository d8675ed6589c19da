/*-------------------------------------------------------------------------
 * order_handle.c
 *	  Handling a command on an order, once its arguments are checked.
 *
 *	read the stream, fold it			(a create does without at first)
 *	decide (order.c)					which events, or a refusal
 *	make the events						claims stock for those that reserve
 *	append
 *
 * The events of one command are appended by one statement.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/statement.h"
#include "order/order_handle.h"
#include "store/notify.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

/* The reason that a cancellation gives for the failure of the payment that was still to come. */
#define REASON_CANCELLED "Order cancelled"

/* The first event of each command, by which a repetition of the command is known. */
static const OcqOrderEventType first_events[] = {
#define OCQ_ORDER_COMMAND(routine, message, symbol, event, verb, comment, ...) \
	[OCQ_ORDER_##symbol] = OCQ_ORDER_EVENT_##event,
#include "catalogue/commandlist.h"
};

static text *
event_text(OcqOrderEventType type)
{
	return cstring_to_text(ocq_order_event_name(type));
}

OcqOrderRequest
ocq_order_request(OcqOrderCommandType type, Jsonb *data)
{
	return (OcqOrderRequest) {
		.type = type,
		.event = {event_text(first_events[type]), data, .is_partial = data == NULL}
	};
}

/* The events that a decision has led to, and the claim that may stand in their way. */
typedef struct Draft
{
	OcqNewEvent events[lengthof(((OcqOrderDecision *) NULL)->events)];
	int			count;
	OcqClaim	claim;
} Draft;

static OcqStockLines
wanted_stock(const OcqOrderState *state, const OcqOrderRequest *request)
{
	OcqOrderItems items;

	if (request->stock != NULL)
		return *request->stock;
	if (request->items != NULL)
		return ocq_order_items_stock(request->items);
	items = ocq_order_items_of_state(state);
	return ocq_order_items_stock(&items);
}

/*
 * reserve returns the data of an event that makes or changes the reservation, or NULL if it
 * would change nothing.
 */
static Jsonb *
reserve(Draft *draft, const OcqCommand *command, const OcqOrderState *state,
		const OcqOrderRequest *request)
{
	OcqStockLines wanted = wanted_stock(state, request);
	OcqStockLines held = ocq_reservation_held(&state->reservation);

	draft->claim = ocq_stock_claim(command->stream.tenant_id, &wanted, &held);
	if (ocq_stock_lines_equal(&draft->claim.reserved, &held))
		return NULL;
	return ocq_reservation_data(&draft->claim.reserved, request->stock);
}

static Jsonb *
empty_data(void)
{
	JsonbParseState *state = NULL;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* request_payment returns NULL if an update leaves the requested amount as it is. */
static Jsonb *
request_payment(const OcqOrderState *state, const OcqOrderRequest *request)
{
	Numeric		amount = request->items != NULL ? request->items->total_amount : state->total_amount;

	if (state->payment.status == OCQ_PAYMENT_PENDING &&
		DatumGetBool(DirectFunctionCall2(numeric_eq, NumericGetDatum(amount),
										 NumericGetDatum(state->payment.amount))))
		return NULL;
	return ocq_payment_data(NULL, NULL, amount);
}

/* make_data returns NULL if the event is not needed after all. */
static Jsonb *
make_data(Draft *draft, OcqOrderEventType type, const OcqCommand *command,
		  const OcqOrderState *state, const OcqOrderRequest *request)
{
	switch (type)
	{
		case OCQ_ORDER_EVENT_INVENTORY_RESERVED:
		case OCQ_ORDER_EVENT_RESERVATION_CHANGED:
			return reserve(draft, command, state, request);
		case OCQ_ORDER_EVENT_PAYMENT_REQUESTED:
			return request_payment(state, request);
		case OCQ_ORDER_EVENT_PAYMENT_COMPLETED:
			return ocq_payment_data("reference", request->remark, state->payment.amount);
		case OCQ_ORDER_EVENT_PAYMENT_FAILED:
			return ocq_payment_data("reason", request->type == OCQ_ORDER_FAIL_PAYMENT ? request->remark :
									cstring_to_text(REASON_CANCELLED), state->payment.amount);
		case OCQ_ORDER_EVENT_PAYMENT_REFUNDED:
			return ocq_payment_data(NULL, NULL, state->payment.amount);
		default:
			return empty_data();
	}
}

static Draft
make_draft(const OcqOrderDecision *decision, const OcqCommand *command,
		   const OcqOrderState *state, const OcqOrderRequest *request)
{
	Draft		draft = {0};

	for (int i = 0; i < decision->count; i++)
	{
		OcqOrderEventType type = decision->events[i];
		OcqNewEvent event = {.type = event_text(type), .is_partial = true};

		if (type == first_events[request->type] && !request->event.is_partial)
			event = request->event;
		else
			event.data = make_data(&draft, type, command, state, request);
		if (event.data != NULL)
			draft.events[draft.count++] = event;
	}
	return draft;
}

/*
 * leave_trace has a command that finds nothing to do append its event all the same
 * if it has an id, so that a repetition is known as such.  It returns whether it does.
 */
static bool
leave_trace(Draft *draft, const OcqCommand *command, const OcqOrderState *state,
			const OcqOrderRequest *request)
{
	OcqStockLines held = ocq_reservation_held(&state->reservation);

	if (draft->count > 0 || command->envelope.command_id == NULL)
		return false;
	draft->events[0] = request->event;
	draft->events[0].data = request->type == OCQ_ORDER_RELEASE_INVENTORY ?
		empty_data() : ocq_reservation_data(&held, request->stock);
	draft->count = 1;
	return true;
}

/*
 * notify is given the state before the events.  The state of a new order has no customer
 * yet, but its first event names one.
 */
static void
notify(const OcqCommand *command, const OcqOrderState *before, const Draft *draft)
{
	OcqEvent	first = {
		.stream = command->stream, .version = before->version + 1,
		.type = draft->events[0].type, .data = draft->events[0].data
	};

	if (ocq_notify)
		ocq_notify_change(&command->stream, "order_id",
						  before->customer_id != NULL ? before->customer_id :
						  ocq_event_text(&first, "customer_id"),
						  before->version + draft->count, first.type);
}

/*
 * reserves_at_once tells whether a create or update claims its stock itself.  Where the
 * saga claims it, it has done so by the time it requests the payment.
 */
static bool
reserves_at_once(const OcqOrderState *state)
{
	return ocq_reserve_on == OCQ_RESERVE_ON_CREATE ||
		(ocq_reserve_on == OCQ_RESERVE_ON_SAGA && state->payment.status != OCQ_PAYMENT_NONE);
}

/*
 * may_recur tells whether an order can be sent a command without end.  The others bring it
 * nearer to its end, so they have to fit in any stream.
 */
static bool
may_recur(const OcqOrderRequest *request, bool is_trace)
{
	return is_trace || request->type == OCQ_ORDER_UPDATE ||
		request->type == OCQ_ORDER_RESERVE_INVENTORY || request->type == OCQ_ORDER_CHANGE_RESERVATION ||
		request->type == OCQ_ORDER_REQUEST_PAYMENT;
}

/* ocq_order_handle returns the stream's version after the command. */
int32
ocq_order_handle(const OcqCommand *command, const OcqOrderRequest *request)
{
	OcqEvents	stream = ocq_stream_read(&command->stream);
	OcqOrderState state;
	OcqOrderDecision decision;
	Draft		draft;
	int32		version;

	if (ocq_command_was_handled(command, stream, &request->event, 1, true, &version))
		return version;

	ocq_stream_check_complete(stream.items, stream.count);
	state = ocq_order_fold(stream.items, stream.count);
	decision = ocq_order_decide(&state, request->type, reserves_at_once(&state), request->amount);
	if (decision.refusal == OCQ_ORDER_REFUSED_NOT_FOUND ||
		decision.refusal == OCQ_ORDER_REFUSED_EXISTS)
		ocq_order_report_refusal(command, decision.refusal, &state, request);
	ocq_command_check_expected(command, state.version);
	if (decision.refusal != OCQ_ORDER_ACCEPTED)
		ocq_order_report_refusal(command, decision.refusal, &state, request);

	draft = make_draft(&decision, command, &state, request);
	if (draft.claim.nshortages > 0)
		ocq_stock_report_shortages(&draft.claim, &command->stream);
	if (may_recur(request, leave_trace(&draft, command, &state, request)))
		ocq_stream_check_room(&command->stream, stream);
	if (draft.count > 0)
	{
		OcqOrderKnown known = {state, request->items};

		ocq_command_append(command, &known, state.version, state.updated_at,
						   draft.events, draft.count);
		notify(command, &state, &draft);
	}
	return state.version + draft.count;
}

/*
 * append_first appends to a stream that it has not looked at, and returns the new
 * version, or 0 if there is more to it: it may be a repetition of the command.
 */
static int32
append_first(const OcqCommand *command, const OcqOrderRequest *request)
{
	OcqOrderKnown known = {.items = request->items};
	const OcqOrderState *nothing = &known.before;
	OcqOrderDecision decision = ocq_order_decide(nothing, OCQ_ORDER_CREATE, reserves_at_once(nothing),
												 NULL);
	Draft		draft = make_draft(&decision, command, nothing, request);
	OcqAppend	append = {
		.stream = &command->stream, .known = &known, .events = draft.events, .count = draft.count,
		.report_taken = command->envelope.command_id == NULL ? ocq_order_report_exists : NULL
	};

	/* An order that exists has a better error than the stock that it lacks. */
	if (draft.claim.nshortages > 0 ||
		(command->has_expected_version && command->expected_version != 0))
		return 0;
	if (!ocq_append(&append, 0, &command->envelope))
		return 0;
	notify(command, nothing, &draft);
	return draft.count;
}

/* ocq_order_handle_create does without reading the stream unless it turns out to exist. */
int32
ocq_order_handle_create(const OcqCommand *command, const OcqOrderRequest *request)
{
	int32		version = append_first(command, request);

	return version > 0 ? version : ocq_order_handle(command, request);
}

/* ocq_order_run is the rest of a command's C function, once its own arguments have been read. */
Datum
ocq_order_run(FunctionCallInfo fcinfo, OcqSignature signature, text *order_id,
			  const OcqOrderRequest *request)
{
	OcqCommand	command;

	ocq_command_begin(&command, fcinfo, signature, OCQ_AGGREGATE_ORDER, order_id);
	return ocq_command_finish(&command, fcinfo, ocq_order_handle(&command, request));
}
