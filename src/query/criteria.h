/*-------------------------------------------------------------------------
 * criteria.h
 *	  The criteria and the sorts of searches: a row for each.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_QUERY_CRITERIA_H
#define OCQ_QUERY_CRITERIA_H

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"

/*
 * The criteria, in the order of the arguments of order_search and order_search_count: to
 * add one, add a row here, from which declare.awk writes the argument.  A row is
 *
 *	ROW(constant, name, type of the argument, comparison, column, ...)
 *
 * and further members of OcqCriterion.  An array as argument is any of its elements.  The
 * two bounds of a range follow each other, the lower one first.
 */
#define OCQ_CRITERIA(ROW) \
	ROW(CUSTOMER_ID, "customer_id", TEXTOID, IS, "customer_id", \
		.selectivity = OCQ_SELECTIVE_ID, .is_by_time = true) \
	ROW(CUSTOMER_NAME, "customer_name", TEXTOID, CONTAINS, "customer_name") \
	ROW(STATUS, "status", TEXTARRAYOID, IS, "status", \
		.known = ocq_search_statuses, .selectivity = OCQ_SELECTIVE_STATE, .is_by_time = true) \
	ROW(PAYMENT_STATUS, "payment_status", TEXTARRAYOID, IS, "payment_status", \
		.known = ocq_search_payment_statuses, .selectivity = OCQ_SELECTIVE_STATE, .is_by_time = true) \
	ROW(MIN_TOTAL, "min_total", NUMERICOID, AT_LEAST, "total_amount", \
		.selectivity = OCQ_SELECTIVE_RANGE, .sort = OCQ_SORT_TOTAL_AMOUNT) \
	ROW(MAX_TOTAL, "max_total", NUMERICOID, AT_MOST, "total_amount", .sort = OCQ_SORT_TOTAL_AMOUNT) \
	ROW(CREATED_FROM, "created_from", TIMESTAMPTZOID, AT_LEAST, "created_at", \
		.selectivity = OCQ_SELECTIVE_RANGE, .sort = OCQ_SORT_CREATED_AT) \
	ROW(CREATED_TO, "created_to", TIMESTAMPTZOID, LESS, "created_at", .sort = OCQ_SORT_CREATED_AT) \
	ROW(UPDATED_FROM, "updated_from", TIMESTAMPTZOID, AT_LEAST, "updated_at", \
		.selectivity = OCQ_SELECTIVE_RANGE, .sort = OCQ_SORT_UPDATED_AT) \
	ROW(UPDATED_TO, "updated_to", TIMESTAMPTZOID, LESS, "updated_at", .sort = OCQ_SORT_UPDATED_AT) \
	ROW(PRODUCT_ID, "product_id", TEXTOID, IS, "product_id", .is_of_item = true, \
		.selectivity = OCQ_SELECTIVE_ID, .is_by_time = true) \
	ROW(PRODUCT_NAME, "product_name", TEXTOID, CONTAINS, "product_name", .is_of_item = true) \
	ROW(PRODUCT_CATEGORY, "product_category", TEXTOID, IS, "product_category", .is_of_item = true) \
	ROW(MIN_ITEMS, "min_items", INT4OID, AT_LEAST, "item_count", \
		.selectivity = OCQ_SELECTIVE_RANGE, .sort = OCQ_SORT_ITEM_COUNT) \
	ROW(MAX_ITEMS, "max_items", INT4OID, AT_MOST, "item_count", .sort = OCQ_SORT_ITEM_COUNT)

#define OCQ_CRITERION_CONSTANT(constant, ...) OCQ_WHERE_##constant,

enum
{
	OCQ_CRITERIA(OCQ_CRITERION_CONSTANT)
	OCQ_NUM_CRITERIA
};

typedef enum OcqComparison
{
	OCQ_IS,
	OCQ_CONTAINS,				/* the argument anywhere in the text, in upper or lower case */
	OCQ_AT_LEAST,
	OCQ_AT_MOST,
	OCQ_LESS
} OcqComparison;

/*
 * How a strategy asks whether a criterion is about few orders.  Kinds are asked in this
 * order; an index on the tenant and the column answers.
 */
typedef enum OcqSelectivity
{
	OCQ_SELECTIVE_NOT,			/* no index answers */
	OCQ_SELECTIVE_ID,
	OCQ_SELECTIVE_STATE,		/* one of a few values that all orders share */
	OCQ_SELECTIVE_RANGE,		/* a lower bound, for itself and the upper one */
	OCQ_NUM_SELECTIVITIES
} OcqSelectivity;

/* Sorts, by their index in ocq_sorts. */
typedef enum OcqSort
{
	OCQ_SORT_NONE,
	OCQ_SORT_CREATED_AT,
	OCQ_SORT_UPDATED_AT,
	OCQ_SORT_TOTAL_AMOUNT,
	OCQ_SORT_ITEM_COUNT,
	OCQ_SORT_CUSTOMER_NAME,
	OCQ_NUM_SORTS
} OcqSort;

typedef struct OcqCriterion
{
	const char *name;
	Oid			type;			/* of the argument */
	OcqComparison comparison;
	const char *column;
	bool		is_of_item;		/* of order_item_view, else of order_summary_view */
	const char *const *known;	/* the values that there are, then NULL; or NULL for any */
	OcqSelectivity selectivity;
	OcqSort		sort;			/* by the same column */
	bool		is_by_time;		/* an index has the orders of one value by created_at */
} OcqCriterion;

typedef struct OcqSortOrder
{
	const char *name;			/* of the column */
	const char *expression;		/* of order_summary_view v */
	Oid			type;
} OcqSortOrder;

extern const OcqCriterion ocq_criteria[OCQ_NUM_CRITERIA];
extern const OcqSortOrder ocq_sorts[OCQ_NUM_SORTS];

extern void ocq_criterion_append(StringInfo sql, int criterion, const char *column, bool is_list,
								 int param);
extern Datum ocq_criterion_infinity(int criterion);
extern OcqSort ocq_sort_argument(FunctionCallInfo fcinfo, int argno, bool *is_descending);

#endif							/* OCQ_QUERY_CRITERIA_H */
