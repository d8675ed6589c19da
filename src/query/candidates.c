/*-------------------------------------------------------------------------
 * candidates.c
 *	  The customers, products or orders that a criterion is about, if they are few.
 *
 * A search goes one way for few and another for many.  It asks, and does not estimate:
 * an index is read until the answer is known.  Each function returns false if there are
 * many, and otherwise the ids.  Their plans do not depend on the answer, and are kept.
 *
 * There are few customers and products beside the orders, and they change seldom.
 * So the indexes by parts of names are on these tables.  On the tables of orders each
 * order would pay for them.  Names are those of now; a projection that is behind may
 * still show old ones.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/statement.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "query/candidates.h"
#include "query/criteria.h"
#include "utils/memutils.h"

/* More customers, products or orders than that are not looked up by their ids. */
#define MAX_NAMED 200
#define MAX_NAMED_SLOWLY 50		/* where each name has to be compared */
#define MAX_ORDERS 100

/* The search looks for the rows found here once more: in the same snapshot. */
#define READING(text, ...) \
	{ .sql = (text), .nargs = lengthof(((Oid[]){__VA_ARGS__})), .argtypes = {__VA_ARGS__}, \
	  .shares_snapshot = true }

#define UNLESS_MORE_THAN(most) " LIMIT " CppAsString2(most) " + 1"

#define CUSTOMERS(condition, most) \
	READING("SELECT customer_id FROM order_cqrs.customers WHERE tenant_id = $1 AND " condition \
			UNLESS_MORE_THAN(most), TEXTOID, TEXTOID, TEXTOID)
#define PRODUCTS(condition, most) \
	READING("SELECT product_id FROM order_cqrs.products WHERE tenant_id = $1 AND " condition \
			UNLESS_MORE_THAN(most), TEXTOID, TEXTOID, TEXTOID)

/*
 * $2 is the pattern, $3 the category.  Fewer than three letters in a row are in no
 * trigram index; such a pattern is compared with each name, until there are enough.
 */
#define LIKE_BY_INDEX "lower(name) LIKE lower($2)"
#define LIKE_ONE_BY_ONE "lower(name) || '' LIKE lower($2)"

static OcqStatement customers_by_index = CUSTOMERS(LIKE_BY_INDEX, MAX_NAMED);
static OcqStatement customers_one_by_one = CUSTOMERS(LIKE_ONE_BY_ONE, MAX_NAMED_SLOWLY);
static OcqStatement products_by_index = PRODUCTS(LIKE_BY_INDEX, MAX_NAMED);
static OcqStatement products_one_by_one = PRODUCTS(LIKE_ONE_BY_ONE, MAX_NAMED_SLOWLY);
static OcqStatement products_by_category = PRODUCTS("category = $3", MAX_NAMED);
static OcqStatement products_by_name_and_category = PRODUCTS(LIKE_ONE_BY_ONE " AND category = $3", MAX_NAMED);

static bool
find(OcqStatement *statement, Datum *values, const char *nulls, int most, OcqCandidates *found)
{
	uint64		count = ocq_statement_run(statement, values, nulls);

	if (count > (uint64) most)
		return false;
	found->count = (int) count;
	found->ids = palloc_array(Datum, count);
	for (uint64 row = 0; row < count; row++)
		found->ids[row] = ocq_row_datum(row, 1);
	return true;
}

/* has_trigram tells whether three letters follow each other; other bytes than ASCII count as letters. */
static bool
has_trigram(const text *pattern)
{
	const char *data = VARDATA_ANY(pattern);
	const char *end = data + VARSIZE_ANY_EXHDR(pattern);
	int			letters = 0;

	while (data < end && letters < 3)
	{
		bool		is_letter = IS_HIGHBIT_SET(*data) || isalnum((unsigned char) *data);

		letters = is_letter ? letters + 1 : 0;
		data += pg_mblen(data);
	}
	return letters == 3;
}

bool
ocq_candidates_customers(Datum tenant_id, Datum name_pattern, OcqCandidates *found)
{
	Datum		values[3] = {tenant_id, name_pattern};

	return has_trigram(DatumGetTextPP(name_pattern)) ?
		find(&customers_by_index, values, "  n", MAX_NAMED, found) :
		find(&customers_one_by_one, values, "  n", MAX_NAMED_SLOWLY, found);
}

/* ocq_candidates_products takes a name's pattern, a category, or both; one may be NULL. */
bool
ocq_candidates_products(Datum tenant_id, const Datum *name_pattern, const Datum *category,
						OcqCandidates *found)
{
	Datum		values[3] = {tenant_id};

	if (name_pattern != NULL)
		values[1] = *name_pattern;
	if (category != NULL)
		values[2] = *category;
	if (name_pattern == NULL)
		return find(&products_by_category, values, " n ", MAX_NAMED, found);
	if (category != NULL)
		return find(&products_by_name_and_category, values, NULL, MAX_NAMED, found);
	return has_trigram(DatumGetTextPP(*name_pattern)) ?
		find(&products_by_index, values, "  n", MAX_NAMED, found) :
		find(&products_one_by_one, values, "  n", MAX_NAMED_SLOWLY, found);
}

/* orders_statement is made once for each criterion, or range, in a session. */
static OcqStatement *
orders_statement(int criterion)
{
	static OcqStatement statements[OCQ_NUM_CRITERIA];
	OcqStatement *statement = &statements[criterion];
	const char *column = ocq_criteria[criterion].column;
	bool		is_range = ocq_criteria[criterion].selectivity == OCQ_SELECTIVE_RANGE;
	Oid			type = is_range ? ocq_criteria[criterion].type : TEXTARRAYOID;
	StringInfoData sql;

	if (statement->sql != NULL)
		return statement;
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT order_id FROM order_cqrs.%s WHERE tenant_id = $1 AND ",
					 ocq_criteria[criterion].is_of_item ? "order_item_view" : "order_summary_view");
	ocq_criterion_append(&sql, criterion, column, !is_range, 1);
	if (is_range)
	{
		appendStringInfoString(&sql, " AND ");
		ocq_criterion_append(&sql, criterion + 1, column, false, 2);
	}
	appendStringInfoString(&sql, UNLESS_MORE_THAN(MAX_ORDERS));
	*statement = (OcqStatement) {
		.nargs = is_range ? 3 : 2, .argtypes = {TEXTOID, type, type}, .shares_snapshot = true,
		.sql = MemoryContextStrdup(TopMemoryContext, sql.data)
	};
	return statement;
}

/* ocq_candidates_orders may return an order twice.  greatest is for a range. */
bool
ocq_candidates_orders(int criterion, Datum tenant_id, Datum ids_or_least, Datum greatest,
					  OcqCandidates *found)
{
	Datum		values[] = {tenant_id, ids_or_least, greatest};

	return find(orders_statement(criterion), values, NULL, MAX_ORDERS, found);
}
