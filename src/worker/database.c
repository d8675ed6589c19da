/*-------------------------------------------------------------------------
 * database.c
 *	  Shared memory: which databases have processes, and how to reach them.
 *
 * Each database that has had a process has a slot.
 *
 * Waking.  A commit counts itself and sets the latches of its database's synchroniser
 * and runner.  The pointers are read without a lock: latches are in shared memory that
 * never goes away, and one that has passed to another process is merely woken without
 * need.  A latch alone would not do: each wait for a heavyweight lock resets it.  So a
 * process reads the count before it looks at the log, and sleeps only if the count is
 * still the same afterwards.
 *
 * The pool.  A pool worker that finds nothing to do says that it is idle and looks
 * again before it sleeps.  A commit that has sent a future takes the mark of an
 * idle worker of its role away and wakes it; if there is none it tells the runner,
 * which may start another one.  A worker whose mark was taken while it found
 * something else to do passes the call on.
 *
 * Leaving.  DROP DATABASE and its like fail while a process is connected, so the
 * process that runs one evicts ours first and readmits them when its transaction
 * has ended, which has no effect if the database is gone.  A readmission that
 * never comes, because that process has died, is made up for by a time limit.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "bus/future.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"
#include "worker/worker.h"

#define EVICTION_SECONDS 60
#define EVICTION_WAIT_MS 10
#define EVICTION_TRIES 500

typedef struct Process
{
	/* Written by the process itself, under the lock; 0 and NULL: there is none. */
	pid_t		pid;
	Latch	   *latch;			/* read without the lock */

	/* Of a pool worker; written by itself, and cleared by the runner before it starts. */
	Oid			role;			/* who it has logged in as */
	bool		is_proven;		/* it has come as far as to look for futures */

	pg_atomic_uint32 is_idle;	/* set by a pool worker, taken by whoever wakes it */
} Process;

typedef struct DatabaseSlot
{
	/* Written under the lock, before the slot is counted; read without it. */
	Oid			database;

	Process		processes[OCQ_MAX_PROCESSES];

	pg_atomic_uint64 log_changes;	/* counts commits; added to by sessions, without the lock */
	pg_atomic_uint32 is_to_look_over;	/* set by commits, taken by the synchroniser */
	pg_atomic_uint32 has_pool_work; /* set by whoever finds no idle worker, taken by the runner */
	pg_atomic_uint32 pool_is_short; /* set by the runner, taken by the worker that leaves for it */
	pg_atomic_uint32 pool_state;	/* an OcqPoolState; set by the runner */

	/* Written by the process that evicts, under the lock. */
	TimestampTz closed_until;
} DatabaseSlot;

typedef struct SharedState
{
	LWLock	   *lock;			/* written at startup */
	Latch	   *launcher;		/* written by the launcher, under the lock */
	pg_atomic_uint32 count;		/* of slots in use; written under the lock, only grows */
	DatabaseSlot slots[OCQ_MAX_DATABASES];
} SharedState;

static SharedState *shared = NULL;

/* What this process has evicted the others from, until its transaction ends. */
static Oid	evicted_from = InvalidOid;

/* What this process has entered, for its exit. */
static DatabaseSlot *entered_slot = NULL;
static int	entered_process = -1;

void
ocq_database_request_shmem(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(SharedState)));
	RequestNamedLWLockTranche("order_cqrs", 1);
}

static void
init_slot(DatabaseSlot *slot)
{
	pg_atomic_init_u64(&slot->log_changes, 0);
	pg_atomic_init_u32(&slot->is_to_look_over, 0);
	pg_atomic_init_u32(&slot->has_pool_work, 0);
	pg_atomic_init_u32(&slot->pool_is_short, 0);
	pg_atomic_init_u32(&slot->pool_state, OCQ_POOL_SERVES);
	for (int process = 0; process < OCQ_MAX_PROCESSES; process++)
		pg_atomic_init_u32(&slot->processes[process].is_idle, 0);
}

