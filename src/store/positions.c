/*-------------------------------------------------------------------------
 * positions.c
 *	  The sequence that numbers events: its last value, and that it never goes back.
 *
 * Consumers keep the position that they have reached.  So a position must be used
 * once, whatever happens to the sequence.  It can fall behind the log (setval, a
 * restore, a switchover by logical replication, which does not replicate sequences),
 * and after a crash or a promotion the end of the log may be lost, while a consumer
 * has seen it; and a dump that was restored may be older than a consumer's checkpoint.
 * In each of these cases positions go on far ahead: at a multiple of GENERATION, at least
 * so many positions away.  A consumer's checkpoint in such a gap is of a part of the log
 * that exists no more, and event_read says so (read.c).  The multiple is drawn at random:
 * two logs that have gone on from the same end, such as two restores of one dump, do not
 * come to use the same positions.
 *
 * Reading the last value.  nextval() writes to the sequence's tuple twice while it
 * holds the buffer's content lock exclusively: first the value for its WAL record, 32
 * ahead of the number that it draws, then that number.  A scan deforms the tuple
 * without that lock and can see the former; a reader under the lock in share mode
 * cannot.  setval() writes once, under the same lock; CREATE, ALTER and TRUNCATE write
 * a new file, which others see once they have committed.  This holds in 15 to 18.
 *
 * Moving on.  Movers exclude each other by ShareUpdateExclusiveLock on the sequence,
 * which lets appenders pass: a prepared transaction that a crash has left behind may
 * hold on to its lock for days.  The positions that they draw meanwhile cannot reach the
 * next generation.  Where the sequence is behind the log, appenders are kept out, too, by
 * ShareLock: an open COPY holds the lock of an appender, and its rows cannot be seen.
 * setval() is not undone by an abort, so these locks are released at once.  (That of an
 * appender, which setval() takes itself, stays until the transaction ends.)
 *
 * Shared memory knows which databases have been looked after since the server
 * started; without it, in a server that does not preload the library, crashes and
 * promotions are not noticed.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/tableam.h"
#include "access/xlog.h"
#include "base/catalog.h"
#include "base/errors.h"
#include "base/statement.h"
#include "catalog/pg_control.h"
#include "catalog/pg_index.h"
#include "commands/sequence.h"
#include "common/controldata_utils.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "store/store.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Databases that are remembered; one that is forgotten moves on once more. */
#define MAX_DATABASES 1024

#define GENERATION INT64CONST(1000000000)

/* A log moves on by so many generations at most, so that it can do so 900,000 times at least. */
#define MAX_GENERATIONS 10000

/* A log that ends beyond it has no room for another gap. */
#define LAST_END (PG_INT64_MAX - 3 * GENERATION)


/* How long the worker lets the sequence be behind: a restore sets it after the events. */
#define GRACE_MS 5000

/* How often it warns of a state that cannot be set right. */
#define WARN_EVERY_MS 600000

typedef struct SharedPositions
{
	LWLock	   *lock;			/* written at startup, like the next */
	TimeLineID	clean_timeline; /* that was shut down cleanly; 0: after a crash, or a standby */

	/* The databases that have moved on if need be; written and read under the lock. */
	int			count;			/* of all that ever were added */
	Oid			databases[MAX_DATABASES];
} SharedPositions;

static SharedPositions *shared = NULL;	/* NULL: the library is not preloaded */

/* The sequence that this session has looked after. */
static Oid	prepared_sequence = InvalidOid;

/* The event before a position, or at it, and the one after it. */
static OcqStatement select_neighbours =
OCQ_STATEMENT("SELECT (SELECT position FROM order_cqrs.events WHERE position <= $1"
			  " ORDER BY position DESC LIMIT 1),"
			  " (SELECT position FROM order_cqrs.events WHERE position > $1"
			  " ORDER BY position LIMIT 1)",
			  INT8OID);

void
ocq_positions_request_shmem(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(SharedPositions)));
	RequestNamedLWLockTranche("order_cqrs positions", 1);
}

/*
 * clean_timeline returns the timeline of a server that was shut down cleanly, and so
 * has lost nothing, or 0.  The postmaster calls it before the startup process has
 * changed the state in the control file.
 */
