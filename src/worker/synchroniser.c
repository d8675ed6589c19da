/*-------------------------------------------------------------------------
 * synchroniser.c
 *	  The process that takes a database's projections to the horizon.
 *
 * It wakes when a command commits, and every order_cqrs.sync_interval.  In each
 * round it takes the async projections to the horizon.  It looks over the sync ones,
 * too, after an interval, and at once when rows have come past the commands: up to
 * where the horizon was then, and one batch to a round, so that the async ones do not
 * fall behind meanwhile.  It also does so at once up to a change of a name, as rows may
 * show the old one until then.  If more than one projection has more than a batch to
 * do, it starts helpers, which run the same rounds and end when there is nothing left.
 * They share the work by the locks of the projections' rows.
 *
 * A projection that has failed has its next attempt after 2, 4, 8 ... seconds, at most
 * five minutes.  One that another process has, or that has lost a race, has it after 50,
 * 100, 200 ... milliseconds, at most a second, as no process wakes us for it.  So has one
 * whose tables or rows a session has locked for longer than a second (projection/sync.c).
 *
 * Commits are counted before the work, so that a commit during the work causes another
 * round, even if the work has waited for a lock (wakeup.c).
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/catalog.h"
#include "base/scope.h"
#include "base/statement.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "projection/projection.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"
#include "worker/worker.h"

/* Waits between two rounds while a failed projection is due for another attempt. */
#define RETRY_SECONDS 2

/* The same while a projection is busy; it doubles. */
#define BUSY_MS 50
#define MAX_BUSY_MS 1000

/* Steps of the audit are no more frequent than that. */
#define AUDIT_MS 1000

static int	ocq_sync_interval;	/* in seconds */
static int	ocq_workers;

