/*-------------------------------------------------------------------------
 * sync.c
 *	  Takes a projection from its checkpoint to the horizon, batch by batch.
 *
 * An async projection handles every stream that the batch's events touch.  For a
 * sync projection, whose trigger has done the work, the streams of which the read
 * tables lack an event are handled, and counted as repaired; so are changes of names,
 * which are counted as renewed.
 *
 * A step is the body of a transaction: the rows and the checkpoint change
 * together, so that each event takes effect once, whatever crashes.  It holds the
 * lock of the projection's row.  The repair of a sync projection also takes the
 * lock of each stream, as commands write the same rows; the rows of an async
 * projection have no other writer.
 *
 * Stream locks are taken without waiting, but for the first when called by hand: a
 * process that waits for a stream holds no other, and so cannot deadlock with
 * commands.  The worker, which has more to do, comes back later.
 *
 * A batch that fails has further attempts in halves, down to the event that fails.  A
 * batch that has waited for a lock for a while is given up until later.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/attempt.h"
#include "base/errors.h"
#include "base/scope.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "projection/projection.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"

/* Streams that one transaction may lock: they fill the shared lock table. */
#define MAX_STREAM_LOCKS 200

/* Events that are looked over at once for so many streams. */
#define REPAIR_BATCH_SIZE 1000

/* Data of events that one transaction handles: it takes a few times that in memory. */
#define MAX_BYTES (16 * 1024 * 1024)

/* How long one of the extension's processes waits for a lock that it needs for one projection. */
#define LOCK_TIMEOUT "1s"

int			ocq_batch_size;

void
ocq_sync_define_settings(void)
{
	DefineCustomIntVariable("order_cqrs.batch_size",
							"Events that a projection handles in one transaction.",
							"A larger batch costs less per event and more memory.",
							&ocq_batch_size, 10000, 1, 100000, PGC_SIGHUP, 0, NULL, NULL, NULL);
}

/*
 * Position of the last event of a batch of at most $4 events, and how many it has.  Rows
 * are compared so that each type is counted by its own index (store/read.c).
 */
static OcqStatement select_batch_end =
OCQ_STATEMENT("SELECT max(b.position), count(*) FROM (SELECT e.position"
			  " FROM unnest($3) AS t (aggregate_type),"
			  " LATERAL (SELECT position FROM order_cqrs.events"
			  " WHERE (aggregate_type, position) > (t.aggregate_type, $1)"
			  " AND (aggregate_type, position) <= (t.aggregate_type, $2)"
			  " ORDER BY aggregate_type, position LIMIT $4) AS e ORDER BY e.position LIMIT $4) AS b",
			  INT8OID, INT8OID, TEXTARRAYOID, INT8OID);

static OcqStatement select_renamed_to =
OCQ_STATEMENT("SELECT coalesce(max(e.position), 0)"
			  " FROM (SELECT min(last_position) AS position FROM order_cqrs.projection_state"
			  " WHERE mode = 'sync' AND status = 'running') AS s,"
			  " unnest('{" OCQ_AGGREGATE_CUSTOMER "," OCQ_AGGREGATE_PRODUCT "}'::text[]) AS t (aggregate_type),"
			  " LATERAL (SELECT position FROM order_cqrs.events"
			  " WHERE aggregate_type = t.aggregate_type AND position > s.position AND position <= $1"
			  " ORDER BY position DESC LIMIT 1) AS e",
			  INT8OID);

/* It has no rows if there are events. */
static OcqStatement select_end_of_empty_log =
OCQ_STATEMENT_NOARGS("SELECT max(last_position) FROM order_cqrs.projection_state"
					 " HAVING NOT EXISTS (SELECT FROM order_cqrs.events)");

/* One attempt at a batch. */
typedef struct Batch
{
	const OcqProjection *projection;
	bool		is_sync;
	bool		waits;			/* for another process, if need be */
	bool		appends_are_blocked;
	bool		is_restored;	/* by the transaction that we are in; nothing was wrong */
	bool		is_blocked;		/* by a command, for now */
	bool		presumes_new;	/* that no read table has the orders that begin in the batch */
	bool		met_rows;		/* the presumption was wrong */
	int64		after;
	int64		end;
	int64		events;
	int64		checksum;		/* of those that an async projection has really handled */
	int64		last_event;		/* position; 0 if there are no events */
} Batch;

