/*-------------------------------------------------------------------------
 * search_strategy.c
 *	  How a search finds its page.
 *
 * The criteria are put in the form that serves best.  A name that is about few
 * customers, or products, becomes a criterion on their ids (candidates.c).  One value of
 * several possible ones is compared with "=", which an index answers in the order of its
 * next column; a list of values it does not.
 *
 * Rows are then found by the first of these methods that will do (find_page):
 *
 *	directly	one index has the rows, in the order of the sort, whatever the values;
 *	of ids		a criterion is about few orders: these are read, and the rest compared;
 *	by a walk	the next rows of the sort are looked at: they fill the page when the
 *				criteria are met by many;
 *	as planned	the rest of the page, behind the walk, is found in the way that the
 *				planner chooses for the values at hand.
 *
 * Only the last plans anything; the plans of the others are kept.  All statements of a
 * search read in one snapshot: a row that a walk has passed must not be met again behind
 * it because of a commit in between.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "query/candidates.h"
#include "query/page.h"
#include "query/search.h"

void
ocq_search_set_any_of(OcqSearch *search, int criterion, Datum *values, int count)
{
	search->is_list[criterion] = count != 1;
	ocq_search_set(search, OCQ_PARAM_CRITERIA + criterion,
				   count == 1 ? values[0] : ocq_array(values, NULL, count, TEXTOID));
}

void
ocq_search_set_keyset(OcqSearch *search, OcqKeyset keyset)
{
	search->begins_after = true;
	ocq_search_set(search, OCQ_PARAM_KEY, keyset.key);
	ocq_search_set(search, OCQ_PARAM_ORDER_ID, keyset.order_id);
}

static void
remove_criterion(OcqSearch *search, int criterion)
{
	search->nulls[OCQ_PARAM_CRITERIA + criterion] = 'n';
}

static void
narrow_customers(OcqSearch *search)
{
	OcqCandidates found;

	if (!ocq_search_has(search, OCQ_WHERE_CUSTOMER_NAME) ||
		ocq_search_has(search, OCQ_WHERE_CUSTOMER_ID) ||
		!ocq_candidates_customers(search->values[OCQ_PARAM_TENANT_ID],
								  ocq_search_value(search, OCQ_WHERE_CUSTOMER_NAME), &found))
		return;
	remove_criterion(search, OCQ_WHERE_CUSTOMER_NAME);
	ocq_search_set_any_of(search, OCQ_WHERE_CUSTOMER_ID, found.ids, found.count);
}

static const Datum *
value_of(const OcqSearch *search, int criterion)
{
	return ocq_search_has(search, criterion) ?
		&search->values[OCQ_PARAM_CRITERIA + criterion] : NULL;
}

static void
narrow_products(OcqSearch *search)
{
	const Datum *name = value_of(search, OCQ_WHERE_PRODUCT_NAME);
	const Datum *category = value_of(search, OCQ_WHERE_PRODUCT_CATEGORY);
	OcqCandidates found;

	if ((name == NULL && category == NULL) || ocq_search_has(search, OCQ_WHERE_PRODUCT_ID) ||
		!ocq_candidates_products(search->values[OCQ_PARAM_TENANT_ID], name, category, &found))
		return;
	remove_criterion(search, OCQ_WHERE_PRODUCT_NAME);
	remove_criterion(search, OCQ_WHERE_PRODUCT_CATEGORY);
	ocq_search_set_any_of(search, OCQ_WHERE_PRODUCT_ID, found.ids, found.count);
}

/* ocq_search_narrow turns names into ids.  Beside an id a name is compared in the rows found. */
void
ocq_search_narrow(OcqSearch *search)
{
	narrow_customers(search);
	narrow_products(search);
}

/*
 * is_direct tells whether one index has the rows in their order: that of the sort, or
 * that of a criterion's value by time.  Beside a customer the rest is compared: a customer
 * has not so many orders.
 */
static bool
is_direct(const OcqSearch *search)
{
	int			others = 0;
	int			other = 0;

	for (int i = 0; i < OCQ_NUM_CRITERIA; i++)
	{
		if (!ocq_search_has(search, i) || ocq_criteria[i].sort == search->sort)
			continue;
		others++;
		other = i;
	}
	if (others == 0)
		return true;
	if (search->sort != OCQ_SORT_CREATED_AT)
		return false;
	if (ocq_search_has_one(search, OCQ_WHERE_CUSTOMER_ID))
		return !ocq_search_has_item_condition(search);
	return others == 1 && ocq_criteria[other].is_by_time && !search->is_list[other];
}

