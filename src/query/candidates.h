/*-------------------------------------------------------------------------
 * candidates.h
 *	  The customers and the products that names, or a category, are about.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_QUERY_CANDIDATES_H
#define OCQ_QUERY_CANDIDATES_H

typedef struct OcqCandidates
{
	Datum	   *ids;
	int			count;
} OcqCandidates;

extern bool ocq_candidates_customers(Datum tenant_id, Datum name_pattern, OcqCandidates *found);
extern bool ocq_candidates_products(Datum tenant_id, const Datum *name_pattern,
									const Datum *category, OcqCandidates *found);

#endif							/* OCQ_QUERY_CANDIDATES_H */