/*
 * ocq_sync_horizon returns the horizon for projections.  In an empty log it is no
 * further than checkpoints are: a restore may set the sequence first, and bring the
 * events without firing the trigger that sets checkpoints back.  Why it waits for
 * appenders twice is for names: see reference/lookup.c.
 */
int64
ocq_sync_horizon(void)
{
	int64		horizon = ocq_horizon_wait();

	ocq_horizon_wait_for_appenders();
	AcceptInvalidationMessages();
	if (ocq_statement_run(&select_end_of_empty_log, NULL, NULL) > 0)
		horizon = Min(horizon, DatumGetInt64(ocq_row_datum(0, 1)));
	return horizon;
}

/*
 * ocq_sync_renamed_to returns the position of the last change of a customer or product,
 * up to the horizon, that a sync projection has not been looked over for, or 0.  A row
 * may show the old name until then, so that must not wait for the interval's end.
 */
int64
ocq_sync_renamed_to(int64 horizon)
{
	Datum		values[] = {Int64GetDatum(horizon)};

	(void) ocq_statement_run(&select_renamed_to, values, NULL);
	return DatumGetInt64(ocq_row_datum(0, 1));
}

Datum
ocq_sync_aggregate_types(const OcqProjection *projection)
{
	Datum		types[8];
	int			count = 0;

	for (const char *const *type = projection->aggregate_types; *type != NULL; type++)
		types[count++] = CStringGetTextDatum(*type);
	return ocq_array(types, NULL, count, TEXTOID);
}

/* find_end bounds the batch to at most limit events up to the horizon. */
static void
find_end(Batch *batch, int64 horizon, int64 limit)
{
	Datum		values[] = {
		Int64GetDatum(batch->after), Int64GetDatum(horizon),
		ocq_sync_aggregate_types(batch->projection), Int64GetDatum(limit)
	};

	(void) ocq_statement_run(&select_batch_end, values, NULL);
	batch->events = DatumGetInt64(ocq_row_datum(0, 2));
	batch->last_event = batch->events == 0 ? 0 : DatumGetInt64(ocq_row_datum(0, 1));
	batch->end = batch->events < limit ? horizon : batch->last_event;
}

/* ocq_sync_read_streams reads the last statement's rows: a stream, and its first position. */
OcqStreams
ocq_sync_read_streams(uint64 rows)
{
	OcqStreams	streams = {
		.streams = palloc_array(OcqStream, rows + 1),
		.first_positions = palloc_array(int64, rows + 1),
		.count = (int) rows
	};

	for (uint64 row = 0; row < rows; row++)
	{
		streams.streams[row].tenant_id = DatumGetTextPP(ocq_row_datum(row, 1));
		streams.streams[row].aggregate_type = DatumGetTextPP(ocq_row_datum(row, 2));
		streams.streams[row].aggregate_id = DatumGetTextPP(ocq_row_datum(row, 3));
		streams.first_positions[row] = DatumGetInt64(ocq_row_datum(row, 4));
	}
	return streams;
}

/* find_behind returns the streams of which the read tables lack an event, by first position. */
static OcqStreams
find_behind(const Batch *batch)
{
	Datum		values[] = {Int64GetDatum(batch->after), Int64GetDatum(batch->end)};

	return ocq_sync_read_streams(ocq_statement_run(ocq_projection_behind(batch->projection), values, NULL));
}

/*
 * ocq_sync_lock_streams locks as many streams in a row as it can; with wait at least the
 * one at from.  It returns the end of the streams that it has locked.
 */
int
ocq_sync_lock_streams(const OcqStreams *streams, int from, bool wait)
{
	int			end = from;

	if (wait && end < streams->count)
		ocq_stream_lock(&streams->streams[end++]);
	while (end < streams->count && end - from < MAX_STREAM_LOCKS &&
		   ocq_stream_try_lock(&streams->streams[end]))
		end++;
	return end;
}

/*
 * lock_streams ends the batch before the first stream that it could not lock;
 * they come by first position.
 */
static int
lock_streams(Batch *batch, const OcqStreams *streams)
{
	int			locked = ocq_sync_lock_streams(streams, 0, batch->waits);

	batch->is_blocked = locked == 0 && streams->count > 0;
	if (locked < streams->count)
		find_end(batch, streams->first_positions[locked] - 1, batch->events);
	return locked;
}

/*
 * states_behind makes the batch of streams to repair.  Under its lock a stream may be
 * read to its end.
 */
