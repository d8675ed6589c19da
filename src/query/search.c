/*-------------------------------------------------------------------------
 * search.c
 *	  order_search, order_search_count: orders that meet criteria.
 *
 * A criterion is applied if its argument is not NULL.  Statements are made of
 * constant pieces, those of the criteria that are applied, and kept by their shape
 * (base/shape.c).  Parameters have the same numbers in each statement, whether it
 * uses them or not: $1 is the tenant, the next ones are the criteria in the order
 * of the arguments, and then come limit, offset, and the place of a cursor.
 *
 * Before that the criteria are put in the form that serves best.  A name that is
 * about few customers, or products, becomes a criterion on their ids (candidates.c).
 * One value of several possible ones is compared with "=", which an index answers
 * in the order of its next column; a list of values it does not.
 *
 * The orders of one product, by time, are found in the order of an index of
 * order_item_view, however many there are.  All other searches read the orders, and
 * ask of each whether it has such an item.
 *
 * Rows are then found by the first of these methods that will do (find_page):
 *
 *	directly	one index has the rows, in the order of the sort, whatever the values;
 *	of ids		a criterion is about few orders: these are read, and the rest compared;
 *	by a walk	the next rows of the sort are looked at: they fill the page when the
 *				criteria are met by many;
 *	as planned	what is left of the page, behind the walk, is found in the way that the
 *				planner chooses for the values at hand.
 *
 * Only the last plans anything; the plans of the others are kept.  All that a search
 * runs reads in one snapshot: what a walk has passed must not be met again behind it
 * because somebody has committed meanwhile.
 *
 * order_id breaks ties in the direction of the sort, so that "behind this place"
 * is one comparison of rows, which an index on the tenant, the sort's column and
 * order_id answers in either direction.  For the same reason an order without a
 * customer's name is sorted as if the name were empty.  Names are sorted by their
 * bytes: that is the same on each node and with each version of the collation
 * library, and a cursor stays true.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/argument.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/scope.h"
#include "base/shape.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "query/candidates.h"
#include "query/page.h"
#include "tenant/tenant.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(ocq_order_search);
PG_FUNCTION_INFO_V1(ocq_order_search_count);

/* The criteria: numbers of the first arguments of both functions. */
enum
{
	CUSTOMER_ID, CUSTOMER_NAME, STATUS, PAYMENT_STATUS, MIN_TOTAL, MAX_TOTAL,
	CREATED_FROM, CREATED_TO, UPDATED_FROM, UPDATED_TO,
	PRODUCT_ID, PRODUCT_NAME, PRODUCT_CATEGORY, MIN_ITEMS, MAX_ITEMS,
	NCRITERIA
};

/* Further arguments of order_search, and of order_search_count. */
#define ARG_SORT NCRITERIA
#define ARG_PAGE (NCRITERIA + 1)
#define ARG_TENANT_ID (NCRITERIA + 4)
#define COUNT_ARG_EXACT NCRITERIA
#define COUNT_ARG_TENANT_ID (NCRITERIA + 1)

/* Parameters, counted from 0. */
#define PARAM_TENANT_ID 0
#define PARAM_CRITERIA 1
#define PARAM_LIMIT 16
#define PARAM_OFFSET 17
#define PARAM_KEY 18
#define PARAM_ORDER_ID 19
#define PARAM_ORDER_IDS 20
#define NPARAMS 21

StaticAssertDecl(PARAM_LIMIT == PARAM_CRITERIA + NCRITERIA, "parameters follow each other");

typedef struct Criterion
{
	const char *condition;		/* on order_summary_view v, or on order_item_view i */
	Oid			type;
	bool		is_of_item;
	bool		is_part_of_name;
	const char *list_condition; /* where it may also be any of an array's elements */
} Criterion;

