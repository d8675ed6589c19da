/*-------------------------------------------------------------------------
 * manage.c
 *	  The procedures by which a DBA manages projections.
 *
 * Those that work in several transactions commit between them and refuse to run
 * inside a transaction block.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/errors.h"
#include "base/procedure.h"
#include "base/scope.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "projection/projection.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(ocq_projection_sync);
PG_FUNCTION_INFO_V1(ocq_projection_rebuild);
PG_FUNCTION_INFO_V1(ocq_projection_pause);
PG_FUNCTION_INFO_V1(ocq_projection_resume);
PG_FUNCTION_INFO_V1(ocq_projection_set_mode);
PG_FUNCTION_INFO_V1(ocq_projection_verify);

/* Streams that one transaction of a rebuild handles, if it does not have to lock them. */
#define REBUILD_BATCH 2000

#define FETCH_COUNT 1000

/* ocq_projection_argument is the projection that the first argument names. */
const OcqProjection *
ocq_projection_argument(FunctionCallInfo fcinfo)
{
	char	   *name = PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0));
	const OcqProjection *projection = name == NULL ? NULL : ocq_projection_find(name);
	StringInfoData names;

	if (projection != NULL)
		return projection;

	initStringInfo(&names);
	for (int i = 0; i < ocq_projection_count(); i++)
		appendStringInfo(&names, "%s%s", i == 0 ? "" : ", ", ocq_projections[i]->name);
	ereport(ERROR,
			(errcode(OCQ_ERR_UNKNOWN_PROJECTION),
			 name == NULL ? errmsg("projection_name must not be null") :
			 errmsg("projection \"%s\" does not exist", name),
			 errdetail("The projections are: %s.", names.data),
			 errhint("See order_cqrs.projection_status.")));
}

static int64
horizon_now(void)
{
	OcqScope	scope;
	int64		horizon;

	ocq_scope_enter(&scope);
	horizon = ocq_sync_horizon();
	ocq_scope_leave(&scope);
	return horizon;
}

static void
wait_for_appenders(void)
{
	OcqScope	scope;

	ocq_scope_enter(&scope);
	ocq_horizon_wait_for_appenders();
	ocq_scope_leave(&scope);
}

/*
 * synchronise takes the projection to the horizon, a batch to a transaction.  A
 * step that has lost a race with a command is done again.
 */
static OcqSyncResult
synchronise(FunctionCallInfo fcinfo, const OcqProjection *projection, int64 horizon)
{
	OcqSyncResult result;

	do
	{
		result = ocq_sync_step(projection, horizon, true, false);
		ocq_procedure_commit(fcinfo);
	} while (result == OCQ_SYNC_PROGRESS || result == OCQ_SYNC_BUSY);
	return result;
}

/* projection_sync(projection_name text) */
Datum
ocq_projection_sync(PG_FUNCTION_ARGS)
{
	const OcqProjection *only = PG_ARGISNULL(0) ? NULL : ocq_projection_argument(fcinfo);
	int64		horizon;

	ocq_procedure_require_writable("projection_sync");
	ocq_procedure_begin(fcinfo);
	horizon = horizon_now();
	for (int i = 0; i < ocq_projection_count(); i++)
		if (only == NULL || only == ocq_projections[i])
			(void) synchronise(fcinfo, ocq_projections[i], horizon);
	SPI_finish();
	PG_RETURN_VOID();
}

static void
refuse_if_always_sync(const OcqProjection *projection, const char *what)
{
	if (projection->always_sync)
		ereport(ERROR,
				(errcode(OCQ_ERR_PROJECTION_MODE),
				 errmsg("projection \"%s\" cannot be %s", projection->name, what),
				 errdetail("Commands check against it."),
				 errhint("It can be synchronised, verified and rebuilt like the others.")));
}

/* set_status returns the projection's state before the change. */
static OcqProjectionState
set_status(const OcqProjection *projection, const char *status)
{
	OcqProjectionState state;
	OcqScope	scope;

	ocq_scope_enter(&scope);
	(void) ocq_state_lock(projection, true, &state);
	ocq_state_set_status(projection, status);
	ocq_scope_leave(&scope);
	return state;
}

/* catch_up makes a sync projection true again that was paused. */
static void
catch_up(FunctionCallInfo fcinfo, const OcqProjection *projection, bool was_paused)
{
	int64		horizon;
	OcqScope	scope;

	/* Transactions that appended while it was paused may append more events without it. */
	wait_for_appenders();
	horizon = horizon_now();
	if (was_paused)
	{
		ocq_scope_enter(&scope);
		ocq_state_set_paused_to(projection, horizon);
		ocq_scope_leave(&scope);
	}
	(void) synchronise(fcinfo, projection, horizon);
}

