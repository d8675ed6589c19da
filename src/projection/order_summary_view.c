/*-------------------------------------------------------------------------
 * order_summary_view.c
 *	  The projection order_summary_view, for lists of orders and searches.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "projection/projection.h"

static OcqStatement renew_customers =
OCQ_TABLE_STATEMENT(&ocq_names,
					"UPDATE order_cqrs.order_summary_view v SET customer_name = n.name,"
					" customer_email = n.attribute FROM " OCQ_RECORDS
					" WHERE v.tenant_id = n.tenant_id AND v.customer_id = n.id"
					" AND (v.customer_name, v.customer_email) IS DISTINCT FROM (n.name, n.attribute)",
					RECORDARRAYOID);

static int64
handle(const OcqBatch *batch)
{
	if (ocq_order_rows_append(&ocq_order_summary_view, batch, NULL))
		return 1;
	return ocq_order_rows_write(&ocq_order_summary_view, batch, NULL, NULL) +
		ocq_names_renew(&renew_customers, batch, OCQ_REFERENCE_CUSTOMER);
}

static const char *const aggregate_types[] = {
	OCQ_AGGREGATE_ORDER, OCQ_AGGREGATE_CUSTOMER, NULL
};

static const OcqReadTable tables[] = {
	{.table = &ocq_order_summary_view, .aggregate_type = OCQ_AGGREGATE_ORDER}, {NULL}
};

const OcqProjection ocq_projection_order_summary_view = {
	.name = "order_summary_view",
	.aggregate_types = aggregate_types,
	.answers_queries = true,
	.shows_names = true,
	.tables = tables,
	.handle = handle,
};