/* Conditions on items hold for one and the same item. */
static const Criterion criteria[NCRITERIA] = {
	[CUSTOMER_ID] = {"v.customer_id = $2", TEXTOID, .list_condition = "v.customer_id = ANY ($2)"},
	[CUSTOMER_NAME] = {"lower(v.customer_name) LIKE lower($3)", TEXTOID, .is_part_of_name = true},
	[STATUS] = {"v.status = $4", TEXTOID, .list_condition = "v.status = ANY ($4)"},
	[PAYMENT_STATUS] = {"v.payment_status = $5", TEXTOID,
	.list_condition = "v.payment_status = ANY ($5)"},
	[MIN_TOTAL] = {"v.total_amount >= $6", NUMERICOID},
	[MAX_TOTAL] = {"v.total_amount <= $7", NUMERICOID},
	[CREATED_FROM] = {"v.created_at >= $8", TIMESTAMPTZOID},
	[CREATED_TO] = {"v.created_at < $9", TIMESTAMPTZOID},
	[UPDATED_FROM] = {"v.updated_at >= $10", TIMESTAMPTZOID},
	[UPDATED_TO] = {"v.updated_at < $11", TIMESTAMPTZOID},
	[PRODUCT_ID] = {"i.product_id = $12", TEXTOID, .is_of_item = true,
	.list_condition = "i.product_id = ANY ($12)"},
	[PRODUCT_NAME] = {"lower(i.product_name) LIKE lower($13)", TEXTOID, .is_of_item = true,
	.is_part_of_name = true},
	[PRODUCT_CATEGORY] = {"i.product_category = $14", TEXTOID, .is_of_item = true},
	[MIN_ITEMS] = {"v.item_count >= $15", INT4OID},
	[MAX_ITEMS] = {"v.item_count <= $16", INT4OID},
};

/* Two criteria of which the first must not be greater. */
typedef struct Range
{
	int			least;
	int			greatest;
	const char *least_name;
	const char *greatest_name;
	PGFunction	is_greater;
	int			sort;			/* by the same column */
	OcqOrdersBy by;
} Range;

/* Sorts, by their place in sorts. */
enum
{
	BY_CREATED_AT, BY_UPDATED_AT, BY_TOTAL_AMOUNT, BY_ITEM_COUNT, BY_CUSTOMER_NAME
};

static const Range ranges[] = {
	{MIN_TOTAL, MAX_TOTAL, "min_total", "max_total", numeric_gt,
	BY_TOTAL_AMOUNT, OCQ_ORDERS_BY_TOTAL_AMOUNT},
	{CREATED_FROM, CREATED_TO, "created_from", "created_to", timestamp_gt,
	BY_CREATED_AT, OCQ_ORDERS_BY_CREATED_AT},
	{UPDATED_FROM, UPDATED_TO, "updated_from", "updated_to", timestamp_gt,
	BY_UPDATED_AT, OCQ_ORDERS_BY_UPDATED_AT},
	{MIN_ITEMS, MAX_ITEMS, "min_items", "max_items", int4gt,
	BY_ITEM_COUNT, OCQ_ORDERS_BY_ITEM_COUNT},
};

static const char *const statuses[] = {"PENDING", "COMPLETED", "CANCELLED", NULL};
static const char *const payment_statuses[] = {"PENDING", "COMPLETED", "FAILED", "REFUNDED", NULL};

typedef struct SortOrder
{
	const char *name;
	const char *expression;
	Oid			type;
	int			column;			/* among OCQ_PAGE_COLUMNS */
} SortOrder;

/* Cursors name a sort by its place here: add new ones at the end. */
static const SortOrder sorts[] = {
	[BY_CREATED_AT] = {"created_at", "v.created_at", TIMESTAMPTZOID, OCQ_PAGE_CREATED_AT},
	[BY_UPDATED_AT] = {"updated_at", "v.updated_at", TIMESTAMPTZOID, OCQ_PAGE_UPDATED_AT},
	[BY_TOTAL_AMOUNT] = {"total_amount", "v.total_amount", NUMERICOID, OCQ_PAGE_TOTAL_AMOUNT},
	[BY_ITEM_COUNT] = {"item_count", "v.item_count", INT4OID, OCQ_PAGE_ITEM_COUNT},
	[BY_CUSTOMER_NAME] = {"customer_name", "coalesce(v.customer_name, '') COLLATE \"C\"", TEXTOID,
	OCQ_PAGE_CUSTOMER_NAME},
};

