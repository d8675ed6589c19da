/*-------------------------------------------------------------------------
 * stock_commands.c
 *	  The commands on the stock of a product: stock_receive, stock_adjust.
 *
 * Both append to the product's Inventory stream, whose last event holds the sums of
 * all.  stock_adjust takes away no more than is available: it locks the product's
 * row of "inventory", as a claim does (stock.c), after the lock of the stream.  A
 * claim takes no lock of an Inventory stream, so the two never deadlock.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/argument.h"
#include "base/errors.h"
#include "base/json.h"
#include "base/statement.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "stock/stock.h"
#include "reference/reference.h"
#include "store/command.h"
#include "utils/builtins.h"

static OcqStatement lock_product =
OCQ_STATEMENT("SELECT on_hand, reserved FROM order_cqrs.inventory"
			  " WHERE tenant_id = $1 AND product_id = $2 FOR NO KEY UPDATE",
			  TEXTOID, TEXTOID);

/* A change of a product's stock, as its command is handled. */
typedef struct StockChange
{
	text	   *product_id;
	int32		quantity;
	text	   *reason;			/* of an adjustment; else NULL */
} StockChange;

static bool
is_adjustment(const StockChange *change)
{
	return change->reason != NULL;
}

pg_noreturn static void
refuse_quantity(const text *product_id, const char *problem, const char *hint)
{
	ereport(ERROR,
			(errcode(OCQ_ERR_INVALID_QUANTITY),
			 errmsg("quantity %s", problem),
			 errdetail("The product is \"%s\".", text_to_cstring(product_id)),
			 errhint("%s", hint)));
}

static void
check_product(text *tenant_id, text *product_id)
{
	OcqReference reference = {.tenant_id = tenant_id, .id = product_id};

	ocq_reference_require(OCQ_REFERENCE_PRODUCT, &reference, 1, NULL);
}

/* make_data without totals makes the data that follow from the arguments. */
static Jsonb *
make_data(const StockChange *change, const OcqStockTotals *totals)
{
	JsonbParseState *state = NULL;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	ocq_json_push_int64(&state, "quantity", change->quantity);
	if (is_adjustment(change))
		ocq_json_push_text(&state, "reason", change->reason);
	if (totals != NULL)
	{
		ocq_json_push_int64(&state, "total_adjusted", totals->adjusted);
		ocq_json_push_int64(&state, "total_received", totals->received);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

static int64
read_total(const OcqEvent *event, const char *key)
{
	Numeric		total = ocq_event_value(event, key, jbvNumeric).val.numeric;

	return DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(total)));
}

/* ocq_stock_totals is for the last event of a product's stream, which holds the sums of all. */
OcqStockTotals
ocq_stock_totals(const OcqEvent *event)
{
	return (OcqStockTotals) {
		.received = read_total(event, "total_received"),
		.adjusted = read_total(event, "total_adjusted")
	};
}

pg_noreturn static void
report_unlimited(const OcqCommand *command, const StockChange *change)
{
	ereport(ERROR,
			(errcode(OCQ_ERR_STOCK_RESERVED),
			 errmsg("stock of product \"%s\" cannot be adjusted: there is none",
					text_to_cstring(change->product_id)),
			 errdetail("Tenant \"%s\" never received any, so the product is unlimited.",
					   text_to_cstring(command->stream.tenant_id)),
			 errhint("Call stock_receive with what there is; from then on the product is limited.")));
}

/*
 * check_available keeps the product's row locked, so that the stock that it finds stays
 * available.
 */
static void
check_available(const OcqCommand *command, const StockChange *change)
{
	Datum		values[] = {
		PointerGetDatum(command->stream.tenant_id), PointerGetDatum(change->product_id)
	};
	int64		on_hand;
	int64		reserved;

	if (ocq_statement_run(&lock_product, values, NULL) == 0)
		report_unlimited(command, change);
	on_hand = DatumGetInt64(ocq_row_datum(0, 1));
	reserved = DatumGetInt64(ocq_row_datum(0, 2));
	if (change->quantity > 0 || on_hand + change->quantity >= reserved)
		return;
	ereport(ERROR,
			(errcode(OCQ_ERR_STOCK_RESERVED),
			 errmsg("stock of product \"%s\" cannot be adjusted by %d: " INT64_FORMAT " available",
					text_to_cstring(change->product_id), change->quantity, on_hand - reserved),
			 errdetail("Tenant \"%s\" has " INT64_FORMAT " on hand, of which orders hold " INT64_FORMAT ".",
					   text_to_cstring(command->stream.tenant_id), on_hand, reserved),
			 reserved == 0 ? errhint("Take away no more than is on hand.") :
			 errhint("Take away less, or first have orders give back what they hold: order_cancel, reservation_change or inventory_release. The table reservations names them.")));
}

