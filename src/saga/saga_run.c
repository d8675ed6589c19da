/*-------------------------------------------------------------------------
 * saga_run.c
 *	  Running the saga: from events and due times to steps.
 *
 * One order is one transaction: the commands of its steps, its record and the
 * checkpoint change together, so that each step takes effect once, whatever
 * crashes.  A step that fails is undone to a savepoint and recorded, and the checkpoint
 * moves on: an order that fails holds up no other.
 *
 * A lock of another transaction (on the order's stream, on rows of the stock) is waited
 * for no longer than 20 ms, and for a second after such a wait no longer than 1 ms.
 * The order's turn comes again, later each time, and it does not count as an attempt.
 * Nor does an error that says nothing about the order, such as that of a full disk.
 *
 * Locks are taken in this order: saga_state, the stream, the locks of the commands.
 * No process that holds a stream waits for saga_state.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/argument.h"
#include "base/attempt.h"
#include "base/errors.h"
#include "base/procedure.h"
#include "base/scope.h"
#include "base/statement.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "saga/saga.h"
#include "storage/latch.h"
#include "store/store.h"
#include "tenant/tenant.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/wait_event.h"

PG_FUNCTION_INFO_V1(ocq_saga_run);
PG_FUNCTION_INFO_V1(ocq_saga_retry);

#define MAX_BACKOFF_MS (5 * 60 * 1000)
#define CHECKPOINT_STRIDE 100

/* How long a patient, and an impatient, process waits for another transaction. */
#define PATIENCE "20ms"
#define IMPATIENCE "1ms"

/* The same for the order's stream: attempts at its lock, and the pause after each. */
#define STREAM_ATTEMPTS 5
#define STREAM_PAUSE_MS 2

/* An order that has lost a race is put off for so long. */
#define BUSY_MS 250
#define MAX_BUSY_MS 5000

bool		ocq_saga_enabled;
int			ocq_payment_timeout;
static int	ocq_saga_max_attempts;
static int	ocq_saga_retry_delay;	/* in milliseconds */

