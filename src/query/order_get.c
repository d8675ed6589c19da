/*-------------------------------------------------------------------------
 * order_get.c
 *	  order_get, order_history, order_as_of: queries of one order.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/argument.h"
#include "base/compat.h"
#include "base/direct.h"
#include "base/errors.h"
#include "base/scope.h"
#include "base/statement.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "projection/projection.h"
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
OCQ_TABLE_STATEMENT(&ocq_order_view,
					"SELECT {v.columns} FROM {table} v WHERE v.tenant_id = $1 AND v.order_id = $2",
					TEXTOID, TEXTOID);

static OcqStatement select_history =
OCQ_STATEMENT("SELECT version, event_type, data, occurred_at, session_role, actor, command_id, metadata,"
			  " position FROM order_cqrs.events"
			  " WHERE tenant_id = $1 AND aggregate_type = '" OCQ_AGGREGATE_ORDER "' AND aggregate_id = $2"
			  " ORDER BY version",
			  TEXTOID, TEXTOID);

/* The names and the lines of an order of tenant $1 and customer $2 with items $3, at the time $4. */
#define NAMED_AT(type, id) \
	" LEFT JOIN LATERAL (SELECT e.data FROM order_cqrs.events e WHERE e.tenant_id = $1" \
	" AND e.aggregate_type = '" type "' AND e.aggregate_id = " id " AND e.occurred_at <= $4" \
	" ORDER BY e.version DESC LIMIT 1)"

static OcqStatement select_names =
OCQ_STATEMENT("SELECT c.data ->> 'name', c.data ->> 'email', n.items"
			  " FROM (SELECT jsonb_agg(jsonb_build_object('product_id', i.product_id,"
			  " 'product_name', p.data ->> 'name', 'product_category', p.data ->> 'category',"
			  " 'quantity', i.quantity, 'unit_price', i.unit_price,"
			  " 'total_price', i.quantity * i.unit_price) ORDER BY i.line) AS items"
			  " FROM ROWS FROM (jsonb_to_recordset($3)"
			  " AS (product_id text, quantity int, unit_price numeric)) WITH ORDINALITY"
			  " AS i (product_id, quantity, unit_price, line)"
			  NAMED_AT(OCQ_AGGREGATE_PRODUCT, "i.product_id") " AS p ON true) AS n"
			  NAMED_AT(OCQ_AGGREGATE_CUSTOMER, "$2") " AS c ON true",
			  TEXTOID, TEXTOID, JSONBOID, TIMESTAMPTZOID);

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

/* read_order returns the row of a tenant and an id, or 0 if there is none. */
static Datum
read_order(Datum *values)
{
	OcqScope	scope;
	Datum		result = (Datum) 0;

	ocq_scope_enter(&scope);
	if (ocq_statement_run(&select_order, values, NULL) > 0)
		result = PointerGetDatum(SPI_returntuple(SPI_tuptable->vals[0], SPI_tuptable->tupdesc));
	ocq_scope_leave(&scope);
	return result;
}

/* order_get(order_id text, tenant_id text) */
Datum
ocq_order_get(PG_FUNCTION_ARGS)
{
	text	   *order_id = ocq_argument_id(fcinfo, 0, "order_id");
	text	   *tenant_id = ocq_tenant_resolve(fcinfo, 1);
	Datum		values[] = {PointerGetDatum(tenant_id), PointerGetDatum(order_id)};
	OcqQuestion question;
	Datum		result;

	ocq_cache_ask_order(&question, fcinfo, tenant_id, order_id);
	if (ocq_cache_take_row(&question, fcinfo, &result))
		PG_RETURN_DATUM(result);

	if (!ocq_direct_read(&ocq_order_view, values, &result))
		result = read_order(values);
	if (result == (Datum) 0)
		report_not_found(tenant_id, order_id, NULL);
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

/* text_of returns NULL for NULL. */
static text *
text_of(int column)
{
	return ocq_row_is_null(0, column) ? NULL : DatumGetTextPP(ocq_row_datum(0, column));
}

/* state_row returns the state as a row like order_get's. */
static Datum
state_row(FunctionCallInfo fcinfo, const OcqOrderState *state, TimestampTz at)
{
	Datum		params[] = {
		PointerGetDatum(state->tenant_id), PointerGetDatum(state->customer_id),
		JsonbPGetDatum(ocq_order_items_jsonb(state)), TimestampTzGetDatum(at)
	};
	Datum		values[OCQ_TABLE_MAX_COLUMNS];
	bool		nulls[OCQ_TABLE_MAX_COLUMNS];
	OcqReference customer;
	TupleDesc	row;

	(void) ocq_statement_run(&select_names, params, NULL);
	customer = (OcqReference) {.name = text_of(1), .attribute = text_of(2)};
	ocq_table_values(&ocq_order_view,
					 OCQ_SOURCES(state, &customer, DatumGetJsonbP(ocq_row_datum(0, 3))), values, nulls);
	(void) get_call_result_type(fcinfo, NULL, &row);
	ocq_table_check_width(ocq_order_view.ncolumns, row);
	return PointerGetDatum(SPI_returntuple(heap_form_tuple(row, values, nulls), BlessTupleDesc(row)));
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
	(void) ocq_order_items_of_state(&state);	/* an error if they are malformed */
	result = state_row(fcinfo, &state, at);
	ocq_scope_leave(&scope);
	PG_RETURN_DATUM(result);
}