static OcqBatch
states_behind(Batch *batch)
{
	OcqStreams	streams = find_behind(batch);
	int			count = batch->appends_are_blocked ? streams.count : lock_streams(batch, &streams);

	return ocq_batch_of_streams(&streams, count, PG_INT64_MAX);
}

/*
 * states_touched makes the batch of all streams that its events touch; it ends where they
 * fill the memory.
 */
static OcqBatch
states_touched(Batch *batch)
{
	OcqEvents	events = ocq_log_read(ocq_sync_aggregate_types(batch->projection),
									  batch->after, batch->end, MAX_BYTES);

	batch->events = events.count;
	for (int i = 0; i < events.count; i++)
		batch->checksum += ocq_event_checksum(events.items[i].position);
	if (events.count > 0 && events.items[events.count - 1].position < batch->last_event)
		batch->end = batch->last_event = events.items[events.count - 1].position;
	return ocq_batch_of_log(&events, batch->after, batch->presumes_new);
}

/*
 * take_names takes the changes of names out of a batch.  A rename that does not reach all
 * rows is not a fault: the trigger cannot see an order that is being written, or is
 * younger than the snapshot of the rename.
 */
static OcqBatch
take_names(const OcqProjection *projection, OcqBatch *states)
{
	OcqBatch	names = {0};

	if (projection->shows_names)
	{
		names.changes = states->changes;
		names.nchanges = states->nchanges;
		states->nchanges = 0;
	}
	return names;
}

static void
handle_batch(Batch *batch)
{
	OcqHandled	handled = {0};

	batch->checksum = 0;		/* of an earlier attempt */
	if (batch->events > 0 && batch->is_sync)
	{
		OcqBatch	states = states_behind(batch);
		OcqBatch	names = take_names(batch->projection, &states);

		handled.repaired = ocq_projection_handle_many(batch->projection, &states, true);
		handled.renewed = ocq_projection_handle_many(batch->projection, &names, true);
	}
	else if (batch->events > 0)
	{
		OcqBatch	states = states_touched(batch);

		(void) ocq_projection_handle_many(batch->projection, &states, false);
	}
	handled.events = batch->events;
	handled.checksum = batch->checksum;
	if (batch->is_restored)
		handled = (OcqHandled) {0};
	ocq_state_advance(batch->projection, batch->end, handled);
}

/*
 * ocq_sync_lock_timeout lets other projections have their turn while another session has
 * locked a table or rows of one.  A session that synchronises by hand has its own limit.
 */
const char *
ocq_sync_lock_timeout(void)
{
	return ocq_process_is_own ? LOCK_TIMEOUT : NULL;
}

static void
run_batch(void *batch)
{
	/* A connection of its own, so that the memory of one attempt is not missing in the next. */
	SPI_connect();
	handle_batch(batch);
	SPI_finish();
}

/* try_once returns the error's message, or NULL. */
static char *
try_once(Batch *batch)
{
	OcqAttempt	attempt = {.lock_timeout = ocq_sync_lock_timeout()};

	if (ocq_attempt(&attempt, run_batch, batch))
		return NULL;
	batch->is_blocked = attempt.lost_race;
	batch->met_rows = batch->presumes_new && attempt.error->sqlerrcode == ERRCODE_UNIQUE_VIOLATION;
	return attempt.lost_race ? NULL :
		psprintf("%s: %s", unpack_sql_state(attempt.error->sqlerrcode), attempt.error->message);
}

/*
 * try_batch makes a second attempt where rows that were not expected stand in the way.
 * The rows of an async projection are written once, from its checkpoint on, so an order
 * that begins after that is new and is inserted without a look, unless the administrator
 * has set the checkpoint back, or written to the table by hand.
 */
static char *
try_batch(Batch *batch)
{
	char	   *message;

	batch->presumes_new = !batch->is_sync;
	message = try_once(batch);
	if (!batch->met_rows)
		return message;
	batch->presumes_new = batch->met_rows = false;
	return try_once(batch);
}