static TimeLineID
clean_timeline(void)
{
	bool		crc_ok;
	ControlFileData *control = get_controlfile(DataDir, &crc_ok);
	TimeLineID	timeline = 0;

	if (crc_ok && control->state == DB_SHUTDOWNED)
		timeline = control->checkPointCopy.ThisTimeLineID;
	pfree(control);
	return timeline;
}

void
ocq_positions_startup_shmem(void)
{
	bool		found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("order_cqrs positions", sizeof(SharedPositions), &found);
	if (!found)
	{
		memset(shared, 0, sizeof(SharedPositions));
		shared->lock = &GetNamedLWLockTranche("order_cqrs positions")->lock;
		shared->clean_timeline = clean_timeline();
	}
	LWLockRelease(AddinShmemInitLock);
}

/* is_settled tells whether no end of the log can have been lost, or positions have moved on since. */
static bool
is_settled(void)
{
	bool		found = false;

	if (shared == NULL || shared->clean_timeline == GetWALInsertionTimeLine())
		return true;
	LWLockAcquire(shared->lock, LW_SHARED);
	for (int i = 0; i < Min(shared->count, MAX_DATABASES) && !found; i++)
		found = shared->databases[i] == MyDatabaseId;
	LWLockRelease(shared->lock);
	return found;
}

static void
set_settled(void)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->databases[shared->count++ % MAX_DATABASES] = MyDatabaseId;
	LWLockRelease(shared->lock);
}

/* ocq_position_last_drawn returns the last position that any transaction has drawn, or 0. */
int64
ocq_position_last_drawn(void)
{
	Relation	sequence = relation_open(ocq_catalog_relation(OCQ_REL_EVENTS_SEQUENCE),
										 AccessShareLock);
	Buffer		buffer = ReadBuffer(sequence, 0);
	Page		page;
	HeapTupleHeader tuple;
	Form_pg_sequence_data data;
	int64		last;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	page = BufferGetPage(buffer);
	tuple = (HeapTupleHeader) PageGetItem(page, PageGetItemId(page, FirstOffsetNumber));
	data = (Form_pg_sequence_data) ((char *) tuple + tuple->t_hoff);
	last = data->is_called ? data->last_value : 0;
	UnlockReleaseBuffer(buffer);
	relation_close(sequence, AccessShareLock);
	return last;
}

/* is_by_position tells whether an index has every event, by its position alone. */
static bool
is_by_position(Relation index, AttrNumber position)
{
	return index->rd_index->indisunique && index->rd_index->indisvalid &&
		index->rd_index->indnatts == 1 && index->rd_index->indkey.values[0] == position &&
		heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL);
}

static Relation
open_position_index(Relation events)
{
	AttrNumber	position = get_attnum(RelationGetRelid(events), "position");
	List	   *indexes = RelationGetIndexList(events);
	ListCell   *cell;

	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);

		if (is_by_position(index, position))
			return index;
		index_close(index, AccessShareLock);
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("order_cqrs.events has no unique index by position"),
			 errdetail("It is made with the extension, as a constraint of the table."),
			 errhint("ALTER TABLE order_cqrs.events ADD UNIQUE (position).")));
}

/*
 * find_event returns the position of the first event after a position, or of the last one
 * at all, that is committed or the caller's own; or 0.  It is no SQL, as a serializable
 * transaction that reads the end of the index with its snapshot would conflict with every
 * append.
 */
static int64
find_event(ScanDirection direction, int64 after)
{
	Relation	events = relation_open(ocq_catalog_relation(OCQ_REL_EVENTS), AccessShareLock);
	Relation	index = open_position_index(events);
	TupleTableSlot *slot = table_slot_create(events, NULL);
	IndexScanDesc scan = ocq_index_beginscan(events, index, SnapshotSelf, 1);
	ScanKeyData key;
	int64		position = 0;
	bool		isnull;

	ScanKeyInit(&key, 1, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(after));
	index_rescan(scan, &key, 1, NULL, 0);
	if (index_getnext_slot(scan, direction, slot))
		position = DatumGetInt64(slot_getattr(slot, index->rd_index->indkey.values[0], &isnull));
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, AccessShareLock);
	relation_close(events, AccessShareLock);
	return position;
}

/* log_end returns the last position that a consumer can have reached, or 0. */
static int64
log_end(void)
{
	int64		event = find_event(BackwardScanDirection, PG_INT64_MIN);

	return Max(event, ocq_position_last_drawn());
}

