/*-------------------------------------------------------------------------
 * eviction.c
 *	  Ending the processes of a database.
 *
 * DROP DATABASE and its like fail while a process is connected, so the process that runs
 * such a command evicts ours first and readmits them when its transaction has ended,
 * which has no effect if the database is gone.  If that process dies instead, they are
 * readmitted after a minute.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"
#include "worker/database.h"

#define EVICTION_SECONDS 60
#define EVICTION_WAIT_MS 10
#define EVICTION_ATTEMPTS 500

/* The database whose processes this session has evicted, until its transaction ends. */
static Oid	evicted_from = InvalidOid;

/* terminate_processes returns how many it has asked to end. */
static int
terminate_processes(OcqDatabaseSlot *slot)
{
	int			count = 0;

	LWLockAcquire(ocq_database_shared->lock, LW_SHARED);
	for (int process = 0; process < OCQ_MAX_PROCESSES; process++)
	{
		if (slot->processes[process].pid == 0)
			continue;
		(void) kill(slot->processes[process].pid, SIGTERM);
		count++;
	}
	LWLockRelease(ocq_database_shared->lock);
	return count;
}

/* ocq_database_terminate_unlisted ends the processes of databases that are not in the list. */
void
ocq_database_terminate_unlisted(List *databases)
{
	uint32		count = pg_atomic_read_u32(&ocq_database_shared->count);

	for (uint32 i = 0; i < count; i++)
		if (!list_member_oid(databases, ocq_database_shared->slots[i].database))
			(void) terminate_processes(&ocq_database_shared->slots[i]);
}

void
ocq_database_set_launcher(void)
{
	LWLockAcquire(ocq_database_shared->lock, LW_EXCLUSIVE);
	ocq_database_shared->launcher = MyLatch;
	LWLockRelease(ocq_database_shared->lock);
}

/*
 * ocq_database_evict ends our processes in a database and keeps others out until the
 * transaction ends.  It returns when they have ended, or after 5 seconds; then the
 * command that asks for it reports that sessions are still connected.
 */
void
ocq_database_evict(Oid database)
{
	OcqDatabaseSlot *slot;

	LWLockAcquire(ocq_database_shared->lock, LW_EXCLUSIVE);
	slot = ocq_database_find(database);
	if (slot != NULL)
		slot->evicted_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
														  EVICTION_SECONDS * INT64CONST(1000));
	LWLockRelease(ocq_database_shared->lock);
	if (slot == NULL)
		return;

	evicted_from = database;
	for (int attempt = 0; attempt < EVICTION_ATTEMPTS && terminate_processes(slot) > 0; attempt++)
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
	OcqDatabaseSlot *slot;

	if (!OidIsValid(evicted_from) ||
		(event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT))
		return;

	LWLockAcquire(ocq_database_shared->lock, LW_EXCLUSIVE);
	slot = ocq_database_find(evicted_from);
	if (slot != NULL)
		slot->evicted_until = 0;
	if (ocq_database_shared->launcher != NULL)
		SetLatch(ocq_database_shared->launcher);
	LWLockRelease(ocq_database_shared->lock);
	evicted_from = InvalidOid;
}

void
ocq_database_init(void)
{
	RegisterXactCallback(readmit, NULL);
}
