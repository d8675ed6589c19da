/*-------------------------------------------------------------------------
 * stream_read.c
 *	  stream_read: the events of one stream, of any type.
 *
 * Versions are given out under the stream's lock, so that the order in which they are
 * committed is theirs.  Nothing has to be waited for, and a standby can answer, too.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/argument.h"
#include "base/errors.h"
#include "base/scope.h"
#include "base/statement.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "store/store.h"
#include "tenant/tenant.h"

PG_FUNCTION_INFO_V1(ocq_stream_read_function);

static OcqStatement select_part =
OCQ_STATEMENT("SELECT * FROM order_cqrs.events"
			  " WHERE tenant_id = $1 AND aggregate_type = $2 AND aggregate_id = $3 AND version > $4"
			  " ORDER BY version LIMIT $5",
			  TEXTOID, TEXTOID, TEXTOID, INT4OID, INT4OID);

static int32
after_version_argument(FunctionCallInfo fcinfo, int argno)
{
	if (PG_ARGISNULL(argno) || PG_GETARG_INT32(argno) < 0)
		ereport(ERROR,
				(errcode(OCQ_ERR_INVALID_ARGUMENT),
				 PG_ARGISNULL(argno) ? errmsg("after_version must not be null") :
				 errmsg("after_version must not be negative"),
				 errdetail("It is the version of the last event of the stream that the caller has read."),
				 errhint("Pass 0, or leave it out, to read from the beginning.")));
	return PG_GETARG_INT32(argno);
}

/*
 * stream_read(aggregate_type text, aggregate_id text, after_version int, max_count int,
 * tenant_id text) returns setof events
 */
Datum
ocq_stream_read_function(PG_FUNCTION_ARGS)
{
	text	   *aggregate_type = ocq_argument_id(fcinfo, 0, "aggregate_type");
	text	   *aggregate_id = ocq_argument_id(fcinfo, 1, "aggregate_id");
	int32		after_version = after_version_argument(fcinfo, 2);
	int32		max_count = ocq_event_max_count(fcinfo, 3);
	Datum		values[] = {
		PointerGetDatum(ocq_tenant_resolve(fcinfo, 4)), PointerGetDatum(aggregate_type),
		PointerGetDatum(aggregate_id), Int32GetDatum(after_version), Int32GetDatum(max_count)
	};
	OcqScope	scope;

	ocq_event_rows_begin(fcinfo);
	ocq_scope_enter(&scope);
	ocq_event_rows_put(fcinfo, ocq_statement_run(&select_part, values, NULL));
	ocq_scope_leave(&scope);
	return (Datum) 0;
}
