/*-------------------------------------------------------------------------
 * claim.c
 *	  The choice of the future that is run next.
 *
 * A lane holds the futures that one session user has sent in one role.  Within a
 * lane the oldest goes first; the lanes of a session user take turns, so that a
 * role with many futures does not hold up the others.  A lane is a range of the
 * index of waiting futures, and its next future is one probe of the index.
 *
 * The entries of futures that were claimed stay at the front of that range until
 * they are vacuumed.  So a session remembers, for each lane, the number up to
 * which it has claimed, and goes on from there.  That is no more than a hint: a
 * future may come to wait behind it, because its sender drew a number early and
 * committed late, because the race was lost, or because a cancellation was rolled
 * back.  Therefore a session looks from the beginning before it says that nothing
 * is waiting, and every 100 ms besides; less often if that look takes long, so that
 * it costs a twentieth of the time at most.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/scope.h"
#include "bus/future.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define LOOK_MS 100
#define LOOK_SHARE 20

typedef struct Lane
{
	Oid			role;
	int64		after;			/* go on behind that number */
} Lane;

/* The lanes that this session goes on with; all of it lives in the context. */
static MemoryContext lanes_context = NULL;
static Oid	lanes_session_role = InvalidOid;
static Oid	lanes_role = InvalidOid;	/* InvalidOid: every role of the session user */
static List *lanes = NIL;		/* the first one's turn is next */
static TimestampTz next_look = 0;	/* from the beginning */

/* One probe of the index for each lane, however many futures it has. */
static OcqStatement select_lanes =
OCQ_STATEMENT("WITH RECURSIVE lanes AS ("
			  " (SELECT role, number FROM order_cqrs.bus_future"
			  " WHERE status = 'waiting' AND retry_at IS NULL AND session_role = $1 ORDER BY role, number LIMIT 1)"
			  " UNION ALL"
			  " SELECT n.role, n.number FROM lanes AS l, LATERAL"
			  " (SELECT f.role, f.number FROM order_cqrs.bus_future AS f"
			  " WHERE f.status = 'waiting' AND f.retry_at IS NULL AND f.session_role = $1 AND f.role > l.role"
			  " ORDER BY f.role, f.number LIMIT 1) AS n)"
			  " SELECT role, number FROM lanes ORDER BY number",
			  OIDOID);

/*
 * Every condition is one of the index, and the order is that of the index.  So the
 * planner has no reason to read more than the first entry, whatever the statistics.
 */
#define HAS_NEXT \
	"(SELECT true FROM order_cqrs.bus_future AS o WHERE o.status = 'waiting' AND o.retry_at IS NULL" \
	" AND o.session_role = $1 AND o.role = $2 AND o.number > f.number ORDER BY o.number LIMIT 1)"

static const OcqColumn columns[] = {
	OCQ_FUTURE_COLUMNS,
	{"attempts", INT4OID, OCQ_FUTURE(attempts)},
	{"lock_timeouts", INT4OID, OCQ_FUTURE(lock_timeouts)},
	{"number", INT8OID, OCQ_FUTURE(number)},
	{HAS_NEXT, BOOLOID, OCQ_FUTURE(has_next)},
};

static const OcqTable claimed = OCQ_TABLE("bus_future", columns);

static OcqStatement claim_next =
OCQ_TABLE_STATEMENT(&claimed,
					"WITH next AS MATERIALIZED (SELECT id AS next_id FROM {table}"
					" WHERE status = 'waiting' AND retry_at IS NULL AND session_role = $1 AND role = $2 AND number > $3"
					" ORDER BY number LIMIT 1 FOR UPDATE SKIP LOCKED)"
					" UPDATE {table} AS f SET status = 'running', attempts = attempts + 1, started_at = clock_timestamp()"
					" FROM next WHERE id = next_id RETURNING {columns}",
					OIDOID, OIDOID, INT8OID);

