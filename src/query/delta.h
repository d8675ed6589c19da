/*-------------------------------------------------------------------------
 * delta.h
 *	  The orders that order_search_view does not have in their present state.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_QUERY_DELTA_H
#define OCQ_QUERY_DELTA_H

/* The table that a search reads. */
typedef enum OcqSource
{
	OCQ_SOURCE_SEARCH,			/* order_search_view: there is no delta */
	OCQ_SOURCE_BOTH,			/* the delta's orders in order_summary_view, all others in order_search_view */
	OCQ_SOURCE_SUMMARY,			/* order_summary_view: the delta is long */
	OCQ_NUM_SOURCES
} OcqSource;

extern OcqSource ocq_delta_read(Datum tenant_id, Datum *order_ids);

#endif							/* OCQ_QUERY_DELTA_H */
