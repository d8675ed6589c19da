/*-------------------------------------------------------------------------
 * search_text.c
 *	  The statements of searches, as SQL.
 *
 * Statements are made of constant pieces and the conditions of the criteria that are
 * applied, and kept by their shape (shape.c).  A parameter has the same number in each
 * statement, whether the statement uses it or not.  Conditions on items hold for one and
 * the same item.
 *
 * order_id breaks ties in the direction of the sort, so that "behind this keyset
 * position" is one comparison of rows, which an index on the tenant, the sort's column
 * and order_id answers in either direction.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "query/page.h"
#include "query/search.h"

/* shape_of gives each criterion one of three states: log3(2^64 / 240) is above 35. */
StaticAssertDecl(OCQ_NUM_CRITERIA <= 35, "a shape has room for all criteria");

/* The number of the tenant's parameter. */
#define TENANT (OCQ_PARAM_TENANT_ID + 1)

static void
append_condition(StringInfo sql, const OcqSearch *search, int criterion, const char *alias)
{
	char		column[NAMEDATALEN];

	if (!ocq_search_has(search, criterion))
		return;
	snprintf(column, sizeof(column), "%s.%s", alias, ocq_criteria[criterion].column);
	appendStringInfoString(sql, " AND ");
	ocq_criterion_append(sql, criterion, column, search->is_list[criterion],
						 OCQ_PARAM_CRITERIA + criterion);
}

static void
append_conditions(StringInfo sql, const OcqSearch *search, bool of_item)
{
	for (int i = 0; i < OCQ_NUM_CRITERIA; i++)
		if (ocq_criteria[i].is_of_item == of_item)
			append_condition(sql, search, i, of_item ? "i" : "v");
}

/* append_sort_conditions appends the bounds of the sort's own column. */
static void
append_sort_conditions(StringInfo sql, const OcqSearch *search, const char *alias)
{
	for (int i = 0; i < OCQ_NUM_CRITERIA; i++)
		if (ocq_criteria[i].sort == search->sort)
			append_condition(sql, search, i, alias);
}

bool
ocq_search_has_item_condition(const OcqSearch *search)
{
	for (int i = 0; i < OCQ_NUM_CRITERIA; i++)
		if (ocq_criteria[i].is_of_item && ocq_search_has(search, i))
			return true;
	return false;
}

static bool
wants_rows(const OcqSearch *search)
{
	return search->purpose == OCQ_PURPOSE_ROWS || search->purpose == OCQ_PURPOSE_KEYSET;
}

/*
 * ocq_search_goes_by_product tells whether the orders of one product are read by time, in
 * the order of an index of order_item_view, however many there are.  All other searches
 * read the orders, and ask of each whether it has such an item.  Beside a customer, a
 * product need not have its orders read in their order.
 */
bool
ocq_search_goes_by_product(const OcqSearch *search)
{
	return wants_rows(search) && search->sort == OCQ_SORT_CREATED_AT &&
		ocq_search_has_one(search, OCQ_WHERE_PRODUCT_ID) &&
		!ocq_search_has(search, OCQ_WHERE_CUSTOMER_ID);
}

static void
append_order(StringInfo sql, const OcqSearch *search, const char *expression, const char *alias)
{
	const char *direction = search->is_descending ? " DESC" : "";

	appendStringInfo(sql, " ORDER BY %s%s, %s.order_id%s", expression, direction, alias, direction);
}

static void
append_keyset(StringInfo sql, const OcqSearch *search, const char *expression, const char *alias)
{
	if (search->begins_after)
		appendStringInfo(sql, " AND (%s, %s.order_id) %s ($%d, $%d)", expression, alias,
						 search->is_descending ? "<" : ">",
						 OCQ_PARAM_KEY + 1, OCQ_PARAM_ORDER_ID + 1);
}

/* append_orders_of_product appends FROM and WHERE for the orders of one product, by time. */
static void
append_orders_of_product(StringInfo sql, const OcqSearch *search)
{
	appendStringInfo(sql, " FROM (SELECT DISTINCT i.created_at, i.order_id"
					 " FROM order_cqrs.order_item_view i WHERE i.tenant_id = $%d", TENANT);
	append_conditions(sql, search, true);
	append_sort_conditions(sql, search, "i");
	append_keyset(sql, search, "i.created_at", "i");
	append_order(sql, search, "i.created_at", "i");
	appendStringInfo(sql, ") i JOIN order_cqrs.order_summary_view v"
					 " ON v.tenant_id = $%d AND v.order_id = i.order_id WHERE true", TENANT);
	append_conditions(sql, search, false);
	append_order(sql, search, "i.created_at", "i");
}

