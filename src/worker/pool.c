/*-------------------------------------------------------------------------
 * pool.c
 *	  The processes that run futures.
 *
 * A pool worker logs in as one user and runs only what he has sent, so that
 * whatever a handler does (RESET ROLE, deferred triggers, open cursors), it never
 * has more privileges than he.  The settings of the user and of the database are
 * in force.  Between two futures the session is made as good as new.
 *
 * It ends when it has had nothing to do for a while, or when users who have no
 * worker wait for its place.
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
#include "worker/worker.h"

#define IDLE_SECONDS 30

/* A worker that others wait for may work so long. */
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

/* Each transaction reads what is committed, and may write the status, whatever the user's defaults. */
static void
use_settings_of_queue(void)
{
	SetConfigOption("default_transaction_isolation", "read committed", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_read_only", "off", PGC_SUSET, PGC_S_OVERRIDE);

	/* In a deadlock, as with DROP EXTENSION, it is the worker that gives way. */
	SetConfigOption("deadlock_timeout", "100ms", PGC_SUSET, PGC_S_OVERRIDE);
}

/*
 * start_afresh starts a transaction after it has done what DISCARD ALL does, but for the
 * plans, which are our own.  The settings come first: a transaction begins with
 * default_transaction_read_only and its like, which a handler may have set.
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
	ocq_database_set_proven();
	if (!found)
		return false;

	MemoryContextSwitchTo(context);
	pgstat_report_activity(STATE_RUNNING, psprintf("order_cqrs: %s %s", ocq_bus_kind_name(future.message.kind),
												   text_to_cstring(future.message.type)));
	error = perform(&future, context);
	if (error != NULL)
	{
		start_afresh(context);	/* what could not commit is not to fail this one, too */
		if (ocq_catalog_hold())
			ocq_future_failed_to_commit(&future, error);
		CommitTransactionCommand();
	}
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
	return true;
}

/*
 * run_next_or_be_idle returns false if there is nothing to do; then whoever sends
 * from now on wakes this worker.
 */
static bool
run_next_or_be_idle(MemoryContext context)
{
	if (run_next(context))
		return true;

	/* Somebody may have sent after that look, and before he could see that we are idle. */
	(void) ocq_database_set_idle(true);
	if (!run_next(context))
		return false;
	if (!ocq_database_set_idle(false))
		ocq_database_wake_pool();
	return true;
}

/*
 * may_sleep comes right before the sleep.  A look that waits for a lock resets the
 * latch, so whether somebody has called meanwhile is told by what he has changed.
 */
static bool
may_sleep(void)
{
	return ocq_database_is_marked_idle() && !ConfigReloadPending;
}

/* A setting may have taken the place away. */
static bool
has_lost_place(int number)
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
		if (has_lost_place(number))
			return;

		if (run_next_or_be_idle(context))
		{
			if (TimestampDifferenceExceeds(started, GetCurrentTimestamp(), TURN_MS) &&
				ocq_database_take_pool_short())
				return;
			continue;
		}
		if (is_locked_out || ocq_database_take_pool_short())
			return;
		if (may_sleep() &&
			(WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					   IDLE_SECONDS * 1000L, PG_WAIT_EXTENSION) & WL_TIMEOUT))
			return;
		(void) ocq_database_set_idle(false);
	}
}

void
ocq_pool_main(Datum arg)
{
	Oid			database = DatumGetObjectId(arg);
	OcqProcess	process = ocq_process_begin();

	if (!ocq_database_enter(database, process.number))
		proc_exit(0);
	BackgroundWorkerInitializeConnectionByOid(database, process.role, 0);
	use_settings_of_queue();
	ocq_database_set_pool_role(process.role);

	serve(process.number, AllocSetContextCreate(TopMemoryContext, "order_cqrs future", ALLOCSET_DEFAULT_SIZES));
	proc_exit(0);
}
