/*-------------------------------------------------------------------------
 * future.c
 *	  Sending, reading and cancelling futures.
 *
 * A future is a row of bus_future.  It goes from waiting to running to done or
 * failed (future_run.c), or from waiting to cancelled.  Its sender, roles with the sender's
 * privileges and the owner see it; to others it does not exist.  The sender is kept by
 * OID (base/role_ref.c), with the sender's settings for times and order_cqrs.actor.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "base/attempt.h"
#include "base/catalog.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/procedure.h"
#include "base/scope.h"
#include "bus/future.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/procarray.h"
#include "store/store.h"
#include "tenant/tenant.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(ocq_future_get);
PG_FUNCTION_INFO_V1(ocq_future_status);
PG_FUNCTION_INFO_V1(ocq_future_cancel);

static const OcqColumn columns[] = {OCQ_FUTURE_COLUMNS};
static const OcqTable bus_future = OCQ_TABLE("bus_future", columns);

static OcqStatement insert_future =
OCQ_ROW_STATEMENT(&bus_future, "INSERT INTO {table} ({columns}) VALUES ({values})");

/* A look at a future. */
typedef struct FutureState
{
	char	   *status;
	Oid			role;
	Jsonb	   *result;			/* NULL unless done, and if the handler returned NULL */
	Jsonb	   *error;			/* NULL unless failed */
	TransactionId sender;		/* as long as it waits */
	TransactionId locker;		/* the transaction that runs it, unless it has ended */
} FutureState;

#define STATE(field) OCQ_FIELD(0, FutureState, field)

static const OcqColumn state_columns[] = {
	{"status", CSTRINGOID, STATE(status)},
	{"role", OIDOID, STATE(role)},
	{"result", JSONBOID, STATE(result)},
	{"error", JSONBOID, STATE(error)},
	{"xmin", XIDOID, STATE(sender)},
	{"xmax", XIDOID, STATE(locker)},
};

static const OcqTable states = OCQ_TABLE("bus_future", state_columns);

static OcqStatement select_future =
OCQ_TABLE_STATEMENT(&states, "SELECT {columns} FROM {table} WHERE id = $1", UUIDOID);

static OcqStatement cancel_future =
OCQ_STATEMENT("UPDATE order_cqrs.bus_future SET status = 'cancelled', finished_at = clock_timestamp()"
			  " WHERE id = $1 AND status = 'waiting' RETURNING session_role", UUIDOID);

static char *
uuid_string(const pg_uuid_t *id)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id)));
}

/*
 * Sending.
 */

/*
 * A worker logs in as the session user.  A role that the session user cannot become, such
 * as the owner of a SECURITY DEFINER function that sends, the worker cannot become either.
 */
static void
check_role(Oid session_user, Oid role)
{
	if (!ocq_may_set_role(session_user, role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("cannot send a future as role \"%s\"", GetUserNameFromId(role, false)),
				 errdetail("A worker would run it in a session of \"%s\", who may not SET ROLE to that role.",
						   GetUserNameFromId(session_user, false)),
				 errhint("Send it outside of SECURITY DEFINER functions, or grant the role.")));
}

static void
insert(const OcqFuture *future)
{
	OcqParameters parameters;
	OcqScope	scope;

	ocq_scope_enter(&scope);
	ocq_capacity_check(future->session_role);
	ocq_table_parameters(&bus_future, OCQ_SOURCES(future), &parameters);
	(void) ocq_restore_run_own(&insert_future, parameters.values, parameters.nulls);
	ocq_future_waiting_changed(future->session_role, 1);
	ocq_scope_leave(&scope);
}

