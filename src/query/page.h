/*-------------------------------------------------------------------------
 * page.h
 *	  Pages of a list of orders: the page that is asked for, and its rows.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_QUERY_PAGE_H
#define OCQ_QUERY_PAGE_H

#include "fmgr.h"
#include "projection/projection.h"
#include "query/cursor.h"

/* Every list of orders returns the columns of order_summary_view v. */
#define OCQ_PAGE_COLUMNS ocq_table_sql(&ocq_order_summary_view, "{v.columns}")

/* Where some of them are, from 1. */
#define OCQ_PAGE_CUSTOMER_NAME 4
#define OCQ_PAGE_TOTAL_AMOUNT 8
#define OCQ_PAGE_ITEM_COUNT 9
#define OCQ_PAGE_CREATED_AT 10
#define OCQ_PAGE_UPDATED_AT 11

typedef struct OcqPage
{
	int64		offset;			/* rows to skip */
	int64		size;
	const text *after;			/* a cursor, or NULL */
} OcqPage;

extern OcqPage ocq_page_arguments(FunctionCallInfo fcinfo, int argno);
extern void ocq_page_return(FunctionCallInfo fcinfo, const OcqCursorKind *kind, int key_column,
							uint64 rows);

#endif							/* OCQ_QUERY_PAGE_H */
