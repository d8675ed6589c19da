/*-------------------------------------------------------------------------
 * commands.c
 *	  order_create, order_update, order_cancel, order_complete.
 *
 * Each builds the event that its arguments amount to, so that a repeated
 * command_id can be told from a reused one, and then asks decide (order.c)
 * whether the order's state allows it.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/statement.h"
#include "fmgr.h"
#include "order/order.h"
#include "reference/reference.h"
#include "store/command.h"
#include "tenant/tenant.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(ocq_order_create);
PG_FUNCTION_INFO_V1(ocq_order_update);
PG_FUNCTION_INFO_V1(ocq_order_cancel);
PG_FUNCTION_INFO_V1(ocq_order_complete);

static OcqOrderItems
items_argument(FunctionCallInfo fcinfo, int argno, const text *order_id)
{
	if (PG_ARGISNULL(argno))
		ereport(ERROR,
				(errcode(OCQ_ERR_INVALID_ITEMS),
				 errmsg("items must not be null"),
				 errdetail("The order is \"%s\".", text_to_cstring(order_id)),
				 errhint("Pass a JSON array of at least one item.")));
	return ocq_order_items_parse(&PG_GETARG_JSONB_P(argno)->root, order_id);
}

static text *
reason_argument(FunctionCallInfo fcinfo, int argno)
{
	return PG_ARGISNULL(argno) ? NULL : PG_GETARG_TEXT_PP(argno);
}

static void
push_text(JsonbParseState **state, const char *name, const text *content)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = unconstify(char *, name);
	value.val.string.len = strlen(name);
	(void) pushJsonbValue(state, WJB_KEY, &value);
	if (content == NULL)
		value.type = jbvNull;
	else
	{
		value.val.string.val = VARDATA_ANY(content);
		value.val.string.len = VARSIZE_ANY_EXHDR(content);
	}
	(void) pushJsonbValue(state, WJB_VALUE, &value);
}

/*
 * make_data builds the data of an event: customer_id, items with their total,
 * and reason, as far as the event has them.
 */
static Jsonb *
make_data(const text *customer_id, const OcqOrderItems *items, bool has_reason, const text *reason)
{
	JsonbParseState *state = NULL;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	if (customer_id != NULL)
		push_text(&state, "customer_id", customer_id);
	if (items != NULL)
		ocq_order_items_push(&state, items);
	if (has_reason)
		push_text(&state, "reason", reason);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

static void
check_customer(text *tenant_id, text *customer_id, const text *order_id)
{
	OcqReference reference = {.tenant_id = tenant_id, .id = customer_id};

	ocq_reference_lookup(OCQ_REFERENCE_CUSTOMER, &reference, 1);
	if (!reference.found)
		ereport(ERROR,
				(errcode(OCQ_ERR_UNKNOWN_CUSTOMER),
				 errmsg("customer \"%s\" does not exist", text_to_cstring(customer_id)),
				 errdetail("Order \"%s\" of tenant \"%s\" names it.",
						   text_to_cstring(order_id), text_to_cstring(tenant_id)),
				 errhint("Register the customer with customer_put first.")));
}

static void
check_products(text *tenant_id, const OcqOrderItems *items, const text *order_id)
{
	OcqReference *references = palloc_array(OcqReference, items->count);

	for (int i = 0; i < items->count; i++)
		references[i] = (OcqReference) {
		.tenant_id = tenant_id, .id = items->items[i].product_id
	};
	ocq_reference_lookup(OCQ_REFERENCE_PRODUCT, references, items->count);
	for (int i = 0; i < items->count; i++)
		if (!references[i].found)
			ereport(ERROR,
					(errcode(OCQ_ERR_UNKNOWN_PRODUCT),
					 errmsg("product \"%s\" does not exist", text_to_cstring(references[i].id)),
					 errdetail("It is item %d of order \"%s\" of tenant \"%s\".",
							   i + 1, text_to_cstring(order_id), text_to_cstring(tenant_id)),
					 errhint("Register the product with product_put first.")));
}

pg_noreturn static void
report_refusal(const OcqCommand *command, OcqOrderRefusal refusal,
			   const OcqOrderState *state, OcqOrderCommandType type)
{
	static const char *const verbs[] = {
		[OCQ_ORDER_CREATE] = "created",
		[OCQ_ORDER_UPDATE] = "updated",
		[OCQ_ORDER_CANCEL] = "cancelled",
		[OCQ_ORDER_COMPLETE] = "completed",
	};
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
					 errhint("Choose another order_id, such as order_next_id(), or call order_update. To make a create repeatable, pass a command_id.")));
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
					 errmsg("order \"%s\" cannot be %s: its status is %s",
							order_id, verbs[type], ocq_order_status_name(state->status)),
					 errdetail("It belongs to tenant \"%s\" and is at version %d.",
							   tenant_id, state->version),
					 type == OCQ_ORDER_CANCEL ?
					 errhint("An order can be cancelled once.") :
					 errhint("Only an order whose status is PENDING can be %s.", verbs[type])));
			break;
		case OCQ_ORDER_ACCEPTED:
			break;
	}
	pg_unreachable();
}