void
ocq_database_startup_shmem(void)
{
	bool		found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("order_cqrs", sizeof(SharedState), &found);
	if (!found)
	{
		memset(shared, 0, sizeof(SharedState));
		shared->lock = &GetNamedLWLockTranche("order_cqrs")->lock;
		pg_atomic_init_u32(&shared->count, 0);
		for (int i = 0; i < OCQ_MAX_DATABASES; i++)
			init_slot(&shared->slots[i]);
	}
	LWLockRelease(AddinShmemInitLock);
}

static DatabaseSlot *
find_slot(Oid database)
{
	uint32		count = pg_atomic_read_u32(&shared->count);

	pg_read_barrier();
	for (uint32 i = 0; i < count; i++)
		if (shared->slots[i].database == database)
			return &shared->slots[i];
	return NULL;
}

static bool
is_closed(const DatabaseSlot *slot)
{
	return slot->closed_until > GetCurrentTimestamp();
}

static bool
is_idle(const DatabaseSlot *slot)
{
	for (int process = 0; process < OCQ_MAX_PROCESSES; process++)
		if (slot->processes[process].pid != 0)
			return false;
	return !is_closed(slot);
}

/*
 * find_or_add_slot returns NULL if there is no room; the caller holds the lock.
 * When all slots are taken, one that has no process passes to another database.
 */
static DatabaseSlot *
find_or_add_slot(Oid database)
{
	DatabaseSlot *slot = find_slot(database);
	uint32		count = pg_atomic_read_u32(&shared->count);

	if (slot != NULL)
		return slot;
	if (count < OCQ_MAX_DATABASES)
	{
		shared->slots[count].database = database;
		pg_write_barrier();
		pg_atomic_write_u32(&shared->count, count + 1);
		return &shared->slots[count];
	}
	for (uint32 i = 0; i < count; i++)
	{
		if (!is_idle(&shared->slots[i]))
			continue;
		shared->slots[i].database = database;
		return &shared->slots[i];
	}
	return NULL;
}

static void
set_latch(Latch *latch)
{
	if (latch != NULL)
		SetLatch(latch);
}

/* tell_runner wakes the runner unless that was done since it last looked. */
static void
tell_runner(DatabaseSlot *slot)
{
	if (pg_atomic_exchange_u32(&slot->has_pool_work, 1) == 0)
		set_latch(slot->processes[OCQ_RUNNER].latch);
}

static void
leave(int code, Datum arg)
{
	Process    *process = &entered_slot->processes[entered_process];

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	process->pid = 0;
	process->latch = NULL;
	pg_atomic_write_u32(&process->is_idle, 0);
	LWLockRelease(shared->lock);

	/* Its place is free, and it may have been called in its last moment. */
	if (entered_process >= OCQ_FIRST_POOL)
		tell_runner(entered_slot);
}

/*
 * ocq_database_enter makes the calling process that number of the database, until
 * it exits.  It returns false if there is one already, or the database is closed.
 */
bool
ocq_database_enter(Oid database, int process)
{
	DatabaseSlot *slot;
	bool		entered = false;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = find_or_add_slot(database);
	if (slot != NULL && slot->processes[process].pid == 0 && !is_closed(slot))
	{
		slot->processes[process].pid = MyProcPid;
		slot->processes[process].latch = MyLatch;
		entered = true;
	}
	LWLockRelease(shared->lock);

	if (entered)
	{
		entered_slot = slot;
		entered_process = process;
		before_shmem_exit(leave, (Datum) 0);
	}
	return entered;
}

bool
ocq_database_has_process(Oid database, int process)
{
	DatabaseSlot *slot = find_slot(database);

	return slot != NULL && slot->processes[process].pid != 0;
}

bool
ocq_database_may_enter(Oid database)
{
	DatabaseSlot *slot = find_slot(database);

	return slot == NULL || !is_closed(slot);
}

/* own_slot returns the slot of the current database, or NULL. */
static DatabaseSlot *
own_slot(void)
{
	static DatabaseSlot *slot = NULL;

	if (shared == NULL)
		return NULL;
	if (slot == NULL || slot->database != MyDatabaseId)
		slot = find_slot(MyDatabaseId);
	return slot;
}

/*
 * ocq_database_wake wakes those of the current database who follow the log.  With
 * looks_over sync projections may be behind, too.
 */
