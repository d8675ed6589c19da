/*-------------------------------------------------------------------------
 * upkeep.c
 *	  Upkeep of the queue of futures.
 *
 * Each function does a limited part in the caller's transaction, and says whether there
 * is more.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/scope.h"
#include "bus/future.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

/* How long a running future may be without a lock: its process is between two transactions. */
#define ORPHAN_SECONDS 10

/* A future whose process has died so often is to blame for that. */
#define MAX_CRASHES 3

#define BATCH 500

static int	ocq_result_retention;	/* in seconds */

void
ocq_upkeep_define_settings(void)
{
	DefineCustomIntVariable("order_cqrs.result_retention",
							"How long the result of a future is kept.",
							"It counts from when the future was done, failed or cancelled.",
							&ocq_result_retention, 24 * 60 * 60, 1, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
}

/* $1: begun before that; $2: attempts from which on it fails; $3: with that error */
static OcqStatement recover_orphans =
OCQ_STATEMENT("WITH orphans AS MATERIALIZED (SELECT id FROM order_cqrs.bus_future"
			  " WHERE status = 'running' AND started_at < $1 ORDER BY started_at LIMIT 500"
			  " FOR UPDATE SKIP LOCKED)"
			  " UPDATE order_cqrs.bus_future AS f"
			  " SET status = CASE WHEN attempts < $2 THEN 'waiting' ELSE 'failed' END,"
			  " error = CASE WHEN attempts >= $2 THEN $3 END,"
			  " finished_at = CASE WHEN attempts >= $2 THEN clock_timestamp() END"
			  " FROM orphans WHERE f.id = orphans.id RETURNING f.id, f.status = 'waiting', f.session_role",
			  TIMESTAMPTZOID, INT4OID, JSONBOID);

static OcqStatement delete_expired =
OCQ_STATEMENT("WITH expired AS MATERIALIZED (SELECT id FROM order_cqrs.bus_future"
			  " WHERE status IN ('done', 'failed', 'cancelled') AND finished_at < $1"
			  " ORDER BY finished_at LIMIT 500 FOR UPDATE SKIP LOCKED)"
			  " DELETE FROM order_cqrs.bus_future AS f USING expired WHERE f.id = expired.id",
			  TIMESTAMPTZOID);

/* One probe of the index for each lane (claim.c), however many futures it has. */
static OcqStatement select_roles =
OCQ_STATEMENT_NOARGS("WITH RECURSIVE lanes AS ("
					 " (SELECT session_role, role, number FROM order_cqrs.bus_future"
					 " WHERE status = 'waiting' AND retry_at IS NULL ORDER BY session_role, role, number LIMIT 1)"
					 " UNION ALL"
					 " SELECT n.session_role, n.role, n.number FROM lanes AS l, LATERAL"
					 " (SELECT f.session_role, f.role, f.number FROM order_cqrs.bus_future AS f"
					 " WHERE f.status = 'waiting' AND f.retry_at IS NULL AND (f.session_role, f.role) > (l.session_role, l.role)"
					 " ORDER BY f.session_role, f.role, f.number LIMIT 1) AS n)"
					 " SELECT session_role FROM lanes GROUP BY session_role ORDER BY min(number)");

static OcqStatement fail_waiting =
OCQ_STATEMENT("WITH hopeless AS MATERIALIZED (SELECT id FROM order_cqrs.bus_future"
			  " WHERE status = 'waiting' AND retry_at IS NULL AND session_role = $1 ORDER BY role, number LIMIT 500"
			  " FOR UPDATE SKIP LOCKED)"
			  " UPDATE order_cqrs.bus_future AS f SET status = 'failed', error = $2,"
			  " finished_at = clock_timestamp() FROM hopeless WHERE f.id = hopeless.id RETURNING f.id",
			  OIDOID, JSONBOID);

static OcqStatement release_due =
OCQ_STATEMENT_NOARGS("WITH due AS MATERIALIZED (SELECT id FROM order_cqrs.bus_future"
					 " WHERE status = 'waiting' AND retry_at IS NOT NULL AND retry_at <= clock_timestamp()"
					 " ORDER BY retry_at LIMIT 500 FOR UPDATE SKIP LOCKED)"
					 " UPDATE order_cqrs.bus_future AS f SET retry_at = NULL FROM due WHERE f.id = due.id");

static OcqStatement select_next_retry =
OCQ_STATEMENT_NOARGS("SELECT retry_at FROM order_cqrs.bus_future"
					 " WHERE status = 'waiting' AND retry_at IS NOT NULL ORDER BY retry_at LIMIT 1");

static TimestampTz
seconds_ago(int seconds)
{
	return GetCurrentTimestamp() - seconds * USECS_PER_SEC;
}

static Jsonb *
crash_error(void)
{
	ErrorData	error = {
		.sqlerrcode = ERRCODE_CRASH_SHUTDOWN,
		.message = "the process that ran the future has ended",
		.detail = psprintf("That has happened %d times in a row. Nothing of it has taken effect.", MAX_CRASHES),
		.hint = "Look into the server's log, and send it again when the cause is gone."
	};

	return ocq_future_error_make(&error);
}

/*
 * ocq_future_recover puts back the futures whose process has died.  It returns
 * whether there may be more.
 */
bool
ocq_future_recover(void)
{
	Datum		values[] = {
		TimestampTzGetDatum(seconds_ago(ORPHAN_SECONDS)), Int32GetDatum(MAX_CRASHES),
		JsonbPGetDatum(crash_error())
	};
	OcqScope	scope;
	uint64		rows;

	ocq_scope_enter(&scope);
	rows = ocq_statement_run(&recover_orphans, values, NULL);
	for (uint64 row = 0; row < rows; row++)
	{
		if (DatumGetBool(ocq_row_datum(row, 2)))
			ocq_future_was_put_back(DatumGetObjectId(ocq_row_datum(row, 3)));
		else
			ocq_future_was_finished(DatumGetUUIDP(ocq_row_datum(row, 1)));
	}
	ocq_scope_leave(&scope);
	return rows >= BATCH;
}

/*
 * ocq_future_expire deletes futures that have been finished for longer than
 * order_cqrs.result_retention.  It returns whether there may be more.
 */
bool
ocq_future_expire(void)
{
	Datum		values[] = {TimestampTzGetDatum(seconds_ago(ocq_result_retention))};
	OcqScope	scope;
	uint64		rows;

	ocq_scope_enter(&scope);
	rows = ocq_statement_run(&delete_expired, values, NULL);
	ocq_scope_leave(&scope);
	return rows >= BATCH;
}

/*
 * ocq_future_release puts futures that have waited for a lock back into the queue once
 * their time has come.  It returns the milliseconds to the next, or -1 if there is none.
 */
long
ocq_future_release(void)
{
	long		next = -1;
	OcqScope	scope;

	ocq_scope_enter(&scope);
	if (ocq_statement_run(&release_due, NULL, NULL) > 0)
	{
		ocq_future_claim_anew();
		ocq_future_was_sent();
	}
	if (ocq_statement_run_latest(&select_next_retry, NULL, NULL) > 0)
		next = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), DatumGetTimestampTz(ocq_row_datum(0, 1)));
	ocq_scope_leave(&scope);
	return next;
}

