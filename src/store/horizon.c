/*-------------------------------------------------------------------------
 * horizon.c
 *	  The greatest position below which no event can still appear.
 *
 * Positions are drawn from a sequence, and sequence order is not commit order: a
 * consumer that reads "position > checkpoint" loses the event of a transaction
 * that drew its number early and committed late.
 *
 * nextval() takes RowExclusiveLock on the sequence before it draws a number and
 * keeps it until the top-level transaction ends, through the abort of
 * subtransactions and through PREPARE TRANSACTION.  So a transaction that may still
 * commit an event at a position that has been drawn holds that lock, and
 *
 *	1. hwm := the last value that was drawn
 *	2. holders := those whose locks on the sequence conflict with ShareLock
 *	3. wait for each of them to end
 *	4. take a new snapshot
 *
 * ends with every position <= hwm either visible or never to exist.  The writer pays
 * nothing.  Each step relies on one lock:
 *
 * Step 1 holds the content lock of the sequence's buffer in share mode, nextval() the
 * same in exclusive mode while it draws (positions.c).  If step 1 reads hwm, then the
 * draws of all positions <= hwm, and before them their RowExclusiveLocks, have
 * happened; and hwm is no value that nobody has drawn yet.  It is not read by a
 * sequence function, as those take the very lock that step 3 waits for.
 *
 * Step 2 sees each such lock unless it has been released.  GetLockConflicts reads the
 * lock manager's partition, and the fast-path locks of each process under that
 * process's own lock.  A transaction releases its locks after it has left the array of
 * running transactions, so one that is not in the list is visible to later snapshots,
 * or has been rolled back.  One that takes the lock after step 2 draws a number above
 * hwm.
 *
 * Step 3 holds for each holder ShareLock on its virtual transaction id, or on the
 * transaction id where it has been prepared, which the holder keeps until it is out of
 * the array of running transactions.
 *
 * Step 4 is the caller's: a snapshot taken before step 3 ended misses what was waited for.
 *
 * What is known without waiting.  Checkpoints of projections, once they are committed,
 * are horizons, and so is what this session has waited for before, as long as no
 * transaction of its own has been prepared since.  Rows that come past
 * the commands, such as a restore's, can still appear below them; their transaction
 * holds ExclusiveLock on projection_state (trigger.c), and while there is one nothing
 * is known.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "base/catalog.h"
#include "base/errors.h"
#include "base/scope.h"
#include "base/statement.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "store/store.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

PG_FUNCTION_INFO_V1(ocq_event_horizon);

/* How long the barrier may hold up commands before it gives way. */
#define BARRIER_LOCK_TIMEOUT "1s"

/* The last of the pauses, 1, 2, 4 ... ms, for which ocq_horizon_try waits. */
#define MAX_TRY_DELAY_MS 16

static OcqStatement select_checkpoint =
OCQ_STATEMENT_NOARGS("SELECT max(last_position) FROM order_cqrs.projection_state");

/*
 * ocq_horizon_require_primary raises an error on a standby, which knows neither the locks
 * of the primary's transactions nor the sequence's true value, whose WAL records run
 * ahead of it.
 */
void
ocq_horizon_require_primary(void)
{
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(OCQ_ERR_HORIZON_ON_STANDBY),
				 errmsg("the horizon is known on the primary only"),
				 errdetail("This server is a standby, so an event that is still to be replayed could be skipped."),
				 errhint("Connect to the primary.")));
}

/*
 * ocq_horizon_wait_for_appenders returns when every transaction that had drawn a
 * position when it was called has ended.  The caller's own is not waited for.
 */
void
ocq_horizon_wait_for_appenders(void)
{
	LOCKTAG		tag;
	VirtualTransactionId *holders;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, ocq_catalog_relation(OCQ_REL_EVENTS_SEQUENCE));
	holders = GetLockConflicts(&tag, ShareLock, NULL);
	for (; VirtualTransactionIdIsValid(*holders); holders++)
		(void) VirtualXactLock(*holders, true);
}

/*
 * ocq_horizon_hold makes consumers wait for the caller's transaction, whose events
 * have positions that it did not draw.
 */
void
ocq_horizon_hold(void)
{
	LockRelationOid(ocq_catalog_relation(OCQ_REL_EVENTS_SEQUENCE), RowExclusiveLock);
}

/* What this session has waited for, and of which sequence; see the header. */
static int64 waited_to = 0;
static Oid	waited_sequence = InvalidOid;

/*
 * ocq_horizon_forget is for when the session's transaction is prepared: it was not waited
 * for, as it was the session's own, and from now on it may commit at any time.
 */
void
ocq_horizon_forget(void)
{
	waited_to = 0;
}

/*
 * ocq_horizon_wait returns the horizon.  What is read afterwards with a new
 * snapshot (ocq_statement_run under READ COMMITTED, else
 * ocq_statement_run_latest) holds every event up to it.
 */
int64
ocq_horizon_wait(void)
{
	int64		high_water_mark;

	ocq_horizon_require_primary();
	high_water_mark = ocq_position_last_drawn();
	ocq_horizon_wait_for_appenders();
	waited_to = high_water_mark;
	waited_sequence = ocq_catalog_relation(OCQ_REL_EVENTS_SEQUENCE);
	return high_water_mark;
}

/* rows_come_past_commands tells whether a transaction that inserts such rows is under way. */
static bool
rows_come_past_commands(void)
{
	LOCKTAG		tag;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, ocq_catalog_relation(OCQ_REL_PROJECTION_STATE));
	return VirtualTransactionIdIsValid(*GetLockConflicts(&tag, RowShareLock, NULL));
}