void
ocq_saga_define_settings(void)
{
	DefineCustomIntVariable("order_cqrs.payment_timeout",
							"How long the saga waits for the outcome of a payment.",
							"Then the payment has failed with the reason \"timeout\".",
							&ocq_payment_timeout, 15 * 60, 1, 365 * 86400,
							PGC_SUSET, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomBoolVariable("order_cqrs.saga",
							 "Whether the worker runs the order saga.",
							 "While it is off, orders wait for commands, or for saga_run().",
							 &ocq_saga_enabled, true, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("order_cqrs.saga_max_attempts",
							"Attempts at a step of the saga before the order is compensated.",
							"Lost races for a lock do not count.",
							&ocq_saga_max_attempts, 5, 1, 100, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("order_cqrs.saga_retry_delay",
							"Time until the second attempt at a step of the saga.",
							"It doubles with each attempt, up to five minutes.",
							&ocq_saga_retry_delay, 1000, 1, MAX_BACKOFF_MS,
							PGC_SUSET, GUC_UNIT_MS, NULL, NULL, NULL);
}

static void
look_again_in(OcqSagaRecord *record, int64 milliseconds)
{
	record->has_next = true;
	record->next_attempt_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), milliseconds);
}

static int64
backoff(int32 attempts)
{
	return Min((int64) ocq_saga_retry_delay << Min(attempts - 1, 20), MAX_BACKOFF_MS);
}

static char *
describe(const ErrorData *error)
{
	return psprintf("%s: %s", unpack_sql_state(error->sqlerrcode), error->message);
}

/*
 * note_failure decides how an order whose step has failed goes on: another attempt, then
 * compensation, and if that fails as often, no more by itself.
 */
static void
note_failure(OcqSagaRecord *record, const ErrorData *error)
{
	record->last_error = describe(error);
	record->attempts++;
	if (record->attempts < ocq_saga_max_attempts)
	{
		look_again_in(record, backoff(record->attempts));
		return;
	}

	ereport(WARNING,
			(errcode(OCQ_ERR_SAGA_FAILED),
			 errmsg("saga step %s of order \"%s\" has failed in attempt %d of %d: %s",
					ocq_saga_step_name(record->step), text_to_cstring(record->order.aggregate_id),
					record->attempts, ocq_saga_max_attempts, record->last_error),
			 errdetail("The order belongs to tenant \"%s\".", text_to_cstring(record->order.tenant_id)),
			 record->step == OCQ_SAGA_COMPENSATE ?
			 errhint("Remove the cause, and call saga_retry.") :
			 errhint("The order is cancelled instead.")));
	if (record->step == OCQ_SAGA_COMPENSATE)
	{
		record->step = OCQ_SAGA_FAILED;
		record->has_next = false;
		return;
	}
	record->step = OCQ_SAGA_COMPENSATE;
	record->attempts = 0;
	look_again_in(record, 0);
}

/*
 * note_lost_race puts the order off by twice the time that it was put off before, if
 * it was: a record with an error and no attempts has lost a race.
 */
static void
note_lost_race(OcqSagaRecord *record, const ErrorData *error)
{
	int64		delay = BUSY_MS;

	if (record->attempts == 0 && record->last_error != NULL)
		delay = 2 * TimestampDifferenceMilliseconds(record->updated_at, GetCurrentTimestamp());
	look_again_in(record, Max(BUSY_MS, Min(delay, MAX_BUSY_MS)));
	record->last_error = describe(error);
}

/*
 * note_incomplete is for an order whose events the log does not have, or not all of
 * them: a restore may be under way.  That is no failure of the step, so it does not
 * count as an attempt and never leads to compensation.  The order is looked at again
 * after twice the time that has passed since the last look.  Only the first look in a
 * row warns.
 */
static void
note_incomplete(OcqSagaRecord *record, const ErrorData *error)
{
	char	   *problem = describe(error);
	bool		is_known = record->last_error != NULL && strcmp(record->last_error, problem) == 0;
	int64		waited = is_known ?
		TimestampDifferenceMilliseconds(record->updated_at, GetCurrentTimestamp()) : 0;

	look_again_in(record, Max(ocq_saga_retry_delay, Min(2 * waited, MAX_BACKOFF_MS)));
	record->last_error = problem;
	if (!is_known)
		ereport(WARNING,
				(errcode(OCQ_ERR_INCOMPLETE_STREAM),
				 errmsg("the saga leaves order \"%s\" alone: %s",
						text_to_cstring(record->order.aggregate_id), error->message),
				 errdetail("The order belongs to tenant \"%s\". The saga looks at it again by itself.",
						   text_to_cstring(record->order.tenant_id)),
				 error->hint != NULL ? errhint("%s", error->hint) : 0));
}

/* note_error returns false if the error says nothing about the order, such as a lost race. */
static bool
note_error(OcqSagaRecord *record, const ErrorData *error)
{
	if (ocq_is_lost_race(error->sqlerrcode) || ocq_is_server_trouble(error->sqlerrcode))
	{
		note_lost_race(record, error);
		return false;
	}
	if (error->sqlerrcode == OCQ_ERR_INCOMPLETE_STREAM)
		note_incomplete(record, error);
	else
		note_failure(record, error);
	return true;
}

/*
 * An order's steps: the record is moved on by each, and rest is the work that is left
 * after the last.
 */
typedef struct Steps
{
	OcqSagaRecord *record;
	OcqSagaRecord rest;
} Steps;

static void
advance(void *argument)
{
	Steps	   *steps = argument;

	steps->rest = ocq_saga_advance(steps->record);
}

/*
 * try_advance runs the steps; the record has the outcome.  It returns false if it has
 * lost a race.
 */
static bool
try_advance(OcqSagaRecord *record, bool is_patient)
{
	OcqSagaStep step_before = record->step;
	Steps		steps = {.record = record};
	OcqAttempt	attempt = {.lock_timeout = is_patient ? PATIENCE : IMPATIENCE};

	if (ocq_attempt(&attempt, advance, &steps))
	{
		*record = steps.rest;
		return true;
	}
	if (record->step != step_before)
		record->attempts = 0;
	return note_error(record, attempt.error);
}

/* has_been_seen tells whether another process has looked at the order since the task was found. */
static bool
has_been_seen(const OcqSagaTask *task, const OcqSagaRecord *record)
{
	return task->position == 0 ? !record->is_due :
		record->exists && record->version >= task->version;
}

/* advance_order returns false if it has lost a race. */
static bool
advance_order(const OcqSagaTask *task, bool is_patient)
{
	OcqSagaRecord record = ocq_saga_read(&task->order);
	bool		won;

	if (has_been_seen(task, &record))
		return true;
	won = try_advance(&record, is_patient);
	ocq_saga_write(&record);
	return won;
}

/*
 * lock_stream_soon waits for some milliseconds: the commit that has woken us gives up
 * its locks a moment later.
 */
static bool
lock_stream_soon(const OcqStream *order, bool is_patient)
{
	for (int attempt = 0; attempt < STREAM_ATTEMPTS; attempt++)
	{
		if (ocq_stream_try_lock(order))
			return true;
		if (!is_patient)
			return false;
		(void) WaitLatch(MyLatch, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, STREAM_PAUSE_MS, PG_WAIT_EXTENSION);
		CHECK_FOR_INTERRUPTS();
	}
	return false;
}

/*
 * ocq_saga_take handles one order and leaves it to the caller to commit.  With wait it
 * waits for another process that is in the middle of an order.
 */
OcqSagaResult
ocq_saga_take(const OcqSagaTask *task, bool wait, bool is_patient)
{
	OcqSagaResult result = OCQ_SAGA_TAKEN;
	OcqScope	scope;
	int64		checkpoint;

	ocq_scope_enter(&scope);
	if (!ocq_saga_lock_checkpoint(wait, &checkpoint))
		result = OCQ_SAGA_NOT_OURS;
	else if (task->position == 0 || task->position > checkpoint)
	{
		bool		won = lock_stream_soon(&task->order, is_patient);

		if (!won)				/* another transaction has locked it */
			ocq_saga_set_time(&task->order, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), BUSY_MS));
		else
			won = advance_order(task, is_patient);
		if (!won)
			result = OCQ_SAGA_LOST_RACE;
		if (task->position > 0)
			ocq_saga_set_checkpoint(task->position);
	}
	ocq_scope_leave(&scope);
	return result;
}

