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
static OcqStatement claim_next =
OCQ_STATEMENT("WITH next AS MATERIALIZED (SELECT id FROM order_cqrs.bus_future"
			  " WHERE status = 'waiting' AND retry_at IS NULL AND session_role = $1 AND role = $2 AND number > $3"
			  " ORDER BY number LIMIT 1 FOR UPDATE SKIP LOCKED)"
			  " UPDATE order_cqrs.bus_future AS f SET status = 'running', attempts = attempts + 1,"
			  " started_at = clock_timestamp()"
			  " FROM next WHERE f.id = next.id"
			  " RETURNING f.id, f.attempts, f.role, f.kind = 'command', f.type, f.payload,"
			  " f.command_id, f.tenant_id, f.time_zone, f.date_style, f.interval_style, f.lock_timeouts, f.number,"
			  " (SELECT true FROM order_cqrs.bus_future AS o WHERE o.status = 'waiting'"
			  " AND o.retry_at IS NULL AND o.session_role = $1 AND o.role = $2 AND o.number > f.number ORDER BY o.number LIMIT 1),"
			  " f.actor",
			  OIDOID, OIDOID, INT8OID);

static pg_uuid_t *
copy_uuid(int column)
{
	pg_uuid_t  *copy;

	if (ocq_row_is_null(0, column))
		return NULL;
	copy = palloc(sizeof(pg_uuid_t));
	memcpy(copy, DatumGetUUIDP(ocq_row_datum(0, column)), sizeof(pg_uuid_t));
	return copy;
}

static char *
copy_string(int column)
{
	return ocq_row_is_null(0, column) ? NULL : TextDatumGetCString(ocq_row_datum(0, column));
}

static void
read_claimed(Oid session_role, OcqFuture *future)
{
	future->session_role = session_role;
	future->id = *copy_uuid(1);
	future->attempts = DatumGetInt32(ocq_row_datum(0, 2));
	future->role = DatumGetObjectId(ocq_row_datum(0, 3));
	future->message = (OcqMessage) {
		.kind = DatumGetBool(ocq_row_datum(0, 4)) ? OCQ_BUS_COMMAND : OCQ_BUS_QUERY,
		.type = ocq_text_copy(DatumGetTextPP(ocq_row_datum(0, 5))),
		.payload = DatumGetJsonbPCopy(ocq_row_datum(0, 6)),
		.id = copy_uuid(7),
		.tenant_id = ocq_text_copy(DatumGetTextPP(ocq_row_datum(0, 8)))
	};
	future->actor = copy_string(15);
	future->time_zone = copy_string(9);
	future->date_style = copy_string(10);
	future->interval_style = copy_string(11);
	future->lock_timeouts = DatumGetInt32(ocq_row_datum(0, 12));
}

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

/* claim_in_lane leaves the row for read_claimed. */
static bool
claim_in_lane(Oid session_role, Lane *lane)
{
	Datum		values[] = {
		ObjectIdGetDatum(session_role), ObjectIdGetDatum(lane->role), Int64GetDatum(lane->after)
	};

	if (ocq_statement_run(&claim_next, values, NULL) == 0)
		return false;
	lane->after = DatumGetInt64(ocq_row_datum(0, 13));
	return true;
}

/* claim_in_turn drops the lanes in which it finds nothing, and has the one in which it does go last. */
static bool
claim_in_turn(Oid session_role)
{
	while (lanes != NIL)
	{
		Lane	   *lane = linitial(lanes);
		bool		found = claim_in_lane(session_role, lane);
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

static bool
claim(Oid session_role, Oid role)
{
	if (can_go_on(session_role, role) && claim_in_turn(session_role))
		return true;
	look_from_beginning(session_role, role);
	return claim_in_turn(session_role);
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
	found = claim(session_role, role);
	if (found)
	{
		MemoryContext spi = MemoryContextSwitchTo(caller);

		read_claimed(session_role, future);
		MemoryContextSwitchTo(spi);
		ocq_future_waiting_changed(session_role, -1);

		/* A sender wakes one worker, however much it sends: the call is passed on. */
		if (!ocq_row_is_null(0, 14) || list_length(lanes) > 1)
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