/* ocq_position_is_beyond_log tells whether a position is beyond every consumer's reach, and where the log ends. */
bool
ocq_position_is_beyond_log(int64 position, int64 *end)
{
	if (position <= ocq_position_last_drawn())
		return false;
	*end = log_end();
	return position > *end;
}

/*
 * ocq_positions_are_behind tells whether the log has events at positions that the sequence has yet to
 * draw.  It looks beyond the last number drawn: from the end of the log backwards it would come
 * past all events of an open transaction.  An event whose position was drawn in between does
 * not count.
 */
bool
ocq_positions_are_behind(void)
{
	int64		event;

	do
		event = find_event(ForwardScanDirection, ocq_position_last_drawn());
	while (event != 0 && event <= ocq_position_last_drawn());
	return event != 0;
}

static void
report_no_room(int level, int64 end)
{
	ereport(level,
			(errcode(ERRCODE_SEQUENCE_GENERATOR_LIMIT_EXCEEDED),
			 errmsg("positions of events cannot go on far ahead"),
			 errdetail("The log ends at " INT64_FORMAT ", so near to the greatest bigint that there is no room for a gap.", end),
			 errhint("Copy the events into a new database, in this order and with positions from 1.")));
}

/* next_generation leaves one out, so that the gap is wide. */
static int64
next_generation(int64 end)
{
	int64		room = Min((LAST_END - end) / GENERATION + 1, MAX_GENERATIONS);
	uint64		random;

	if (!pg_strong_random(&random, sizeof(random)))
		random = (uint64) GetCurrentTimestamp();
	return (end / GENERATION + 2 + (int64) (random % (uint64) room)) * GENERATION;
}

/*
 * move_on has the next position be the first of another generation.  Without room for that
 * it raises an error, or warns.
 */
static void
move_on(Oid sequence, int level_without_room)
{
	int64		end = log_end();
	int64		start;

	if (end > LAST_END)
	{
		report_no_room(level_without_room, end);
		return;
	}
	start = next_generation(end);
	(void) DirectFunctionCall2(setval_oid, ObjectIdGetDatum(sequence), Int64GetDatum(start));
	ereport(LOG,
			(errmsg("positions of events go on after " INT64_FORMAT, start),
			 errdetail("The log ends at " INT64_FORMAT ". Consumers may have seen more of it, before a crash, a promotion or a restore.",
					   end)));
}

/* report_behind tells the appending session, and the server's log, that the sequence had been set back. */
static void
report_behind(int64 last_drawn)
{
	ereport(WARNING,
			(errcode(OCQ_ERR_POSITIONS_BEHIND),
			 errmsg("the sequence of positions was behind the log and has been set right"),
			 errdetail("It would have numbered new events like old ones. Events that were appended since it was set back, at positions up to " INT64_FORMAT ", may be missing in projections until the next audit, in consumers and in the saga.",
					   last_drawn),
			 errhint("Do not call setval on order_cqrs.events_position_seq. Look for such events by occurred_at. If there are any, set the checkpoints of consumers, and last_position in order_cqrs.saga_state, back before them.")));
}

/* keep_out_appenders returns false if there are some and they are not waited for. */
static bool
keep_out_appenders(Oid sequence, bool waits)
{
	if (!waits)
		return ConditionalLockRelationOid(sequence, ShareLock);
	ocq_horizon_barrier();
	return true;
}

/*
 * settle moves on if the sequence is behind the log, or if an end of the log may have
 * been lost.  Only a log that has begun can have been.
 */
static void
settle(Oid sequence, bool waits)
{
	LockRelationOid(sequence, ShareUpdateExclusiveLock);
	if (ocq_positions_are_behind())
	{
		if (!keep_out_appenders(sequence, waits))
			return;				/* the lock ends with the transaction */
		if (ocq_positions_are_behind())
		{
			int64		last_drawn = ocq_position_last_drawn();

			move_on(sequence, waits ? ERROR : WARNING);
			report_behind(last_drawn);
		}
		UnlockRelationOid(sequence, ShareLock);
	}
	else if (!is_settled() && ocq_position_last_drawn() > 0)
		move_on(sequence, WARNING);
	if (!is_settled())
		set_settled();
	UnlockRelationOid(sequence, ShareUpdateExclusiveLock);
}

/*
 * ocq_positions_move_on is for the end of a restore.  A sequence that is behind the log is
 * left to ocq_positions_prepare and ocq_positions_look_after.
 */