/* What a statement is made for; with the criteria that are applied, its shape. */
typedef enum Purpose
{
	PURPOSE_ROWS,
	PURPOSE_ROWS_AFTER,			/* a cursor */
	PURPOSE_PLACE,				/* the sort's value and the id alone */
	PURPOSE_PLACE_AFTER,
	PURPOSE_COUNT,
	PURPOSE_ESTIMATE
} Purpose;

typedef enum Method
{
	METHOD_PLANNED,
	METHOD_DIRECT,
	METHOD_OF_IDS,
	METHOD_WALK
} Method;

/* A walk gives up after so many rows. */
#define WALK_ROWS 200

typedef struct Search
{
	Purpose		purpose;
	Method		method;
	int			sort;			/* index in sorts */
	bool		is_descending;
	bool		is_list[NCRITERIA]; /* the value is an array */
	Datum		values[NPARAMS];
	char		nulls[NPARAMS + 1];
} Search;

static bool
is_applied(const Search *search, int criterion)
{
	return search->nulls[PARAM_CRITERIA + criterion] != 'n';
}

static void
set_param(Search *search, int param, Datum value)
{
	search->values[param] = value;
	search->nulls[param] = ' ';
}

/* apply_any_of applies a criterion that has a list. */
static void
apply_any_of(Search *search, int criterion, Datum *values, int count)
{
	search->is_list[criterion] = count != 1;
	set_param(search, PARAM_CRITERIA + criterion,
			  count == 1 ? values[0] : ocq_array(values, NULL, count, TEXTOID));
}

static void
unapply(Search *search, int criterion)
{
	search->nulls[PARAM_CRITERIA + criterion] = 'n';
}

/*
 * pattern_of_part makes a LIKE pattern of what is to be found anywhere, character
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

/* set_statuses refuses what is no status; one that is repeated counts once. */
static void
set_statuses(Search *search, int criterion, const char *name, const char *const *known,
			 const char *hint)
{
	Datum	   *elements;
	bool	   *nulls;
	int			count;
	int			distinct = 0;

	if (!is_applied(search, criterion))
		return;
	deconstruct_array(DatumGetArrayTypeP(search->values[PARAM_CRITERIA + criterion]),
					  TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		text	   *value = nulls[i] ? NULL : DatumGetTextPP(elements[i]);

		if (value != NULL && is_one_of(value, known))
		{
			if (distinct == 0 || !ocq_text_equal(value, DatumGetTextPP(elements[distinct - 1])))
				elements[distinct++] = elements[i];
			continue;
		}
		ereport(ERROR,
				(errcode(OCQ_ERR_INVALID_ARGUMENT),
				 value == NULL ?
				 errmsg("%s must not contain null", name) :
				 errmsg("unknown %s \"%s\"", name,
						ocq_argument_clip(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value))),
				 errdetail("It is element %d of the array.", i + 1),
				 errhint("%s", hint)));
	}
	apply_any_of(search, criterion, elements, distinct);
}

static void
check_ranges(const Search *search)
{
	for (int i = 0; i < (int) lengthof(ranges); i++)
	{
		const Range *range = &ranges[i];

		if (is_applied(search, range->least) && is_applied(search, range->greatest) &&
			DatumGetBool(DirectFunctionCall2(range->is_greater,
											 search->values[PARAM_CRITERIA + range->least],
											 search->values[PARAM_CRITERIA + range->greatest])))
			ereport(ERROR,
					(errcode(OCQ_ERR_INVALID_ARGUMENT),
					 errmsg("%s is greater than %s", range->least_name, range->greatest_name),
					 errdetail("No order can meet both."),
					 errhint("Exchange the two, or leave out one of them.")));
	}
}

