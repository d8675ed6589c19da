/*-------------------------------------------------------------------------
 * page.h
 *	  Pages of a list of orders: which one is asked for, and its rows.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_QUERY_PAGE_H
#define OCQ_QUERY_PAGE_H

#include "fmgr.h"
#include "query/cursor.h"

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
