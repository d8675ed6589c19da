/*-------------------------------------------------------------------------
 * page.c
 *	  Pages of a list of orders: the page that is asked for, and its rows.
 *
 * A page is found by its number, or by the cursor of the row before it.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/errors.h"
#include "base/statement.h"
#include "funcapi.h"
#include "query/page.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#define DEFAULT_SIZE 20
#define MAX_SIZE 1000

static int32
page_argument(FunctionCallInfo fcinfo, int argno)
{
	int32		page = PG_ARGISNULL(argno) ? 0 : PG_GETARG_INT32(argno);

	if (page < 0)
		ereport(ERROR,
				(errcode(OCQ_ERR_INVALID_ARGUMENT),
				 errmsg("page must not be negative"),
				 errdetail("It is %d; pages are numbered from 0.", page),
				 errhint("Pass 0, or leave it out, for the first page.")));
	return page;
}

static int32
page_size_argument(FunctionCallInfo fcinfo, int argno)
{
	int32		size = PG_ARGISNULL(argno) ? DEFAULT_SIZE : PG_GETARG_INT32(argno);

	if (size < 1 || size > MAX_SIZE)
		ereport(ERROR,
				(errcode(OCQ_ERR_INVALID_ARGUMENT),
				 errmsg("page_size must be from 1 to %d", MAX_SIZE),
				 errdetail("It is %d.", size),
				 errhint("Leave it out for pages of %d rows; ask for more rows page by page.",
						 DEFAULT_SIZE)));
	return size;
}

/*
 * ocq_page_arguments reads the arguments page, page_size and after, which follow
 * each other from argno on.  NULL means the default.
 */
OcqPage
ocq_page_arguments(FunctionCallInfo fcinfo, int argno)
{
	int32		number = page_argument(fcinfo, argno);
	OcqPage		page = {0};

	page.size = page_size_argument(fcinfo, argno + 1);
	page.offset = number * page.size;
	page.after = PG_ARGISNULL(argno + 2) ? NULL : PG_GETARG_TEXT_PP(argno + 2);
	if (page.after != NULL && number > 0)
		ereport(ERROR,
				(errcode(OCQ_ERR_INVALID_ARGUMENT),
				 errmsg("page and after cannot be used together"),
				 errdetail("Each says where to begin: page %d does, and so does the cursor.", number),
				 errhint("Leave out one of them.")));
	return page;
}

/* A kept statement is analysed anew after the type of a column has changed. */
static void
check_types(TupleDesc from, TupleDesc to)
{
	for (int i = 0; i < from->natts; i++)
		if (TupleDescAttr(from, i)->atttypid != TupleDescAttr(to, i)->atttypid)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("column \"%s\" is not of the type that it was created with",
							NameStr(TupleDescAttr(from, i)->attname)),
					 errdetail("A table of order_cqrs has been altered."),
					 errhint("Give the column its type back.")));
}

/*
 * ocq_page_return puts the rows of the last statement into the function's result, each
 * with its cursor as one more column.  key is the column that they are sorted by; where
 * that is NULL it counts as the empty text.
 */
void
ocq_page_return(FunctionCallInfo fcinfo, const OcqCursorKind *kind, const char *key, uint64 rows)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	TupleDesc	columns = SPI_tuptable->tupdesc;
	int			ncolumns = columns->natts;
	int			key_column = SPI_fnumber(columns, key) - 1;
	int			id_column = SPI_fnumber(columns, "order_id") - 1;
	Datum	   *values = palloc_array(Datum, ncolumns + 1);
	bool	   *nulls = palloc_array(bool, ncolumns + 1);

	ocq_table_check_width(ncolumns + 1, result->setDesc);
	check_types(columns, result->setDesc);
	nulls[ncolumns] = false;
	for (uint64 row = 0; row < rows; row++)
	{
		OcqKeyset	keyset;

		heap_deform_tuple(SPI_tuptable->vals[row], columns, values, nulls);
		keyset.order_id = values[id_column];
		keyset.key = nulls[key_column] ? CStringGetTextDatum("") : values[key_column];
		values[ncolumns] = PointerGetDatum(ocq_cursor_encode(kind, keyset));
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}
