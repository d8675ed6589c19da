/*-------------------------------------------------------------------------
 * order.c
 *	  order_get, order_history, order_as_of: queries of one order.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/argument.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/scope.h"
#include "base/statement.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "order/order.h"
#include "query/cache.h"
#include "store/store.h"
#include "tenant/tenant.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(ocq_order_get);
PG_FUNCTION_INFO_V1(ocq_order_history);
PG_FUNCTION_INFO_V1(ocq_order_as_of);

static OcqStatement select_order =
OCQ_STATEMENT("SELECT v.tenant_id, v.order_id, v.customer_id, v.customer_name, v.customer_email,"
			  " v.status, v.payment_status, v.total_amount, v.item_count, v.created_at, v.updated_at,"
			  " v.shipped_at, v.version, v.items"
			  " FROM order_cqrs.order_view v WHERE v.tenant_id = $1 AND v.order_id = $2",
			  TEXTOID, TEXTOID);

static OcqStatement select_history =
OCQ_STATEMENT("SELECT version, event_type, data, occurred_at, session_role, actor, command_id, metadata,"
			  " position FROM order_cqrs.events"
			  " WHERE tenant_id = $1 AND aggregate_type = 'Order' AND aggregate_id = $2"
			  " ORDER BY version",
			  TEXTOID, TEXTOID);

/* Names are those of the time, too: $11. */
#define NAMED_AT(type, id) \
	" LEFT JOIN LATERAL (SELECT e.data FROM order_cqrs.events e WHERE e.tenant_id = $1" \
	" AND e.aggregate_type = '" type "' AND e.aggregate_id = " id " AND e.occurred_at <= $11" \
	" ORDER BY e.version DESC LIMIT 1)"

static OcqStatement select_state =
OCQ_STATEMENT("SELECT $1, $2, $3, c.data ->> 'name', c.data ->> 'email',"
			  " $4, $12, $5, $6, $7, $8, $13, $9, n.items"
			  " FROM (SELECT jsonb_agg(jsonb_build_object('product_id', i.product_id,"
			  " 'product_name', p.data ->> 'name', 'product_category', p.data ->> 'category',"
			  " 'quantity', i.quantity, 'unit_price', i.unit_price,"
			  " 'total_price', i.quantity * i.unit_price) ORDER BY i.line) AS items"
			  " FROM ROWS FROM (jsonb_to_recordset($10)"
			  " AS (product_id text, quantity int, unit_price numeric)) WITH ORDINALITY"
			  " AS i (product_id, quantity, unit_price, line)"
			  NAMED_AT("Product", "i.product_id") " AS p ON true) AS n"
			  NAMED_AT("Customer", "$3") " AS c ON true",
			  TEXTOID, TEXTOID, TEXTOID, TEXTOID, NUMERICOID, INT4OID, TIMESTAMPTZOID,
			  TIMESTAMPTZOID, INT4OID, JSONBOID, TIMESTAMPTZOID, TEXTOID, TIMESTAMPTZOID);

pg_noreturn static void
report_not_found(const text *tenant_id, const text *order_id, const char *at)
{
	ereport(ERROR,
			(errcode(OCQ_ERR_ORDER_NOT_FOUND),
			 at == NULL ?
			 errmsg("order \"%s\" does not exist", text_to_cstring(order_id)) :
			 errmsg("order \"%s\" did not exist at %s", text_to_cstring(order_id), at),
			 errdetail("Tenant \"%s\" has no order with this id%s.", text_to_cstring(tenant_id),
					   at == NULL ? "" : " as old as that"),
			 errhint("Check the id and the tenant (tenant_id, or the setting order_cqrs.tenant_id).")));
}

/* order_get(order_id text, tenant_id text) */
Datum
ocq_order_get(PG_FUNCTION_ARGS)
{
	text	   *order_id = ocq_argument_id(fcinfo, 0, "order_id");
	text	   *tenant_id = ocq_tenant_resolve(fcinfo, 1);
	Datum		values[] = {PointerGetDatum(tenant_id), PointerGetDatum(order_id)};
	OcqQuestion question;
	OcqScope	scope;
	Datum		result;

	ocq_cache_ask_order(&question, fcinfo, tenant_id, order_id);
	if (ocq_cache_take_row(&question, fcinfo, &result))
		PG_RETURN_DATUM(result);

	ocq_scope_enter(&scope);
	if (ocq_statement_run(&select_order, values, NULL) == 0)
		report_not_found(tenant_id, order_id, NULL);
	result = PointerGetDatum(SPI_returntuple(SPI_tuptable->vals[0], SPI_tuptable->tupdesc));
	ocq_scope_leave(&scope);
	ocq_cache_keep_row(&question, result);
	PG_RETURN_DATUM(result);
}

