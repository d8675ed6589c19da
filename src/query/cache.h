/*-------------------------------------------------------------------------
 * cache.h
 *	  Answers of queries, kept for all sessions.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_QUERY_CACHE_H
#define OCQ_QUERY_CACHE_H

#include "base/argument.h"
#include "fmgr.h"
#include "query/cache_store.h"
#include "query/page.h"

/*
 * A question whose answer may be taken and kept.  It is asked before the tables are
 * read.
 */
typedef struct OcqQuestion
{
	bool		is_usable;		/* else there is nothing to take, and nothing is kept */
	OcqStamps	stamps;
	OcqCacheKey key;
	char		key_data[2 * OCQ_ID_MAX_BYTES + 32];
} OcqQuestion;

extern void ocq_cache_ask_order(OcqQuestion *question, FunctionCallInfo fcinfo,
								const text *tenant_id, const text *order_id);
extern void ocq_cache_ask_page(OcqQuestion *question, FunctionCallInfo fcinfo,
							   const text *tenant_id, const text *customer_id,
							   const OcqPage *page);

extern bool ocq_cache_take_row(const OcqQuestion *question, FunctionCallInfo fcinfo, Datum *row);
extern void ocq_cache_keep_row(const OcqQuestion *question, Datum row);
extern bool ocq_cache_take_rows(const OcqQuestion *question, FunctionCallInfo fcinfo);
extern void ocq_cache_keep_rows(const OcqQuestion *question, FunctionCallInfo fcinfo);

#endif							/* OCQ_QUERY_CACHE_H */