/* find_few_of asks one criterion, or one range, whether it is about few orders. */
static bool
find_few_of(const OcqSearch *search, int criterion, OcqCandidates *found)
{
	Datum		tenant_id = search->values[OCQ_PARAM_TENANT_ID];
	Datum		values[2] = {ocq_search_value(search, criterion)};

	if (ocq_criteria[criterion].selectivity == OCQ_SELECTIVE_RANGE)
	{
		if (!ocq_search_has(search, criterion) && !ocq_search_has(search, criterion + 1))
			return false;
		for (int i = 0; i < 2; i++)
			values[i] = ocq_search_has(search, criterion + i) ?
				ocq_search_value(search, criterion + i) : ocq_criterion_infinity(criterion + i);
	}
	else if (!ocq_search_has(search, criterion))
		return false;
	else if (!search->is_list[criterion])
		values[0] = ocq_array(values, NULL, 1, TEXTOID);
	return ocq_candidates_orders(criterion, tenant_id, values[0], values[1], found);
}

/* find_few looks for a criterion that is about few orders. */
static bool
find_few(const OcqSearch *search, OcqCandidates *found)
{
	for (OcqSelectivity kind = OCQ_SELECTIVE_ID; kind < OCQ_NUM_SELECTIVITIES; kind++)
		for (int i = 0; i < OCQ_NUM_CRITERIA; i++)
			if (ocq_criteria[i].selectivity == kind && find_few_of(search, i, found))
				return true;
	return false;
}

static uint64
run_by(OcqSearch *search, OcqMethod method)
{
	search->method = method;
	return ocq_statement_run(ocq_search_statement(search), search->values, search->nulls);
}

/*
 * end_of_walk returns the keyset position of the last row that a walk has looked at, or
 * false if it has looked at all.
 */
static bool
end_of_walk(const OcqSearch *search, OcqKeyset *keyset)
{
	OcqSearch	end = *search;

	end.purpose = OCQ_PURPOSE_KEYSET;
	for (int i = 0; i < OCQ_NUM_CRITERIA; i++)
		if (ocq_criteria[i].sort != search->sort)
			remove_criterion(&end, i);
	ocq_search_set(&end, OCQ_PARAM_LIMIT, Int64GetDatum(1));
	ocq_search_set(&end, OCQ_PARAM_OFFSET, Int64GetDatum(OCQ_WALK_ROWS - 1));
	if (run_by(&end, OCQ_METHOD_DIRECT) == 0)
		return false;
	keyset->key = ocq_row_datum(0, 1);
	keyset->order_id = ocq_row_datum(0, 2);
	return true;
}

/* return_rows puts the rows of a statement into the page, and returns how many there are. */
static uint64
return_rows(OcqSearch *search, OcqMethod method)
{
	uint64		found = run_by(search, method);

	ocq_page_return(search->fcinfo, &search->kind, ocq_sorts[search->sort].name, found);
	return found;
}

/* walk puts into the page the rows that it finds, and returns whether there may be more behind it. */
static bool
walk(OcqSearch *asked, OcqSearch *search)
{
	int64		wanted = DatumGetInt64(search->values[OCQ_PARAM_LIMIT]);
	uint64		found = return_rows(asked, OCQ_METHOD_WALK);
	OcqKeyset	keyset;

	if (found == (uint64) wanted || !end_of_walk(asked, &keyset))
		return false;
	ocq_search_set_keyset(search, keyset);
	ocq_search_set(search, OCQ_PARAM_LIMIT, Int64GetDatum(wanted - found));
	return true;
}

/*
 * ocq_search_find_page puts the rows of the page into the function's result.  A walk
 * compares the criteria as they were given: one name or category is compared faster than
 * ids are found in a list.
 */
void
ocq_search_find_page(OcqSearch *search)
{
	OcqSearch	asked = *search;
	OcqCandidates few;

	ocq_search_narrow(search);
	if (is_direct(search))
		return_rows(search, OCQ_METHOD_DIRECT);
	else if (find_few(search, &few))
	{
		ocq_search_set(search, OCQ_PARAM_ORDER_IDS, ocq_array(few.ids, NULL, few.count, TEXTOID));
		return_rows(search, OCQ_METHOD_OF_IDS);
	}
	else if (DatumGetInt64(search->values[OCQ_PARAM_OFFSET]) > 0 || walk(&asked, search))
		return_rows(search, OCQ_METHOD_PLANNED);
}
