/*-------------------------------------------------------------------------
 * customer_orders.c
 *	  customer_orders: the orders of one customer, newest first.
 *
 * One statement serves the first page and every other one.  The list begins behind a
 * keyset position: that of to_time, or a cursor's if that comes later in the list.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/argument.h"
#include "base/errors.h"
#include "base/scope.h"
#include "base/statement.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "query/cache.h"
#include "query/page.h"
#include "tenant/tenant.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(ocq_customer_orders);

/* The index on customer and time serves for any values. */
static OcqStatement select_orders =
OCQ_TABLE_STATEMENT(&ocq_order_summary_view,
					"SELECT {v.columns} FROM {table} v"
					" WHERE v.tenant_id = $1 AND v.customer_id = $2 AND v.created_at >= $3"
					" AND (v.created_at, v.order_id) < ($4, $5)"
					" ORDER BY v.created_at DESC, v.order_id DESC LIMIT $6 OFFSET $7",
					TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, INT8OID, INT8OID);

static void
require_ascending(TimestampTz from, TimestampTz to)
{
	if (from > to)
		ereport(ERROR,
				(errcode(OCQ_ERR_INVALID_ARGUMENT),
				 errmsg("from_time is after to_time"),
				 errdetail("The interval is from_time <= created_at < to_time."),
				 errhint("Exchange the two, or leave out one of them.")));
}

/* No order has the empty id, so this position is before all orders of that time and later ones. */
static OcqKeyset
keyset_of_time(TimestampTz time)
{
	return (OcqKeyset) {.key = TimestampTzGetDatum(time), .order_id = CStringGetTextDatum("")};
}

static OcqKeyset
keyset_of_page(const OcqPage *page, const OcqCursorKind *kind, TimestampTz to)
{
	OcqKeyset	keyset;

	if (page->after == NULL)
		return keyset_of_time(to);
	keyset = ocq_cursor_decode(kind, page->after);
	return DatumGetTimestampTz(keyset.key) < to ? keyset : keyset_of_time(to);
}

static uint64
find_orders(const OcqCursorKind *kind, TimestampTz from, TimestampTz to, const OcqPage *page)
{
	OcqKeyset	before = keyset_of_page(page, kind, to);
	Datum		values[] = {
		PointerGetDatum(kind->tenant_id), PointerGetDatum(kind->customer_id), TimestampTzGetDatum(from),
		before.key, before.order_id, Int64GetDatum(page->size), Int64GetDatum(page->offset)
	};

	return ocq_statement_run(&select_orders, values, NULL);
}

/*
 * customer_orders(customer_id text, from_time timestamptz, to_time timestamptz,
 * page int, page_size int, after text, tenant_id text)
 */
Datum
ocq_customer_orders(PG_FUNCTION_ARGS)
{
	text	   *customer_id = ocq_argument_id(fcinfo, 0, "customer_id");
	TimestampTz from = PG_ARGISNULL(1) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(1);
	TimestampTz to = PG_ARGISNULL(2) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(2);
	OcqPage		page = ocq_page_arguments(fcinfo, 3);
	text	   *tenant_id = ocq_tenant_resolve(fcinfo, 6);
	OcqCursorKind kind = {OCQ_LIST_CUSTOMER_ORDERS, TIMESTAMPTZOID, tenant_id, customer_id};
	OcqQuestion question = {0};
	OcqScope	scope;

	require_ascending(from, to);
	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(1) && PG_ARGISNULL(2))
		ocq_cache_ask_page(&question, fcinfo, tenant_id, customer_id, &page);
	if (ocq_cache_take_rows(&question, fcinfo))
		return (Datum) 0;

	ocq_scope_enter(&scope);
	ocq_page_return(fcinfo, &kind, "created_at", find_orders(&kind, from, to, &page));
	ocq_scope_leave(&scope);
	ocq_cache_keep_rows(&question, fcinfo);
	return (Datum) 0;
}