/* criteria_arguments reads what both functions have: the criteria and the tenant. */
static Search
criteria_arguments(FunctionCallInfo fcinfo, int tenant_argno)
{
	Search		search = {0};

	memset(search.nulls, 'n', NPARAMS);
	set_param(&search, PARAM_TENANT_ID, PointerGetDatum(ocq_tenant_resolve(fcinfo, tenant_argno)));
	for (int i = 0; i < NCRITERIA; i++)
	{
		if (PG_ARGISNULL(i))
			continue;
		set_param(&search, PARAM_CRITERIA + i,
				  criteria[i].is_part_of_name ?
				  PointerGetDatum(pattern_of_part(PG_GETARG_TEXT_PP(i))) : PG_GETARG_DATUM(i));
	}
	set_statuses(&search, STATUS, "status", statuses,
				 "Use any of PENDING, COMPLETED and CANCELLED.");
	set_statuses(&search, PAYMENT_STATUS, "payment_status", payment_statuses,
				 "Use any of PENDING, COMPLETED, FAILED and REFUNDED.");
	check_ranges(&search);
	return search;
}

pg_noreturn static void
report_unknown_sort(const char *sort)
{
	ereport(ERROR,
			(errcode(OCQ_ERR_UNKNOWN_SORT),
			 errmsg("unknown sort \"%s\"", ocq_argument_clip(sort, strlen(sort))),
			 errdetail("Orders are sorted by one column."),
			 errhint("Use created_at, updated_at, total_amount, item_count or customer_name; with \"-\" before it the sort is descending.")));
}

static void
set_sort(Search *search, FunctionCallInfo fcinfo)
{
	char	   *sort = PG_ARGISNULL(ARG_SORT) ?
		pstrdup("-created_at") : text_to_cstring(PG_GETARG_TEXT_PP(ARG_SORT));

	search->is_descending = sort[0] == '-';
	for (int i = 0; i < (int) lengthof(sorts); i++)
	{
		if (strcmp(sorts[i].name, search->is_descending ? sort + 1 : sort) != 0)
			continue;
		search->sort = i;
		return;
	}
	report_unknown_sort(sort);
}

static OcqCursorKind
cursor_kind(const Search *search)
{
	OcqCursorKind kind = {
		.list = OCQ_LIST_SEARCH + 2 * search->sort + (search->is_descending ? 1 : 0),
		.key_type = sorts[search->sort].type,
		.tenant_id = DatumGetTextPP(search->values[PARAM_TENANT_ID]),
	};

	return kind;
}

static void
set_page(Search *search, FunctionCallInfo fcinfo, const OcqCursorKind *kind)
{
	OcqPage		page = ocq_page_arguments(fcinfo, ARG_PAGE);
	OcqPlace	place;

	search->purpose = PURPOSE_ROWS;
	set_param(search, PARAM_LIMIT, Int64GetDatum(page.size));
	set_param(search, PARAM_OFFSET, Int64GetDatum(page.offset));
	if (page.after == NULL)
		return;

	place = ocq_cursor_decode(kind, page.after);
	search->purpose = PURPOSE_ROWS_AFTER;
	set_param(search, PARAM_KEY, place.key);
	set_param(search, PARAM_ORDER_ID, place.order_id);
}

/*
 * narrow_customers and narrow_products turn names into ids.  Beside an id a name is
 * looked at where it stands.
 */
static void
narrow_customers(Search *search)
{
	OcqCandidates found;

	if (!is_applied(search, CUSTOMER_NAME) || is_applied(search, CUSTOMER_ID) ||
		!ocq_candidates_customers(search->values[PARAM_TENANT_ID],
								  search->values[PARAM_CRITERIA + CUSTOMER_NAME], &found))
		return;
	unapply(search, CUSTOMER_NAME);
	apply_any_of(search, CUSTOMER_ID, found.ids, found.count);
}

static const Datum *
value_of(const Search *search, int criterion)
{
	return is_applied(search, criterion) ? &search->values[PARAM_CRITERIA + criterion] : NULL;
}

static void
narrow_products(Search *search)
{
	const Datum *name = value_of(search, PRODUCT_NAME);
	const Datum *category = value_of(search, PRODUCT_CATEGORY);
	OcqCandidates found;

	if ((name == NULL && category == NULL) || is_applied(search, PRODUCT_ID) ||
		!ocq_candidates_products(search->values[PARAM_TENANT_ID], name, category, &found))
		return;
	unapply(search, PRODUCT_NAME);
	unapply(search, PRODUCT_CATEGORY);
	apply_any_of(search, PRODUCT_ID, found.ids, found.count);
}