/*
 * ocq_horizon_known returns a horizon that is known without waiting, perhaps 0.  What is
 * read afterwards with a new snapshot holds every event up to it.
 */
int64
ocq_horizon_known(void)
{
	int64		known;

	ocq_horizon_require_primary();
	if (ocq_statement_run_latest(&select_checkpoint, NULL, NULL) == 0 || ocq_row_is_null(0, 1))
		known = 0;
	else
		known = DatumGetInt64(ocq_row_datum(0, 1));
	if (waited_sequence == ocq_catalog_relation(OCQ_REL_EVENTS_SEQUENCE))
		known = Max(known, waited_to);
	return rows_come_past_commands() ? 0 : Min(known, ocq_position_last_drawn());
}

/*
 * copy_holders returns the transactions that hold positions, in memory that lasts.
 */
static VirtualTransactionId *
copy_holders(void)
{
	LOCKTAG		tag;
	int			count;
	VirtualTransactionId *holders;
	VirtualTransactionId *copy;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, ocq_catalog_relation(OCQ_REL_EVENTS_SEQUENCE));
	holders = GetLockConflicts(&tag, ShareLock, &count);
	copy = MemoryContextAlloc(TopMemoryContext, sizeof(VirtualTransactionId) * (count + 1));
	memcpy(copy, holders, sizeof(VirtualTransactionId) * (count + 1));
	return copy;
}

/* count_running removes from the list those that have ended. */
static int
count_running(VirtualTransactionId *holders)
{
	int			running = 0;

	for (int i = 0; VirtualTransactionIdIsValid(holders[i]); i++)
		if (!VirtualXactLock(holders[i], false))
			holders[running++] = holders[i];
	SetInvalidVirtualTransactionId(holders[running]);
	return running;
}

/*
 * ocq_horizon_try is for a process that has more to do than to wait for the
 * horizon.  It gives up after some milliseconds, and the next call goes on waiting
 * for the same transactions, so that new ones cannot put it off for ever.
 */
bool
ocq_horizon_try(int64 *horizon)
{
	static int64 high_water_mark = 0;
	static Oid	sequence = InvalidOid;
	static VirtualTransactionId *holders = NULL;

	ocq_horizon_require_primary();

	/* The extension may have been created anew, and its log be another. */
	if (holders != NULL && sequence != ocq_catalog_relation(OCQ_REL_EVENTS_SEQUENCE))
	{
		pfree(holders);
		holders = NULL;
	}
	if (holders == NULL)
	{
		sequence = ocq_catalog_relation(OCQ_REL_EVENTS_SEQUENCE);
		high_water_mark = ocq_position_last_drawn();
		holders = copy_holders();
	}
	for (long delay = 1; count_running(holders) > 0; delay *= 2)
	{
		if (delay > MAX_TRY_DELAY_MS)
			return false;
		(void) WaitLatch(MyLatch, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, delay, PG_WAIT_EXTENSION);
		CHECK_FOR_INTERRUPTS();
	}
	pfree(holders);
	holders = NULL;
	*horizon = high_water_mark;
	return true;
}

/* lock_sequence takes the barrier's lock, or raises an error after a while. */
static void
lock_sequence(void)
{
	PG_TRY();
	{
		LockRelationOid(ocq_catalog_relation(OCQ_REL_EVENTS_SEQUENCE), ShareLock);
	}
	PG_CATCH();
	{
		if (geterrcode() != ERRCODE_LOCK_NOT_AVAILABLE)
			PG_RE_THROW();
		FlushErrorState();
		ereport(ERROR,
				(errcode(OCQ_ERR_APPENDS_UNDER_WAY),
				 errmsg("transactions that have appended events did not end within " BARRIER_LOCK_TIMEOUT),
				 errdetail("Commands would queue up behind this one while it waits for them."),
				 errhint("Look at order_cqrs.event_horizon_wait for who they are, and try again.")));
	}
	PG_END_TRY();
}

/*
 * ocq_horizon_barrier waits until no transaction holds a position and lets none
 * draw one before the caller's transaction ends.  It gives way with an error
 * after a second, as commands queue up behind it.
 */
void
ocq_horizon_barrier(void)
{
	int			level = NewGUCNestLevel();

	ocq_scope_set("lock_timeout", BARRIER_LOCK_TIMEOUT);
	lock_sequence();
	AtEOXact_GUC(true, level);
}

/*
 * ocq_horizon_flush makes what the caller is told survive a crash.  Numbers of the
 * sequence and commits that are not flushed yet may be lost with it, and then the
 * numbers are drawn again.  Our own checkpoints need no such care, as their
 * commits come later in the WAL.
 */
void
ocq_horizon_flush(void)
{
	XLogRecPtr	end = GetXLogInsertRecPtr();

	/* At the start of a page it is beyond the page's header, which has yet to be made. */
	if (XLogSegmentOffset(end, wal_segment_size) == SizeOfXLogLongPHD)
		end -= SizeOfXLogLongPHD;
	else if (end % XLOG_BLCKSZ == SizeOfXLogShortPHD)
		end -= SizeOfXLogShortPHD;
	XLogFlush(end);
}

/* event_horizon() returns bigint */
Datum
ocq_event_horizon(PG_FUNCTION_ARGS)
{
	OcqScope	scope;
	int64		horizon;

	ocq_scope_enter(&scope);
	horizon = ocq_horizon_wait();
	ocq_horizon_flush();
	ocq_scope_leave(&scope);
	PG_RETURN_INT64(horizon);
}
