/*-------------------------------------------------------------------------
 * order_commands.c
 *	  order_create, order_update, order_cancel, order_complete.
 *
 * Each builds the event that its arguments amount to, so that a repeated
 * command_id can be told from a reused one; order_handle.c does the rest.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/argument.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/json.h"
#include "base/statement.h"
#include "fmgr.h"
#include "order/order_handle.h"
#include "reference/reference.h"
#include "utils/builtins.h"

static OcqOrderItems
items_argument(FunctionCallInfo fcinfo, int argno, const text *order_id)
{
	return ocq_order_items_parse(ocq_argument_items(fcinfo, argno, order_id, NULL,
													"Pass a JSON array of at least one item."),
								 order_id);
}

/*
 * make_data builds the data of an event: customer_id, items with their total,
 * and reason, as far as the event has them.
 */
static Jsonb *
make_data(const text *customer_id, const OcqOrderItems *items, bool has_reason, const text *reason)
{
	JsonbPair	pairs[4];
	int			count = 0;
	JsonbValue	data;

	if (items != NULL)
		pairs[count++] = ocq_json_pair("items", ocq_order_items_value(items));
	if (has_reason)
		pairs[count++] = ocq_json_pair("reason", ocq_json_text(reason));
	if (customer_id != NULL)
		pairs[count++] = ocq_json_pair("customer_id", ocq_json_text(customer_id));
	if (items != NULL)
		pairs[count++] = ocq_json_pair("total_amount", ocq_json_numeric(items->total_amount));
	data = ocq_json_object(pairs, count);
	return JsonbValueToJsonb(&data);
}

static void
check_customer(text *tenant_id, text *customer_id, const text *order_id)
{
	OcqReference reference = {.tenant_id = tenant_id, .id = customer_id};

	ocq_reference_require(OCQ_REFERENCE_CUSTOMER, &reference, 1, order_id);
}

static void
check_products(text *tenant_id, const OcqOrderItems *items, const text *order_id)
{
	OcqReference *references = palloc_array(OcqReference, items->count);

	for (int i = 0; i < items->count; i++)
		references[i] = (OcqReference) {
		.tenant_id = tenant_id, .id = items->items[i].product_id
	};
	ocq_reference_require(OCQ_REFERENCE_PRODUCT, references, items->count, order_id);
}

/* order_create(order_id text, customer_id text, items jsonb, ...) */
Datum
ocq_order_create(PG_FUNCTION_ARGS)
{
	text	   *order_id = ocq_argument_id(fcinfo, 0, "order_id");
	text	   *customer_id = ocq_argument_id(fcinfo, 1, "customer_id");
	OcqOrderItems items = items_argument(fcinfo, 2, order_id);
	OcqOrderRequest request = ocq_order_request(OCQ_ORDER_CREATE,
												make_data(customer_id, &items, false, NULL));
	OcqCommand	command;

	request.items = &items;
	ocq_command_begin(&command, fcinfo, OCQ_SIGNATURE(order_create), OCQ_AGGREGATE_ORDER, order_id);
	check_customer(command.stream.tenant_id, customer_id, order_id);
	check_products(command.stream.tenant_id, &items, order_id);
	return ocq_command_finish(&command, fcinfo, ocq_order_handle_create(&command, &request));
}

/* order_update(order_id text, items jsonb, reason text, ...) */
Datum
ocq_order_update(PG_FUNCTION_ARGS)
{
	text	   *order_id = ocq_argument_id(fcinfo, 0, "order_id");
	OcqOrderItems items = items_argument(fcinfo, 1, order_id);
	OcqOrderRequest request = ocq_order_request(OCQ_ORDER_UPDATE,
												make_data(NULL, &items, true, ocq_argument_text(fcinfo, 2, "reason")));
	OcqCommand	command;

	request.items = &items;
	ocq_command_begin(&command, fcinfo, OCQ_SIGNATURE(order_update), OCQ_AGGREGATE_ORDER, order_id);
	check_products(command.stream.tenant_id, &items, order_id);
	return ocq_command_finish(&command, fcinfo, ocq_order_handle(&command, &request));
}

/* order_cancel(order_id text, reason text, ...) */
Datum
ocq_order_cancel(PG_FUNCTION_ARGS)
{
	text	   *order_id = ocq_argument_id(fcinfo, 0, "order_id");
	OcqOrderRequest request = ocq_order_request(OCQ_ORDER_CANCEL,
												make_data(NULL, NULL, true, ocq_argument_text(fcinfo, 1, "reason")));

	return ocq_order_run(fcinfo, OCQ_SIGNATURE(order_cancel), order_id, &request);
}

/* order_complete(order_id text, ...) */
Datum
ocq_order_complete(PG_FUNCTION_ARGS)
{
	text	   *order_id = ocq_argument_id(fcinfo, 0, "order_id");
	OcqOrderRequest request = ocq_order_request(OCQ_ORDER_COMPLETE,
												make_data(NULL, NULL, false, NULL));

	return ocq_order_run(fcinfo, OCQ_SIGNATURE(order_complete), order_id, &request);
}