void
ocq_database_wake(bool looks_over)
{
	DatabaseSlot *slot = own_slot();

	if (slot == NULL)
		return;
	if (looks_over)
		pg_atomic_write_u32(&slot->is_to_look_over, 1);
	(void) pg_atomic_fetch_add_u64(&slot->log_changes, 1);
	set_latch(slot->processes[OCQ_SYNCHRONISER].latch);
	set_latch(slot->processes[OCQ_RUNNER].latch);
}

/* ocq_database_log_changes is for those who follow the log: what has changed is worth a look. */
uint64
ocq_database_log_changes(void)
{
	return pg_atomic_read_u64(&entered_slot->log_changes);
}

/* ocq_database_take_look_over tells whether somebody has asked for it since the last call. */
bool
ocq_database_take_look_over(void)
{
	return pg_atomic_exchange_u32(&entered_slot->is_to_look_over, 0) != 0;
}

/* wake_idle wakes one pool worker of the role, or of any; it returns false if none is idle. */
static bool
wake_idle(DatabaseSlot *slot, Oid role)
{
	/* The commit, or what else there is to do, comes before the look at the marks. */
	pg_memory_barrier();
	for (int i = OCQ_FIRST_POOL; i < OCQ_MAX_PROCESSES; i++)
	{
		Process    *process = &slot->processes[i];

		if ((OidIsValid(role) && process->role != role) ||
			pg_atomic_read_u32(&process->is_idle) == 0 ||
			pg_atomic_exchange_u32(&process->is_idle, 0) == 0)
			continue;
		set_latch(process->latch);

		/* Between the two looks the place may have passed to another role, who looks in vain. */
		if (OidIsValid(role) && process->role != role)
			continue;
		return true;
	}
	return false;
}

/*
 * ocq_database_wake_pool is for when a future of the session user waits.  It is
 * called after commit and raises no errors.
 */
void
ocq_database_wake_pool(void)
{
	DatabaseSlot *slot = own_slot();

	if (slot != NULL && !wake_idle(slot, GetSessionUserId()))
		tell_runner(slot);
}

/* ocq_database_pool_obstacle returns why no worker of the current database runs futures, or NULL. */
const OcqObstacle *
ocq_database_pool_obstacle(void)
{
	static const OcqObstacle no_runner = {
		"No process of order_cqrs serves this database.",
		"Run it with CALL future_run(), or have workers run it: order_cqrs.databases has to name the database,"
		" and max_worker_processes to leave room for them."
	};
	static const OcqObstacle is_off = {
		"No worker runs futures, as order_cqrs.bus_workers is 0.",
		"Run it with CALL future_run(), or increase order_cqrs.bus_workers."
	};
	static const OcqObstacle has_no_slot = {
		"No worker can be started: all background worker slots are in use.",
		"Increase max_worker_processes, or run it with CALL future_run()."
	};
	static const OcqObstacle awaits_restore = {
		"Futures wait for the end of a restore: rows have come past the commands.",
		"Wait until it has ended. If there is none, CALL order_cqrs.restore_end()."
	};
	DatabaseSlot *slot = own_slot();

	if (slot == NULL || slot->processes[OCQ_RUNNER].pid == 0)
		return &no_runner;
	switch ((OcqPoolState) pg_atomic_read_u32(&slot->pool_state))
	{
		case OCQ_POOL_SERVES:
			return NULL;
		case OCQ_POOL_IS_OFF:
			return &is_off;
		case OCQ_POOL_AWAITS_RESTORE:
			return &awaits_restore;
		case OCQ_POOL_HAS_NO_SLOT:
			return &has_no_slot;
	}
	return NULL;
}

/*
 * What follows is called by the processes of the bus, which have entered.
 */

void
ocq_database_set_pool_state(OcqPoolState state)
{
	pg_atomic_write_u32(&entered_slot->pool_state, state);
}

bool
ocq_database_has_pool_work(void)
{
	return pg_atomic_read_u32(&entered_slot->has_pool_work) != 0;
}

void
ocq_database_take_pool_work(void)
{
	(void) pg_atomic_exchange_u32(&entered_slot->has_pool_work, 0);
}

bool
ocq_database_wake_idle(Oid role)
{
	return wake_idle(entered_slot, role);
}