static void
add_lane(Oid role, int64 after)
{
	MemoryContext old = MemoryContextSwitchTo(lanes_context);
	Lane	   *lane = palloc_object(Lane);

	*lane = (Lane) {role, after};
	lanes = lappend(lanes, lane);
	MemoryContextSwitchTo(old);
}

static void
forget_lanes(void)
{
	if (lanes_context == NULL)
		lanes_context = AllocSetContextCreate(TopMemoryContext, "order_cqrs lanes", ALLOCSET_SMALL_SIZES);
	lanes = NIL;
	MemoryContextReset(lanes_context);
}

static void
read_lanes(Oid session_role)
{
	Datum		values[] = {ObjectIdGetDatum(session_role)};
	uint64		rows = ocq_statement_run(&select_lanes, values, NULL);

	for (uint64 row = 0; row < rows; row++)
		add_lane(DatumGetObjectId(ocq_row_datum(row, 1)), DatumGetInt64(ocq_row_datum(row, 2)) - 1);
}

/* look_from_beginning finds the lanes that have a future, each with its first. */
static void
look_from_beginning(Oid session_role, Oid role)
{
	TimestampTz start = GetCurrentTimestamp();
	TimestampTz end;

	forget_lanes();
	lanes_session_role = session_role;
	lanes_role = role;
	if (OidIsValid(role))
		add_lane(role, 0);
	else
		read_lanes(session_role);
	end = GetCurrentTimestamp();
	next_look = end + Max(LOOK_MS * INT64CONST(1000), (end - start) * LOOK_SHARE);
}

static bool
can_go_on(Oid session_role, Oid role)
{
	return lanes != NIL && GetCurrentTimestamp() < next_look &&
		lanes_session_role == session_role && lanes_role == role;
}

static bool
claim_in_lane(Lane *lane, MemoryContext caller, OcqFuture *future)
{
	MemoryContext spi = CurrentMemoryContext;
	Datum		values[] = {
		ObjectIdGetDatum(lanes_session_role), ObjectIdGetDatum(lane->role), Int64GetDatum(lane->after)
	};

	if (ocq_statement_run(&claim_next, values, NULL) == 0)
		return false;
	MemoryContextSwitchTo(caller);
	ocq_table_read(&claimed, 0, future);
	MemoryContextSwitchTo(spi);
	future->message.kind = strcmp(future->kind, "command") == 0 ? OCQ_BUS_COMMAND : OCQ_BUS_QUERY;
	lane->after = future->number;
	return true;
}

/* claim_in_turn drops the lanes in which it finds nothing, and has the one in which it does go last. */
static bool
claim_in_turn(MemoryContext caller, OcqFuture *future)
{
	while (lanes != NIL)
	{
		Lane	   *lane = linitial(lanes);
		bool		found = claim_in_lane(lane, caller, future);
		MemoryContext old = MemoryContextSwitchTo(lanes_context);

		lanes = list_delete_first(lanes);
		if (found)
			lanes = lappend(lanes, lane);
		MemoryContextSwitchTo(old);
		if (found)
			return true;
	}
	return false;
}

/*
 * ocq_future_claim takes the next waiting future of a session user, and of a
 * current role unless that is InvalidOid, and fills it in, in the caller's memory.  It
 * returns false if there is none.  The caller commits.
 */
bool
ocq_future_claim(Oid session_role, Oid role, OcqFuture *future)
{
	MemoryContext caller = CurrentMemoryContext;
	bool		found;
	OcqScope	scope;

	ocq_scope_enter(&scope);
	found = can_go_on(session_role, role) && claim_in_turn(caller, future);
	if (!found)
	{
		look_from_beginning(session_role, role);
		found = claim_in_turn(caller, future);
	}
	if (found)
	{
		ocq_future_waiting_changed(session_role, -1);

		/* A sender wakes one worker, however much it sends: the call is passed on. */
		if (future->has_next || list_length(lanes) > 1)
			ocq_future_was_sent();
	}
	ocq_scope_leave(&scope);
	return found;
}

/* ocq_future_claim_anew has the next claim look from the beginning. */
void
ocq_future_claim_anew(void)
{
	next_look = 0;
}
