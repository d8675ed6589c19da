/*-------------------------------------------------------------------------
 * database.c
 *	  Shared memory: which databases have workers, and how to reach them.
 *
 * Each database that has had a worker has a slot.  Worker 0 of a
 * database is its synchroniser; the others help it while there is much to do.
 *
 * Waking.  A commit sets the latch of its database's synchroniser.  The pointer
 * is read without a lock: latches are in shared memory that never goes away, and
 * one that has passed to another process is merely woken without need.
 *
 * Leaving.  DROP DATABASE and its like fail while a worker is connected, so the
 * process that runs one evicts the workers first and readmits them when its
 * transaction has ended, which has no effect if the database is gone.  A
 * readmission that never comes, because that process has died, is made up for by
 * a time limit.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
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

typedef struct DatabaseSlot
{
	/* Written under the lock, before the slot is counted; read without it. */
	Oid			database;

	/* Written by the worker itself, under the lock; 0 and NULL: there is none. */
	pid_t		pids[OCQ_MAX_WORKERS];
	Latch	   *latch;			/* of worker 0; read without the lock */

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

/* What this process has evicted the workers from, until its transaction ends. */
static Oid	evicted_from = InvalidOid;

/* What this process has entered, for its exit. */
static DatabaseSlot *entered_slot = NULL;
static int	entered_worker = -1;

void
ocq_database_request_shmem(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(SharedState)));
	RequestNamedLWLockTranche("order_cqrs", 1);
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
	for (int worker = 0; worker < OCQ_MAX_WORKERS; worker++)
		if (slot->pids[worker] != 0)
			return false;
	return !is_closed(slot);
}

/*
 * find_or_add_slot returns NULL if there is no room; the caller holds the lock.
 * When all slots are taken, one that has no worker passes to another database.
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
leave(int code, Datum arg)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	entered_slot->pids[entered_worker] = 0;
	if (entered_worker == 0)
		entered_slot->latch = NULL;
	LWLockRelease(shared->lock);
}

/*
 * ocq_database_enter makes the calling process worker number "worker" of the
 * database, until it exits.  It returns false if there is one already, or the
 * database is closed.
 */
bool
ocq_database_enter(Oid database, int worker)
{
	DatabaseSlot *slot;
	bool		entered = false;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = find_or_add_slot(database);
	if (slot != NULL && slot->pids[worker] == 0 && !is_closed(slot))
	{
		slot->pids[worker] = MyProcPid;
		if (worker == 0)
			slot->latch = MyLatch;
		entered = true;
	}
	LWLockRelease(shared->lock);

	if (entered)
	{
		entered_slot = slot;
		entered_worker = worker;
		before_shmem_exit(leave, (Datum) 0);
	}
	return entered;
}

bool
ocq_database_has_worker(Oid database, int worker)
{
	DatabaseSlot *slot = find_slot(database);

	return slot != NULL && slot->pids[worker] != 0;
}

bool
ocq_database_may_enter(Oid database)
{
	DatabaseSlot *slot = find_slot(database);

	return slot == NULL || !is_closed(slot);
}

/* ocq_database_wake wakes the synchroniser of the current database, if there is one. */
void
ocq_database_wake(void)
{
	static DatabaseSlot *slot = NULL;
	Latch	   *latch;

	if (shared == NULL)
		return;
	if (slot == NULL || slot->database != MyDatabaseId)
		slot = find_slot(MyDatabaseId);
	latch = slot == NULL ? NULL : slot->latch;
	if (latch != NULL)
		SetLatch(latch);
}

void
ocq_database_set_launcher(void)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->launcher = MyLatch;
	LWLockRelease(shared->lock);
}

/* terminate_workers returns how many it has asked to go. */
static int
terminate_workers(DatabaseSlot *slot)
{
	int			count = 0;

	LWLockAcquire(shared->lock, LW_SHARED);
	for (int worker = 0; worker < OCQ_MAX_WORKERS; worker++)
	{
		if (slot->pids[worker] == 0)
			continue;
		(void) kill(slot->pids[worker], SIGTERM);
		count++;
	}
	LWLockRelease(shared->lock);
	return count;
}

/* ocq_database_terminate_unlisted ends the workers of databases that are not in the list. */
void
ocq_database_terminate_unlisted(List *databases)
{
	uint32		count = pg_atomic_read_u32(&shared->count);

	for (uint32 i = 0; i < count; i++)
		if (!list_member_oid(databases, shared->slots[i].database))
			(void) terminate_workers(&shared->slots[i]);
}

/*
 * ocq_database_evict makes the workers of a database go and keeps others out until
 * the transaction ends.  It returns when they have gone, or after a few seconds;
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
	for (int try = 0; try < EVICTION_TRIES && terminate_workers(slot) > 0; try++)
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
