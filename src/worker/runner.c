/*-------------------------------------------------------------------------
 * runner.c
 *	  The process that sees to it that what waits in a database is run.
 *
 * The saga it runs itself, an order to a transaction: the orders of new events, up
 * to the horizon, and those whose time has come.
 *
 * For futures it starts pool workers, which log in as those who have sent them:
 * one for a role at a time, until there are order_cqrs.bus_workers.  The last place is
 * for another role than the one that has the others: whatever its futures wait for, or
 * however long they take.  If a role has none and no place is free, it asks a worker to
 * make room.  Every few seconds it also puts back the futures of workers that have died,
 * deletes old results, and puts back those that have waited for a lock in vain once their
 * time has come.
 *
 * It is woken by commits, by pool workers that end, and by the postmaster when it
 * has reaped one.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/catalog.h"
#include "base/scope.h"
#include "bus/future.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "projection/projection.h"
#include "saga/saga.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "store/store.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"
#include "worker/worker.h"

#define UPKEEP_MS 5000

/* The pool is looked after no more often than that, however much is sent. */
#define POOL_MS 20

/* Nor for longer than a part of the time. */
#define POOL_SHARE 10
#define MAX_POOL_MS 1000

/* While there is no slot for a worker, so often. */
#define SLOT_MS 500

/* A role whose worker has failed before it could look for futures is not served for so long. */
#define PAUSE_MS 5000

/* A place in the pool; a worker that an earlier runner has started has no handle. */
typedef struct Place
{
	BackgroundWorkerHandle *handle;
	Oid			role;			/* that a worker was last started for */
	TimestampTz pause_until;	/* of that role */
} Place;

static Place places[OCQ_MAX_BUS_WORKERS];

static TimestampTz last_upkeep = 0;
static TimestampTz last_pool_round = 0;
static TimestampTz last_warning = 0;
static TimestampTz next_retry = 0;	/* of a future that has waited for a lock; 0: none is known */

/* Of the last round of the pool. */
static long pool_ms = POOL_MS;	/* until the next one, if there is something to do */
static int	known_bus_workers = -1; /* the setting */
static bool out_of_slots = false;	/* a worker could not be started */

/* A worker has ended since that round. */
static bool has_reaped = false;

static void
reap(void)
{
	pid_t		pid;

	for (int i = 0; i < OCQ_MAX_BUS_WORKERS; i++)
	{
		if (places[i].handle == NULL ||
			GetBackgroundWorkerPid(places[i].handle, &pid) != BGWH_STOPPED)
			continue;
		pfree(places[i].handle);
		places[i].handle = NULL;
		if (!ocq_database_is_proven(OCQ_FIRST_POOL + i))
			places[i].pause_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), PAUSE_MS);
		has_reaped = true;
	}
}

static bool
is_free(int place)
{
	return places[place].handle == NULL &&
		!ocq_database_has_process(MyDatabaseId, OCQ_FIRST_POOL + place);
}

/* What there is of a role in the pool. */
typedef struct Presence
{
	int			count;			/* of its workers, with the one that is starting */
	bool		is_starting;
	bool		is_paused;
	bool		has_left;		/* a place that is still free */
} Presence;

static Presence
presence_of(Oid role)
{
	Presence	presence = {0};

	for (int i = 0; i < OCQ_MAX_BUS_WORKERS; i++)
	{
		Oid			logged_in = ocq_database_pool_role(OCQ_FIRST_POOL + i);

		if (!is_free(i) && logged_in == role)
			presence.count++;
		if (i < ocq_bus_workers && is_free(i) && places[i].role == role)
			presence.has_left = true;
		if (places[i].handle != NULL && places[i].role == role && !OidIsValid(logged_in))
		{
			presence.is_starting = true;
			presence.count++;
		}
		if (places[i].role == role && places[i].pause_until > GetCurrentTimestamp())
			presence.is_paused = true;
	}
	return presence;
}

/* most_of_one_role leaves a place to others, if there is more than one. */
static int
most_of_one_role(void)
{
	return Max(ocq_bus_workers - 1, 1);
}