/* projection_pause(projection_name text) */
Datum
ocq_projection_pause(PG_FUNCTION_ARGS)
{
	const OcqProjection *projection = ocq_projection_argument(fcinfo);

	ocq_procedure_require_writable("projection_pause");
	refuse_if_always_sync(projection, "paused");
	(void) set_status(projection, "paused");
	PG_RETURN_VOID();
}

/*
 * projection_resume(projection_name text)
 *
 * A sync projection is true again when this returns.  An async one is woken.
 */
Datum
ocq_projection_resume(PG_FUNCTION_ARGS)
{
	const OcqProjection *projection = ocq_projection_argument(fcinfo);
	OcqProjectionState before;

	ocq_procedure_require_writable("projection_resume");
	ocq_procedure_begin(fcinfo);
	before = set_status(projection, "running");
	ocq_append_wake_at_commit();
	ocq_procedure_commit(fcinfo);
	if (before.is_sync)
		catch_up(fcinfo, projection, before.is_paused);
	SPI_finish();
	PG_RETURN_VOID();
}

static bool
mode_argument(FunctionCallInfo fcinfo)
{
	char	   *mode = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));

	if (mode != NULL && strcmp(mode, "sync") == 0)
		return true;
	if (mode != NULL && strcmp(mode, "async") == 0)
		return false;
	ereport(ERROR,
			(errcode(OCQ_ERR_PROJECTION_MODE),
			 mode == NULL ? errmsg("mode must not be null") :
			 errmsg("invalid projection mode \"%s\"", mode),
			 errdetail("A sync projection changes in the command's transaction, an async one after it."),
			 errhint("Pass 'sync' or 'async'.")));
}

/*
 * switch_mode is exact: no event is appended while it takes the projection to the end of
 * the log, and every transaction that appends afterwards sees the new mode (registry.c).
 */
static void
switch_mode(const OcqProjection *projection, bool to_sync)
{
	OcqProjectionState state;
	OcqSyncResult result;
	OcqScope	scope;

	ocq_scope_enter(&scope);
	(void) ocq_state_lock(projection, true, &state);
	if (state.is_sync != to_sync)
	{
		int64		horizon;

		ocq_horizon_barrier();
		horizon = ocq_sync_horizon();
		do
			result = ocq_sync_step(projection, horizon, true, true);
		while (result == OCQ_SYNC_PROGRESS);
		if (result != OCQ_SYNC_DONE)
			ereport(ERROR,
					(errcode(OCQ_ERR_PROJECTION_STATUS),
					 errmsg("projection \"%s\" cannot change its mode while it is %s",
							projection->name, result == OCQ_SYNC_PAUSED ? "paused" : "failing"),
					 errdetail("Its read tables have to be up to date at the switch."),
					 errhint("See order_cqrs.projection_status, and call projection_resume or remove the cause of the failure.")));
		ocq_state_set_mode(projection, to_sync);
	}
	ocq_scope_leave(&scope);
}

/* projection_set_mode(projection_name text, mode text) */
Datum
ocq_projection_set_mode(PG_FUNCTION_ARGS)
{
	const OcqProjection *projection = ocq_projection_argument(fcinfo);
	bool		to_sync = mode_argument(fcinfo);

	ocq_procedure_require_writable("projection_set_mode");
	if (!to_sync)
		refuse_if_always_sync(projection, "async");
	ocq_procedure_require_own_transactions(fcinfo, "projection_set_mode");

	/* Most of the events are handled while commands run. */
	ocq_procedure_begin(fcinfo);
	(void) synchronise(fcinfo, projection, horizon_now());
	switch_mode(projection, to_sync);
	ocq_procedure_commit(fcinfo);
	SPI_finish();
	PG_RETURN_VOID();
}

/* Called with the number of a row of the differences that have been fetched. */
typedef void (*VisitDifference) (uint64 row, void *arg);

/*
 * visit_differences runs a statement of OcqDifferences, in the snapshot of the
 * calling statement.  However many differences there are, a few are in memory at
 * a time.
 */
static void
visit_differences(OcqStatement *differences, VisitDifference visit, void *arg)
{
	Portal		portal = ocq_statement_open(differences, NULL, NULL);

	for (;;)
	{
		SPI_cursor_fetch(portal, true, FETCH_COUNT);
		if (SPI_processed == 0)
			break;
		for (uint64 row = 0; row < SPI_processed; row++)
			visit(row, arg);
		SPI_freetuptable(SPI_tuptable);
		CHECK_FOR_INTERRUPTS();
	}
	SPI_cursor_close(portal);
}

