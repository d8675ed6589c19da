/*-------------------------------------------------------------------------
 * wait.c
 *	  Waiting for futures, and waking those who wait.
 *
 * Whoever waits for a future sleeps on one of some condition variables, by the
 * future's id, so a wake-up may be meant for another and the waiter looks again.
 * A transaction that finishes futures wakes their waiters once it has committed;
 * one that sends futures wakes the processes that run them.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "bus/future.h"
#include "storage/condition_variable.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/wait_event.h"

#define NUM_CONDITIONS 64

/* Initialised at startup; the condition variables have locks of their own. */
typedef struct SharedConditions
{
	ConditionVariable finished[NUM_CONDITIONS];
} SharedConditions;

static SharedConditions *shared = NULL; /* NULL: the library is not preloaded */

void		(*ocq_future_wake_hook) (void) = NULL;

/* What the current transaction is to do when it has committed. */
static bool has_sent = false;
static uint64 finished = 0;		/* a bit for each condition variable */

void
ocq_future_request_shmem(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(SharedConditions)));
}

void
ocq_future_startup_shmem(void)
{
	bool		found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("order_cqrs futures", sizeof(SharedConditions), &found);
	if (!found)
		for (int i = 0; i < NUM_CONDITIONS; i++)
			ConditionVariableInit(&shared->finished[i]);
	LWLockRelease(AddinShmemInitLock);
}

static int
condition_of(const pg_uuid_t *id)
{
	return id->data[UUID_LEN - 1] % NUM_CONDITIONS;
}

static void
wake_waiters(uint64 conditions)
{
	if (shared == NULL)
		return;
	for (int i = 0; i < NUM_CONDITIONS; i++)
		if (conditions & (UINT64CONST(1) << i))
			ConditionVariableBroadcast(&shared->finished[i]);
}

/* end_transaction may not touch catalogs nor raise errors. */
static void
end_transaction(XactEvent event, void *arg)
{
	bool		wakes = has_sent;
	uint64		conditions = finished;

	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	has_sent = false;
	finished = 0;
	if (event != XACT_EVENT_COMMIT)
		return;
	if (conditions != 0)
		wake_waiters(conditions);
	if (wakes && ocq_future_wake_hook != NULL)
		ocq_future_wake_hook();
}

void
ocq_future_init(void)
{
	RegisterXactCallback(end_transaction, NULL);
}

void
ocq_future_was_sent(void)
{
	has_sent = true;
}

void
ocq_future_was_finished(const pg_uuid_t *id)
{
	finished |= UINT64CONST(1) << condition_of(id);
}

/* ocq_future_committed_prepared makes everyone look: nobody knows what was in it. */
void
ocq_future_committed_prepared(void)
{
	wake_waiters(PG_UINT64_MAX);
	if (ocq_future_wake_hook != NULL)
		ocq_future_wake_hook();
}

bool
ocq_future_can_sleep(void)
{
	return shared != NULL && !RecoveryInProgress();
}

/* From here on no wake-up is lost. */
void
ocq_future_prepare_to_sleep(const pg_uuid_t *id)
{
	if (ocq_future_can_sleep())
		ConditionVariablePrepareToSleep(&shared->finished[condition_of(id)]);
}

/* ocq_future_sleep returns false if the time, which is -1 if there is no limit, has passed. */
bool
ocq_future_sleep(const pg_uuid_t *id, long milliseconds)
{
	return !ConditionVariableTimedSleep(&shared->finished[condition_of(id)], milliseconds,
										PG_WAIT_EXTENSION);
}

void
ocq_future_end_sleep(void)
{
	if (shared != NULL)
		(void) ConditionVariableCancelSleep();
}