static void
warn_of_slots(void)
{
	if (!TimestampDifferenceExceeds(last_warning, GetCurrentTimestamp(), 60 * 1000))
		return;
	last_warning = GetCurrentTimestamp();
	ereport(WARNING,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("could not start a pool worker of order_cqrs"),
			 errdetail("All background worker slots are in use."),
			 errhint("Increase max_worker_processes.")));
}

/* start returns false if there is no room. */
static bool
start(Oid role)
{
	for (int i = 0; i < ocq_bus_workers; i++)
	{
		OcqProcess	process = {.number = OCQ_FIRST_POOL + i, .role = role};
		MemoryContext old;
		bool		started;

		if (!is_free(i))
			continue;
		ocq_database_vacate(process.number);
		old = MemoryContextSwitchTo(TopMemoryContext);
		started = ocq_process_start(MyDatabaseId, process, &places[i].handle);
		MemoryContextSwitchTo(old);
		if (started)
			places[i] = (Place) {places[i].handle, role, 0};
		else
		{
			places[i].handle = NULL;
			out_of_slots = true;
			warn_of_slots();
		}
		return started;
	}
	return false;
}

/* start_each returns false as soon as there is no room. */
static bool
start_each(List *roles)
{
	ListCell   *cell;

	foreach(cell, roles)
		if (!start(lfirst_oid(cell)))
			return false;
	return true;
}

/*
 * serve_roles has roles that have no worker go first, and of these last the ones
 * that have just left a place to others.  With one idle worker woken, or one
 * started, a role has enough for now: each send wakes, or asks for, the next.
 */
static void
serve_roles(List *roles)
{
	List	   *absent = NIL;
	List	   *returning = NIL;
	List	   *present = NIL;
	bool		has_room;
	ListCell   *cell;

	out_of_slots = false;
	foreach(cell, roles)
	{
		Oid			role = lfirst_oid(cell);
		Presence	presence = presence_of(role);

		if (presence.is_starting || presence.is_paused || ocq_database_wake_idle(role))
			continue;
		if (presence.count >= most_of_one_role())
			continue;
		if (presence.count > 0)
			present = lappend_oid(present, role);
		else if (presence.has_left)
			returning = lappend_oid(returning, role);
		else
			absent = lappend_oid(absent, role);
	}
	has_room = start_each(absent) && start_each(returning);
	ocq_database_set_pool_short(!has_room && ocq_bus_workers > 0);
	if (has_room)
		(void) start_each(present);
}

/* upkeep_is_due leaves a round of upkeep due at once if the last has not done all. */
static bool
upkeep_is_due(TimestampTz now)
{
	return TimestampDifferenceExceeds(last_upkeep, now, UPKEEP_MS);
}

static void
keep_up(TimestampTz now)
{
	bool		more = ocq_future_recover();

	more |= ocq_future_expire();
	last_upkeep = more ? 0 : now;
}

static void
release_futures(TimestampTz now)
{
	long		milliseconds = ocq_future_release();

	next_retry = milliseconds < 0 ? 0 : TimestampTzPlusMilliseconds(now, milliseconds);
}

/*
 * do_work returns whether it has left the futures alone, as a restore is under way.
 * What it brings is put back, or deleted, when it has ended.
 */
static bool
do_work(TimestampTz now)
{
	bool		is_due = upkeep_is_due(now);

	if (is_due)
		ocq_restore_look_after();
	if (ocq_restore_is_under_way())
	{
		if (is_due)
			last_upkeep = now;
		next_retry = 0;
		return true;
	}
	if (is_due)
		keep_up(now);
	if (is_due || (next_retry != 0 && next_retry <= now))
		release_futures(now);
	serve_roles(ocq_future_waiting_roles());
	return false;
}

/* A worker that is there makes room when others wait, or goes on to their futures. */
static bool
has_worker(void)
{
	for (int i = 0; i < OCQ_MAX_BUS_WORKERS; i++)
		if (!is_free(i))
			return true;
	return false;
}

static void
publish_pool_state(bool awaits_restore)
{
	OcqPoolState state = OCQ_POOL_SERVES;

	if (ocq_bus_workers == 0)
		state = OCQ_POOL_IS_OFF;
	else if (awaits_restore)
		state = OCQ_POOL_AWAITS_RESTORE;
	else if (out_of_slots && !has_worker())
		state = OCQ_POOL_HAS_NO_SLOT;
	ocq_database_set_pool_state(state);
}