static OcqSagaTasks
join(OcqSagaTasks first, OcqSagaTasks second)
{
	for (int i = 0; i < second.count; i++)
		first.tasks[first.count++] = second.tasks[i];
	return first;
}

/* check_checkpoint begins anew if the checkpoint is of another log. */
static int64
check_checkpoint(int64 checkpoint)
{
	int64		log_end;

	if (!ocq_position_is_beyond_log(checkpoint, &log_end))
		return checkpoint;
	ocq_saga_reset_checkpoint(checkpoint, log_end);
	return 0;
}

/*
 * ocq_saga_collect finds tasks, in the context: the orders whose time has come, and those
 * of events from the checkpoint to the horizon.  The caller is in a scope, commits, and
 * then takes them one by one and in this order, up to the first that another process is
 * about to take: all tasks before a checkpoint must be done.
 *
 * It takes no lock, as it has mostly nothing to do.  For the same reason the
 * checkpoint follows the horizon in strides where no event concerns the saga, but not
 * beyond the last event: a restore may set the sequence before the events are there.
 */
OcqSagaTasks
ocq_saga_collect(int64 checkpoint, int64 horizon, MemoryContext context)
{
	static bool dues_come_first = false;
	OcqSagaTasks due = ocq_saga_find_due(context);
	OcqSagaTasks events;

	if (horizon > 0 && checkpoint > horizon)
		checkpoint = check_checkpoint(checkpoint);
	if (checkpoint >= horizon)
		return due;

	events = ocq_saga_find_events(checkpoint, horizon, context);
	if (events.count == 0 && horizon - checkpoint >= CHECKPOINT_STRIDE)
		ocq_saga_follow_log(horizon);

	/* By turns, as a round may end before it has come to the last. */
	dues_come_first = !dues_come_first;
	return dues_come_first ? join(due, events) : join(events, due);
}

