/*-------------------------------------------------------------------------
 * criteria.c
 *	  The criteria and the sorts of searches: their arguments, and their SQL.
 *
 * An order without a customer's name is sorted as if the name were empty: then one
 * comparison of rows finds the orders behind a keyset position (search_text.c).  Names are
 * sorted by their bytes: that is the same on each node and with each version of the
 * collation library, and a cursor stays true.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/argument.h"
#include "base/compat.h"
#include "base/errors.h"
#include "query/page.h"
#include "query/search.h"
#include "tenant/tenant.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

static const char *const ocq_search_statuses[] = {"PENDING", "COMPLETED", "CANCELLED", NULL};
static const char *const ocq_search_payment_statuses[] = {
	"PENDING", "COMPLETED", "FAILED", "REFUNDED", NULL
};

#define CRITERION(constant, name, type, comparison, ...) \
	[OCQ_WHERE_##constant] = {name, type, OCQ_##comparison, .column = __VA_ARGS__},

const OcqCriterion ocq_criteria[OCQ_NUM_CRITERIA] = {
	OCQ_CRITERIA(CRITERION)
};

/* A cursor holds the number of its sort: add new ones at the end. */
const OcqSortOrder ocq_sorts[OCQ_NUM_SORTS] = {
	[OCQ_SORT_CREATED_AT] = {"created_at", "v.created_at", TIMESTAMPTZOID},
	[OCQ_SORT_UPDATED_AT] = {"updated_at", "v.updated_at", TIMESTAMPTZOID},
	[OCQ_SORT_TOTAL_AMOUNT] = {"total_amount", "v.total_amount", NUMERICOID},
	[OCQ_SORT_ITEM_COUNT] = {"item_count", "v.item_count", INT4OID},
	[OCQ_SORT_CUSTOMER_NAME] = {"customer_name", "coalesce(v.customer_name, '') COLLATE \"C\"",
	TEXTOID},
};

/* ocq_criterion_append appends the condition on a column; param counts from 0. */
void
ocq_criterion_append(StringInfo sql, int criterion, const char *column, bool is_list, int param)
{
	static const char *const operators[] = {
		[OCQ_IS] = "=",
		[OCQ_AT_LEAST] = ">=",
		[OCQ_AT_MOST] = "<=",
		[OCQ_LESS] = "<"
	};

	if (ocq_criteria[criterion].comparison == OCQ_CONTAINS)
		appendStringInfo(sql, "lower(%s) LIKE lower($%d)", column, param + 1);
	else
		appendStringInfo(sql, is_list ? "%s %s ANY ($%d)" : "%s %s $%d", column,
						 operators[ocq_criteria[criterion].comparison], param + 1);
}

/*
 * pattern_of_part makes a LIKE pattern of a text that is to be found anywhere, character
 * by character.  Bytewise will do: in a server's encoding no byte of a longer
 * character looks like one of these.
 */
static text *
pattern_of_part(const text *part)
{
	const char *data = VARDATA_ANY(part);
	int			length = VARSIZE_ANY_EXHDR(part);
	StringInfoData pattern;

	initStringInfo(&pattern);
	appendStringInfoChar(&pattern, '%');
	for (int i = 0; i < length; i++)
	{
		if (data[i] == '%' || data[i] == '_' || data[i] == '\\')
			appendStringInfoChar(&pattern, '\\');
		appendStringInfoChar(&pattern, data[i]);
	}
	appendStringInfoChar(&pattern, '%');
	return cstring_to_text_with_len(pattern.data, pattern.len);
}

static bool
is_one_of(const text *value, const char *const *known)
{
	for (; *known != NULL; known++)
		if (ocq_text_is(value, *known))
			return true;
	return false;
}

static char *
list_known(const char *const *known)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; known[i] != NULL; i++)
		appendStringInfo(&list, "%s%s", i == 0 ? "" : known[i + 1] == NULL ? " and " : ", ", known[i]);
	return list.data;
}

/* set_elements applies a criterion to the values of an array, which it checks; a repeated one counts once. */
static void
set_elements(OcqSearch *search, int criterion, ArrayType *array)
{
	const OcqCriterion *asked = &ocq_criteria[criterion];
	Datum	   *elements;
	bool	   *nulls;
	int			count;
	int			distinct = 0;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		text	   *value = nulls[i] ? NULL : DatumGetTextPP(elements[i]);

		if (value != NULL && (asked->known == NULL || is_one_of(value, asked->known)))
		{
			if (distinct == 0 || !ocq_text_equal(value, DatumGetTextPP(elements[distinct - 1])))
				elements[distinct++] = elements[i];
			continue;
		}
		ereport(ERROR,
				(errcode(OCQ_ERR_INVALID_ARGUMENT),
				 value == NULL ?
				 errmsg("%s must not contain null", asked->name) :
				 errmsg("unknown %s \"%s\"", asked->name,
						ocq_argument_clip(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value))),
				 errdetail("It is element %d of the array.", i + 1),
				 asked->known == NULL ? errhint("Leave out what is null.") :
				 errhint("Use any of %s.", list_known(asked->known))));
	}
	ocq_search_set_any_of(search, criterion, elements, distinct);
}