/* order_history(order_id text, tenant_id text) */
Datum
ocq_order_history(PG_FUNCTION_ARGS)
{
	text	   *order_id = ocq_argument_id(fcinfo, 0, "order_id");
	text	   *tenant_id = ocq_tenant_resolve(fcinfo, 1);
	Datum		values[] = {PointerGetDatum(tenant_id), PointerGetDatum(order_id)};
	OcqScope	scope;
	uint64		rows;

	InitMaterializedSRF(fcinfo, 0);
	ocq_scope_enter(&scope);
	rows = ocq_statement_run(&select_history, values, NULL);
	if (rows == 0)
		report_not_found(tenant_id, order_id, NULL);
	for (uint64 row = 0; row < rows; row++)
		tuplestore_puttuple(((ReturnSetInfo *) fcinfo->resultinfo)->setResult,
							SPI_tuptable->vals[row]);
	ocq_scope_leave(&scope);
	return (Datum) 0;
}

static TimestampTz
at_argument(FunctionCallInfo fcinfo, int argno)
{
	if (PG_ARGISNULL(argno))
		ereport(ERROR,
				(errcode(OCQ_ERR_INVALID_ARGUMENT),
				 errmsg("at must not be null"),
				 errdetail("It is the time whose state is asked for."),
				 errhint("Pass a timestamptz, or call order_get for the state of now.")));
	return PG_GETARG_TIMESTAMPTZ(argno);
}

static Datum
state_row(const OcqOrderState *state, TimestampTz at)
{
	Datum		values[] = {
		PointerGetDatum(state->tenant_id),
		PointerGetDatum(state->order_id),
		PointerGetDatum(state->customer_id),
		CStringGetTextDatum(ocq_order_status_name(state->status)),
		NumericGetDatum(state->total_amount),
		Int32GetDatum(state->item_count),
		TimestampTzGetDatum(state->created_at),
		TimestampTzGetDatum(state->updated_at),
		Int32GetDatum(state->version),
		JsonbPGetDatum(ocq_order_items_jsonb(state)),
		TimestampTzGetDatum(at),
		CStringGetTextDatum(ocq_payment_status_name(state->payment.status)),
		TimestampTzGetDatum(state->shipped_at)
	};
	char		nulls[] = "             ";

	if (state->payment.status == OCQ_PAYMENT_NONE)
		nulls[11] = 'n';
	if (!state->is_shipped)
		nulls[12] = 'n';
	(void) ocq_statement_run(&select_state, values, nulls);
	return PointerGetDatum(SPI_returntuple(SPI_tuptable->vals[0], SPI_tuptable->tupdesc));
}

/* order_as_of(order_id text, at timestamptz, tenant_id text) */
Datum
ocq_order_as_of(PG_FUNCTION_ARGS)
{
	OcqStream	stream = {.aggregate_id = ocq_argument_id(fcinfo, 0, "order_id")};
	TimestampTz at = at_argument(fcinfo, 1);
	OcqEvents	events;
	OcqOrderState state;
	OcqScope	scope;
	Datum		result;
	int			count = 0;

	stream.tenant_id = ocq_tenant_resolve(fcinfo, 2);
	stream.aggregate_type = cstring_to_text(OCQ_AGGREGATE_ORDER);

	ocq_scope_enter(&scope);
	events = ocq_stream_read(&stream);
	while (count < events.count && events.items[count].occurred_at <= at)
		count++;
	if (count == 0)
		report_not_found(stream.tenant_id, stream.aggregate_id,
						 events.count == 0 ? NULL : timestamptz_to_str(at));
	ocq_stream_check_complete(events.items, count);
	state = ocq_order_fold(events.items, count);
	(void) ocq_order_items_of_state(&state);	/* they are well formed, or an error says whose are not */
	result = state_row(&state, at);
	ocq_scope_leave(&scope);
	PG_RETURN_DATUM(result);
}