/* check_payload bounds the rows of the queue, as the events that come of them are bounded. */
static void
check_payload(const OcqMessage *message)
{
	Size		size = VARSIZE(message->payload);

	if (size > (Size) ocq_max_event_size * 1024)
		ereport(ERROR,
				(errcode(OCQ_ERR_EVENT_TOO_LARGE),
				 errmsg("the payload of %s \"%s\" is too large", ocq_bus_kind_name(message->kind),
						text_to_cstring(message->type)),
				 errdetail("The size is %zu kB, and order_cqrs.max_event_size is %d kB.", (size + 1023) / 1024,
						   ocq_max_event_size),
				 errhint("Keep what is large elsewhere, and its key in the payload.")));
}

static Datum
send_async(OcqBusKind kind, FunctionCallInfo fcinfo)
{
	const char *actor;
	OcqFuture	future = {
		.id = DatumGetUUIDP(DirectFunctionCall1(gen_random_uuid, (Datum) 0)),
		.kind = ocq_bus_kind_name(kind),
		.message = ocq_bus_message(kind, fcinfo),
		.session_role = GetSessionUserId(),
		.role = GetUserId(),
		.time_zone = GetConfigOption("TimeZone", false, false),
		.date_style = GetConfigOption("DateStyle", false, false),
		.interval_style = GetConfigOption("IntervalStyle", false, false)
	};

	ocq_procedure_require_writable(kind == OCQ_BUS_COMMAND ? "command_send_async" : "query_send_async");
	check_role(future.session_role, future.role);
	ocq_bus_check(&future.message);
	check_payload(&future.message);

	/* By the future's id a handler can tell that it has seen the command. */
	if (kind == OCQ_BUS_COMMAND && future.message.id == NULL)
		future.message.id = future.id;
	future.message.tenant_id = ocq_tenant_of(future.message.tenant_id);
	actor = ocq_actor_verified();
	future.actor = actor[0] == '\0' ? NULL : actor;
	insert(&future);
	ocq_future_was_sent();
	PG_RETURN_UUID_P(future.id);
}

/*
 * command_send_async(command_type text, payload jsonb, command_id uuid, tenant_id text)
 * query_send_async(query_type text, payload jsonb, tenant_id text)
 */
OCQ_BUS_FUNCTIONS(send_async, send_async);

/*
 * Reading.
 */

static const pg_uuid_t *
id_argument(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(OCQ_ERR_INVALID_ARGUMENT),
				 errmsg("id must not be null"),
				 errdetail("It is the id of a future."),
				 errhint("Pass what command_send_async or query_send_async has returned.")));
	return PG_GETARG_UUID_P(0);
}

static bool
may_see(Oid user, Oid role)
{
	return (OidIsValid(role) && has_privs_of_role(user, role)) ||
		has_privs_of_role(user, ocq_catalog_owner());
}

/* read_row copies into the caller's memory; it returns false if the user may not see the row. */
static bool
read_row(Oid user, MemoryContext caller, FutureState *state)
{
	MemoryContext spi = MemoryContextSwitchTo(caller);

	ocq_table_read(&states, 0, state);
	MemoryContextSwitchTo(spi);
	return may_see(user, state->role);
}

/* read_future sees all commits up to now, at every isolation level. */
static FutureState
read_future(const pg_uuid_t *id)
{
	MemoryContext caller = CurrentMemoryContext;
	Oid			user = GetUserId();
	Datum		values[] = {UUIDPGetDatum(id)};
	FutureState state;
	OcqScope	scope;

	ocq_scope_enter(&scope);
	if (ocq_statement_run_latest(&select_future, values, NULL) == 0 || !read_row(user, caller, &state))
		ereport(ERROR,
				(errcode(OCQ_ERR_FUTURE_NOT_FOUND),
				 errmsg("future %s does not exist", uuid_string(id)),
				 errdetail("It was never sent, was sent by another role, or has been deleted after order_cqrs.result_retention."),
				 errhint("Pass the id that command_send_async or query_send_async has returned, in the same database and role.")));
	ocq_scope_leave(&scope);
	return state;
}

static bool
is_waiting(const FutureState *state)
{
	return strcmp(state->status, "waiting") == 0;
}

