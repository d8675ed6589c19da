/*-------------------------------------------------------------------------
 * pool.c
 *	  The processes that run futures.
 *
 * A pool worker logs in as one user and runs the futures of that user only.  So a handler
 * never has more privileges than the user, even with RESET ROLE, deferred triggers or open
 * cursors.  The settings of the user and of the database are in force.  Between two
 * futures the session is made as good as new.
 *
 * It ends when it has had nothing to do for 30 seconds, or when users without a worker
 * wait for its slot.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/catalog.h"
#include "bus/future.h"
#include "catalog/namespace.h"
#include "commands/async.h"
#include "commands/prepare.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "store/store.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"
#include "worker/database.h"

#define IDLE_SECONDS 30

/* A worker whose slot other users wait for may work so long. */
#define TURN_MS 1000

int			ocq_bus_workers;

void
ocq_pool_define_settings(void)
{
	DefineCustomIntVariable("order_cqrs.bus_workers",
							"Most processes that run the futures of one database at once.",
							"They take their places from max_worker_processes; with 0 none run.",
							&ocq_bus_workers, 4, 0, OCQ_MAX_BUS_WORKERS,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
}

/* Each transaction is to read committed rows, and to write the status, against the user's defaults. */
static void
use_settings_of_queue(void)
{
	SetConfigOption("default_transaction_isolation", "read committed", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_read_only", "off", PGC_SUSET, PGC_S_OVERRIDE);

	/* In a deadlock, as with DROP EXTENSION, the worker gives way. */
	SetConfigOption("deadlock_timeout", "100ms", PGC_SUSET, PGC_S_OVERRIDE);
}

/*
 * start_afresh discards the session's state as DISCARD ALL does, but for the plans, which
 * are our own, and starts a transaction.  The settings come first: a transaction begins
 * with default_transaction_read_only and its like, which a handler may have set.
 */
static void
start_afresh(MemoryContext context)
{
	ResetAllOptions();
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PortalHashTableDeleteAll();
	SetPGVariable("session_authorization", NIL, false);
	DropAllPreparedStatements();
	Async_UnlistenAll();
	LockReleaseAll(USER_LOCKMETHOD, true);
	ResetTempTableNamespace();
	ResetSequenceCaches();
	MemoryContextSwitchTo(context);
}

/* The user has been dropped, or may not log in any more. */
static bool is_locked_out = false;

static bool
claim(OcqFuture *future, MemoryContext context)
{
	bool		found;

	start_afresh(context);
	is_locked_out = !ocq_future_can_log_in(GetSessionUserId());
	found = !is_locked_out && ocq_catalog_hold() && !ocq_restore_is_under_way() &&
		ocq_future_claim(GetSessionUserId(), InvalidOid, future);
	CommitTransactionCommand();
	return found;
}

/* perform returns the error for which its transaction could not commit, or NULL. */
static ErrorData *
perform(const OcqFuture *future, MemoryContext context)
{
	ErrorData  *volatile error = NULL;

	PG_TRY();
	{
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		MemoryContextSwitchTo(context);
		if (ocq_catalog_hold())
			ocq_future_perform(future);
		CommitTransactionCommand();
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		disable_all_timeouts(false);
		QueryCancelPending = false;
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		AbortCurrentTransaction();
		FlushErrorState();
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	return error;
}

/* run_next returns false if no future of this user is waiting. */
static bool
run_next(MemoryContext context)
{
	OcqFuture	future;
	ErrorData  *error;
	bool		found;

	MemoryContextReset(context);
	found = claim(&future, context);
	ocq_database_entered_process->is_proven = true;
	if (!found)
		return false;

	MemoryContextSwitchTo(context);
	pgstat_report_activity(STATE_RUNNING, psprintf("order_cqrs: %s %s", ocq_bus_kind_name(future.message.kind),
												   text_to_cstring(future.message.type)));
	error = perform(&future, context);
	if (error != NULL)
	{
		start_afresh(context);	/* so that the error does not fail this one, too */
		if (ocq_catalog_hold())
			ocq_future_failed_to_commit(&future, error);
		CommitTransactionCommand();
	}
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
	return true;
}

/*
 * run_next_or_be_idle returns false if there is nothing to do; then a commit that sends
 * from now on wakes this worker.
 */
static bool
run_next_or_be_idle(MemoryContext context)
{
	if (run_next(context))
		return true;

	/* A commit may have sent after that look, and before it could see that we are idle. */
	(void) ocq_pool_set_idle(true);
	if (!run_next(context))
		return false;
	if (!ocq_pool_set_idle(false))
		ocq_pool_wake();
	return true;
}

/*
 * may_sleep comes right before the sleep.  A look that waits for a lock resets the latch,
 * so a wake-up meanwhile shows in the mark that it has taken, or in the reload it asks for.
 */
static bool
may_sleep(void)
{
	return ocq_pool_is_marked_idle() && !ConfigReloadPending;
}

/* has_lost_slot tells whether the setting has become too small for the slot. */
static bool
has_lost_slot(int number)
{
	return number - OCQ_FIRST_POOL >= ocq_bus_workers;
}

static void
serve(int number, MemoryContext context)
{
	TimestampTz started = GetCurrentTimestamp();

	for (;;)
	{
		ResetLatch(MyLatch);
		ocq_process_reload_if_asked();
		if (has_lost_slot(number))
			return;

		if (run_next_or_be_idle(context))
		{
			if (TimestampDifferenceExceeds(started, GetCurrentTimestamp(), TURN_MS) &&
				ocq_pool_take_short())
				return;
			continue;
		}
		if (is_locked_out || ocq_pool_take_short())
			return;
		if (may_sleep() &&
			(WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					   IDLE_SECONDS * 1000L, PG_WAIT_EXTENSION) & WL_TIMEOUT))
			return;
		(void) ocq_pool_set_idle(false);
	}
}

void
ocq_pool_main(Datum arg)
{
	int			number = ocq_process_begin(DatumGetObjectId(arg));

	use_settings_of_queue();
	ocq_database_entered_process->role = GetSessionUserId();
	serve(number, AllocSetContextCreate(TopMemoryContext, "order_cqrs future", ALLOCSET_DEFAULT_SIZES));
	proc_exit(0);
}