static void
append_items(StringInfo sql, const OcqSearch *search)
{
	if (!ocq_search_has_item_condition(search))
		return;
	appendStringInfoString(sql, " AND EXISTS (SELECT FROM order_cqrs.order_item_view i"
						   " WHERE i.tenant_id = v.tenant_id AND i.order_id = v.order_id");
	append_conditions(sql, search, true);
	appendStringInfoChar(sql, ')');
}

static void
append_orders(StringInfo sql, const OcqSearch *search)
{
	appendStringInfo(sql, " FROM order_cqrs.order_summary_view v WHERE v.tenant_id = $%d", TENANT);
	if (search->method == OCQ_METHOD_OF_IDS)
		appendStringInfo(sql, " AND v.order_id = ANY ($%d)", OCQ_PARAM_ORDER_IDS + 1);
	append_conditions(sql, search, false);
	append_items(sql, search);
	if (!wants_rows(search))
		return;
	append_keyset(sql, search, ocq_sorts[search->sort].expression, "v");
	append_order(sql, search, ocq_sorts[search->sort].expression, "v");
}

/* append_walk appends FROM and WHERE for those among the next rows of the sort. */
static void
append_walk(StringInfo sql, const OcqSearch *search)
{
	const char *expression = ocq_sorts[search->sort].expression;

	appendStringInfo(sql, " FROM (SELECT * FROM order_cqrs.order_summary_view v"
					 " WHERE v.tenant_id = $%d", TENANT);
	append_sort_conditions(sql, search, "v");
	append_keyset(sql, search, expression, "v");
	append_order(sql, search, expression, "v");
	appendStringInfo(sql, " LIMIT %d) v WHERE true", OCQ_WALK_ROWS);
	append_conditions(sql, search, false);
	append_items(sql, search);
	append_order(sql, search, expression, "v");
}

static void
append_select_list(StringInfo sql, const OcqSearch *search)
{
	switch (search->purpose)
	{
		case OCQ_PURPOSE_ROWS:
			appendStringInfoString(sql, OCQ_PAGE_COLUMNS);
			break;
		case OCQ_PURPOSE_KEYSET:
			appendStringInfo(sql, "%s, v.order_id", ocq_sorts[search->sort].expression);
			break;
		case OCQ_PURPOSE_COUNT:
			appendStringInfoString(sql, "count(*)");
			break;
		case OCQ_PURPOSE_ESTIMATE:
			appendStringInfoString(sql, "1");
			break;
	}
}

static const char *
make_sql(const OcqSearch *search)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT ");
	append_select_list(&sql, search);
	if (search->method == OCQ_METHOD_WALK)
		append_walk(&sql, search);
	else if (search->method != OCQ_METHOD_OF_IDS && ocq_search_goes_by_product(search))
		append_orders_of_product(&sql, search);
	else
		append_orders(&sql, search);
	if (wants_rows(search))
		appendStringInfo(&sql, " LIMIT $%d OFFSET $%d", OCQ_PARAM_LIMIT + 1, OCQ_PARAM_OFFSET + 1);
	return sql.data;
}

static uint64
shape_of(const OcqSearch *search)
{
	uint64		shape = 2 * search->purpose + (search->begins_after ? 1 : 0);

	shape = shape * OCQ_NUM_METHODS + search->method;
	shape = shape * OCQ_NUM_SORTS + search->sort;
	shape = shape * 2 + (search->is_descending ? 1 : 0);
	for (int i = 0; i < OCQ_NUM_CRITERIA; i++)
		shape = shape * 3 + (!ocq_search_has(search, i) ? 0 : search->is_list[i] ? 2 : 1);
	return shape;
}

static OcqStatement *
make_statement(const OcqSearch *search)
{
	Oid			types[OCQ_NUM_PARAMS] = {
		[OCQ_PARAM_TENANT_ID] = TEXTOID,
		[OCQ_PARAM_LIMIT] = INT8OID,
		[OCQ_PARAM_OFFSET] = INT8OID,
		[OCQ_PARAM_KEY] = ocq_sorts[search->sort].type,
		[OCQ_PARAM_ORDER_ID] = TEXTOID,
		[OCQ_PARAM_ORDER_IDS] = TEXTARRAYOID
	};

	for (int i = 0; i < OCQ_NUM_CRITERIA; i++)
		types[OCQ_PARAM_CRITERIA + i] = search->is_list[i] ? TEXTARRAYOID :
			ocq_criteria[i].type == TEXTARRAYOID ? TEXTOID : ocq_criteria[i].type;
	return ocq_shape_keep(shape_of(search), make_sql(search), types, OCQ_NUM_PARAMS,
						  search->method == OCQ_METHOD_PLANNED);
}

OcqStatement *
ocq_search_statement(const OcqSearch *search)
{
	OcqStatement *statement = ocq_shape_find(shape_of(search));

	return statement != NULL ? statement : make_statement(search);
}
