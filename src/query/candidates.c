/*-------------------------------------------------------------------------
 * candidates.c
 *	  What a criterion of a search is about, if that is little.
 *
 * Whether a criterion is about few or many decides how a search is to go, and it
 * is asked, not estimated: an index is read until it is known.  Each function
 * returns false if there are many, and otherwise what there is.  Their plans do not
 * depend on the answer, and are kept.
 *
 * There are few customers and products beside the orders, and they change seldom.
 * So the indexes by parts of names are theirs, and not the orders', where each
 * order would pay for them.  Names are those of now; a projection that is behind may
 * still show old ones.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/statement.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "query/candidates.h"

/* More customers or products than that are not looked up by their ids; nor are more orders. */
#define MAX_NAMED 200
#define MAX_NAMED_SLOWLY 50		/* where each name has to be compared */
#define MAX_ORDERS 100

/* What they find is looked for again by the search itself: in the same snapshot. */
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

#define ORDERS(table, condition, type) \
	READING("SELECT order_id FROM order_cqrs." table " WHERE tenant_id = $1 AND " condition \
			UNLESS_MORE_THAN(MAX_ORDERS), TEXTOID, type, type)

static OcqStatement orders_by[] = {
	[OCQ_ORDERS_BY_CUSTOMERS] =
	ORDERS("order_summary_view", "customer_id = ANY ($2)", TEXTARRAYOID),
	[OCQ_ORDERS_BY_PRODUCTS] =
	ORDERS("order_item_view", "product_id = ANY ($2)", TEXTARRAYOID),
	[OCQ_ORDERS_BY_STATUSES] =
	ORDERS("order_summary_view", "status = ANY ($2)", TEXTARRAYOID),
	[OCQ_ORDERS_BY_PAYMENT_STATUSES] =
	ORDERS("order_summary_view", "payment_status = ANY ($2)", TEXTARRAYOID),
	[OCQ_ORDERS_BY_CREATED_AT] =
	ORDERS("order_summary_view", "created_at >= $2 AND created_at < $3", TIMESTAMPTZOID),
	[OCQ_ORDERS_BY_UPDATED_AT] =
	ORDERS("order_summary_view", "updated_at >= $2 AND updated_at < $3", TIMESTAMPTZOID),
	[OCQ_ORDERS_BY_TOTAL_AMOUNT] =
	ORDERS("order_summary_view", "total_amount >= $2 AND total_amount <= $3", NUMERICOID),
	[OCQ_ORDERS_BY_ITEM_COUNT] =
	ORDERS("order_summary_view", "item_count >= $2 AND item_count <= $3", INT4OID),
};

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

/* has_trigram tells whether three letters follow each other, as far as one can see. */
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

/* ocq_candidates_orders may return an order twice. */
bool
ocq_candidates_orders(OcqOrdersBy by, Datum tenant_id, Datum ids_or_least, Datum greatest,
					  OcqCandidates *found)
{
	bool		is_range = by >= OCQ_ORDERS_BY_CREATED_AT;
	Datum		values[] = {tenant_id, ids_or_least, greatest};

	return find(&orders_by[by], values, is_range ? NULL : "  n", MAX_ORDERS, found);
}
