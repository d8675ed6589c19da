/*-------------------------------------------------------------------------
 * delta.c
 *	  The orders that order_search_view does not have in their present state.
 *
 * The projection order_search may run behind the commands, and the answers of searches are
 * exact nevertheless: a search leaves out the delta's orders from what order_search_view
 * has, and judges them on order_summary_view, which changes with the command.
 *
 * The delta are the orders with events beyond the checkpoint of the projection, and the
 * orders of customers with such events.  It is read in the snapshot of the search.  Rows and
 * checkpoint of the projection change in one transaction, and the checkpoint is never beyond
 * the horizon, so each event that the snapshot sees is either beyond the checkpoint that it
 * sees, or in the rows that it sees.  That holds at every isolation level, for the
 * transaction's own events, on a standby, and wherever the projection has stopped.
 *
 * There is no delta where the trigger serves the projection (a checkpoint is only where the
 * worker has looked it over), or where order_summary_view itself is not exact at commit.
 *
 * A long delta would be slower to judge than all orders, which are read from
 * order_summary_view then, without the indexes for searches.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "postgres.h"

#include "base/statement.h"
#include "catalog/pg_type.h"
#include "projection/projection.h"
#include "query/delta.h"
#include "utils/builtins.h"

/* Events, and orders of renamed customers, that a delta may have. */
#define MAX_DELTA 10000

#define UNLESS_MORE " LIMIT " CppAsString2(MAX_DELTA) " + 1"

/* Rows are compared so that each type is found by its own index (store/read.c). */
#define EVENTS_OF(type) \
	"SELECT e.tenant_id, e.aggregate_id AS id FROM order_cqrs.events e" \
	" WHERE (e.aggregate_type, e.position) > ('" type "', s.last_position)" \
	" AND (e.aggregate_type, e.position) <= ('" type "', 9223372036854775807)" \
	" ORDER BY e.aggregate_type, e.position" UNLESS_MORE

static OcqStatement select_delta = {
	.sql = "SELECT count(*) > " CppAsString2(MAX_DELTA) ", max(s.last_position), max(s.status),"
	" array_agg(DISTINCT d.id) FILTER (WHERE d.tenant_id = $1)"
	" FROM order_cqrs.projection_state s, LATERAL (("
	EVENTS_OF(OCQ_AGGREGATE_ORDER) ") UNION ALL (SELECT NULL, NULL FROM (" EVENTS_OF(OCQ_AGGREGATE_CUSTOMER) ") e) UNION ALL"
	" (SELECT v.tenant_id, v.order_id FROM (SELECT DISTINCT id FROM (" EVENTS_OF(OCQ_AGGREGATE_CUSTOMER) ") e WHERE e.tenant_id = $1) c"
	", LATERAL (SELECT v.tenant_id, v.order_id FROM order_cqrs.order_summary_view v"
	" WHERE v.tenant_id = $1 AND v.customer_id = c.id" UNLESS_MORE ") v" UNLESS_MORE ")) d"
	" WHERE s.projection_name = 'order_search'"
	" AND NOT (s.mode = 'sync' AND s.status <> 'paused' AND s.last_position >= s.paused_to)"
	" AND EXISTS (SELECT FROM order_cqrs.projection_state v WHERE v.projection_name = 'order_summary_view'"
	" AND v.mode = 'sync' AND v.status <> 'paused' AND v.last_position >= v.paused_to)",
	.nargs = 1, .argtypes = {TEXTOID}, .shares_snapshot = true
};

static void
tell_that_it_is_long(int64 checkpoint, const char *status)
{
	ereport(NOTICE,
			(errmsg("the search reads all orders, as order_search_view is far behind"),
			 errdetail("Projection \"order_search\" is %s; more than %d events, or orders of renamed customers, are behind its checkpoint " INT64_FORMAT ".",
					   status, MAX_DELTA, checkpoint),
			 errhint("See order_cqrs.projection_status. Let a worker serve the database, call projection_resume or projection_sync, or make the projection sync by projection_set_mode.")));
}

/* ocq_delta_read returns which table to read, and sets order_ids to the delta if it is both. */
OcqSource
ocq_delta_read(Datum tenant_id, Datum *order_ids)
{
	(void) ocq_statement_run(&select_delta, &tenant_id, NULL);
	if (DatumGetBool(ocq_row_datum(0, 1)))
	{
		tell_that_it_is_long(DatumGetInt64(ocq_row_datum(0, 2)),
							 TextDatumGetCString(ocq_row_datum(0, 3)));
		return OCQ_SOURCE_SUMMARY;
	}
	if (ocq_row_is_null(0, 4))
		return OCQ_SOURCE_SEARCH;
	*order_ids = ocq_row_datum(0, 4);
	return OCQ_SOURCE_BOTH;
}
