/*-------------------------------------------------------------------------
 * candidates.h
 *	  The customers, products or orders that a criterion is about, if they are few.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_QUERY_CANDIDATES_H
#define OCQ_QUERY_CANDIDATES_H

typedef struct OcqCandidates
{
	Datum	   *ids;			/* in SPI's memory */
	int			count;
} OcqCandidates;

extern bool ocq_candidates_customers(Datum tenant_id, Datum name_pattern, OcqCandidates *found);
extern bool ocq_candidates_products(Datum tenant_id, const Datum *name_pattern,
									const Datum *category, OcqCandidates *found);
extern bool ocq_candidates_orders(int criterion, Datum tenant_id, Datum ids_or_least,
								  Datum greatest, OcqCandidates *found);

#endif							/* OCQ_QUERY_CANDIDATES_H */
