/*-------------------------------------------------------------------------
 * order_summary_view.c
 *	  The projections order_summary_view, for lists of orders, and order_search, for searches.
 *
 * Both are the same fold.  order_summary_view changes with the command and has few indexes.
 * order_search_view has many, and changes after the command where a worker serves the
 * database; query/delta.c says how searches make up for that.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "projection/projection.h"

#define RENEW_CUSTOMERS(table_name) \
	OCQ_TABLE_STATEMENT(&ocq_names, \
						"UPDATE order_cqrs." table_name " v SET customer_name = n.name," \
						" customer_email = n.attribute FROM " OCQ_RECORDS \
						" WHERE v.tenant_id = n.tenant_id AND v.customer_id = n.id" \
						" AND (v.customer_name, v.customer_email) IS DISTINCT FROM (n.name, n.attribute)", \
						RECORDARRAYOID)

static OcqStatement renew_summaries = RENEW_CUSTOMERS("order_summary_view");
static OcqStatement renew_search = RENEW_CUSTOMERS("order_search_view");

static int64
handle(OcqTable *table, OcqStatement *renew, const OcqBatch *batch)
{
	if (ocq_order_rows_append(table, batch, NULL))
		return 1;
	return ocq_order_rows_write(table, batch, NULL, NULL) +
		ocq_names_renew(renew, batch, OCQ_REFERENCE_CUSTOMER);
}

static int64
handle_summaries(const OcqBatch *batch)
{
	return handle(&ocq_order_summary_view, &renew_summaries, batch);
}

static int64
handle_search(const OcqBatch *batch)
{
	return handle(&ocq_order_search_view, &renew_search, batch);
}

static const char *const aggregate_types[] = {
	OCQ_AGGREGATE_ORDER, OCQ_AGGREGATE_CUSTOMER, NULL
};

static const OcqReadTable summary_tables[] = {
	{.table = &ocq_order_summary_view, .aggregate_type = OCQ_AGGREGATE_ORDER}, {NULL}
};

static const OcqReadTable search_tables[] = {
	{.table = &ocq_order_search_view, .aggregate_type = OCQ_AGGREGATE_ORDER}, {NULL}
};

const OcqProjection ocq_projection_order_summary_view = {
	.name = "order_summary_view",
	.aggregate_types = aggregate_types,
	.answers_queries = true,
	.shows_names = true,
	.tables = summary_tables,
	.handle = handle_summaries,
};

/* No answer that is read from it is cached. */
const OcqProjection ocq_projection_order_search = {
	.name = "order_search",
	.aggregate_types = aggregate_types,
	.shows_names = true,
	.tables = search_tables,
	.handle = handle_search,
};