void
ocq_synchroniser_define_settings(void)
{
	DefineCustomIntVariable("order_cqrs.sync_interval",
							"Longest time between two looks at the log by a synchroniser.",
							"Async projections are woken by commits; this is when sync projections are checked.",
							&ocq_sync_interval, 30, 1, 86400,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("order_cqrs.workers",
							"Most processes that work on the projections of one database at once.",
							"They take their places from max_worker_processes.",
							&ocq_workers, 4, 1, OCQ_MAX_WORKERS, PGC_SIGHUP, 0, NULL, NULL, NULL);
}

/* $1: the horizon; $2: up to where sync projections are looked over.  A checkpoint beyond $1 is of another log. */
static OcqStatement select_due =
OCQ_STATEMENT("SELECT projection_name, mode = 'sync', last_position FROM order_cqrs.projection_state"
			  " WHERE (last_position < CASE WHEN mode = 'async' OR status = 'failed' THEN $1 ELSE $2 END"
			  " OR last_position > $1)"
			  " AND status <> 'paused' AND (status <> 'failed'"
			  " OR updated_at + make_interval(secs => least(power(2, least(attempts, 9)), 300)) <= clock_timestamp())"
			  " ORDER BY mode, projection_name <> 'reference', projection_name",
			  INT8OID, INT8OID);

static OcqStatement count_failed =
OCQ_STATEMENT_NOARGS("SELECT count(*) FROM order_cqrs.projection_state WHERE status = 'failed'");

/* A projection that a round has found to be due. */
typedef struct Due
{
	const OcqProjection *projection;
	bool		is_sync;
} Due;

typedef struct Round
{
	int64		horizon;
	int64		look_over_to;	/* for sync projections; 0: not in this round */
	Due		   *due;			/* the async ones first */
	int			ndue;
	int			nlong;			/* of them, those with more than a batch to do */
	bool		has_failed;
	bool		is_busy;		/* the log is being restored, it seems */
} Round;

/* As look_over_to: up to the round's own horizon. */
#define LOOK_OVER_ALL PG_INT64_MAX

static void
read_due(Round *round, MemoryContext context)
{
	Datum		values[] = {Int64GetDatum(round->horizon), Int64GetDatum(round->look_over_to)};
	uint64		rows;

	(void) ocq_statement_run(&count_failed, NULL, NULL);
	round->has_failed = DatumGetInt64(ocq_row_datum(0, 1)) > 0;

	rows = ocq_statement_run(&select_due, values, NULL);
	round->due = MemoryContextAlloc(context, sizeof(Due) * (rows + 1));
	for (uint64 row = 0; row < rows; row++)
	{
		const OcqProjection *projection =
			ocq_projection_find(TextDatumGetCString(ocq_row_datum(row, 1)));

		if (projection == NULL)
			continue;
		round->due[round->ndue++] = (Due) {
			.projection = projection, .is_sync = DatumGetBool(ocq_row_datum(row, 2))
		};
		if (round->horizon - DatumGetInt64(ocq_row_datum(row, 3)) > ocq_batch_size)
			round->nlong++;
	}
}

/*
 * find_work fills in the round, in one transaction.  It returns false if the
 * extension is not there.
 */
static bool
find_work(Round *round, MemoryContext context)
{
	OcqScope	scope;
	bool		is_present = ocq_process_begin_transaction();

	if (is_present)
	{
		if (round->look_over_to > 0)
			ocq_log_warn_if_subscribed();
		pgstat_report_activity(STATE_RUNNING, "order_cqrs: waiting for the horizon");
		ocq_scope_enter(&scope);
		round->is_busy = !ocq_positions_look_after();
		round->horizon = ocq_sync_horizon();
		round->look_over_to = Max(Min(round->look_over_to, round->horizon),
								  ocq_sync_renamed_to(round->horizon));
		read_due(round, context);
		ocq_scope_leave(&scope);
	}
	ocq_process_commit();
	return is_present;
}

static OcqSyncResult
run_step(const OcqProjection *projection, int64 horizon)
{
	OcqSyncResult result = OCQ_SYNC_BUSY;

	if (ocq_process_begin_transaction())
	{
		pgstat_report_activity(STATE_RUNNING, psprintf("order_cqrs: projection %s", projection->name));
		result = ocq_sync_step(projection, horizon, false, false);
	}
	ocq_process_commit();
	pgstat_report_stat(false);
	return result;
}

/*
 * start_helpers starts one for each projection with much to do, but for the one that this
 * process takes on itself.
 */
static void
start_helpers(int wanted)
{
	for (int worker = 1; worker < ocq_workers && wanted > 0; worker++)
	{
		BackgroundWorkerHandle *handle;

		if (ocq_database_has_process(MyDatabaseId, worker))
			wanted--;
		else if (!ocq_process_start(MyDatabaseId, (OcqProcess) {.number = worker}, &handle))
			return;				/* no slot: this process does all by itself */
		else
		{
			pfree(handle);
			wanted--;
		}
	}
}

/* The outcome of a round. */
typedef struct Outcome
{
	bool		worked;			/* a batch was handled */
	int64		look_over_to;	/* not reached yet; 0: nothing is left to look over */
	bool		has_failed;
	bool		is_busy;		/* there is something to do that another process prevents */
} Outcome;

/*
 * run_round takes the async projections that are due to the horizon, and one sync
 * projection a batch further.
 */
static Outcome
run_round(int worker, int64 look_over_to, MemoryContext context)
{
	Round		round = {.look_over_to = look_over_to};
	Outcome		outcome = {0};

	MemoryContextReset(context);
	if (!find_work(&round, context))
		return outcome;
	if (worker == 0 && round.nlong > 1)
		start_helpers(round.nlong - 1);

	outcome.has_failed = round.has_failed;
	outcome.is_busy = round.is_busy;
	for (int i = 0; i < round.ndue; i++)
	{
		bool		is_sync = round.due[i].is_sync;
		int64		horizon = is_sync && round.look_over_to > 0 ? round.look_over_to : round.horizon;
		OcqSyncResult result;
		bool		advanced;

		do
		{
			ocq_process_reload_if_asked();
			result = run_step(round.due[i].projection, horizon);
		} while (result == OCQ_SYNC_PROGRESS && !is_sync);

		advanced = result == OCQ_SYNC_PROGRESS || result == OCQ_SYNC_DONE;
		outcome.worked |= advanced;
		outcome.has_failed |= result == OCQ_SYNC_FAILED;
		outcome.is_busy |= result == OCQ_SYNC_BUSY;
		if (is_sync && (advanced || result == OCQ_SYNC_BUSY))
			outcome.look_over_to = round.look_over_to;
		if (is_sync && advanced)
			break;
	}
	pgstat_report_activity(STATE_IDLE, NULL);
	return outcome;
}

/* busy_wait returns milliseconds, more with each round in a row that was busy. */
static long
busy_wait(bool is_busy)
{
	static long wait = BUSY_MS;
	long		this_wait = wait;

	wait = is_busy ? Min(2 * wait, MAX_BUSY_MS) : BUSY_MS;
	return this_wait;
}

/* next_wait returns milliseconds until the interval ends, or a retry is due. */
static long
next_wait(const Outcome *outcome, TimestampTz interval_started)
{
	TimestampTz end = TimestampTzPlusMilliseconds(interval_started,
												  ocq_sync_interval * INT64CONST(1000));
	long		wait = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), end);
	long		busy = busy_wait(outcome->is_busy);

	if (outcome->look_over_to > 0 && !outcome->is_busy)
		return 0;
	if (outcome->has_failed)
		wait = Min(wait, RETRY_SECONDS * 1000L);
	return outcome->is_busy ? Min(wait, busy) : wait;
}

