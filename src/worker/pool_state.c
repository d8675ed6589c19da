/*-------------------------------------------------------------------------
 * pool_state.c
 *	  Shared memory of the pool: between senders, the runner and pool workers.
 *
 * A pool worker that finds nothing to do says that it is idle and looks again before it
 * sleeps.  A commit that has sent a future takes the mark of an idle worker of its role
 * away and wakes it; if there is none it tells the runner, which may start another one.
 * A worker whose mark was taken while it found something else to do passes the wake-up on.
 *
 * ocq_pool_wake and ocq_pool_obstacle are for any session, the other functions for the
 * runner and for pool workers.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "bus/future.h"
#include "miscadmin.h"
#include "worker/database.h"

/* wake_idle wakes one pool worker of the role, or of any; it returns false if none is idle. */
static bool
wake_idle(OcqDatabaseSlot *slot, Oid role)
{
	/* The commit, or other work for a pool worker, comes before the look at the marks. */
	pg_memory_barrier();
	for (int i = OCQ_FIRST_POOL; i < OCQ_MAX_PROCESSES; i++)
	{
		OcqProcessSlot *process = &slot->processes[i];

		if ((OidIsValid(role) && process->role != role) ||
			pg_atomic_read_u32(&process->is_idle) == 0 ||
			pg_atomic_exchange_u32(&process->is_idle, 0) == 0)
			continue;
		ocq_process_wake(process);

		/* Between the two looks the slot may have passed to a worker of another role, which looks in vain. */
		if (OidIsValid(role) && process->role != role)
			continue;
		return true;
	}
	return false;
}

/*
 * ocq_pool_wake is for when a future of the session user waits.  It is
 * called after commit and raises no errors.
 */
void
ocq_pool_wake(void)
{
	OcqDatabaseSlot *slot = ocq_database_own();

	if (slot != NULL && !wake_idle(slot, GetSessionUserId()))
		ocq_database_tell_runner(slot);
}

/* ocq_pool_obstacle returns why no worker of the current database runs futures, or NULL. */
const OcqObstacle *
ocq_pool_obstacle(void)
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
	OcqDatabaseSlot *slot = ocq_database_own();

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

void
ocq_pool_set_state(OcqPoolState state)
{
	pg_atomic_write_u32(&ocq_database_entered->pool_state, state);
}

bool
ocq_pool_has_work(void)
{
	return pg_atomic_read_u32(&ocq_database_entered->has_pool_work) != 0;
}

void
ocq_pool_take_work(void)
{
	(void) pg_atomic_exchange_u32(&ocq_database_entered->has_pool_work, 0);
}

bool
ocq_pool_wake_idle(Oid role)
{
	return wake_idle(ocq_database_entered, role);
}

/* ocq_pool_set_short asks one pool worker to give up its slot, or no longer. */
void
ocq_pool_set_short(bool is_short)
{
	pg_atomic_write_u32(&ocq_database_entered->pool_is_short, is_short);
	if (is_short)
		(void) wake_idle(ocq_database_entered, InvalidOid);
}

bool
ocq_pool_take_short(void)
{
	return pg_atomic_read_u32(&ocq_database_entered->pool_is_short) != 0 &&
		pg_atomic_exchange_u32(&ocq_database_entered->pool_is_short, 0) != 0;
}

/* ocq_pool_set_idle returns the mark of before. */
bool
ocq_pool_set_idle(bool is_idle)
{
	return pg_atomic_exchange_u32(&ocq_database_entered_process->is_idle, is_idle) != 0;
}

/* ocq_pool_is_marked_idle returns false once the mark has been taken, and so the worker woken. */
bool
ocq_pool_is_marked_idle(void)
{
	return pg_atomic_read_u32(&ocq_database_entered_process->is_idle) != 0;
}