static bool
is_running(const FutureState *state)
{
	return strcmp(state->status, "running") == 0;
}

static bool
is_finished(const FutureState *state)
{
	return !is_waiting(state) && !is_running(state);
}

/* future_status(id uuid) */
Datum
ocq_future_status(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(read_future(id_argument(fcinfo)).status));
}

/*
 * Waiting.
 */

/* timeout_argument returns milliseconds, or -1 for no limit. */
static double
timeout_argument(FunctionCallInfo fcinfo)
{
	Interval   *timeout;
	double		milliseconds;

	if (PG_ARGISNULL(1))
		return -1;
	timeout = PG_GETARG_INTERVAL_P(1);
	milliseconds = timeout->time / 1000.0 +
		((double) timeout->month * DAYS_PER_MONTH + timeout->day) * SECS_PER_DAY * 1000.0;
	if (milliseconds < 0)
		ereport(ERROR,
				(errcode(OCQ_ERR_INVALID_ARGUMENT),
				 errmsg("timeout must not be negative"),
				 errdetail("It is the longest time to wait for the future."),
				 errhint("Pass for example '5 s', '0' not to wait, or NULL for no limit.")));
	return milliseconds;
}

static void
check_can_wait(const pg_uuid_t *id, const FutureState *state)
{
	if (is_waiting(state) && TransactionIdIsCurrentTransactionId(state->sender))
		ereport(ERROR,
				(errcode(OCQ_ERR_CANNOT_WAIT),
				 errmsg("cannot wait for future %s: its sending has not been committed", uuid_string(id)),
				 errdetail("No worker sees it before this transaction ends."),
				 errhint("Commit first, then call future_get.")));
	if (!ocq_future_can_sleep())
		ereport(ERROR,
				(errcode(OCQ_ERR_CANNOT_WAIT),
				 errmsg("cannot wait for future %s: its status is %s", uuid_string(id), state->status),
				 errdetail("Workers run on a primary with order_cqrs in shared_preload_libraries."),
				 errhint("Run it with CALL future_run(), or call future_get again when future_status says that it is finished.")));
}

/* find_obstacle returns the reason that no process runs the future now, or NULL. */
static const OcqObstacle *
find_obstacle(const FutureState *state)
{
	if (ocq_future_obstacle_hook == NULL ||
		(is_running(state) && TransactionIdIsInProgress(state->locker)))
		return NULL;
	return ocq_future_obstacle_hook();
}

pg_noreturn static void
report_timeout(const pg_uuid_t *id, const FutureState *state)
{
	const OcqObstacle *obstacle = find_obstacle(state);

	ereport(ERROR,
			(errcode(OCQ_ERR_FUTURE_TIMED_OUT),
			 errmsg("future %s is not finished yet", uuid_string(id)),
			 obstacle == NULL ? errdetail("Its status is %s.", state->status) :
			 errdetail("Its status is %s. %s", state->status, obstacle->detail),
			 obstacle == NULL ? errhint("Call future_get again, with a longer timeout, or future_cancel.") :
			 errhint("%s", obstacle->hint)));
}

/*
 * A session may be about to call future_run, a slot may become free, and processes that
 * have crashed are started anew after 2 seconds.  So an obstacle is an error only when it
 * has been there for so long.
 */
#define OBSTACLE_MS 10000

typedef struct Patience
{
	const OcqObstacle *obstacle;	/* seen at every look since then */
	TimestampTz since;
} Patience;

static void
check_obstacle(const pg_uuid_t *id, const FutureState *state, Patience *patience)
{
	const OcqObstacle *obstacle = find_obstacle(state);

	if (obstacle == NULL || obstacle != patience->obstacle)
		*patience = (Patience) {obstacle, GetCurrentTimestamp()};
	else if (TimestampDifferenceExceeds(patience->since, GetCurrentTimestamp(), OBSTACLE_MS))
		ereport(ERROR,
				(errcode(OCQ_ERR_CANNOT_WAIT),
				 errmsg("cannot wait for future %s: its status is %s", uuid_string(id), state->status),
				 errdetail("%s", obstacle->detail),
				 errhint("%s", obstacle->hint)));
}