/* check_range raises an error if the lower bound is above the upper one. */
static void
check_range(const OcqSearch *search, int lower)
{
	const OcqCriterion *bounds = &ocq_criteria[lower];
	PGFunction	is_greater = bounds->type == NUMERICOID ? numeric_gt :
		bounds->type == TIMESTAMPTZOID ? timestamp_gt : int4gt;

	Assert(strcmp(bounds[0].column, bounds[1].column) == 0);
	if (ocq_search_has(search, lower) && ocq_search_has(search, lower + 1) &&
		DatumGetBool(DirectFunctionCall2(is_greater, ocq_search_value(search, lower),
										 ocq_search_value(search, lower + 1))))
		ereport(ERROR,
				(errcode(OCQ_ERR_INVALID_ARGUMENT),
				 errmsg("%s is greater than %s", bounds[0].name, bounds[1].name),
				 errdetail("No order can meet both."),
				 errhint("Exchange the two, or leave out one of them.")));
}

static void
read_criterion(OcqSearch *search, FunctionCallInfo fcinfo, int criterion)
{
	if (PG_ARGISNULL(criterion))
		return;
	if (ocq_criteria[criterion].type == TEXTARRAYOID)
		set_elements(search, criterion, PG_GETARG_ARRAYTYPE_P(criterion));
	else
		ocq_search_set(search, OCQ_PARAM_CRITERIA + criterion,
					   ocq_criteria[criterion].comparison == OCQ_CONTAINS ?
					   PointerGetDatum(pattern_of_part(PG_GETARG_TEXT_PP(criterion))) :
					   PG_GETARG_DATUM(criterion));
}

/* ocq_search_read reads the arguments that both functions have: the criteria and the tenant. */
OcqSearch
ocq_search_read(FunctionCallInfo fcinfo, int tenant_argno)
{
	OcqSearch	search = {.fcinfo = fcinfo, .sort = OCQ_SORT_CREATED_AT};

	memset(search.nulls, 'n', OCQ_NUM_PARAMS);
	ocq_search_set(&search, OCQ_PARAM_TENANT_ID,
				   PointerGetDatum(ocq_tenant_resolve(fcinfo, tenant_argno)));
	for (int i = 0; i < OCQ_NUM_CRITERIA; i++)
		read_criterion(&search, fcinfo, i);
	for (int i = 0; i < OCQ_NUM_CRITERIA; i++)
		if (ocq_criteria[i].comparison == OCQ_AT_LEAST)
			check_range(&search, i);
	return search;
}

/* ocq_criterion_infinity returns the bound that all values meet. */
Datum
ocq_criterion_infinity(int criterion)
{
	bool		is_lower = ocq_criteria[criterion].comparison == OCQ_AT_LEAST;

	switch (ocq_criteria[criterion].type)
	{
		case TIMESTAMPTZOID:
			return TimestampTzGetDatum(is_lower ? DT_NOBEGIN : DT_NOEND);
		case INT4OID:
			return Int32GetDatum(is_lower ? PG_INT32_MIN : PG_INT32_MAX);
		case NUMERICOID:
			return DirectFunctionCall3(numeric_in, CStringGetDatum(is_lower ? "-Infinity" : "Infinity"),
									   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
		default:
			elog(ERROR, "a range cannot be of type %u", ocq_criteria[criterion].type);
	}
}

/* ocq_sort_argument reads a sort's name, with "-" before it if it is descending. */
OcqSort
ocq_sort_argument(FunctionCallInfo fcinfo, int argno, bool *is_descending)
{
	char	   *name = PG_ARGISNULL(argno) ?
		pstrdup("-created_at") : text_to_cstring(PG_GETARG_TEXT_PP(argno));

	*is_descending = name[0] == '-';
	for (int sort = OCQ_SORT_NONE + 1; sort < OCQ_NUM_SORTS; sort++)
		if (strcmp(ocq_sorts[sort].name, *is_descending ? name + 1 : name) == 0)
			return sort;
	ereport(ERROR,
			(errcode(OCQ_ERR_UNKNOWN_SORT),
			 errmsg("unknown sort \"%s\"", ocq_argument_clip(name, strlen(name))),
			 errdetail("Orders are sorted by one column."),
			 errhint("Use created_at, updated_at, total_amount, item_count or customer_name; with \"-\" before it the sort is descending.")));
}
