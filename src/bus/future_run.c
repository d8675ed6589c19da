/*-------------------------------------------------------------------------
 * future_run.c
 *	  Running futures that claim.c has chosen.
 *
 * Two transactions run a future.  The first claims it: it counts the attempt and
 * makes the status running, so that a crash can be told from never having begun.
 * The second locks the row and keeps it locked while the handler runs, in a
 * subtransaction, and records the outcome.  So the effects of the handler and the
 * status are committed together, or not at all.
 *
 * A row that is running and not locked has lost its process, or that is between
 * the two transactions; upkeep.c gives it a while, and then puts it back.  Should
 * it do so too early, the second transaction finds other attempts than its own
 * and does nothing.
 *
 * In a worker a handler waits for each lock no longer than order_cqrs.bus_lock_timeout.
 * Then the future goes back to the queue, for some seconds at first and for a minute at
 * last, so that a transaction which keeps a lock for long does not keep the workers, too.
 * A handler that sets lock_timeout itself has its own limit, and its own error.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/attempt.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/procedure.h"
#include "base/scope.h"
#include "bus/future.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(ocq_future_run);

/* A future that has lost a race is run again, up to so many attempts. */
#define MAX_ATTEMPTS 5

/* A future that waits for a lock has its next attempt after so many seconds at most, so many times. */
#define MAX_DELAY_SECONDS 60
#define MAX_LOCK_TIMEOUTS 60

static int	ocq_bus_lock_timeout;	/* in milliseconds; 0: none */

void
ocq_future_define_settings(void)
{
	DefineCustomIntVariable("order_cqrs.bus_lock_timeout",
							"How long a future waits for a lock before it goes back to the queue.",
							"It is in force for the workers that run futures; with 0 they wait without limit.",
							&ocq_bus_lock_timeout, 5000, 0, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
}

/*
 * It waits: another claim that saw the row as waiting, and found it changed when it
 * came to lock it, has locked it all the same until it commits.
 */
static OcqStatement lock_claimed =
OCQ_STATEMENT("SELECT FROM order_cqrs.bus_future"
			  " WHERE id = $1 AND status = 'running' AND attempts = $2 FOR UPDATE",
			  UUIDOID, INT4OID);

static OcqStatement update_claimed =
OCQ_STATEMENT("UPDATE order_cqrs.bus_future SET status = $2, result = $3, error = $4,"
			  " finished_at = CASE WHEN $2 <> 'waiting' THEN clock_timestamp() END WHERE id = $1",
			  UUIDOID, TEXTOID, JSONBOID, JSONBOID);

/* A wait for a lock is no attempt: those are counted to tell crashes and lost races. */
static OcqStatement put_off_claimed =
OCQ_STATEMENT("UPDATE order_cqrs.bus_future SET status = 'waiting', attempts = attempts - 1,"
			  " lock_timeouts = lock_timeouts + 1, retry_at = clock_timestamp() + make_interval(secs => $2)"
			  " WHERE id = $1",
			  UUIDOID, FLOAT8OID);

static bool
lock_row(const OcqFuture *future)
{
	Datum		values[] = {UUIDPGetDatum(future->id), Int32GetDatum(future->attempts)};
	bool		locked;
	OcqScope	scope;

	ocq_scope_enter(&scope);
	locked = ocq_statement_run(&lock_claimed, values, NULL) > 0;
	ocq_scope_leave(&scope);
	return locked;
}

/* finish records the outcome; a future that is to have another attempt goes back to waiting. */
static void
finish(const OcqFuture *future, const char *status, Jsonb *result, Jsonb *error)
{
	Datum		values[] = {
		UUIDPGetDatum(future->id), CStringGetTextDatum(status), JsonbPGetDatum(result), JsonbPGetDatum(error)
	};
	char		nulls[] = {' ', ' ', result == NULL ? 'n' : ' ', error == NULL ? 'n' : ' ', '\0'};
	OcqScope	scope;

	ocq_scope_enter(&scope);
	(void) ocq_statement_run(&update_claimed, values, nulls);
	ocq_scope_leave(&scope);
	if (strcmp(status, "waiting") == 0)
		ocq_future_was_put_back(future->session_role);
	else
		ocq_future_was_finished(future->id);
}

/* put_off leaves the future to a later attempt. */
static void
put_off(const OcqFuture *future)
{
	int			delay = future->lock_timeouts > 5 ? MAX_DELAY_SECONDS : 1 << future->lock_timeouts;
	Datum		values[] = {UUIDPGetDatum(future->id), Float8GetDatum(delay)};
	OcqScope	scope;

	ocq_scope_enter(&scope);
	(void) ocq_statement_run(&put_off_claimed, values, NULL);
	ocq_scope_leave(&scope);
	ocq_future_waiting_changed(future->session_role, 1);
}

/* take_role becomes the role by its name, and makes sure that no other role was given that. */
static void
take_role(Oid role)
{
	char	   *name;

	if (role == GetUserId())
		return;
	name = GetUserNameFromId(role, true);
	if (name == NULL)
		ereport(ERROR,
				(errcode(OCQ_ERR_FUTURE_SENDER_GONE),
				 errmsg("%s", OCQ_SENDER_GONE_MESSAGE),
				 errdetail("%s", OCQ_SENDER_GONE_DETAIL),
				 errhint("%s", OCQ_SENDER_GONE_HINT)));
	ocq_scope_set("role", name);
	if (GetUserId() != role)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("role \"%s\" has just been renamed", name),
				 errdetail("The future is run as the role that has sent it, whatever its name."),
				 errhint("It is run again by itself.")));
}

