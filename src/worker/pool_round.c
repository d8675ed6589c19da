/*-------------------------------------------------------------------------
 * pool_round.c
 *	  The runner's part for futures: upkeep of the queue, and workers for the roles.
 *
 * A round is due when futures have been sent, a pool worker has ended, or a future that
 * has waited for a lock in vain is to be run again.  Every 5 seconds it also puts back
 * the futures of workers that have died, and deletes old results.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "bus/future.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "store/store.h"
#include "utils/timestamp.h"
#include "worker/worker.h"

/* The pool is looked after no more often than that, however much is sent. */
#define POOL_MS 20

/* Nor for more than a tenth of the time. */
#define POOL_SHARE 10
#define MAX_POOL_MS 1000

/* While the server has no slot for a worker, so often. */
#define SLOT_MS 500

static TimestampTz last_upkeep = 0;
static TimestampTz last_round = 0;
static TimestampTz next_retry = 0;	/* of a future that has waited for a lock; 0: none is known */

/* Of the last round. */
static long pool_ms = POOL_MS;	/* until the next one, if there is something to do */
static int	known_bus_workers = -1; /* the setting */

static bool has_reaped = false; /* a worker has ended since that round */

/* upkeep_is_due leaves a round of upkeep due at once if the last has not done all. */
static bool
upkeep_is_due(TimestampTz now)
{
	return TimestampDifferenceExceeds(last_upkeep, now, OCQ_UPKEEP_MS);
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
 * The futures that it brings are put back, or deleted, when it has ended.
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
	ocq_pool_serve(ocq_future_waiting_roles());
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
	else if (ocq_pool_is_out_of_slots() && !ocq_pool_has_worker())
		state = OCQ_POOL_HAS_NO_SLOT;
	ocq_pool_set_state(state);
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
 * ocq_pool_round_milliseconds returns the time until ocq_pool_round_run has something to
 * do.  It does not go by the latch, which each wait for a lock resets.
 */
long
ocq_pool_round_milliseconds(void)
{
	TimestampTz now = GetCurrentTimestamp();
	long		wait_ms = milliseconds_until(last_upkeep, OCQ_UPKEEP_MS, now);

	has_reaped |= ocq_pool_reap();
	if (has_reaped || ConfigReloadPending || ocq_bus_workers != known_bus_workers)
		return 0;
	if (ocq_pool_has_work())
		wait_ms = Min(wait_ms, milliseconds_until(last_round, pool_ms, now));
	if (ocq_pool_is_out_of_slots())
		wait_ms = Min(wait_ms, milliseconds_until(last_round, SLOT_MS, now));
	if (next_retry != 0)
		wait_ms = Min(wait_ms, Max(TimestampDifferenceMilliseconds(now, next_retry),
								   milliseconds_until(last_round, pool_ms, now)));
	return wait_ms;
}

/* ocq_pool_round_run does nothing if it is not time for a round. */
void
ocq_pool_round_run(void)
{
	TimestampTz now = GetCurrentTimestamp();

	if (ocq_pool_round_milliseconds() > 0)
		return;

	/* A commit that sends from here on tells us again. */
	ocq_pool_take_work();
	has_reaped = false;
	known_bus_workers = ocq_bus_workers;
	last_round = now;
	SetCurrentStatementStartTimestamp();
	run_pool_round(now);
	pool_ms = Min(Max(POOL_MS, POOL_SHARE * TimestampDifferenceMilliseconds(now, GetCurrentTimestamp())),
				  MAX_POOL_MS);
}

/* ocq_pool_round_hasten makes upkeep due at once. */
void
ocq_pool_round_hasten(void)
{
	last_upkeep = 0;
}