static void
run_pool_round(TimestampTz now)
{
	bool		awaits_restore = false;

	if (ocq_process_begin_transaction())
	{
		pgstat_report_activity(STATE_RUNNING, "order_cqrs: futures");
		awaits_restore = do_work(now);
	}
	else
		last_upkeep = now;
	ocq_process_commit();
	publish_pool_state(awaits_restore);
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
}

static long
milliseconds_until(TimestampTz start, long milliseconds, TimestampTz now)
{
	return TimestampDifferenceMilliseconds(now, TimestampTzPlusMilliseconds(start, milliseconds));
}

/*
 * milliseconds_to_bus_round returns when run_bus_round is to be called again.  It
 * looks at what there is to do, and not at the latch: a wait for a lock resets that.
 */
static long
milliseconds_to_bus_round(void)
{
	TimestampTz now = GetCurrentTimestamp();
	long		wait_ms = milliseconds_until(last_upkeep, UPKEEP_MS, now);

	reap();
	if (has_reaped || ConfigReloadPending || ocq_bus_workers != known_bus_workers)
		return 0;
	if (ocq_database_has_pool_work())
		wait_ms = Min(wait_ms, milliseconds_until(last_pool_round, pool_ms, now));
	if (out_of_slots)
		wait_ms = Min(wait_ms, milliseconds_until(last_pool_round, SLOT_MS, now));
	if (next_retry != 0)
		wait_ms = Min(wait_ms, Max(TimestampDifferenceMilliseconds(now, next_retry),
								   milliseconds_until(last_pool_round, pool_ms, now)));
	return wait_ms;
}

/* run_bus_round does what there is to do for futures, if it is time for that. */
static void
run_bus_round(void)
{
	TimestampTz now = GetCurrentTimestamp();

	if (milliseconds_to_bus_round() > 0)
		return;

	/* Whoever sends from here on tells us again. */
	ocq_database_take_pool_work();
	has_reaped = false;
	known_bus_workers = ocq_bus_workers;
	last_pool_round = now;
	SetCurrentStatementStartTimestamp();
	run_pool_round(now);
	pool_ms = Min(Max(POOL_MS, POOL_SHARE * TimestampDifferenceMilliseconds(now, GetCurrentTimestamp())),
				  MAX_POOL_MS);
}

/* How soon the saga tries again for the horizon, or for an order that another process takes. */
#define SAGA_RETRY_MS 100

#define AUDIT_MS 1000

/* The same while a restore is under way, whose end wakes us, but for the sequence's setting. */
#define RESTORE_RETRY_MS 200

/* has_to_wait tells whether a restore is under way; at its end the pool's turn comes at once. */
static bool
has_to_wait(void)
{
	static bool had_to_wait = false;

	if (ocq_restore_is_under_way())
	{
		ocq_restore_look_after();
		return had_to_wait = true;
	}
	if (had_to_wait)
		last_upkeep = 0;
	return had_to_wait = false;
}

static void
warn_of_checkpoint(void)
{
	static TimestampTz last_warned = 0;

	if (!TimestampDifferenceExceeds(last_warned, GetCurrentTimestamp(), 60 * 1000))
		return;
	last_warned = GetCurrentTimestamp();
	ocq_saga_report_lost_checkpoint(WARNING);
}

/*
 * collect_saga_tasks finds what the saga has to do, in memory that outlives the
 * transaction.
 */
static OcqSagaTasks
collect_saga_tasks(MemoryContext context, long *wait_ms)
{
	OcqSagaTasks tasks = {0};
	OcqScope	scope;

	if (ocq_process_begin_transaction())
	{
		int64		checkpoint;
		int64		horizon;
		long		next;

		pgstat_report_activity(STATE_RUNNING, "order_cqrs: saga");
		if (has_to_wait())
		{
			*wait_ms = Min(*wait_ms, RESTORE_RETRY_MS);
			ocq_process_commit();
			return tasks;
		}
		ocq_scope_enter(&scope);
		if (!ocq_horizon_try(&horizon))
		{
			horizon = 0;		/* due orders need none */
			*wait_ms = Min(*wait_ms, SAGA_RETRY_MS);
		}
		if (ocq_saga_checkpoint(&checkpoint))
			tasks = ocq_saga_collect(checkpoint, horizon, context);
		else
			warn_of_checkpoint();
		next = ocq_saga_milliseconds_to_next();
		if (next >= 0)
			*wait_ms = Min(*wait_ms, Max(next, 1));
		ocq_scope_leave(&scope);

		/* A restore may have committed a part of what it brings since the first look. */
		if (tasks.count > 0 && ocq_restore_is_under_way())
			tasks.count = 0;
	}
	ocq_process_commit();
	return tasks;
}

