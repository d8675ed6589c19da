/*-------------------------------------------------------------------------
 * count.c
 *	  event_count: the number and the checksum of the events in a part of the log.
 *
 * The checksum is the sum, over all events, of the square of the position modulo
 * 2147483647.  A consumer in any language can compute it, and of two sets of the
 * same size it tells almost surely that they differ.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/errors.h"
#include "base/scope.h"
#include "base/statement.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "store/store.h"

PG_FUNCTION_INFO_V1(ocq_event_count);

static OcqStatement count_all =
OCQ_STATEMENT("SELECT " OCQ_EVENT_COUNT " FROM order_cqrs.events WHERE position > $1 AND position <= $2",
			  INT8OID, INT8OID);

/* One scan of the index for each type. */
static OcqStatement count_of_types =
OCQ_STATEMENT("SELECT coalesce(sum(c.events), 0)::bigint, coalesce(sum(c.checksum), 0)::bigint"
			  " FROM (SELECT DISTINCT u.u FROM unnest($3) AS u) AS t (aggregate_type),"
			  " LATERAL (SELECT " OCQ_EVENT_COUNT " FROM order_cqrs.events"
			  " WHERE aggregate_type = t.aggregate_type AND position > $1 AND position <= $2)"
			  " AS c (events, checksum)",
			  INT8OID, INT8OID, TEXTARRAYOID);

static int64
position_argument(FunctionCallInfo fcinfo, int number, const char *name)
{
	if (PG_ARGISNULL(number))
		ereport(ERROR,
				(errcode(OCQ_ERR_INVALID_ARGUMENT),
				 errmsg("%s must not be null", name),
				 errdetail("Events after from_position are counted, up to and with to_position."),
				 errhint("Pass 0 and your checkpoint to count all that you have handled.")));
	return PG_GETARG_INT64(number);
}

/* event_count(from_position bigint, to_position bigint, aggregate_types text[], OUT events bigint, OUT checksum bigint) */
Datum
ocq_event_count(PG_FUNCTION_ARGS)
{
	Datum		values[] = {
		Int64GetDatum(position_argument(fcinfo, 0, "from_position")),
		Int64GetDatum(position_argument(fcinfo, 1, "to_position")),
		PG_GETARG_DATUM(2)
	};
	Datum		results[2];
	bool		nulls[2] = {false, false};
	TupleDesc	descriptor;
	OcqScope	scope;

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	ocq_scope_enter(&scope);
	ocq_horizon_require_primary();
	ocq_position_check(PG_GETARG_INT64(1));
	if (PG_GETARG_INT64(1) > ocq_horizon_known())
		(void) ocq_horizon_wait();
	(void) ocq_statement_run_latest(PG_ARGISNULL(2) ? &count_all : &count_of_types, values, NULL);
	results[0] = Int64GetDatum(DatumGetInt64(ocq_row_datum(0, 1)));
	results[1] = Int64GetDatum(DatumGetInt64(ocq_row_datum(0, 2)));
	ocq_horizon_flush();
	ocq_scope_leave(&scope);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), results, nulls)));
}