static void
refuse_stale_snapshot(void)
{
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(OCQ_ERR_SAGA_ISOLATION),
				 errmsg("the saga can run under READ COMMITTED only"),
				 errdetail("The snapshot of this transaction is older than the horizon, so events would be skipped."),
				 errhint("Run it in a transaction with ISOLATION LEVEL READ COMMITTED.")));
}

/* collect_by_hand waits for the horizon, and until no other process is in the middle of an order. */
static OcqSagaTasks
collect_by_hand(void)
{
	MemoryContext context = CurrentMemoryContext;
	OcqSagaTasks tasks;
	OcqScope	scope;
	int64		horizon;
	int64		checkpoint;

	ocq_scope_enter(&scope);
	horizon = ocq_horizon_wait();
	if (!ocq_saga_lock_checkpoint(true, &checkpoint))
		ocq_saga_report_lost_checkpoint(ERROR);
	tasks = ocq_saga_collect(checkpoint, horizon, context);
	ocq_scope_leave(&scope);
	return tasks;
}

/*
 * saga_run()
 *
 * It ends when no step is due: an order that waits, or whose next attempt is yet to come,
 * is for another call.
 */
Datum
ocq_saga_run(PG_FUNCTION_ARGS)
{
	OcqSagaTasks tasks;

	ocq_procedure_require_writable("saga_run");
	refuse_stale_snapshot();
	ocq_procedure_begin(fcinfo);
	ocq_saga_audit(0);
	ocq_procedure_commit(fcinfo);
	do
	{
		tasks = collect_by_hand();
		ocq_procedure_commit(fcinfo);
		for (int i = 0; i < tasks.count; i++)
		{
			(void) ocq_saga_take(&tasks.tasks[i], true, true);
			ocq_procedure_commit(fcinfo);
		}
	} while (tasks.count > 0);
	SPI_finish();
	PG_RETURN_VOID();
}

/*
 * saga_retry(order_id text, tenant_id text)
 *
 * The saga may wait for the row that this writes, so it is not written in a
 * transaction that could stay open.
 */
Datum
ocq_saga_retry(PG_FUNCTION_ARGS)
{
	OcqStream	order = {.aggregate_id = ocq_argument_id(fcinfo, 0, "order_id")};
	OcqSagaRecord record;
	OcqScope	scope;

	ocq_procedure_require_writable("saga_retry");
	ocq_procedure_require_own_transactions(fcinfo, "saga_retry");
	order.tenant_id = ocq_tenant_resolve(fcinfo, 1);
	order.aggregate_type = cstring_to_text(OCQ_AGGREGATE_ORDER);

	ocq_scope_enter(&scope);
	ocq_stream_lock(&order);
	record = ocq_saga_read(&order);
	if (!record.exists)
		ereport(ERROR,
				(errcode(OCQ_ERR_UNKNOWN_SAGA),
				 errmsg("order \"%s\" has no saga", text_to_cstring(order.aggregate_id)),
				 errdetail("Tenant \"%s\" has no order with this id that the saga has looked at.",
						   text_to_cstring(order.tenant_id)),
				 errhint("Check the id and the tenant, and that the saga runs: see order_cqrs.saga_status.")));
	if (record.step == OCQ_SAGA_COMPENSATE || record.step == OCQ_SAGA_FAILED)
		record.step = OCQ_SAGA_RESERVE_INVENTORY;
	record.attempts = 0;
	look_again_in(&record, 0);
	ocq_saga_write(&record);
	ocq_append_wake_at_commit();
	ocq_scope_leave(&scope);
	PG_RETURN_VOID();
}
