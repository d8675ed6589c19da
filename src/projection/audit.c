/*-------------------------------------------------------------------------
 * audit.c
 *	  Compares the events that async projections have handled with those of the log.
 *
 * An async projection counts the events that it really handles, with a checksum
 * of their positions, in its row of projection_state: this is its open range,
 * (counted_after, last_position].  An old or large range is closed: it becomes a
 * row of projection_ledger.  A while later the worker counts the log's events in
 * the range, and, over hours, those of all older ranges again.
 *
 * A range that differs is reported, and marked by NULL instead of the counts.  All
 * its streams are then written anew, part by part: each part that is done is a
 * range of its own, with the log's counts.  Equal neighbours are merged.  The tables of
 * a paused projection are left alone until it is resumed.
 *
 * A process that changes a projection's ranges holds the lock of its row, or of the whole
 * of projection_state.
 *
 * A rewind forgets the ranges that reach beyond it, and the projection goes back to
 * where the first of them began (state.c), so that its counts are whole again.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/attempt.h"
#include "base/errors.h"
#include "base/procedure.h"
#include "base/scope.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "projection/projection.h"
#include "utils/builtins.h"
#include "utils/guc.h"

PG_FUNCTION_INFO_V1(ocq_projection_audit);

/* Events whose streams one transaction of a repair writes anew; sync ones are locked. */
#define REPAIR_EVENTS 2000
#define REPAIR_EVENTS_LOCKED 100

int			ocq_audit_delay;