/* In a worker there is no client's statement that statement_timeout would be in force for. */
static void
start_statement_timeout(void)
{
	if (MyBackendType == B_BG_WORKER && StatementTimeout > 0)
		enable_timeout_after(STATEMENT_TIMEOUT, StatementTimeout);
}

static void
stop_statement_timeout(void)
{
	if (MyBackendType != B_BG_WORKER)
		return;
	disable_timeout(STATEMENT_TIMEOUT, false);
	QueryCancelPending = false;
}

/* A handler's run. */
typedef struct Run
{
	const OcqFuture *future;
	Jsonb	   *result;			/* NULL if it returned NULL */
} Run;

/* handle runs the handler as the sender's role, with the sender's settings. */
static void
handle(void *argument)
{
	Run		   *run = argument;
	const OcqFuture *future = run->future;

	start_statement_timeout();
	PG_TRY();
	{
		take_role(future->role);
		ocq_scope_set("order_cqrs.actor", future->actor == NULL ? "" : future->actor);
		ocq_scope_set("TimeZone", future->time_zone);
		ocq_scope_set("DateStyle", future->date_style);
		ocq_scope_set("IntervalStyle", future->interval_style);
		run->result = ocq_bus_send(&future->message);
		ocq_check_deferred_constraints();	/* they may not fail our commit */
	}
	PG_FINALLY();
	{
		stop_statement_timeout();
	}
	PG_END_TRY();
}

/* lock_limit returns order_cqrs.bus_lock_timeout, or NULL if the user's own lock_timeout is shorter. */
static char *
lock_limit(void)
{
	return MyBackendType == B_BG_WORKER && ocq_bus_lock_timeout > 0 &&
		(LockTimeout == 0 || LockTimeout > ocq_bus_lock_timeout) ? psprintf("%d", ocq_bus_lock_timeout) : NULL;
}

/* conclude writes down the error of a future, or has it run again. */
static void
conclude(const OcqFuture *future, const OcqAttempt *attempt)
{
	bool		is_lock = attempt->error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE;

	if (attempt->lost_race && is_lock && future->lock_timeouts < MAX_LOCK_TIMEOUTS)
		put_off(future);
	else if (attempt->lost_race && !is_lock && future->attempts < MAX_ATTEMPTS)
		finish(future, "waiting", NULL, NULL);
	else
		finish(future, "failed", NULL, ocq_future_error_make(attempt->error));
}

/*
 * ocq_future_perform runs a claimed future, in the transaction after the one that
 * claimed it, and leaves it to the caller to commit.
 */
void
ocq_future_perform(const OcqFuture *future)
{
	Run			run = {.future = future};
	OcqAttempt	attempt = {.lock_timeout = lock_limit(), .runs_handler = true};

	if (!lock_row(future))
		return;
	if (ocq_attempt(&attempt, handle, &run))
		finish(future, "done", run.result, NULL);
	else
		conclude(future, &attempt);
}

/*
 * ocq_future_failed_to_commit writes down the error of a transaction that performed a
 * future and could not commit, such as that of a cursor WITH HOLD.
 */
void
ocq_future_failed_to_commit(const OcqFuture *future, ErrorData *error)
{
	/* The limit of the attempt is over by then: an error of a lock is the handler's own. */
	bool		lost_race = ocq_is_lost_race(error->sqlerrcode) && error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE;
	OcqAttempt	attempt = {.error = error, .lost_race = lost_race};

	if (lock_row(future))
		conclude(future, &attempt);
}

/*
 * By hand.
 */

static int32
count_argument(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		return PG_INT32_MAX;
	if (PG_GETARG_INT32(0) < 1)
		ereport(ERROR,
				(errcode(OCQ_ERR_INVALID_ARGUMENT),
				 errmsg("max_count must be at least 1"),
				 errdetail("It is %d.", PG_GETARG_INT32(0)),
				 errhint("Pass a greater number, or NULL for all.")));
	return PG_GETARG_INT32(0);
}

/* run_one returns false if none is waiting. */
static bool
run_one(void)
{
	OcqFuture	future;

	/* The handler before may have set default_transaction_read_only. */
	ocq_procedure_require_writable("future_run");
	if (!ocq_future_claim(GetSessionUserId(), GetUserId(), &future))
		return false;
	SPI_commit();
	CHECK_FOR_INTERRUPTS();
	ocq_future_perform(&future);
	SPI_commit();
	return true;
}

/*
 * future_run(max_count int)
 *
 * Futures that were sent by the same session user in the same role.  As there may be no
 * runner, the procedure does some of the runner's work, too.
 */
Datum
ocq_future_run(PG_FUNCTION_ARGS)
{
	int32		max_count = count_argument(fcinfo);
	MemoryContext context;
	bool		more = true;

	ocq_procedure_require_writable("future_run");
	ocq_procedure_require_own_transactions(fcinfo, "future_run");
	ocq_procedure_begin(fcinfo);
	context = AllocSetContextCreate(CurrentMemoryContext, "order_cqrs future_run", ALLOCSET_DEFAULT_SIZES);
	ocq_future_claim_anew();
	(void) ocq_future_recover();
	(void) ocq_future_expire();
	(void) ocq_future_release();
	ocq_future_fail_forsaken();
	SPI_commit();
	for (int32 count = 0; count < max_count && more; count++)
	{
		MemoryContext spi = MemoryContextSwitchTo(context);

		more = run_one();
		MemoryContextSwitchTo(spi);
		MemoryContextReset(context);
	}
	SPI_finish();
	PG_RETURN_VOID();
}