void
ocq_positions_move_on(void)
{
	Oid			sequence = ocq_catalog_relation(OCQ_REL_EVENTS_SEQUENCE);

	LockRelationOid(sequence, ShareUpdateExclusiveLock);
	if (!ocq_positions_are_behind())
		move_on(sequence, WARNING);
	UnlockRelationOid(sequence, ShareUpdateExclusiveLock);
}

/*
 * ocq_positions_prepare is called before each append, and looks before the session's
 * first.  It raises an error if the sequence is behind the log and appenders, such as a
 * restore, do not end within a second.
 */
void
ocq_positions_prepare(void)
{
	Oid			sequence = ocq_catalog_relation(OCQ_REL_EVENTS_SEQUENCE);

	if (sequence == prepared_sequence)
		return;
	if (ocq_positions_are_behind() || !is_settled())
		settle(sequence, true);
	prepared_sequence = sequence;
}

/* ocq_positions_doubt makes the session look again: a position that it has drawn was taken. */
void
ocq_positions_doubt(void)
{
	prepared_sequence = InvalidOid;
}

/* warned_of_no_room tells whether positions cannot move on, and from time to time the server's log, too. */
static bool
warned_of_no_room(TimestampTz now)
{
	static TimestampTz last_warned = 0;
	int64		end = log_end();

	if (end <= LAST_END)
		return false;
	if (TimestampDifferenceExceeds(last_warned, now, WARN_EVERY_MS))
	{
		last_warned = now;
		report_no_room(WARNING, end);
	}
	return true;
}

/*
 * ocq_positions_look_after is for the worker, in a scope.  It returns false while the
 * sequence is behind the log, so that it is called again soon.
 */
bool
ocq_positions_look_after(void)
{
	static TimestampTz behind_since = 0;
	Oid			sequence = ocq_catalog_relation(OCQ_REL_EVENTS_SEQUENCE);
	TimestampTz now = GetCurrentTimestamp();

	if (!ocq_positions_are_behind())
	{
		behind_since = 0;
		if (!is_settled())
			settle(sequence, false);
		return true;
	}

	/* The publisher numbers the events, and its sequence is not replicated. */
	if (ocq_log_is_subscribed())
		return true;
	if (ocq_restore_may_set_sequence())
		return false;
	if (behind_since == 0)
		behind_since = now;
	if (!TimestampDifferenceExceeds(behind_since, now, GRACE_MS))
		return false;
	if (warned_of_no_room(now))
		return true;
	settle(sequence, false);
	return !ocq_positions_are_behind();
}

static void
report_lost(int64 position, int64 before, int64 after)
{
	ereport(ERROR,
			(errcode(OCQ_ERR_POSITION_BEYOND_LOG),
			 errmsg("position " INT64_FORMAT " is in a part of the log that was lost", position),
			 errdetail("The last event before it is at " INT64_FORMAT ", and the log goes on after " INT64_FORMAT ".",
					   before, after),
			 errhint("Undo the effects of events after position " INT64_FORMAT ", and read on from there.",
					 before)));
}

/*
 * ocq_position_check raises an error if a consumer cannot have reached a position in this
 * log: it is beyond the end, or in a gap that positions left when they moved on.
 */
void
ocq_position_check(int64 position)
{
	int64		last = ocq_position_last_drawn();
	Datum		values[] = {Int64GetDatum(position)};
	int64		before;
	int64		after;

	if (position > last)
		ereport(ERROR,
				(errcode(OCQ_ERR_POSITION_BEYOND_LOG),
				 errmsg("position " INT64_FORMAT " is beyond the end of the log", position),
				 errdetail("The last position that was drawn is " INT64_FORMAT ".", last),
				 errhint("The position is of another log, or of a part of this one that was lost. Undo the effects of events that are not in the log, and read on from the last that is.")));

	/* Gaps are wide, so a position with an end of the log near by is in none. */
	if (last - position < GENERATION / 2)
		return;
	(void) ocq_statement_run_latest(&select_neighbours, values, NULL);
	before = ocq_row_is_null(0, 1) ? Min(position, 0) : DatumGetInt64(ocq_row_datum(0, 1));
	after = ocq_row_is_null(0, 2) ? last : DatumGetInt64(ocq_row_datum(0, 2));
	if (before < position && after - before >= GENERATION)
		report_lost(position, before, after);
}