/* is_of_sort tells whether a criterion bounds the sort's own column. */
static bool
is_of_sort(const Search *search, int criterion)
{
	for (int i = 0; i < (int) lengthof(ranges); i++)
		if (ranges[i].sort == search->sort &&
			(ranges[i].least == criterion || ranges[i].greatest == criterion))
			return true;
	return false;
}

static void
append_condition(StringInfo sql, const Search *search, int criterion)
{
	if (is_applied(search, criterion))
		appendStringInfo(sql, " AND %s", search->is_list[criterion] ?
						 criteria[criterion].list_condition : criteria[criterion].condition);
}

static void
append_conditions(StringInfo sql, const Search *search, bool of_item)
{
	for (int i = 0; i < NCRITERIA; i++)
		if (criteria[i].is_of_item == of_item)
			append_condition(sql, search, i);
}

static bool
has_item_condition(const Search *search)
{
	return is_applied(search, PRODUCT_ID) || is_applied(search, PRODUCT_NAME) ||
		is_applied(search, PRODUCT_CATEGORY);
}

static bool
wants_rows(const Search *search)
{
	return search->purpose != PURPOSE_COUNT && search->purpose != PURPOSE_ESTIMATE;
}

static bool
begins_after(const Search *search)
{
	return search->purpose == PURPOSE_ROWS_AFTER || search->purpose == PURPOSE_PLACE_AFTER;
}

/* Beside a customer, a product need not have its orders read in their order. */
static bool
goes_by_product(const Search *search)
{
	return wants_rows(search) && search->sort == BY_CREATED_AT &&
		is_applied(search, PRODUCT_ID) && !search->is_list[PRODUCT_ID] &&
		!is_applied(search, CUSTOMER_ID);
}

static void
append_order(StringInfo sql, const Search *search, const char *expression, const char *alias)
{
	const char *direction = search->is_descending ? " DESC" : "";

	appendStringInfo(sql, " ORDER BY %s%s, %s.order_id%s", expression, direction, alias, direction);
}

static void
append_place(StringInfo sql, const Search *search, const char *expression, const char *alias)
{
	if (begins_after(search))
		appendStringInfo(sql, " AND (%s, %s.order_id) %s ($19, $20)",
						 expression, alias, search->is_descending ? "<" : ">");
}

/* append_orders_of_product appends FROM and WHERE for the orders of one product, by time. */
static void
append_orders_of_product(StringInfo sql, const Search *search)
{
	appendStringInfoString(sql, " FROM (SELECT DISTINCT i.created_at, i.order_id"
						   " FROM order_cqrs.order_item_view i WHERE i.tenant_id = $1");
	append_conditions(sql, search, true);
	if (is_applied(search, CREATED_FROM))
		appendStringInfoString(sql, " AND i.created_at >= $8");
	if (is_applied(search, CREATED_TO))
		appendStringInfoString(sql, " AND i.created_at < $9");
	append_place(sql, search, "i.created_at", "i");
	append_order(sql, search, "i.created_at", "i");
	appendStringInfoString(sql, ") i JOIN order_cqrs.order_summary_view v"
						   " ON v.tenant_id = $1 AND v.order_id = i.order_id WHERE true");
	append_conditions(sql, search, false);
	append_order(sql, search, "i.created_at", "i");
}

static void
append_item_condition(StringInfo sql, const Search *search)
{
	if (!has_item_condition(search))
		return;
	appendStringInfoString(sql, " AND EXISTS (SELECT FROM order_cqrs.order_item_view i"
						   " WHERE i.tenant_id = v.tenant_id AND i.order_id = v.order_id");
	append_conditions(sql, search, true);
	appendStringInfoChar(sql, ')');
}

