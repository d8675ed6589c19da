/*-------------------------------------------------------------------------
 * candidates.h
 *	  What a criterion of a search is about, if that is little.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_QUERY_CANDIDATES_H
#define OCQ_QUERY_CANDIDATES_H

typedef struct OcqCandidates
{
	Datum	   *ids;			/* in SPI's memory */
	int			count;
} OcqCandidates;

/* By what orders are looked for: ids in an array, or a range. */
typedef enum OcqOrdersBy
{
	OCQ_ORDERS_BY_CUSTOMERS,
	OCQ_ORDERS_BY_PRODUCTS,
	OCQ_ORDERS_BY_STATUSES,
	OCQ_ORDERS_BY_PAYMENT_STATUSES,
	OCQ_ORDERS_BY_CREATED_AT,
	OCQ_ORDERS_BY_UPDATED_AT,
	OCQ_ORDERS_BY_TOTAL_AMOUNT,
	OCQ_ORDERS_BY_ITEM_COUNT
} OcqOrdersBy;

extern bool ocq_candidates_customers(Datum tenant_id, Datum name_pattern, OcqCandidates *found);
extern bool ocq_candidates_products(Datum tenant_id, const Datum *name_pattern,
									const Datum *category, OcqCandidates *found);
extern bool ocq_candidates_orders(OcqOrdersBy by, Datum tenant_id, Datum ids_or_least,
								  Datum greatest, OcqCandidates *found);

#endif							/* OCQ_QUERY_CANDIDATES_H */
