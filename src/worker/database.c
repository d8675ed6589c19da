/*-------------------------------------------------------------------------
 * database.c
 *	  Shared memory: the databases that have processes, and their processes.
 *
 * Each database that has had a process has a slot, and in it each of its processes one.
 * Pointers to latches are read without a lock: latches are in shared memory that never
 * goes away, and one that has passed to another process is merely woken without need.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"
#include "worker/database.h"

OcqDatabases *ocq_database_shared = NULL;
OcqDatabaseSlot *ocq_database_entered = NULL;
OcqProcessSlot *ocq_database_entered_process = NULL;

void
ocq_database_request_shmem(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(OcqDatabases)));
	RequestNamedLWLockTranche("order_cqrs", 1);
}

static void
init_slot(OcqDatabaseSlot *slot)
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
	ocq_database_shared = ShmemInitStruct("order_cqrs", sizeof(OcqDatabases), &found);
	if (!found)
	{
		memset(ocq_database_shared, 0, sizeof(OcqDatabases));
		ocq_database_shared->lock = &GetNamedLWLockTranche("order_cqrs")->lock;
		pg_atomic_init_u32(&ocq_database_shared->count, 0);
		for (int i = 0; i < OCQ_MAX_DATABASES; i++)
			init_slot(&ocq_database_shared->slots[i]);
	}
	LWLockRelease(AddinShmemInitLock);
}

OcqDatabaseSlot *
ocq_database_find(Oid database)
{
	uint32		count = pg_atomic_read_u32(&ocq_database_shared->count);

	pg_read_barrier();
	for (uint32 i = 0; i < count; i++)
		if (ocq_database_shared->slots[i].database == database)
			return &ocq_database_shared->slots[i];
	return NULL;
}

static bool
is_evicted(const OcqDatabaseSlot *slot)
{
	return slot->evicted_until > GetCurrentTimestamp();
}

static bool
is_idle(const OcqDatabaseSlot *slot)
{
	for (int process = 0; process < OCQ_MAX_PROCESSES; process++)
		if (slot->processes[process].pid != 0)
			return false;
	return !is_evicted(slot);
}

/*
 * find_or_add_slot returns NULL if there is no room; the caller holds the lock.
 * When all slots are taken, one that has no process passes to another database.
 */
static OcqDatabaseSlot *
find_or_add_slot(Oid database)
{
	OcqDatabaseSlot *slot = ocq_database_find(database);
	uint32		count = pg_atomic_read_u32(&ocq_database_shared->count);

	if (slot != NULL)
		return slot;
	if (count < OCQ_MAX_DATABASES)
	{
		ocq_database_shared->slots[count].database = database;
		pg_write_barrier();
		pg_atomic_write_u32(&ocq_database_shared->count, count + 1);
		return &ocq_database_shared->slots[count];
	}
	for (uint32 i = 0; i < count; i++)
	{
		if (!is_idle(&ocq_database_shared->slots[i]))
			continue;
		ocq_database_shared->slots[i].database = database;
		return &ocq_database_shared->slots[i];
	}
	return NULL;
}

/* ocq_database_own returns the slot of the current database, or NULL. */
OcqDatabaseSlot *
ocq_database_own(void)
{
	static OcqDatabaseSlot *slot = NULL;

	if (ocq_database_shared == NULL)
		return NULL;
	if (slot == NULL || slot->database != MyDatabaseId)
		slot = ocq_database_find(MyDatabaseId);
	return slot;
}

/* ocq_database_tell_runner wakes the runner unless that was done since it last looked. */
void
ocq_database_tell_runner(OcqDatabaseSlot *slot)
{
	if (pg_atomic_exchange_u32(&slot->has_pool_work, 1) == 0)
		ocq_process_wake(&slot->processes[OCQ_RUNNER]);
}

static void
leave(int code, Datum arg)
{
	OcqProcessSlot *process = ocq_database_entered_process;

	LWLockAcquire(ocq_database_shared->lock, LW_EXCLUSIVE);
	process->pid = 0;
	process->latch = NULL;
	pg_atomic_write_u32(&process->is_idle, 0);
	LWLockRelease(ocq_database_shared->lock);

	/* The slot of a pool worker is free, and the worker may have been woken in its last moment. */
	if (process >= &ocq_database_entered->processes[OCQ_FIRST_POOL])
		ocq_database_tell_runner(ocq_database_entered);
}

/*
 * ocq_database_enter makes the calling process that number of the database, until
 * it exits.  It returns false if there is one already, or the database is being evicted.
 */
bool
ocq_database_enter(Oid database, int process)
{
	OcqDatabaseSlot *slot;
	bool		entered = false;

	LWLockAcquire(ocq_database_shared->lock, LW_EXCLUSIVE);
	slot = find_or_add_slot(database);
	if (slot != NULL && slot->processes[process].pid == 0 && !is_evicted(slot))
	{
		slot->processes[process].pid = MyProcPid;
		slot->processes[process].latch = MyLatch;
		entered = true;
	}
	LWLockRelease(ocq_database_shared->lock);

	if (entered)
	{
		ocq_database_entered = slot;
		ocq_database_entered_process = &slot->processes[process];
		before_shmem_exit(leave, (Datum) 0);
	}
	return entered;
}

bool
ocq_database_has_process(Oid database, int process)
{
	OcqDatabaseSlot *slot = ocq_database_find(database);

	return slot != NULL && slot->processes[process].pid != 0;
}

bool
ocq_database_may_enter(Oid database)
{
	OcqDatabaseSlot *slot = ocq_database_find(database);

	return slot == NULL || !is_evicted(slot);
}