static void
append_orders(StringInfo sql, const Search *search)
{
	appendStringInfoString(sql, " FROM order_cqrs.order_summary_view v WHERE v.tenant_id = $1");
	if (search->method == METHOD_OF_IDS)
		appendStringInfoString(sql, " AND v.order_id = ANY ($21)");
	append_conditions(sql, search, false);
	append_item_condition(sql, search);
	if (!wants_rows(search))
		return;
	append_place(sql, search, sorts[search->sort].expression, "v");
	append_order(sql, search, sorts[search->sort].expression, "v");
}

/* append_walk appends FROM and WHERE for those among the next rows of the sort. */
static void
append_walk(StringInfo sql, const Search *search)
{
	const char *expression = sorts[search->sort].expression;

	appendStringInfoString(sql, " FROM (SELECT * FROM order_cqrs.order_summary_view v WHERE v.tenant_id = $1");
	for (int i = 0; i < NCRITERIA; i++)
		if (is_of_sort(search, i))
			append_condition(sql, search, i);
	append_place(sql, search, expression, "v");
	append_order(sql, search, expression, "v");
	appendStringInfoString(sql, " LIMIT " CppAsString2(WALK_ROWS) ") v WHERE true");
	append_conditions(sql, search, false);
	append_item_condition(sql, search);
	append_order(sql, search, expression, "v");
}

static void
append_select_list(StringInfo sql, const Search *search)
{
	switch (search->purpose)
	{
		case PURPOSE_ROWS:
		case PURPOSE_ROWS_AFTER:
			appendStringInfoString(sql, OCQ_PAGE_COLUMNS);
			break;
		case PURPOSE_PLACE:
		case PURPOSE_PLACE_AFTER:
			appendStringInfo(sql, "%s, v.order_id", sorts[search->sort].expression);
			break;
		case PURPOSE_COUNT:
			appendStringInfoString(sql, "count(*)");
			break;
		case PURPOSE_ESTIMATE:
			appendStringInfoString(sql, "1");
			break;
	}
}

static const char *
make_sql(const Search *search)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT ");
	append_select_list(&sql, search);
	if (search->method == METHOD_WALK)
		append_walk(&sql, search);
	else if (search->method != METHOD_OF_IDS && goes_by_product(search))
		append_orders_of_product(&sql, search);
	else
		append_orders(&sql, search);
	if (wants_rows(search))
		appendStringInfoString(&sql, " LIMIT $17 OFFSET $18");
	return sql.data;
}

static uint64
shape_of(const Search *search)
{
	uint64		shape = search->purpose;

	shape = shape * (METHOD_WALK + 1) + search->method;
	shape = shape * lengthof(sorts) + search->sort;
	shape = shape * 2 + (search->is_descending ? 1 : 0);
	for (int i = 0; i < NCRITERIA; i++)
		shape = shape * 3 + (!is_applied(search, i) ? 0 : search->is_list[i] ? 2 : 1);
	return shape;
}

static OcqStatement *
make_statement(const Search *search)
{
	Oid			types[NPARAMS];

	types[PARAM_TENANT_ID] = TEXTOID;
	for (int i = 0; i < NCRITERIA; i++)
		types[PARAM_CRITERIA + i] = search->is_list[i] ? TEXTARRAYOID : criteria[i].type;
	types[PARAM_LIMIT] = INT8OID;
	types[PARAM_OFFSET] = INT8OID;
	types[PARAM_KEY] = sorts[search->sort].type;
	types[PARAM_ORDER_ID] = TEXTOID;
	types[PARAM_ORDER_IDS] = TEXTARRAYOID;
	return ocq_shape_keep(shape_of(search), make_sql(search), types, NPARAMS,
						  search->method == METHOD_PLANNED);
}

static OcqStatement *
statement_of(const Search *search)
{
	OcqStatement *statement = ocq_shape_find(shape_of(search));

	return statement != NULL ? statement : make_statement(search);
}

/* Where the rows of a page go. */
typedef struct Output
{
	FunctionCallInfo fcinfo;
	const OcqCursorKind *kind;
} Output;

static uint64
run_by(Search *search, Method method)
{
	search->method = method;
	return ocq_statement_run(statement_of(search), search->values, search->nulls);
}

