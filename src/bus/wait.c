/*-------------------------------------------------------------------------
 * wait.c
 *	  Waiting for futures, and waking the sessions that wait.
 *
 * A session that waits for a future sleeps on one of 64 condition variables, by the
 * future's id, so a wake-up may be meant for another and the waiter looks again.
 * A transaction that finishes futures wakes their waiters once it has committed;
 * one that sends futures wakes the processes that run them.
 *
 * Each condition has a generation, which a wake-up advances.  A waiter reads it, looks
 * at the future, puts itself on the list, and sleeps only if the generation is still the
 * same.  It would not do to be on the list during the look: a look that waits for a lock,
 * or for a buffer, resets the latch or leaves the list, and so does the end of its
 * subtransaction.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "bus/future.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/wait_event.h"

#define NUM_CONDITIONS 64

/* Initialised at startup; the condition variables have locks of their own. */
typedef struct Condition
{
	ConditionVariable variable;
	pg_atomic_uint64 generation;	/* advanced by the process that wakes, before it does */
} Condition;

typedef struct SharedConditions
{
	Condition	finished[NUM_CONDITIONS];
} SharedConditions;

static SharedConditions *shared = NULL; /* NULL: the library is not preloaded */

void		(*ocq_future_wake_hook) (void) = NULL;
const OcqObstacle *(*ocq_future_obstacle_hook) (void) = NULL;

/* The wake-ups that the current transaction causes when it has committed. */
static bool has_sent = false;
static uint64 finished = 0;		/* a bit for each condition variable */

void
ocq_future_request_shmem(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(SharedConditions)));
	ocq_capacity_request_shmem();
}

void
ocq_future_startup_shmem(void)
{
	bool		found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("order_cqrs futures", sizeof(SharedConditions), &found);
	for (int i = 0; i < NUM_CONDITIONS && !found; i++)
	{
		ConditionVariableInit(&shared->finished[i].variable);
		pg_atomic_init_u64(&shared->finished[i].generation, 0);
	}
	LWLockRelease(AddinShmemInitLock);
	ocq_capacity_startup_shmem();
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
	{
		if ((conditions & (UINT64CONST(1) << i)) == 0)
			continue;
		(void) pg_atomic_fetch_add_u64(&shared->finished[i].generation, 1);
		ConditionVariableBroadcast(&shared->finished[i].variable);
	}
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
	ocq_capacity_init();
}

void
ocq_future_was_sent(void)
{
	has_sent = true;
}

/* ocq_future_was_put_back is for a future that was begun and waits once more. */
void
ocq_future_was_put_back(Oid session_role)
{
	ocq_future_waiting_changed(session_role, 1);
	ocq_future_claim_anew();
	ocq_future_was_sent();
}

void
ocq_future_was_finished(const pg_uuid_t *id)
{
	finished |= UINT64CONST(1) << condition_of(id);
}

/* ocq_future_committed_prepared wakes all: the transaction's futures are not known. */
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

/*
 * ocq_future_generation comes before each look at the future: from here on no wake-up is
 * lost.  Its result is for ocq_future_sleep.
 */
uint64
ocq_future_generation(const pg_uuid_t *id)
{
	uint64		generation;

	if (!ocq_future_can_sleep())
		return 0;
	generation = pg_atomic_read_u64(&shared->finished[condition_of(id)].generation);

	/* It is read before the future is. */
	pg_memory_barrier();
	return generation;
}

/* ocq_future_sleep returns when there may be something to see, or the time has passed. */
void
ocq_future_sleep(const pg_uuid_t *id, uint64 generation, long milliseconds)
{
	Condition  *condition = &shared->finished[condition_of(id)];

	ConditionVariablePrepareToSleep(&condition->variable);
	if (pg_atomic_read_u64(&condition->generation) == generation)
		(void) ConditionVariableTimedSleep(&condition->variable, milliseconds, PG_WAIT_EXTENSION);
}

void
ocq_future_end_sleep(void)
{
	if (shared != NULL)
		(void) ConditionVariableCancelSleep();
}