static bool
interval_is_over(TimestampTz interval_started)
{
	return TimestampDifferenceExceeds(interval_started, GetCurrentTimestamp(),
									  ocq_sync_interval * 1000);
}

/*
 * audit does one step of the audit (projection/audit.c) if it is time for that, which is
 * once a second while there is more.  It returns milliseconds until the next.
 */
static long
audit(void)
{
	static TimestampTz last_audit = 0;
	static bool has_more = true;
	TimestampTz now = GetCurrentTimestamp();
	int			pause = has_more ? Min(ocq_audit_delay, AUDIT_MS) : ocq_audit_delay;

	if (!TimestampDifferenceExceeds(last_audit, now, pause))
		return TimestampDifferenceMilliseconds(now, TimestampTzPlusMilliseconds(last_audit, pause));
	last_audit = now;
	pgstat_report_activity(STATE_RUNNING, "order_cqrs: audit");
	has_more = ocq_process_begin_transaction() && ocq_audit_step();
	ocq_process_commit();
	pgstat_report_activity(STATE_IDLE, NULL);
	return has_more ? Min(ocq_audit_delay, AUDIT_MS) : ocq_audit_delay;
}

/* stay runs rounds until the process is ended. */
static void
stay(MemoryContext context)
{
	TimestampTz interval_started = 0;
	Outcome		outcome = {0};

	for (;;)
	{
		int64		look_over_to = outcome.look_over_to;
		uint64		log_changes = ocq_database_log_changes();
		long		audit_wait;

		ResetLatch(MyLatch);
		ocq_process_reload_if_asked();

		if (ocq_database_take_look_over() || (look_over_to == 0 && interval_is_over(interval_started)))
		{
			interval_started = GetCurrentTimestamp();
			look_over_to = LOOK_OVER_ALL;
		}
		outcome = run_round(0, look_over_to, context);
		audit_wait = audit();
		if (log_changes != ocq_database_log_changes())
			continue;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Min(audit_wait, next_wait(&outcome, interval_started)), PG_WAIT_EXTENSION);
	}
}

/* help runs rounds until one has nothing to do. */
static void
help(int worker, MemoryContext context)
{
	Outcome		outcome;

	do
	{
		ocq_process_reload_if_asked();
		outcome = run_round(worker, LOOK_OVER_ALL, context);
	} while (outcome.worked);
}

void
ocq_synchroniser_main(Datum arg)
{
	int			number = ocq_process_begin(DatumGetObjectId(arg));
	MemoryContext context;

	ocq_process_use_own_settings();

	/* Rows and checkpoint are lost together, and are made again from the events. */
	SetConfigOption("synchronous_commit", "off", PGC_SUSET, PGC_S_OVERRIDE);
	context = AllocSetContextCreate(TopMemoryContext, "order_cqrs round", ALLOCSET_DEFAULT_SIZES);

	if (number == OCQ_SYNCHRONISER)
		stay(context);
	else
		help(number, context);
	proc_exit(0);
}
