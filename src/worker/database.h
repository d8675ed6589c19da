/*-------------------------------------------------------------------------
 * database.h
 *	  Shared memory of the worker room: a slot for each database.
 *
 * Only this room's files that read or write the shared memory include it.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_WORKER_DATABASE_H
#define OCQ_WORKER_DATABASE_H

#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "worker/worker.h"

typedef struct OcqProcessSlot
{
	/* Written by the process itself, under the lock; 0 and NULL: there is none. */
	pid_t		pid;
	Latch	   *latch;			/* read without the lock */

	/* Of a pool worker; written by itself, and cleared by the runner before it starts. */
	Oid			role;			/* that it has logged in as; InvalidOid until then */
	bool		is_proven;		/* it has looked for futures: if it ends, another may follow at once */

	pg_atomic_uint32 is_idle;	/* set by a pool worker, taken by the process that wakes it */
} OcqProcessSlot;

typedef struct OcqDatabaseSlot
{
	/* Written under the lock, before the slot is counted; read without it. */
	Oid			database;

	OcqProcessSlot processes[OCQ_MAX_PROCESSES];

	pg_atomic_uint64 log_changes;	/* counts commits; added to by sessions, without the lock */
	pg_atomic_uint32 is_to_look_over;	/* set by commits, taken by the synchroniser */
	pg_atomic_uint32 has_pool_work; /* set by a process that finds no idle worker, taken by the runner */
	pg_atomic_uint32 pool_is_short; /* set by the runner, taken by the worker that ends for it */
	pg_atomic_uint32 pool_state;	/* an OcqPoolState; set by the runner */

	/* Written by the process that evicts, under the lock. */
	TimestampTz evicted_until;
} OcqDatabaseSlot;

typedef struct OcqDatabases
{
	LWLock	   *lock;			/* written at startup */
	Latch	   *launcher;		/* written by the launcher, under the lock */
	pg_atomic_uint32 count;		/* of slots in use; written under the lock, only grows */
	OcqDatabaseSlot slots[OCQ_MAX_DATABASES];
} OcqDatabases;

extern OcqDatabases *ocq_database_shared;	/* NULL: the library is not preloaded */

/* The slots that this process has entered. */
extern OcqDatabaseSlot *ocq_database_entered;
extern OcqProcessSlot *ocq_database_entered_process;

extern OcqDatabaseSlot *ocq_database_find(Oid database);
extern OcqDatabaseSlot *ocq_database_own(void);
extern void ocq_database_tell_runner(OcqDatabaseSlot *slot);

static inline void
ocq_process_wake(OcqProcessSlot *process)
{
	Latch	   *latch = process->latch;

	if (latch != NULL)
		SetLatch(latch);
}

#endif							/* OCQ_WORKER_DATABASE_H */