/*
 * is_direct tells whether one index has the rows in their order: that of the sort,
 * that of a customer or one status by time, or that of one product by time.  Beside a
 * customer the rest is compared: one has not so many orders.
 */
static bool
is_direct(const Search *search)
{
	int			others = 0;

	for (int i = 0; i < NCRITERIA; i++)
		if (is_applied(search, i) && !is_of_sort(search, i))
			others++;
	if (others == 0)
		return true;
	if (search->sort != BY_CREATED_AT)
		return false;
	if (is_applied(search, CUSTOMER_ID) && !search->is_list[CUSTOMER_ID])
		return !has_item_condition(search);
	return others == 1 &&
		(goes_by_product(search) ||
		 (is_applied(search, STATUS) && !search->is_list[STATUS]) ||
		 (is_applied(search, PAYMENT_STATUS) && !search->is_list[PAYMENT_STATUS]));
}

/* bound_of returns a criterion's value, or the bound that is none. */
static Datum
bound_of(const Search *search, int criterion, bool is_least)
{
	if (is_applied(search, criterion))
		return search->values[PARAM_CRITERIA + criterion];
	switch (criteria[criterion].type)
	{
		case TIMESTAMPTZOID:
			return TimestampTzGetDatum(is_least ? DT_NOBEGIN : DT_NOEND);
		case INT4OID:
			return Int32GetDatum(is_least ? PG_INT32_MIN : PG_INT32_MAX);
		case NUMERICOID:
			return DirectFunctionCall3(numeric_in, CStringGetDatum(is_least ? "-Infinity" : "Infinity"),
									   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
		default:
			elog(ERROR, "a range cannot be of type %u", criteria[criterion].type);
	}
}

/* list_of makes an array of a criterion's value, if it is none. */
static Datum
list_of(const Search *search, int criterion)
{
	Datum		value = search->values[PARAM_CRITERIA + criterion];

	return search->is_list[criterion] ? value : ocq_array(&value, NULL, 1, TEXTOID);
}

/* Criteria that are about orders with one of several values. */
static const struct
{
	int			criterion;
	OcqOrdersBy by;
}			lists[] = {
	{CUSTOMER_ID, OCQ_ORDERS_BY_CUSTOMERS},
	{PRODUCT_ID, OCQ_ORDERS_BY_PRODUCTS},
	{STATUS, OCQ_ORDERS_BY_STATUSES},
	{PAYMENT_STATUS, OCQ_ORDERS_BY_PAYMENT_STATUSES},
};

/* find_few looks for a criterion that is about few orders. */
static bool
find_few(const Search *search, OcqCandidates *found)
{
	Datum		tenant_id = search->values[PARAM_TENANT_ID];

	for (int i = 0; i < (int) lengthof(lists); i++)
		if (is_applied(search, lists[i].criterion) &&
			ocq_candidates_orders(lists[i].by, tenant_id, list_of(search, lists[i].criterion),
								  (Datum) 0, found))
			return true;
	for (int i = 0; i < (int) lengthof(ranges); i++)
		if ((is_applied(search, ranges[i].least) || is_applied(search, ranges[i].greatest)) &&
			ocq_candidates_orders(ranges[i].by, tenant_id, bound_of(search, ranges[i].least, true),
								  bound_of(search, ranges[i].greatest, false), found))
			return true;
	return false;
}

/*
 * end_of_walk returns the place of the last row that a walk has looked at, or false if
 * it has looked at all.
 */
static bool
end_of_walk(Search *search, OcqPlace *place)
{
	Search		end = *search;

	end.purpose = search->purpose == PURPOSE_ROWS ? PURPOSE_PLACE : PURPOSE_PLACE_AFTER;
	for (int i = 0; i < NCRITERIA; i++)
		if (!is_of_sort(search, i))
			unapply(&end, i);
	set_param(&end, PARAM_LIMIT, Int64GetDatum(1));
	set_param(&end, PARAM_OFFSET, Int64GetDatum(WALK_ROWS - 1));
	if (run_by(&end, METHOD_DIRECT) == 0)
		return false;
	place->key = ocq_row_datum(0, 1);
	place->order_id = ocq_row_datum(0, 2);
	return true;
}

/* walk puts into the page what it finds, and returns whether there may be more behind it. */
static bool
walk(Search *asked, Search *search, const Output *output)
{
	int64		wanted = DatumGetInt64(search->values[PARAM_LIMIT]);
	uint64		found = run_by(asked, METHOD_WALK);
	OcqPlace	place;

	ocq_page_return(output->fcinfo, output->kind, sorts[search->sort].column, found);
	if (found == (uint64) wanted || !end_of_walk(asked, &place))
		return false;
	search->purpose = PURPOSE_ROWS_AFTER;
	set_param(search, PARAM_KEY, place.key);
	set_param(search, PARAM_ORDER_ID, place.order_id);
	set_param(search, PARAM_LIMIT, Int64GetDatum(wanted - found));
	return true;
}

static void
return_rows(Search *search, Method method, const Output *output)
{
	ocq_page_return(output->fcinfo, output->kind, sorts[search->sort].column,
					run_by(search, method));
}

/*
 * find_page finds the rows of the page.  A walk compares what was asked for: one name
 * or category is compared faster than ids are found in a list.
 */
static void
find_page(Search *search, const Output *output)
{
	Search		asked = *search;
	OcqCandidates few;

	narrow_customers(search);
	narrow_products(search);
	if (is_direct(search))
		return_rows(search, METHOD_DIRECT, output);
	else if (find_few(search, &few))
	{
		set_param(search, PARAM_ORDER_IDS, ocq_array(few.ids, NULL, few.count, TEXTOID));
		return_rows(search, METHOD_OF_IDS, output);
	}
	else if (DatumGetInt64(search->values[PARAM_OFFSET]) > 0 || walk(&asked, search, output))
		return_rows(search, METHOD_PLANNED, output);
}

static void
enter(OcqScope *scope)
{
	ocq_scope_enter(scope);
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
}

static void
leave(OcqScope *scope)
{
	PopActiveSnapshot();
	ocq_scope_leave(scope);
}

/* order_search(criteria, sort text, page int, page_size int, after text, tenant_id text) */
Datum
ocq_order_search(PG_FUNCTION_ARGS)
{
	Search		search = criteria_arguments(fcinfo, ARG_TENANT_ID);
	OcqCursorKind kind;
	OcqScope	scope;

	set_sort(&search, fcinfo);
	kind = cursor_kind(&search);
	set_page(&search, fcinfo, &kind);

	InitMaterializedSRF(fcinfo, 0);
	enter(&scope);
	find_page(&search, &(Output) {fcinfo, &kind});
	leave(&scope);
	return (Datum) 0;
}

static int64
count_rows(const Search *search)
{
	(void) ocq_statement_run(statement_of(search), (Datum *) search->values, search->nulls);
	return DatumGetInt64(ocq_row_datum(0, 1));
}

/* estimate_rows has the statement planned, and opened, but not run. */
static int64
estimate_rows(const Search *search)
{
	Portal		portal = ocq_statement_open(statement_of(search), (Datum *) search->values,
											search->nulls);
	double		rows = linitial_node(PlannedStmt, portal->stmts)->planTree->plan_rows;

	SPI_cursor_close(portal);
	return (int64) rows;
}

/* order_search_count(criteria, exact boolean, tenant_id text) returns bigint */
Datum
ocq_order_search_count(PG_FUNCTION_ARGS)
{
	Search		search = criteria_arguments(fcinfo, COUNT_ARG_TENANT_ID);
	bool		exact = !PG_ARGISNULL(COUNT_ARG_EXACT) && PG_GETARG_BOOL(COUNT_ARG_EXACT);
	OcqScope	scope;
	int64		count;

	search.purpose = exact ? PURPOSE_COUNT : PURPOSE_ESTIMATE;
	enter(&scope);
	narrow_customers(&search);
	narrow_products(&search);
	count = exact ? count_rows(&search) : estimate_rows(&search);
	leave(&scope);
	PG_RETURN_INT64(count);
}
