/*-------------------------------------------------------------------------
 * search.c
 *	  order_search, order_search_count: orders that meet criteria.
 *
 * A criterion (criteria.c) is applied if its argument is not NULL.  search_strategy.c
 * finds the rows, with statements that search_text.c makes.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/scope.h"
#include "funcapi.h"
#include "query/page.h"
#include "query/search.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(ocq_order_search);
PG_FUNCTION_INFO_V1(ocq_order_search_count);

/* The criteria are the first arguments of both functions. */
#define ARG_SORT OCQ_NUM_CRITERIA
#define ARG_PAGE (OCQ_NUM_CRITERIA + 1)
#define ARG_TENANT_ID (OCQ_NUM_CRITERIA + 4)
#define COUNT_ARG_EXACT OCQ_NUM_CRITERIA
#define COUNT_ARG_TENANT_ID (OCQ_NUM_CRITERIA + 1)

static void
read_page(OcqSearch *search)
{
	FunctionCallInfo fcinfo = search->fcinfo;
	OcqPage		page = ocq_page_arguments(fcinfo, ARG_PAGE);

	search->kind.list = OCQ_LIST_SEARCH + 2 * (search->sort - OCQ_SORT_CREATED_AT) +
		(search->is_descending ? 1 : 0);
	search->kind.key_type = ocq_sorts[search->sort].type;
	search->kind.tenant_id = DatumGetTextPP(search->values[OCQ_PARAM_TENANT_ID]);
	ocq_search_set(search, OCQ_PARAM_LIMIT, Int64GetDatum(page.size));
	ocq_search_set(search, OCQ_PARAM_OFFSET, Int64GetDatum(page.offset));
	if (page.after != NULL)
		ocq_search_set_keyset(search, ocq_cursor_decode(&search->kind, page.after));
}

static void
enter(OcqScope *scope)
{
	ocq_scope_enter(scope);
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
}

static void
leave(OcqScope *scope)
{
	PopActiveSnapshot();
	ocq_scope_leave(scope);
}

/* order_search(criteria, sort text, page int, page_size int, after text, tenant_id text) */
Datum
ocq_order_search(PG_FUNCTION_ARGS)
{
	OcqSearch	search = ocq_search_read(fcinfo, ARG_TENANT_ID);
	OcqScope	scope;

	search.purpose = OCQ_PURPOSE_ROWS;
	search.sort = ocq_sort_argument(fcinfo, ARG_SORT, &search.is_descending);
	read_page(&search);

	InitMaterializedSRF(fcinfo, 0);
	enter(&scope);
	ocq_search_find_page(&search);
	leave(&scope);
	return (Datum) 0;
}

static int64
count_rows(OcqSearch *search)
{
	(void) ocq_statement_run(ocq_search_statement(search), search->values, search->nulls);
	return DatumGetInt64(ocq_row_datum(0, 1));
}

/* estimate_rows has the statement planned, and opened, but not run. */
static int64
estimate_rows(OcqSearch *search)
{
	Portal		portal = ocq_statement_open(ocq_search_statement(search), search->values,
											search->nulls);
	double		rows = linitial_node(PlannedStmt, portal->stmts)->planTree->plan_rows;

	SPI_cursor_close(portal);
	return (int64) rows;
}

/* order_search_count(criteria, exact boolean, tenant_id text) returns bigint */
Datum
ocq_order_search_count(PG_FUNCTION_ARGS)
{
	OcqSearch	search = ocq_search_read(fcinfo, COUNT_ARG_TENANT_ID);
	bool		exact = !PG_ARGISNULL(COUNT_ARG_EXACT) && PG_GETARG_BOOL(COUNT_ARG_EXACT);
	OcqScope	scope;
	int64		count;

	search.purpose = exact ? OCQ_PURPOSE_COUNT : OCQ_PURPOSE_ESTIMATE;
	enter(&scope);
	ocq_search_narrow(&search);
	count = exact ? count_rows(&search) : estimate_rows(&search);
	leave(&scope);
	PG_RETURN_INT64(count);
}
