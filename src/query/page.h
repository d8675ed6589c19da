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

typedef struct OcqPage
{
	int64		offset;			/* rows to skip */
	int64		size;
	const text *after;			/* a cursor, or NULL */
} OcqPage;

extern OcqPage ocq_page_arguments(FunctionCallInfo fcinfo, int argno);
extern void ocq_page_return(FunctionCallInfo fcinfo, const OcqCursorKind *kind, const char *key,
							uint64 rows);

#endif							/* OCQ_QUERY_PAGE_H */
