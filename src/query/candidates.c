/*-------------------------------------------------------------------------
 * candidates.c
 *	  The customers and the products that names, or a category, are about.
 *
 * There are few customers and products beside the orders, and they change seldom.
 * So the indexes by parts of names are theirs, and not the orders', where each
 * order would pay for them.  A search by name asks here first.  If a few are meant,
 * it goes on with their ids, for which the orders have indexes; if many are, their
 * orders are frequent and the search finds its page by looking at one order after
 * the other.
 *
 * Names are those of now.  A projection that is behind may still show old ones.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/statement.h"
#include "catalog/pg_type.h"
#include "query/candidates.h"

/* More than so many are not looked up by their ids. */
#define MAX_CANDIDATES 200
#define AND_NO_MORE " LIMIT " CppAsString2(MAX_CANDIDATES) " + 1"

#define CANDIDATES(select, ...) \
	{ .sql = (select AND_NO_MORE), .nargs = lengthof(((Oid[]){__VA_ARGS__})), \
	  .argtypes = {__VA_ARGS__}, .depends_on_values = true }

static OcqStatement customers_by_name =
CANDIDATES("SELECT customer_id FROM order_cqrs.customers"
		   " WHERE tenant_id = $1 AND lower(name) LIKE lower($2)",
		   TEXTOID, TEXTOID);

static OcqStatement products_by_name =
CANDIDATES("SELECT product_id FROM order_cqrs.products"
		   " WHERE tenant_id = $1 AND lower(name) LIKE lower($2)",
		   TEXTOID, TEXTOID);

static OcqStatement products_by_category =
CANDIDATES("SELECT product_id FROM order_cqrs.products WHERE tenant_id = $1 AND category = $2",
		   TEXTOID, TEXTOID);

static OcqStatement products_by_name_and_category =
CANDIDATES("SELECT product_id FROM order_cqrs.products"
		   " WHERE tenant_id = $1 AND lower(name) LIKE lower($2) AND category = $3",
		   TEXTOID, TEXTOID, TEXTOID);

static bool
find(OcqStatement *statement, Datum *values, OcqCandidates *found)
{
	uint64		count = ocq_statement_run(statement, values, NULL);

	if (count > MAX_CANDIDATES)
		return false;
	found->count = (int) count;
	found->ids = palloc_array(Datum, count);
	for (uint64 row = 0; row < count; row++)
		found->ids[row] = ocq_row_datum(row, 1);
	return true;
}

/* ocq_candidates_customers returns false if there are many.  The ids are in SPI's memory. */
bool
ocq_candidates_customers(Datum tenant_id, Datum name_pattern, OcqCandidates *found)
{
	Datum		values[] = {tenant_id, name_pattern};

	return find(&customers_by_name, values, found);
}

/* ocq_candidates_products does the same by name, category or both; one may be NULL. */
bool
ocq_candidates_products(Datum tenant_id, const Datum *name_pattern, const Datum *category,
						OcqCandidates *found)
{
	Datum		values[3] = {tenant_id};

	if (category == NULL)
	{
		values[1] = *name_pattern;
		return find(&products_by_name, values, found);
	}
	if (name_pattern == NULL)
	{
		values[1] = *category;
		return find(&products_by_category, values, found);
	}
	values[1] = *name_pattern;
	values[2] = *category;
	return find(&products_by_name_and_category, values, found);
}