/* sleep_milliseconds ends in time for a look at obstacles; it returns 0 when the timeout is over. */
static long
sleep_milliseconds(double timeout, TimestampTz start)
{
	double		remaining = timeout - (GetCurrentTimestamp() - start) / 1000.0;

	if (timeout < 0)
		return OBSTACLE_MS;
	return (long) Max(0, Min(remaining + 1, OBSTACLE_MS));
}

/* A look at a future. */
typedef struct Look
{
	const pg_uuid_t *id;
	FutureState state;
} Look;

static void
read_look(void *argument)
{
	Look	   *look = argument;

	look->state = read_future(look->id);
}

/*
 * look keeps no lock on the table, which would be in the way of ALTER TABLE or DROP
 * EXTENSION for as long as the caller waits.
 */
static FutureState
look(const pg_uuid_t *id)
{
	Look		result = {.id = id};
	OcqAttempt	attempt = {.keeps_nothing = true};

	if (!ocq_attempt(&attempt, read_look, &result))
		ReThrowError(attempt.error);
	return result.state;
}

/* wait_for returns the finished future's state, in the caller's memory. */
static FutureState
wait_for(const pg_uuid_t *id, double timeout)
{
	TimestampTz start = GetCurrentTimestamp();
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "order_cqrs future",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	Patience	patience = {0};
	FutureState state;

	for (;;)
	{
		long		milliseconds = sleep_milliseconds(timeout, start);
		uint64		generation = ocq_future_generation(id);

		MemoryContextReset(context);
		state = look(id);
		if (is_finished(&state))
			break;
		check_can_wait(id, &state);
		if (milliseconds == 0)
			report_timeout(id, &state);
		check_obstacle(id, &state, &patience);
		ocq_future_sleep(id, generation, milliseconds);
	}
	ocq_future_end_sleep();
	MemoryContextSwitchTo(caller);
	return state;
}

/*
 * future_get(id uuid, timeout interval)
 *
 * The handler's error is raised again; so a future that was cancelled is an error, too.
 */
Datum
ocq_future_get(PG_FUNCTION_ARGS)
{
	const pg_uuid_t *id = id_argument(fcinfo);
	FutureState state = wait_for(id, timeout_argument(fcinfo));

	if (state.error != NULL)
		ocq_future_error_raise(state.error);
	if (strcmp(state.status, "cancelled") == 0)
		ereport(ERROR,
				(errcode(OCQ_ERR_FUTURE_CANCELLED),
				 errmsg("future %s was cancelled", uuid_string(id)),
				 errdetail("It was not run and has had no effect."),
				 errhint("Send it again if it is wanted after all.")));
	if (state.result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(state.result);
}

/*
 * future_cancel(id uuid)
 *
 * A running future is left alone, as it may have committed already.
 */
Datum
ocq_future_cancel(PG_FUNCTION_ARGS)
{
	const pg_uuid_t *id = id_argument(fcinfo);
	Datum		values[] = {UUIDPGetDatum(id)};
	Oid			session_role = InvalidOid;
	bool		cancelled;
	OcqScope	scope;

	ocq_procedure_require_writable("future_cancel");
	(void) read_future(id);
	ocq_scope_enter(&scope);
	cancelled = ocq_statement_run(&cancel_future, values, NULL) > 0;
	if (cancelled)
		session_role = DatumGetObjectId(ocq_row_datum(0, 1));
	ocq_scope_leave(&scope);
	if (cancelled)
	{
		ocq_future_waiting_changed(session_role, -1);
		ocq_future_was_finished(id);
	}
	PG_RETURN_BOOL(cancelled);
}