/*
 * handle_on_stream is for a command that has read its stream: it returns the
 * version after it.
 */
static int32
handle_on_stream(const OcqCommand *command, OcqEvents stream, OcqOrderCommandType type,
				 const OcqNewEvent *event)
{
	OcqOrderState state;
	OcqOrderRefusal refusal;
	OcqOrderEventType decided;
	int32		version;

	if (ocq_command_was_handled(command, stream, event, 1, &version))
		return version;

	ocq_stream_check_complete(stream.items, stream.count);
	state = ocq_order_fold(stream.items, stream.count);
	refusal = ocq_order_decide(&state, type, &decided);
	if (refusal == OCQ_ORDER_REFUSED_NOT_FOUND || refusal == OCQ_ORDER_REFUSED_EXISTS)
		report_refusal(command, refusal, &state, type);
	ocq_command_check_expected(command, state.version);
	if (refusal != OCQ_ORDER_ACCEPTED)
		report_refusal(command, refusal, &state, type);
	Assert(ocq_text_is(event->type, ocq_order_event_name(decided)));

	ocq_command_append(command, &state, state.version, state.updated_at, event, 1);
	return state.version + 1;
}

/* append_first appends version 1 without a look at the stream, or returns false. */
static bool
append_first(const OcqCommand *command, const OcqNewEvent *event)
{
	OcqAppend	append = {.stream = &command->stream};

	if (command->has_expected_version && command->expected_version != 0)
		return false;
	return ocq_append(&append, 0, 0, event, 1, &command->envelope);
}

static OcqNewEvent
make_event(OcqOrderEventType type, Jsonb *data)
{
	return (OcqNewEvent) {cstring_to_text(ocq_order_event_name(type)), data};
}

/* order_create(order_id text, customer_id text, items jsonb, ...) */
Datum
ocq_order_create(PG_FUNCTION_ARGS)
{
	text	   *order_id = ocq_tenant_id_argument(fcinfo, 0, "order_id");
	text	   *customer_id = ocq_tenant_id_argument(fcinfo, 1, "customer_id");
	OcqOrderItems items = items_argument(fcinfo, 2, order_id);
	OcqNewEvent event = make_event(OCQ_ORDER_EVENT_CREATED,
								   make_data(customer_id, &items, false, NULL));
	OcqCommand	command;
	int32		version = 1;

	ocq_command_begin(&command, fcinfo, 3, OCQ_AGGREGATE_ORDER, order_id);
	check_customer(command.stream.tenant_id, customer_id, order_id);
	check_products(command.stream.tenant_id, &items, order_id);
	if (!append_first(&command, &event))
	{
		OcqEvents	stream = ocq_stream_read(&command.stream);

		version = handle_on_stream(&command, stream, OCQ_ORDER_CREATE, &event);
	}
	return ocq_command_finish(&command, fcinfo, version);
}

/* order_update(order_id text, items jsonb, reason text, ...) */
Datum
ocq_order_update(PG_FUNCTION_ARGS)
{
	text	   *order_id = ocq_tenant_id_argument(fcinfo, 0, "order_id");
	OcqOrderItems items = items_argument(fcinfo, 1, order_id);
	OcqNewEvent event = make_event(OCQ_ORDER_EVENT_UPDATED,
								   make_data(NULL, &items, true, reason_argument(fcinfo, 2)));
	OcqCommand	command;
	int32		version;

	ocq_command_begin(&command, fcinfo, 3, OCQ_AGGREGATE_ORDER, order_id);
	check_products(command.stream.tenant_id, &items, order_id);
	version = handle_on_stream(&command, ocq_stream_read(&command.stream),
							   OCQ_ORDER_UPDATE, &event);
	return ocq_command_finish(&command, fcinfo, version);
}

/* order_cancel(order_id text, reason text, ...) */
Datum
ocq_order_cancel(PG_FUNCTION_ARGS)
{
	text	   *order_id = ocq_tenant_id_argument(fcinfo, 0, "order_id");
	OcqNewEvent event = make_event(OCQ_ORDER_EVENT_CANCELLED,
								   make_data(NULL, NULL, true, reason_argument(fcinfo, 1)));
	OcqCommand	command;
	int32		version;

	ocq_command_begin(&command, fcinfo, 2, OCQ_AGGREGATE_ORDER, order_id);
	version = handle_on_stream(&command, ocq_stream_read(&command.stream),
							   OCQ_ORDER_CANCEL, &event);
	return ocq_command_finish(&command, fcinfo, version);
}

/* order_complete(order_id text, ...) */
Datum
ocq_order_complete(PG_FUNCTION_ARGS)
{
	text	   *order_id = ocq_tenant_id_argument(fcinfo, 0, "order_id");
	OcqNewEvent event = make_event(OCQ_ORDER_EVENT_COMPLETED, make_data(NULL, NULL, false, NULL));
	OcqCommand	command;
	int32		version;

	ocq_command_begin(&command, fcinfo, 1, OCQ_AGGREGATE_ORDER, order_id);
	version = handle_on_stream(&command, ocq_stream_read(&command.stream),
							   OCQ_ORDER_COMPLETE, &event);
	return ocq_command_finish(&command, fcinfo, version);
}