/* append_change returns the stream's new version. */
static int32
append_change(const OcqCommand *command, const StockChange *change, OcqNewEvent *event)
{
	OcqEvent	last = {0};
	OcqStockTotals totals = {0};

	if (ocq_stream_read_last(&command->stream, &last))
		totals = ocq_stock_totals(&last);
	ocq_command_check_expected(command, last.version);
	if (is_adjustment(change))
	{
		check_available(command, change);
		totals.adjusted += change->quantity;
	}
	else
		totals.received += change->quantity;
	event->data = make_data(change, &totals);
	ocq_command_append(command, NULL, last.version, last.occurred_at, event, 1);
	return last.version + 1;
}

static Datum
handle(FunctionCallInfo fcinfo, OcqSignature signature, const char *event_type,
	   const StockChange *change)
{
	OcqNewEvent event = {
		.type = cstring_to_text(event_type), .data = make_data(change, NULL), .is_partial = true
	};
	OcqCommand	command;
	OcqEvents	earlier;
	int32		version;

	ocq_command_begin(&command, fcinfo, signature, OCQ_AGGREGATE_INVENTORY, change->product_id);
	check_product(command.stream.tenant_id, change->product_id);
	earlier = ocq_stream_read_command(&command.stream, command.envelope.command_id);
	if (!ocq_command_was_handled(&command, earlier, &event, 1, false, &version))
		version = append_change(&command, change, &event);
	return ocq_command_finish(&command, fcinfo, version);
}

/* stock_receive(product_id text, quantity int, ...) */
Datum
ocq_stock_receive(PG_FUNCTION_ARGS)
{
	StockChange change = {.product_id = ocq_argument_id(fcinfo, 0, "product_id")};

	if (PG_ARGISNULL(1) || PG_GETARG_INT32(1) <= 0)
		refuse_quantity(change.product_id, PG_ARGISNULL(1) ? "must not be null" : "must be greater than 0",
						psprintf("Pass a whole number from 1 to %d; stock_adjust takes away.", PG_INT32_MAX));
	change.quantity = PG_GETARG_INT32(1);
	return handle(fcinfo, OCQ_SIGNATURE(stock_receive), OCQ_EVENT_STOCK_RECEIVED, &change);
}

static text *
reason_argument(FunctionCallInfo fcinfo, int argno, const text *product_id)
{
	text	   *reason = ocq_argument_text(fcinfo, argno, "reason");

	if (reason == NULL || VARSIZE_ANY_EXHDR(reason) == 0)
		ereport(ERROR,
				(errcode(OCQ_ERR_INVALID_ARGUMENT),
				 errmsg("reason must not be %s", reason == NULL ? "null" : "empty"),
				 errdetail("The product is \"%s\".", text_to_cstring(product_id)),
				 errhint("Say why the stock is another, such as \"breakage\".")));
	return reason;
}

/* stock_adjust(product_id text, quantity int, reason text, ...) */
Datum
ocq_stock_adjust(PG_FUNCTION_ARGS)
{
	StockChange change = {.product_id = ocq_argument_id(fcinfo, 0, "product_id")};

	if (PG_ARGISNULL(1) || PG_GETARG_INT32(1) == 0)
		refuse_quantity(change.product_id, PG_ARGISNULL(1) ? "must not be null" : "must not be 0",
						psprintf("Pass a whole number from %d to %d: less than 0 for what is gone, more than 0 for what is back.",
								 PG_INT32_MIN, PG_INT32_MAX));
	change.quantity = PG_GETARG_INT32(1);
	change.reason = reason_argument(fcinfo, 2, change.product_id);
	return handle(fcinfo, OCQ_SIGNATURE(stock_adjust), OCQ_EVENT_STOCK_ADJUSTED, &change);
}
