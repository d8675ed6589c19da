/*-------------------------------------------------------------------------
 * upkeep.c
 *	  What the queue of futures needs besides being run.
 *
 * Each of these does a limited part in the caller's transaction, and says whether
 * there is more.
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
#include "utils/syscache.h"
#include "utils/timestamp.h"

/* How long a running future may be without a lock: its process is between two transactions. */
#define ORPHAN_SECONDS 10

/* A future whose process has died so often is to blame for that. */
#define MAX_CRASHES 3

#define BATCH 500

/* $1: begun before that; $2: attempts from which on it fails; $3: with that error */
static OcqStatement recover_orphans =
OCQ_STATEMENT("WITH orphans AS MATERIALIZED (SELECT id FROM order_cqrs.bus_future"
			  " WHERE status = 'running' AND started_at < $1 ORDER BY started_at LIMIT 500"
			  " FOR UPDATE SKIP LOCKED)"
			  " UPDATE order_cqrs.bus_future AS f"
			  " SET status = CASE WHEN attempts < $2 THEN 'waiting' ELSE 'failed' END,"
			  " error = CASE WHEN attempts >= $2 THEN $3 END,"
			  " finished_at = CASE WHEN attempts >= $2 THEN clock_timestamp() END"
			  " FROM orphans WHERE f.id = orphans.id RETURNING f.id, f.status = 'waiting'",
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
					 " (SELECT session_role, role, number FROM order_cqrs.bus_future WHERE status = 'waiting'"
					 " ORDER BY session_role, role, number LIMIT 1)"
					 " UNION ALL"
					 " SELECT n.session_role, n.role, n.number FROM lanes AS l, LATERAL"
					 " (SELECT f.session_role, f.role, f.number FROM order_cqrs.bus_future AS f"
					 " WHERE f.status = 'waiting' AND (f.session_role, f.role) > (l.session_role, l.role)"
					 " ORDER BY f.session_role, f.role, f.number LIMIT 1) AS n)"
					 " SELECT session_role FROM lanes GROUP BY session_role ORDER BY min(number)");

static OcqStatement fail_waiting =
OCQ_STATEMENT("WITH hopeless AS MATERIALIZED (SELECT id FROM order_cqrs.bus_future"
			  " WHERE status = 'waiting' AND session_role = $1 ORDER BY role, number LIMIT 500"
			  " FOR UPDATE SKIP LOCKED)"
			  " UPDATE order_cqrs.bus_future AS f SET status = 'failed', error = $2,"
			  " finished_at = clock_timestamp() FROM hopeless WHERE f.id = hopeless.id RETURNING f.id",
			  TEXTOID, JSONBOID);

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
			ocq_future_was_put_back();
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

/* find_problem returns why no worker can log in as a role, or NULL and the role. */
static const char *
find_problem(const char *name, Oid *role)
{
	HeapTuple	tuple = SearchSysCache1(AUTHNAME, CStringGetDatum(name));
	bool		can_login;

	if (!HeapTupleIsValid(tuple))
		return "does not exist any more";
	*role = ((Form_pg_authid) GETSTRUCT(tuple))->oid;
	can_login = ((Form_pg_authid) GETSTRUCT(tuple))->rolcanlogin;
	ReleaseSysCache(tuple);
	if (!can_login)
		return "is not permitted to log in";
	return ocq_may_connect(MyDatabaseId, *role) ? NULL : "may not connect to this database";
}

static void
fail_futures(const char *role, const char *problem)
{
	ErrorData	error = {
		.sqlerrcode = ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
		.message = psprintf("role \"%s\" %s", role, problem),
		.detail = "A worker runs a future in a session of the user who has sent it.",
		.hint = "Send it again as a role that can log in."
	};
	Datum		values[] = {CStringGetTextDatum(role), JsonbPGetDatum(ocq_future_error_make(&error))};
	uint64		rows = ocq_statement_run(&fail_waiting, values, NULL);

	ocq_future_waiting_changed(-(int64) rows);
	for (uint64 row = 0; row < rows; row++)
		ocq_future_was_finished(DatumGetUUIDP(ocq_row_datum(row, 1)));
}

static List *
read_names(MemoryContext context)
{
	uint64		rows = ocq_statement_run(&select_roles, NULL, NULL);
	MemoryContext spi = MemoryContextSwitchTo(context);
	List	   *names = NIL;

	for (uint64 row = 0; row < rows; row++)
		names = lappend(names, TextDatumGetCString(ocq_row_datum(row, 1)));
	MemoryContextSwitchTo(spi);
	return names;
}

/*
 * ocq_future_waiting_roles returns the session users whose futures are waiting, the
 * one with the oldest first.  The futures of those that nobody can log in as are
 * failed.
 */
List *
ocq_future_waiting_roles(void)
{
	MemoryContext caller = CurrentMemoryContext;
	List	   *roles = NIL;
	List	   *names;
	ListCell   *cell;
	OcqScope	scope;

	ocq_scope_enter(&scope);
	names = read_names(caller);
	foreach(cell, names)
	{
		Oid			role;
		const char *problem = find_problem(lfirst(cell), &role);
		MemoryContext spi;

		if (problem != NULL)
		{
			fail_futures(lfirst(cell), problem);
			continue;
		}
		spi = MemoryContextSwitchTo(caller);
		roles = lappend_oid(roles, role);
		MemoryContextSwitchTo(spi);
	}
	ocq_scope_leave(&scope);
	return roles;
}