/* The streams in which a projection's tables differ from the events. */
typedef struct Differing
{
	MemoryContext context;		/* outlives the transactions of a rebuild */
	OcqStreams	streams;
	int			room;
} Differing;

static void
add_differing(uint64 row, void *arg)
{
	Differing  *differing = arg;
	OcqStreams *streams = &differing->streams;
	MemoryContext old;

	old = MemoryContextSwitchTo(differing->context);
	if (streams->count == differing->room)
	{
		differing->room = differing->room == 0 ? 1024 : differing->room * 2;
		streams->streams = streams->streams == NULL ?
			palloc_array(OcqStream, differing->room) :
			repalloc_huge(streams->streams, sizeof(OcqStream) * (Size) differing->room);
	}
	streams->streams[streams->count++] = (OcqStream) {
		.tenant_id = ocq_text_copy(DatumGetTextPP(ocq_row_datum(row, 1))),
			.aggregate_type = ocq_text_copy(DatumGetTextPP(ocq_row_datum(row, 2))),
			.aggregate_id = ocq_text_copy(DatumGetTextPP(ocq_row_datum(row, 3)))
	};
	MemoryContextSwitchTo(old);
}

static void
find_differing(const OcqProjection *projection, Differing *differing)
{
	OcqScope	scope;

	ocq_scope_enter(&scope);
	visit_differences(&ocq_projection_differences(projection)->streams, add_differing, differing);
	ocq_scope_leave(&scope);
}

/*
 * rebuild_some writes the rows of the streams from number from on anew, and
 * returns the end of those that it could lock.  Readers see the old rows until it
 * commits.
 */
static int
rebuild_some(const OcqProjection *projection, const OcqStreams *streams, int from)
{
	OcqProjectionState state;
	OcqStreams	some;
	OcqBatch	batch;
	OcqScope	scope;
	int			end = Min(streams->count, from + REBUILD_BATCH);

	ocq_scope_enter(&scope);
	(void) ocq_state_lock(projection, true, &state);
	if (state.is_sync)
		end = ocq_sync_lock_streams(streams, from, true);
	some = (OcqStreams) {
		.streams = &streams->streams[from], .count = end - from
	};
	ocq_projection_forget(projection, &some);
	batch = ocq_batch_of_streams(&some, some.count,
								 state.is_sync ? PG_INT64_MAX : state.last_position);
	batch.nnew = batch.norders;
	(void) ocq_projection_handle_many(projection, &batch, state.is_sync);
	ocq_scope_leave(&scope);
	return end;
}

static void
reconcile(const OcqProjection *projection)
{
	OcqProjectionState state;
	OcqScope	scope;

	ocq_scope_enter(&scope);
	(void) ocq_state_lock(projection, true, &state);
	projection->reconcile();
	ocq_scope_leave(&scope);
}

/*
 * projection_rebuild(projection_name text)
 *
 * It makes projection_verify return no rows: the rows that differ from the events are
 * written anew, a few streams to a transaction, and no others are touched.
 */
Datum
ocq_projection_rebuild(PG_FUNCTION_ARGS)
{
	const OcqProjection *projection = ocq_projection_argument(fcinfo);
	Differing	differing = {.context = CurrentMemoryContext};

	ocq_procedure_require_writable("projection_rebuild");
	ocq_procedure_require_own_transactions(fcinfo, "projection_rebuild");
	ocq_sync_require_read_committed();

	ocq_procedure_begin(fcinfo);
	find_differing(projection, &differing);
	ocq_procedure_commit(fcinfo);
	for (int from = 0; from < differing.streams.count;)
	{
		from = rebuild_some(projection, &differing.streams, from);
		ocq_procedure_commit(fcinfo);
	}
	if (projection->reconcile != NULL)
	{
		reconcile(projection);
		ocq_procedure_commit(fcinfo);
	}
	SPI_finish();
	PG_RETURN_VOID();
}

static void
put_difference(uint64 row, void *arg)
{
	ReturnSetInfo *result = arg;

	tuplestore_puttuple(result->setResult, SPI_tuptable->vals[row]);
}

/* projection_verify(projection_name text) returns table (tenant_id, key, expected, actual) */
Datum
ocq_projection_verify(PG_FUNCTION_ARGS)
{
	const OcqProjection *projection = ocq_projection_argument(fcinfo);
	OcqScope	scope;

	InitMaterializedSRF(fcinfo, 0);
	ocq_scope_enter(&scope);
	visit_differences(&ocq_projection_differences(projection)->all, put_difference, fcinfo->resultinfo);
	ocq_scope_leave(&scope);
	return (Datum) 0;
}