/* ocq_database_set_pool_short asks one pool worker to leave its place, or no longer. */
void
ocq_database_set_pool_short(bool is_short)
{
	pg_atomic_write_u32(&entered_slot->pool_is_short, is_short);
	if (is_short)
		(void) wake_idle(entered_slot, InvalidOid);
}

bool
ocq_database_take_pool_short(void)
{
	return pg_atomic_read_u32(&entered_slot->pool_is_short) != 0 &&
		pg_atomic_exchange_u32(&entered_slot->pool_is_short, 0) != 0;
}

/* ocq_database_vacate forgets the last pool worker in a place that is free. */
void
ocq_database_vacate(int process)
{
	entered_slot->processes[process].role = InvalidOid;
	entered_slot->processes[process].is_proven = false;
}

/* ocq_database_pool_role returns InvalidOid until the worker has logged in. */
Oid
ocq_database_pool_role(int process)
{
	return entered_slot->processes[process].role;
}

bool
ocq_database_is_proven(int process)
{
	return entered_slot->processes[process].is_proven;
}

void
ocq_database_set_pool_role(Oid role)
{
	entered_slot->processes[entered_process].role = role;
}

/* ocq_database_set_idle returns what the mark was. */
bool
ocq_database_set_idle(bool is_idle)
{
	return pg_atomic_exchange_u32(&entered_slot->processes[entered_process].is_idle, is_idle) != 0;
}

/* ocq_database_is_marked_idle returns false once somebody has taken the mark, and so has called. */
bool
ocq_database_is_marked_idle(void)
{
	return pg_atomic_read_u32(&entered_slot->processes[entered_process].is_idle) != 0;
}

/* ocq_database_set_proven says that a worker for this role works: if it ends, another may follow at once. */
void
ocq_database_set_proven(void)
{
	entered_slot->processes[entered_process].is_proven = true;
}

void
ocq_database_set_launcher(void)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->launcher = MyLatch;
	LWLockRelease(shared->lock);
}

/* terminate_processes returns how many it has asked to go. */
static int
terminate_processes(DatabaseSlot *slot)
{
	int			count = 0;

	LWLockAcquire(shared->lock, LW_SHARED);
	for (int process = 0; process < OCQ_MAX_PROCESSES; process++)
	{
		if (slot->processes[process].pid == 0)
			continue;
		(void) kill(slot->processes[process].pid, SIGTERM);
		count++;
	}
	LWLockRelease(shared->lock);
	return count;
}

/* ocq_database_terminate_unlisted ends the processes of databases that are not in the list. */
void
ocq_database_terminate_unlisted(List *databases)
{
	uint32		count = pg_atomic_read_u32(&shared->count);

	for (uint32 i = 0; i < count; i++)
		if (!list_member_oid(databases, shared->slots[i].database))
			(void) terminate_processes(&shared->slots[i]);
}

/*
 * ocq_database_evict makes our processes leave a database and keeps others out
 * until the transaction ends.  It returns when they have gone, or after a few seconds;
 * then the command that asks for it reports who is still connected.
 */
void
ocq_database_evict(Oid database)
{
	DatabaseSlot *slot;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = find_slot(database);
	if (slot != NULL)
		slot->closed_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
														 EVICTION_SECONDS * INT64CONST(1000));
	LWLockRelease(shared->lock);
	if (slot == NULL)
		return;

	evicted_from = database;
	for (int try = 0; try < EVICTION_TRIES && terminate_processes(slot) > 0; try++)
	{
		(void) WaitLatch(MyLatch, WL_TIMEOUT | WL_LATCH_SET | WL_EXIT_ON_PM_DEATH,
						 EVICTION_WAIT_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* readmit ends an eviction. */
static void
readmit(XactEvent event, void *arg)
{
	DatabaseSlot *slot;

	if (!OidIsValid(evicted_from) ||
		(event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT))
		return;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = find_slot(evicted_from);
	if (slot != NULL)
		slot->closed_until = 0;
	if (shared->launcher != NULL)
		SetLatch(shared->launcher);
	LWLockRelease(shared->lock);
	evicted_from = InvalidOid;
}

void
ocq_database_init(void)
{
	RegisterXactCallback(readmit, NULL);
}