/* How long the saga waits for nobody after it has waited in vain. */
#define IMPATIENCE_MS 1000

/* A round of the saga ends after that, or sooner if there is something to do for the pool. */
#define SAGA_ROUND_MS 100

static bool
is_needed_elsewhere(TimestampTz round_started)
{
	return ocq_database_has_pool_work() ||
		TimestampDifferenceExceeds(round_started, GetCurrentTimestamp(), SAGA_ROUND_MS);
}

static OcqSagaResult
take(const OcqSagaTask *task, bool is_patient)
{
	OcqSagaResult result;

	ocq_process_reload_if_asked();
	result = ocq_process_begin_transaction() ?
		ocq_saga_take(task, false, is_patient) : OCQ_SAGA_NOT_OURS;
	ocq_process_commit();
	return result;
}

/* audit_saga does so at most once a second: it is done at leisure. */
static void
audit_saga(long *wait_ms)
{
	static TimestampTz last_audit = 0;

	*wait_ms = Min(*wait_ms, Max(ocq_audit_delay, AUDIT_MS));
	if (!TimestampDifferenceExceeds(last_audit, GetCurrentTimestamp(), Min(ocq_audit_delay, AUDIT_MS)))
		return;
	last_audit = GetCurrentTimestamp();
	if (ocq_process_begin_transaction() && !ocq_restore_is_under_way())
		ocq_saga_audit(ocq_audit_delay);
	ocq_process_commit();
}

/*
 * run_saga_round lowers wait_ms to when it is to be called again; it returns whether
 * that is at once.  What it does not come to is found again by the next.
 */
static bool
run_saga_round(MemoryContext context, long *wait_ms)
{
	static TimestampTz impatient_until = 0;
	TimestampTz started = GetCurrentTimestamp();
	OcqSagaTasks tasks;
	OcqSagaResult result = OCQ_SAGA_TAKEN;

	if (!ocq_saga_enabled)
		return false;
	MemoryContextReset(context);
	tasks = collect_saga_tasks(context, wait_ms);
	for (int i = 0; i < tasks.count && result != OCQ_SAGA_NOT_OURS; i++)
	{
		result = take(&tasks.tasks[i], impatient_until < GetCurrentTimestamp());
		if (result == OCQ_SAGA_LOST_RACE)
			impatient_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), IMPATIENCE_MS);
		if (is_needed_elsewhere(started))
			break;
	}
	if (result == OCQ_SAGA_NOT_OURS)
		*wait_ms = Min(*wait_ms, SAGA_RETRY_MS);
	audit_saga(wait_ms);
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
	return tasks.count > 0 && result != OCQ_SAGA_NOT_OURS;
}

void
ocq_runner_main(Datum arg)
{
	Oid			database = DatumGetObjectId(arg);
	OcqProcess	process = ocq_process_begin();
	MemoryContext saga_context;

	if (!ocq_database_enter(database, process.number))
		proc_exit(0);
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	ocq_process_use_own_settings();
	saga_context = AllocSetContextCreate(TopMemoryContext, "order_cqrs saga", ALLOCSET_DEFAULT_SIZES);

	for (;;)
	{
		uint64		log_changes = ocq_database_log_changes();
		long		wait_ms = UPKEEP_MS;
		bool		has_more;

		/* What comes during the work causes another round, though waits reset the latch (database.c). */
		ResetLatch(MyLatch);
		ocq_process_reload_if_asked();

		run_bus_round();
		has_more = run_saga_round(saga_context, &wait_ms);
		wait_ms = Min(wait_ms, milliseconds_to_bus_round());
		if (has_more || log_changes != ocq_database_log_changes())
			continue;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 wait_ms, PG_WAIT_EXTENSION);
	}
}
