/*-------------------------------------------------------------------------
 * saga_round.c
 *	  The runner's part for the saga: orders of new events, and those whose time has come.
 *
 * It takes orders up to the horizon, one to a transaction.  A round ends after 100 ms, or
 * sooner if the pool has work, and goes on with the next.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/scope.h"
#include "pgstat.h"
#include "projection/projection.h"
#include "saga/saga.h"
#include "store/store.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker/worker.h"

/* The pause before another attempt at the horizon, or at an order that another process takes. */
#define RETRY_MS 100

/* The same while a restore is under way, whose end wakes us, but for the sequence's setting. */
#define RESTORE_RETRY_MS 200

/* After a wait for a lock in vain the saga waits for none for so long. */
#define IMPATIENCE_MS 1000

#define ROUND_MS 100
#define AUDIT_MS 1000
#define WARN_EVERY_MS 60000

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
		ocq_pool_round_hasten();
	return had_to_wait = false;
}

static void
warn_of_checkpoint(void)
{
	static TimestampTz last_warned = 0;

	if (!TimestampDifferenceExceeds(last_warned, GetCurrentTimestamp(), WARN_EVERY_MS))
		return;
	last_warned = GetCurrentTimestamp();
	ocq_saga_report_lost_checkpoint(WARNING);
}

/* collect_tasks finds the orders that the saga has to look at, in memory that outlives the transaction. */
static OcqSagaTasks
collect_tasks(MemoryContext context, long *wait_ms)
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
			*wait_ms = Min(*wait_ms, RETRY_MS);
		}
		if (ocq_saga_checkpoint(&checkpoint))
			tasks = ocq_saga_collect(checkpoint, horizon, context);
		else
			warn_of_checkpoint();
		next = ocq_saga_milliseconds_to_next();
		if (next >= 0)
			*wait_ms = Min(*wait_ms, Max(next, 1));
		ocq_scope_leave(&scope);

		/* A restore may have committed a part of its rows since the first look. */
		if (tasks.count > 0 && ocq_restore_is_under_way())
			tasks.count = 0;
	}
	ocq_process_commit();
	return tasks;
}

static bool
is_needed_elsewhere(TimestampTz round_started)
{
	return ocq_pool_has_work() ||
		TimestampDifferenceExceeds(round_started, GetCurrentTimestamp(), ROUND_MS);
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
 * ocq_saga_round_run lowers wait_ms to the time until it is to be called again, and
 * returns whether that is at once.  Orders that it does not come to are found again by
 * the next round.
 */
bool
ocq_saga_round_run(long *wait_ms)
{
	static MemoryContext context = NULL;
	static TimestampTz impatient_until = 0;
	TimestampTz started = GetCurrentTimestamp();
	OcqSagaTasks tasks;
	OcqSagaResult result = OCQ_SAGA_TAKEN;

	if (!ocq_saga_enabled)
		return false;
	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "order_cqrs saga", ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(context);
	tasks = collect_tasks(context, wait_ms);
	for (int i = 0; i < tasks.count && result != OCQ_SAGA_NOT_OURS; i++)
	{
		result = take(&tasks.tasks[i], impatient_until < GetCurrentTimestamp());
		if (result == OCQ_SAGA_LOST_RACE)
			impatient_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), IMPATIENCE_MS);
		if (is_needed_elsewhere(started))
			break;
	}
	if (result == OCQ_SAGA_NOT_OURS)
		*wait_ms = Min(*wait_ms, RETRY_MS);
	audit_saga(wait_ms);
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
	return tasks.count > 0 && result != OCQ_SAGA_NOT_OURS;
}