void
ocq_audit_define_settings(void)
{
	DefineCustomIntVariable("order_cqrs.audit_delay",
							"How long after the work of projections and the saga it is audited.",
							"What was handled is counted, and compared with the log by the worker.",
							&ocq_audit_delay, 60 * 1000, 1, 86400 * 1000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
}

/* Ranges beyond the checkpoint remain if the administrator has set it back. */
static OcqStatement delete_overlapping =
OCQ_STATEMENT("DELETE FROM order_cqrs.projection_ledger l USING order_cqrs.projection_state s"
			  " WHERE s.projection_name = $1 AND l.projection_name = $1 AND l.to_position > s.counted_after",
			  TEXTOID);

/*
 * A checkpoint below the one that the counts belong to was set back by hand: that range
 * is not closed, and the next batch begins another (state.c).
 */
#define HAS_OPEN_RANGE "mode = 'async' AND counted_after < last_position AND last_position >= counted_to"

static OcqStatement close_open_range =
OCQ_STATEMENT("WITH closed AS (INSERT INTO order_cqrs.projection_ledger"
			  " (projection_name, after_position, to_position, events, checksum)"
			  " SELECT projection_name, counted_after, last_position, counted_events, counted_checksum"
			  " FROM order_cqrs.projection_state"
			  " WHERE projection_name = $1 AND " HAS_OPEN_RANGE ")"
			  " UPDATE order_cqrs.projection_state SET counted_after = last_position, counted_events = 0,"
			  " counted_checksum = 0, counted_since = clock_timestamp()"
			  " WHERE projection_name = $1 AND last_position >= counted_to",
			  TEXTOID);

/*
 * The work that is due for each projection: ranges to close, new ones, and old ones that
 * were verified long ago.  One that is known to differ waits while its projection is
 * paused.
 */
static OcqStatement select_due =
OCQ_STATEMENT("SELECT projection_name, after_position FROM"
			  " (SELECT DISTINCT ON (d.projection_name) d.* FROM (SELECT projection_name, NULL::bigint AS after_position, counted_since AS since"
			  " FROM order_cqrs.projection_state WHERE " HAS_OPEN_RANGE
			  " AND counted_since <= clock_timestamp() - make_interval(secs => $1)"
			  " UNION ALL SELECT projection_name, after_position, closed_at"
			  " FROM order_cqrs.projection_ledger l WHERE verified_at IS NULL"
			  " AND closed_at <= clock_timestamp() - make_interval(secs => $1)"
			  " AND NOT (events IS NULL AND EXISTS (SELECT FROM order_cqrs.projection_state s"
			  " WHERE s.projection_name = l.projection_name AND s.status = 'paused'))"
			  " UNION ALL SELECT projection_name, after_position, verified_at"
			  " FROM order_cqrs.projection_ledger WHERE verified_at <= clock_timestamp() - interval '6 hours'"
			  ") AS d ORDER BY d.projection_name, d.since) AS first ORDER BY since",
			  FLOAT8OID);

#define OF_TYPES \
	" FROM unnest($2) AS t (aggregate_type), LATERAL (SELECT " OCQ_EVENT_COUNT \
	" FROM order_cqrs.events WHERE aggregate_type = t.aggregate_type"

/* The ledger and the log in one snapshot; from the range on that begins at or after $3. */
static OcqStatement compare_range =
OCQ_STATEMENT("SELECT l.after_position, l.to_position, l.events, l.checksum, c.events, c.checksum"
			  " FROM (SELECT * FROM order_cqrs.projection_ledger WHERE projection_name = $1"
			  " AND after_position >= $3 ORDER BY after_position LIMIT 1) AS l,"
			  " LATERAL (SELECT coalesce(sum(n.events), 0)::bigint, coalesce(sum(n.checksum), 0)::bigint"
			  OF_TYPES " AND position > l.after_position AND position <= l.to_position)"
			  " AS n (events, checksum)) AS c (events, checksum)",
			  TEXTOID, TEXTARRAYOID, INT8OID);

static OcqStatement set_verified =
OCQ_STATEMENT("UPDATE order_cqrs.projection_ledger SET verified_at = clock_timestamp()"
			  " WHERE projection_name = $1 AND after_position = $2",
			  TEXTOID, INT8OID);

/* Up to a million events, so that a comparison stays short. */
static OcqStatement merge_range =
OCQ_STATEMENT("WITH previous AS (DELETE FROM order_cqrs.projection_ledger p"
			  " USING order_cqrs.projection_ledger l WHERE l.projection_name = $1"
			  " AND l.after_position = $2 AND p.projection_name = $1 AND p.to_position = $2"
			  " AND p.verified_at IS NOT NULL AND l.verified_at IS NOT NULL"
			  " AND p.events + l.events <= 1000000 RETURNING p.*)"
			  " UPDATE order_cqrs.projection_ledger l SET after_position = p.after_position,"
			  " events = l.events + p.events, checksum = l.checksum + p.checksum,"
			  " verified_at = least(l.verified_at, p.verified_at)"
			  " FROM previous p WHERE l.projection_name = $1 AND l.after_position = $2",
			  TEXTOID, INT8OID);

static OcqStatement mark_range =
OCQ_STATEMENT("UPDATE order_cqrs.projection_ledger SET events = NULL, checksum = NULL, verified_at = NULL,"
			  " closed_at = clock_timestamp() WHERE projection_name = $1 AND after_position = $2",
			  TEXTOID, INT8OID);

/*
 * The streams of the first $4 events of a range, by their first position there, and the
 * part's end.
 */
static OcqStatement select_part =
OCQ_STATEMENT("WITH part AS (SELECT e.* FROM unnest($1) AS t (aggregate_type),"
			  " LATERAL (SELECT tenant_id, aggregate_type, aggregate_id, position FROM order_cqrs.events"
			  " WHERE aggregate_type = t.aggregate_type AND position > $2 AND position <= $3"
			  " ORDER BY position FETCH FIRST $4 ROWS WITH TIES) AS e"
			  " ORDER BY e.position FETCH FIRST $4 ROWS WITH TIES)"
			  " SELECT tenant_id, aggregate_type, aggregate_id, min(position),"
			  " (SELECT CASE WHEN count(*) < $4 THEN $3 ELSE max(position) END FROM part)"
			  " FROM part GROUP BY 1, 2, 3 ORDER BY 4",
			  TEXTARRAYOID, INT8OID, INT8OID, INT8OID);

/* The part up to $4 of the range that begins after $3 is true now. */
static OcqStatement split_range =
OCQ_STATEMENT("WITH rest AS (DELETE FROM order_cqrs.projection_ledger WHERE projection_name = $1"
			  " AND after_position = $3 RETURNING to_position, closed_at)"
			  " INSERT INTO order_cqrs.projection_ledger (projection_name, after_position, to_position,"
			  " events, checksum, closed_at, verified_at)"
			  " SELECT $1, $4, to_position, NULL, NULL, closed_at, NULL FROM rest WHERE to_position > $4",
			  TEXTOID, TEXTARRAYOID, INT8OID, INT8OID);

static OcqStatement insert_verified =
OCQ_STATEMENT("INSERT INTO order_cqrs.projection_ledger (projection_name, after_position, to_position,"
			  " events, checksum, verified_at)"
			  " SELECT $1, $3, $4, coalesce(sum(n.events), 0), coalesce(sum(n.checksum), 0), clock_timestamp()"
			  OF_TYPES " AND position > $3 AND position <= $4) AS n (events, checksum)",
			  TEXTOID, TEXTARRAYOID, INT8OID, INT8OID);

static OcqStatement add_repaired =
OCQ_STATEMENT("UPDATE order_cqrs.projection_state SET repaired_total = repaired_total + $2,"
			  " updated_at = clock_timestamp() WHERE projection_name = $1",
			  TEXTOID, INT8OID);

/* A range, as the projection and as the log have counted it. */
typedef struct Range
{
	int64		after;
	int64		end;
	bool		is_marked;		/* known to differ */
	int64		events;
	int64		checksum;
	int64		log_events;
	int64		log_checksum;
} Range;

/* ocq_audit_close closes the open range.  The caller has locked the projection's row. */
void
ocq_audit_close(const OcqProjection *projection)
{
	Datum		name = CStringGetTextDatum(projection->name);

	(void) ocq_statement_run(&delete_overlapping, &name, NULL);
	(void) ocq_statement_run(&close_open_range, &name, NULL);
}

static bool
compare(const OcqProjection *projection, int64 from, Range *range)
{
	Datum		values[] = {
		CStringGetTextDatum(projection->name), ocq_sync_aggregate_types(projection),
		Int64GetDatum(from)
	};

	if (ocq_statement_run(&compare_range, values, NULL) == 0)
		return false;
	range->after = DatumGetInt64(ocq_row_datum(0, 1));
	range->end = DatumGetInt64(ocq_row_datum(0, 2));
	range->is_marked = ocq_row_is_null(0, 3);
	range->events = range->is_marked ? 0 : DatumGetInt64(ocq_row_datum(0, 3));
	range->checksum = range->is_marked ? 0 : DatumGetInt64(ocq_row_datum(0, 4));
	range->log_events = DatumGetInt64(ocq_row_datum(0, 5));
	range->log_checksum = DatumGetInt64(ocq_row_datum(0, 6));
	return true;
}

static bool
differs(const Range *range)
{
	return range->is_marked || range->events != range->log_events ||
		range->checksum != range->log_checksum;
}

static void
run_on_range(OcqStatement *statement, const OcqProjection *projection, int64 after)
{
	Datum		values[] = {CStringGetTextDatum(projection->name), Int64GetDatum(after)};

	(void) ocq_statement_run(statement, values, NULL);
}

static void
report(const OcqProjection *projection, const Range *range)
{
	ereport(WARNING,
			(errcode(OCQ_ERR_PROJECTION_MISCOUNT),
			 errmsg("projection \"%s\" has not handled each event once", projection->name),
			 errdetail("After position " INT64_FORMAT " and up to " INT64_FORMAT " it has handled " INT64_FORMAT
					   " events with checksum " INT64_FORMAT "; the log has " INT64_FORMAT
					   " with checksum " INT64_FORMAT ".",
					   range->after, range->end, range->events, range->checksum,
					   range->log_events, range->log_checksum),
			 errhint("Their streams are handled again.")));
}

static OcqStreams
read_part(const OcqProjection *projection, const Range *range, int64 limit, int64 *end)
{
	Datum		values[] = {
		ocq_sync_aggregate_types(projection), Int64GetDatum(range->after),
		Int64GetDatum(range->end), Int64GetDatum(limit)
	};
	uint64		rows = ocq_statement_run(&select_part, values, NULL);

	*end = rows == 0 ? range->end : DatumGetInt64(ocq_row_datum(0, 5));
	return ocq_sync_read_streams(rows);
}

/* note_repaired makes the part a range of its own, and returns whether it was the last. */
static void
note_repaired(const OcqProjection *projection, const Range *range, int64 end, int64 changed)
{
	Datum		name = CStringGetTextDatum(projection->name);
	Datum		values[] = {
		name, ocq_sync_aggregate_types(projection),
		Int64GetDatum(range->after), Int64GetDatum(end)
	};
	Datum		repaired[] = {name, Int64GetDatum(changed)};

	(void) ocq_statement_run(&split_range, values, NULL);
	(void) ocq_statement_run(&insert_verified, values, NULL);
	run_on_range(&merge_range, projection, range->after);
	(void) ocq_statement_run(&add_repaired, repaired, NULL);
}

/*
 * repair writes the first streams of the range anew, and returns the position that it has
 * come to: range->after if a command has locked the first stream.
 */
static int64
repair(const OcqProjection *projection, const OcqProjectionState *state, const Range *range, bool waits)
{
	int64		end;
	OcqStreams	part = read_part(projection, range,
								 state->is_sync ? REPAIR_EVENTS_LOCKED : REPAIR_EVENTS, &end);
	OcqBatch	batch;
	int64		changed;

	if (state->is_sync)
	{
		int			locked = ocq_sync_lock_streams(&part, 0, waits);

		if (locked < part.count)
			end = part.first_positions[locked] - 1;
		if (end <= range->after)
			return range->after;
		part.count = locked;
	}
	ocq_projection_forget(projection, &part);
	batch = ocq_batch_of_streams(&part, part.count,
								 state->is_sync ? PG_INT64_MAX : state->last_position);
	batch.nnew = batch.norders;
	changed = ocq_projection_handle_many(projection, &batch, state->is_sync);
	/* Rows that do not belong to one stream are put right with the last part. */
	if (end == range->end && projection->reconcile != NULL)
		projection->reconcile();
	note_repaired(projection, range, end, changed);
	return end;
}

/* A repair of one part of a range. */
typedef struct Repair
{
	const OcqProjection *projection;
	const OcqProjectionState *state;
	const Range *range;
	bool		waits;			/* for the stream of a command */
	int64		end;			/* where it has come to */
} Repair;

static void
run_repair(void *argument)
{
	Repair	   *run = argument;

	/* A connection of its own, so that its memory is given back. */
	SPI_connect();
	run->end = repair(run->projection, run->state, run->range, run->waits);
	SPI_finish();
}

/*
 * try_repair keeps a stream that cannot be folded from stopping the worker or other
 * ranges.  The range stays marked, and has its turn later.
 */
static int64
try_repair(const OcqProjection *projection, const OcqProjectionState *state, const Range *range, bool waits)
{
	Repair		run = {.projection = projection, .state = state, .range = range, .waits = waits};
	OcqAttempt	attempt = {.lock_timeout = ocq_sync_lock_timeout()};

	if (ocq_attempt(&attempt, run_repair, &run))
		return run.end;
	if (!attempt.lost_race)
		ereport(WARNING,
				(errcode(attempt.error->sqlerrcode),
				 errmsg("projection \"%s\" could not be repaired: %s", projection->name, attempt.error->message),
				 errdetail("The streams after position " INT64_FORMAT " are handled again later.", range->after)));
	run_on_range(&mark_range, projection, range->after);
	return range->end;
}

/* The outcome for a range. */
typedef struct Audit
{
	bool		found;			/* a range */
	int64		next;			/* where to go on */
	int64		events;			/* that were compared */
	bool		is_busy;		/* another process has locked the projection, or a stream */
} Audit;

/*
 * audit_range compares the first range at or after a position, in the caller's
 * transaction.  One that differs is reported and marked at once; it is repaired by
 * the calls that follow.
 */
static Audit
audit_range(const OcqProjection *projection, int64 from, bool waits)
{
	OcqProjectionState state;
	Audit		audit = {0};
	OcqScope	scope;
	Range		range;

	ocq_scope_enter(&scope);
	if (!ocq_state_lock(projection, waits, &state))
		audit.is_busy = true;
	else if (compare(projection, from, &range))
	{
		audit.found = true;
		audit.next = range.end;
		if (!differs(&range))
		{
			audit.events = range.log_events;
			run_on_range(&set_verified, projection, range.after);
			run_on_range(&merge_range, projection, range.after);
		}
		else
		{
			if (!range.is_marked)
			{
				report(projection, &range);
				run_on_range(&mark_range, projection, range.after);
			}
			if (!state.is_paused)
				audit.next = try_repair(projection, &state, &range, waits);
			audit.is_busy = state.is_paused || audit.next == range.after;
		}
	}
	ocq_scope_leave(&scope);
	return audit;
}

static bool
close_if_free(const OcqProjection *projection, bool waits)
{
	OcqProjectionState state;
	OcqScope	scope;
	bool		is_free;

	ocq_scope_enter(&scope);
	is_free = ocq_state_lock(projection, waits, &state);
	if (is_free)
		ocq_audit_close(projection);
	ocq_scope_leave(&scope);
	return is_free;
}

/*
 * The work that is due for a projection: its open range, or the one that begins after a
 * position.
 */
typedef struct Due
{
	const OcqProjection *projection;
	bool		is_open;
	int64		after;
} Due;

/*
 * find_due finds the projections with work that is due, the longest due first, and
 * returns their number.
 */
static int
find_due(Due *due)
{
	Datum		delay = Float8GetDatum(ocq_audit_delay / 1000.0);
	OcqScope	scope;
	uint64		rows;
	int			count = 0;

	ocq_scope_enter(&scope);
	rows = ocq_statement_run(&select_due, &delay, NULL);
	for (uint64 row = 0; row < rows; row++)
	{
		const OcqProjection *projection = ocq_projection_find(TextDatumGetCString(ocq_row_datum(row, 1)));
		bool		is_open = ocq_row_is_null(row, 2);

		if (projection != NULL)
			due[count++] = (Due) {projection, is_open, is_open ? 0 : DatumGetInt64(ocq_row_datum(row, 2))};
	}
	ocq_scope_leave(&scope);
	return count;
}

/*
 * ocq_audit_step does one thing that is due, a range at most, and leaves it to the caller
 * to commit.  A projection that another process has locked does not hold up the others.
 * It returns whether there may be more.
 */
bool
ocq_audit_step(void)
{
	Due		   *due = palloc_array(Due, ocq_projection_count());
	int			count = find_due(due);

	for (int i = 0; i < count; i++)
	{
		bool		done = due[i].is_open ? close_if_free(due[i].projection, false) :
			!audit_range(due[i].projection, due[i].after, false).is_busy;

		if (done)
			return true;
	}
	return false;
}

static void
audit_by_hand(FunctionCallInfo fcinfo, const OcqProjection *projection)
{
	Audit		audit;
	int64		from = PG_INT64_MIN;
	int64		events = 0;
	int			ranges = 0;

	(void) close_if_free(projection, true);
	ocq_procedure_commit(fcinfo);
	while ((audit = audit_range(projection, from, true)).found)
	{
		ocq_procedure_commit(fcinfo);
		from = audit.next;
		events += audit.events;
		ranges++;
	}
	ereport(DEBUG1,
			(errmsg_internal("projection \"%s\": %d ranges with " INT64_FORMAT " events compared",
							 projection->name, ranges, events)));
}

/* projection_audit(projection_name text) */
Datum
ocq_projection_audit(PG_FUNCTION_ARGS)
{
	const OcqProjection *only = PG_ARGISNULL(0) ? NULL :
		ocq_projection_argument(fcinfo);

	ocq_procedure_require_writable("projection_audit");
	ocq_sync_require_read_committed();
	ocq_procedure_begin(fcinfo);
	for (int i = 0; i < ocq_projection_count(); i++)
		if (only == NULL || only == ocq_projections[i])
			audit_by_hand(fcinfo, ocq_projections[i]);
	SPI_finish();
	PG_RETURN_VOID();
}
