/*-------------------------------------------------------------------------
 * fulfilment_commands.c
 *	  The commands that fulfil an order: inventory_..., reservation_change,
 *	  payment_..., shipping_start.
 *
 * They act on the order's stream, as its rules (order.c) need the facts that they record.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/argument.h"
#include "base/errors.h"
#include "fmgr.h"
#include "order/order_handle.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

/* No total of an order is greater, or has more digits after the point. */
#define AMOUNT_LIMIT "1e30"
#define AMOUNT_SCALE 6

/* handle is for a command on order_id, argument 0. */
static Datum
handle(FunctionCallInfo fcinfo, OcqSignature signature, const OcqOrderRequest *request)
{
	return ocq_order_run(fcinfo, signature, ocq_argument_id(fcinfo, 0, "order_id"), request);
}

static Datum
handle_simple(FunctionCallInfo fcinfo, OcqSignature signature, OcqOrderCommandType type)
{
	OcqOrderRequest request = ocq_order_request(type, NULL);

	return handle(fcinfo, signature, &request);
}

/* inventory_reserve(order_id text, ...) */
Datum
ocq_inventory_reserve(PG_FUNCTION_ARGS)
{
	return handle_simple(fcinfo, OCQ_SIGNATURE(inventory_reserve), OCQ_ORDER_RESERVE_INVENTORY);
}

/* reservation_change(order_id text, items jsonb, ...) */
Datum
ocq_reservation_change(PG_FUNCTION_ARGS)
{
	OcqOrderRequest request = ocq_order_request(OCQ_ORDER_CHANGE_RESERVATION, NULL);
	OcqStockLines lines;

	lines = ocq_stock_lines_parse(ocq_argument_items(fcinfo, 1, NULL, "They are what the order shall hold.",
													 "Pass a JSON array of at least one item, or call inventory_release."));
	request.stock = &lines;
	request.event.data = ocq_reservation_data(NULL, &lines);
	return handle(fcinfo, OCQ_SIGNATURE(reservation_change), &request);
}

/* inventory_release(order_id text, ...) */
Datum
ocq_inventory_release(PG_FUNCTION_ARGS)
{
	return handle_simple(fcinfo, OCQ_SIGNATURE(inventory_release), OCQ_ORDER_RELEASE_INVENTORY);
}

/* payment_process(order_id text, ...) */
Datum
ocq_payment_process(PG_FUNCTION_ARGS)
{
	return handle_simple(fcinfo, OCQ_SIGNATURE(payment_process), OCQ_ORDER_REQUEST_PAYMENT);
}

/* amount_problem returns a description of the problem with an amount, or NULL. */
static const char *
amount_problem(Numeric amount)
{
	Datum		value = NumericGetDatum(amount);
	Datum		zero = NumericGetDatum(int64_to_numeric(0));
	Datum		limit = DirectFunctionCall3(numeric_in, CStringGetDatum(AMOUNT_LIMIT),
											ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));

	if (numeric_is_nan(amount) || numeric_is_inf(amount))
		return "must be a number";
	if (DatumGetBool(DirectFunctionCall2(numeric_lt, value, zero)))
		return "must not be negative";
	if (DatumGetBool(DirectFunctionCall2(numeric_ge, value, limit)))
		return "is too large";
	return DatumGetInt32(DirectFunctionCall1(numeric_min_scale, value)) > AMOUNT_SCALE ?
		"has too many digits after the decimal point" : NULL;
}

/* amount_argument returns the amount without trailing zeros, or NULL. */
static Numeric
amount_argument(FunctionCallInfo fcinfo, int argno)
{
	const char *problem;

	if (PG_ARGISNULL(argno))
		return NULL;
	problem = amount_problem(PG_GETARG_NUMERIC(argno));
	if (problem != NULL)
		ereport(ERROR,
				(errcode(OCQ_ERR_INVALID_ARGUMENT),
				 errmsg("amount %s", problem),
				 errdetail("It is what the payment is of."),
				 errhint("Pass a number from 0 to below %s with at most %d digits after the decimal point, or leave the amount out.",
						 AMOUNT_LIMIT, AMOUNT_SCALE)));
	return DatumGetNumeric(DirectFunctionCall1(numeric_trim_scale, PG_GETARG_DATUM(argno)));
}

/*
 * handle_payment is for a command with an amount.  remark is the name of argument 1, or
 * NULL.  The event gets only the data that follow from the arguments; the amount is
 * recorded even if it was left out.
 */
static Datum
handle_payment(FunctionCallInfo fcinfo, OcqSignature signature, OcqOrderCommandType type,
			   const char *remark, int amount_argno)
{
	text	   *value = remark == NULL ? NULL : ocq_argument_text(fcinfo, 1, remark);
	Numeric		amount = amount_argument(fcinfo, amount_argno);
	OcqOrderRequest request = ocq_order_request(type, ocq_payment_data(remark, value, amount));

	request.remark = value;
	request.amount = amount;
	request.event.is_partial = true;
	return handle(fcinfo, signature, &request);
}

/* payment_complete(order_id text, reference text, ..., amount numeric) */
Datum
ocq_payment_complete(PG_FUNCTION_ARGS)
{
	return handle_payment(fcinfo, OCQ_SIGNATURE(payment_complete), OCQ_ORDER_COMPLETE_PAYMENT,
						  "reference", OCQ_NAMED_ARG(payment_complete));
}

/* payment_fail(order_id text, reason text, ..., amount numeric) */
Datum
ocq_payment_fail(PG_FUNCTION_ARGS)
{
	return handle_payment(fcinfo, OCQ_SIGNATURE(payment_fail), OCQ_ORDER_FAIL_PAYMENT,
						  "reason", OCQ_NAMED_ARG(payment_fail));
}

/* payment_refund(order_id text, ..., amount numeric) */
Datum
ocq_payment_refund(PG_FUNCTION_ARGS)
{
	return handle_payment(fcinfo, OCQ_SIGNATURE(payment_refund), OCQ_ORDER_REFUND_PAYMENT,
						  NULL, OCQ_NAMED_ARG(payment_refund));
}

/* shipping_start(order_id text, ...) */
Datum
ocq_shipping_start(PG_FUNCTION_ARGS)
{
	return handle_simple(fcinfo, OCQ_SIGNATURE(shipping_start), OCQ_ORDER_START_SHIPPING);
}