static Jsonb *
gone_error(void)
{
	ErrorData	error = {
		.sqlerrcode = OCQ_ERR_FUTURE_SENDER_GONE,
		.message = OCQ_SENDER_GONE_MESSAGE,
		.detail = OCQ_SENDER_GONE_DETAIL,
		.hint = OCQ_SENDER_GONE_HINT
	};

	return ocq_future_error_make(&error);
}

static Jsonb *
login_error(Oid role, const char *problem)
{
	ErrorData	error = {
		.sqlerrcode = ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
		.message = psprintf("role \"%s\" %s", GetUserNameFromId(role, false), problem),
		.detail = "A worker runs a future in a session of the user who has sent it.",
		.hint = "Send it again as a role that can log in."
	};

	return ocq_future_error_make(&error);
}

static bool
exists(Oid role)
{
	return SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role));
}

static bool
has_login(Oid role)
{
	HeapTuple	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
	bool		result = HeapTupleIsValid(tuple) && ((Form_pg_authid) GETSTRUCT(tuple))->rolcanlogin;

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return result;
}

/* ocq_future_can_log_in tells whether a worker can log in as a role, now that it is looked up. */
bool
ocq_future_can_log_in(Oid role)
{
	return has_login(role) && ocq_may_connect(MyDatabaseId, role);
}

/* find_problem returns the error of a future for whose sender no worker can log in, or NULL. */
static Jsonb *
find_problem(Oid role)
{
	if (!exists(role))
		return gone_error();
	if (!has_login(role))
		return login_error(role, "is not permitted to log in");
	return ocq_may_connect(MyDatabaseId, role) ? NULL :
		login_error(role, "may not connect to this database");
}

static void
fail_futures(Oid session_role, Jsonb *error)
{
	Datum		values[] = {ObjectIdGetDatum(session_role), JsonbPGetDatum(error)};
	uint64		rows;

	do
	{
		rows = ocq_statement_run(&fail_waiting, values, NULL);
		ocq_future_waiting_changed(session_role, -(int64) rows);
		for (uint64 row = 0; row < rows; row++)
			ocq_future_was_finished(DatumGetUUIDP(ocq_row_datum(row, 1)));
	} while (rows >= BATCH);
}

/* read_roles returns the session users whose futures are waiting, in the context. */
static List *
read_roles(MemoryContext context)
{
	uint64		rows = ocq_statement_run(&select_roles, NULL, NULL);
	MemoryContext spi = MemoryContextSwitchTo(context);
	List	   *roles = NIL;

	for (uint64 row = 0; row < rows; row++)
		roles = lappend_oid(roles, DatumGetObjectId(ocq_row_datum(row, 1)));
	MemoryContextSwitchTo(spi);
	return roles;
}

/*
 * ocq_future_waiting_roles returns the session users whose futures are waiting, the
 * one with the oldest first.  The futures of users that cannot log in are failed.
 */
List *
ocq_future_waiting_roles(void)
{
	MemoryContext caller = CurrentMemoryContext;
	List	   *result = NIL;
	List	   *roles;
	ListCell   *cell;
	OcqScope	scope;

	ocq_scope_enter(&scope);
	roles = read_roles(caller);
	foreach(cell, roles)
	{
		Jsonb	   *problem = find_problem(lfirst_oid(cell));
		MemoryContext spi;

		if (problem != NULL)
		{
			fail_futures(lfirst_oid(cell), problem);
			continue;
		}
		spi = MemoryContextSwitchTo(caller);
		result = lappend_oid(result, lfirst_oid(cell));
		MemoryContextSwitchTo(spi);
	}
	ocq_scope_leave(&scope);
	return result;
}

/* ocq_future_fail_forsaken fails the futures whose session user has been dropped: no session can run them. */
void
ocq_future_fail_forsaken(void)
{
	List	   *roles;
	ListCell   *cell;
	OcqScope	scope;

	ocq_scope_enter(&scope);
	roles = read_roles(CurrentMemoryContext);
	foreach(cell, roles)
	{
		if (!exists(lfirst_oid(cell)))
			fail_futures(lfirst_oid(cell), gone_error());
	}
	ocq_scope_leave(&scope);
}
