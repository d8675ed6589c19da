/*-------------------------------------------------------------------------
 * search.h
 *	  A search: the criteria that are applied, and the statements made of them.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_QUERY_SEARCH_H
#define OCQ_QUERY_SEARCH_H

#include "query/criteria.h"
#include "query/cursor.h"
#include "query/shape.h"

/* Parameters of all statements, counted from 0. */
enum
{
	OCQ_PARAM_TENANT_ID,
	OCQ_PARAM_CRITERIA,
	OCQ_PARAM_LIMIT = OCQ_PARAM_CRITERIA + OCQ_NUM_CRITERIA,
	OCQ_PARAM_OFFSET,
	OCQ_PARAM_KEY,				/* a keyset position */
	OCQ_PARAM_ORDER_ID,
	OCQ_PARAM_ORDER_IDS,		/* the orders that a selective criterion is about */
	OCQ_NUM_PARAMS
};

typedef enum OcqPurpose
{
	OCQ_PURPOSE_ROWS,
	OCQ_PURPOSE_KEYSET,			/* the sort's value and the id alone */
	OCQ_PURPOSE_COUNT,
	OCQ_PURPOSE_ESTIMATE
} OcqPurpose;

typedef enum OcqMethod
{
	OCQ_METHOD_PLANNED,
	OCQ_METHOD_DIRECT,
	OCQ_METHOD_OF_IDS,
	OCQ_METHOD_WALK,
	OCQ_NUM_METHODS
} OcqMethod;

/* A walk gives up after so many rows. */
#define OCQ_WALK_ROWS 200

typedef struct OcqSearch
{
	FunctionCallInfo fcinfo;
	OcqCursorKind kind;
	OcqPurpose	purpose;
	bool		begins_after;	/* a keyset position */
	OcqMethod	method;
	OcqSort		sort;
	bool		is_descending;
	bool		is_list[OCQ_NUM_CRITERIA];	/* the value is an array */
	Datum		values[OCQ_NUM_PARAMS];
	char		nulls[OCQ_NUM_PARAMS + 1];
} OcqSearch;

static inline bool
ocq_search_has(const OcqSearch *search, int criterion)
{
	return search->nulls[OCQ_PARAM_CRITERIA + criterion] != 'n';
}

/* ocq_search_has_one tells whether the criterion is applied, with one value. */
static inline bool
ocq_search_has_one(const OcqSearch *search, int criterion)
{
	return ocq_search_has(search, criterion) && !search->is_list[criterion];
}

static inline Datum
ocq_search_value(const OcqSearch *search, int criterion)
{
	return search->values[OCQ_PARAM_CRITERIA + criterion];
}

static inline void
ocq_search_set(OcqSearch *search, int param, Datum value)
{
	search->values[param] = value;
	search->nulls[param] = ' ';
}

/* criteria.c */
extern OcqSearch ocq_search_read(FunctionCallInfo fcinfo, int tenant_argno);

/* search_text.c */
extern bool ocq_search_has_item_condition(const OcqSearch *search);
extern bool ocq_search_goes_by_product(const OcqSearch *search);
extern OcqStatement *ocq_search_statement(const OcqSearch *search);

/* search_strategy.c */
extern void ocq_search_set_any_of(OcqSearch *search, int criterion, Datum *values, int count);
extern void ocq_search_narrow(OcqSearch *search);
extern void ocq_search_set_keyset(OcqSearch *search, OcqKeyset keyset);
extern void ocq_search_find_page(OcqSearch *search);

#endif							/* OCQ_QUERY_SEARCH_H */