static OcqSyncResult
step_from(const OcqProjection *projection, const OcqProjectionState *state, int64 horizon,
		  bool wait, bool appends_are_blocked, bool is_restored)
{
	int64		most = state->is_sync ? Min(ocq_batch_size, REPAIR_BATCH_SIZE) : ocq_batch_size;

	for (int64 limit = most;; limit /= 2)
	{
		Batch		batch = {
			.projection = projection,
			.is_sync = state->is_sync,
			.waits = wait,
			.appends_are_blocked = appends_are_blocked,
			.is_restored = is_restored,
			.after = state->last_position
		};
		char	   *message;

		find_end(&batch, horizon, limit);
		message = try_batch(&batch);
		if (message == NULL && batch.is_blocked)
			return OCQ_SYNC_BUSY;
		if (message == NULL)
			return batch.end < horizon ? OCQ_SYNC_PROGRESS : OCQ_SYNC_DONE;
		if (limit > 1 && batch.events > 1)
		{
			limit = Min(limit, batch.events);
			continue;
		}
		ocq_state_fail(projection, batch.last_event, message);
		ereport(WARNING,
				(errcode(OCQ_ERR_PROJECTION_STATUS),
				 errmsg("projection \"%s\" failed: %s", projection->name, message),
				 errdetail("It stays at position " INT64_FORMAT "; the event that it cannot handle is at " INT64_FORMAT ".",
						   state->last_position, batch.last_event),
				 errhint("See order_cqrs.projection_status. It is tried again by itself, or at once by projection_sync.")));
		return OCQ_SYNC_FAILED;
	}
}

/*
 * ocq_sync_require_read_committed is for functions that read rows which others have just
 * committed.
 */
void
ocq_sync_require_read_committed(void)
{
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(OCQ_ERR_PROJECTION_ISOLATION),
				 errmsg("projections can be synchronised under READ COMMITTED only"),
				 errdetail("The snapshot of this transaction is older than the horizon, so events would be skipped."),
				 errhint("Run it in a transaction with ISOLATION LEVEL READ COMMITTED.")));
}

/*
 * check_checkpoint has a projection begin anew whose checkpoint is of another log, such as
 * a newer one than was restored: events at the positions up to it would be passed over.
 */
static void
check_checkpoint(const OcqProjection *projection, OcqProjectionState *state)
{
	int64		log_end;

	if (!ocq_position_is_beyond_log(state->last_position, &log_end))
		return;
	ereport(WARNING,
			(errcode(OCQ_ERR_CHECKPOINT_BEYOND_LOG),
			 errmsg("the checkpoint of projection \"%s\" is beyond the end of the log", projection->name),
			 errdetail("The checkpoint is " INT64_FORMAT ", and the log ends at " INT64_FORMAT ". All events are handled again.",
					   state->last_position, log_end),
			 errhint("Its read tables may show what is not in the log: call projection_verify, and projection_rebuild.")));
	ocq_state_reset(projection);
	state->last_position = 0;
}

/*
 * ocq_sync_step handles one batch of the projection, and leaves it to the caller
 * to commit.  horizon comes from ocq_sync_horizon, before this call.  With
 * appends_are_blocked the caller holds the barrier (horizon.c), and stream locks
 * must not be waited for, as commands hold them while they wait for the barrier.
 */
OcqSyncResult
ocq_sync_step(const OcqProjection *projection, int64 horizon, bool wait, bool appends_are_blocked)
{
	OcqProjectionState state;
	OcqSyncResult result;
	OcqScope	scope;

	ocq_sync_require_read_committed();
	ocq_scope_enter(&scope);
	if (!ocq_state_lock(projection, wait, &state))
		result = OCQ_SYNC_BUSY;
	else if (state.is_paused)
		result = OCQ_SYNC_PAUSED;
	else
	{
		if (state.last_position > horizon)
			check_checkpoint(projection, &state);
		result = state.last_position >= horizon ? OCQ_SYNC_DONE :
			step_from(projection, &state, horizon, wait, appends_are_blocked, false);
	}
	ocq_scope_leave(&scope);
	return result;
}

/*
 * ocq_sync_restored takes a projection, if it is sync, to an event of the transaction that
 * the caller is in.  The caller holds the barrier, and ExclusiveLock on projection_state.
 */
void
ocq_sync_restored(const OcqProjection *projection, int64 up_to)
{
	OcqSyncResult result;

	do
	{
		OcqProjectionState state;
		OcqScope	scope;

		ocq_scope_enter(&scope);
		(void) ocq_state_lock(projection, true, &state);
		result = !state.is_sync || state.is_paused || state.last_position >= up_to ? OCQ_SYNC_DONE :
			step_from(projection, &state, up_to, false, true, true);
		ocq_scope_leave(&scope);
	} while (result == OCQ_SYNC_PROGRESS);
}
