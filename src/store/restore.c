/*-------------------------------------------------------------------------
 * restore.c
 *	  Restores of dumps: the saga and futures wait until one has ended.
 *
 * pg_dump saves the log, the saga's tables and the futures, and a restore commits them
 * one after the other, in parallel or serially.  Projections can follow that.  The saga
 * cannot: an order whose events are there and whose row in order_saga is yet to come
 * looks like a new one.  Nor can futures, which would run on an empty log.
 *
 * The order of the rows.  pg_dump writes the rows of an extension's table after those of
 * the tables that it refers to by foreign keys, and pg_restore keeps to that, also in
 * parallel.  restore_state refers to all that the saga and futures need, and bus_future
 * refers to restore_state.  So the row of kind 'end', which is in each dump, arrives
 * after the former, and futures arrive after that.
 *
 * The beginning.  Rows of events or of the saga that come past the commands leave a mark,
 * in their own transaction: whoever sees the rows sees the mark.  The arrival of the row
 * of kind 'end' removes the marks.
 *
 * Without triggers (pg_restore --disable-triggers) there are no marks.  But ALTER TABLE
 * ... ENABLE TRIGGER ALL turns events_append_only, which fires always, into an ordinary
 * trigger, and nothing of ours does that.  So while it is not what it was, a restore is
 * or was under way.  The row of kind 'end' arrives as a second one.
 *
 * The sequence of positions is set apart from the tables, in a serial restore after all
 * of them.  While it is behind the log, nothing should be appended.
 *
 * Neither is more than a sign: an INSERT by hand, or a restore that has failed, has no
 * end.  So a sign holds for order_cqrs.restore_timeout, and longer only while there is a
 * transaction that began to write meanwhile.  The runner looks after that: it keeps the
 * time of the signs that leave no mark in rows of restore_state, too.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "base/catalog.h"
#include "base/errors.h"
#include "base/scope.h"
#include "base/statement.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "store/store.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(ocq_restore_ended);
PG_FUNCTION_INFO_V1(ocq_restore_end);

/* A restore that takes no longer is not worth a warning. */
#define WARN_AFTER_MS 60000
#define WARN_EVERY_MS 60000
#define WARN_OF_TRIGGERS_EVERY_MS 600000

/* How long appends may be held up for the sake of events_append_only. */
#define GUARD_LOCK_TIMEOUT "100ms"

int			ocq_restore_timeout = 300;

/* A mark serves the transactions of some seconds, as a restore may commit each row. */
static OcqStatement insert_mark =
OCQ_STATEMENT_NOARGS("INSERT INTO order_cqrs.restore_state (kind, holds, marked_at)"
					 " SELECT 'rows', true, clock_timestamp() WHERE NOT EXISTS"
					 " (SELECT FROM order_cqrs.restore_state WHERE kind IN ('rows', 'log') AND holds"
					 " AND marked_at > clock_timestamp() - interval '10 seconds')");

static OcqStatement insert_log_mark =
OCQ_STATEMENT_NOARGS("INSERT INTO order_cqrs.restore_state (kind, holds, marked_at)"
					 " VALUES ('log', true, clock_timestamp())");

static OcqStatement delete_marks =
OCQ_STATEMENT_NOARGS("DELETE FROM order_cqrs.restore_state WHERE kind IN ('rows', 'log')");

/* The rows of kind 'end' but for one. */
static OcqStatement delete_second_ends =
OCQ_STATEMENT_NOARGS("DELETE FROM order_cqrs.restore_state WHERE kind = 'end' AND ctid <>"
					 " (SELECT ctid FROM order_cqrs.restore_state WHERE kind = 'end' ORDER BY ctid LIMIT 1)");

static OcqStatement insert_end =
OCQ_STATEMENT_NOARGS("INSERT INTO order_cqrs.restore_state (kind, holds) SELECT 'end', false"
					 " WHERE NOT EXISTS (SELECT FROM order_cqrs.restore_state WHERE kind = 'end')");

static OcqStatement select_end =
OCQ_STATEMENT_NOARGS("SELECT FROM order_cqrs.restore_state WHERE kind = 'end'");

/* Whether there is a mark that holds, and of which other signs it is known that they do not. */
static OcqStatement select_marks =
OCQ_STATEMENT_ON_ALL("SELECT coalesce(bool_or(holds AND kind IN ('rows', 'log')), false),"
					 " coalesce(bool_or(NOT holds AND kind = 'triggers'), false),"
					 " coalesce(bool_or(NOT holds AND kind = 'sequence'), false),"
					 " min(marked_at) FILTER (WHERE holds) FROM order_cqrs.restore_state");

static OcqStatement select_is_behind =
OCQ_STATEMENT_NOARGS("SELECT e.position > CASE WHEN s.is_called THEN s.last_value ELSE 0 END"
					 " FROM (SELECT position FROM order_cqrs.events ORDER BY position DESC LIMIT 1) AS e,"
					 " order_cqrs.events_position_seq AS s");

/* $1: kind; $2: whether it holds */
static OcqStatement insert_sign =
OCQ_STATEMENT("INSERT INTO order_cqrs.restore_state (kind, holds, marked_at)"
			  " SELECT $1, $2, clock_timestamp() WHERE NOT EXISTS"
			  " (SELECT FROM order_cqrs.restore_state WHERE kind = $1)",
			  TEXTOID, BOOLOID);

static OcqStatement release_sign =
OCQ_STATEMENT("UPDATE order_cqrs.restore_state SET holds = false WHERE kind = $1 AND holds", TEXTOID);

static OcqStatement delete_sign =
OCQ_STATEMENT("DELETE FROM order_cqrs.restore_state WHERE kind = $1", TEXTOID);

/* A transaction that began to write before the sign's time was over may be the restore's. */
static OcqStatement expire_signs =
OCQ_STATEMENT("UPDATE order_cqrs.restore_state AS r SET holds = false"
			  " WHERE holds AND marked_at < clock_timestamp() - make_interval(secs => $1)"
			  " AND NOT EXISTS (SELECT FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)"
			  " WHERE l.locktype = 'relation' AND l.database = a.datid AND l.granted"
			  " AND l.relation IN ('order_cqrs.events'::regclass, 'order_cqrs.order_saga'::regclass)"
			  " AND l.mode = 'RowExclusiveLock' AND a.backend_type = 'client backend'"
			  " AND a.xact_start < r.marked_at + make_interval(secs => $1))",
			  FLOAT8OID);

static OcqStatement delete_expired_marks =
OCQ_STATEMENT_NOARGS("DELETE FROM order_cqrs.restore_state WHERE kind IN ('rows', 'log') AND NOT holds");

static OcqStatement select_disabled =
OCQ_STATEMENT_NOARGS("SELECT string_agg(format('%I on %s', t.tgname, t.tgrelid::regclass), ', ' ORDER BY 1)"
					 " FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid"
					 " WHERE t.tgenabled = 'D' AND NOT t.tgisinternal"
					 " AND p.pronamespace = 'order_cqrs'::regnamespace");

static OcqStatement enable_guard =
OCQ_STATEMENT_NOARGS("ALTER TABLE order_cqrs.events ENABLE ALWAYS TRIGGER events_append_only");

/*
 * Marks.
 */

/*
 * ocq_restore_mark is called for each row of events or of the saga that comes past the
 * commands, in a scope.
 */
void
ocq_restore_mark(void)
{
	static SubTransactionId marked_in = InvalidSubTransactionId;
	static TransactionId marked_by = InvalidTransactionId;

	if (marked_by == GetTopTransactionIdIfAny() && marked_in == GetCurrentSubTransactionId())
		return;
	(void) ocq_statement_run_latest(&insert_mark, NULL, NULL);
	marked_by = GetTopTransactionId();
	marked_in = GetCurrentSubTransactionId();
}

/*
 * ocq_restore_mark_log does the same for many rows of events, which nobody has projected
 * yet: before the transaction ends, projection/restored.c does.
 */
void
ocq_restore_mark_log(void)
{
	(void) ocq_statement_run(&insert_log_mark, NULL, NULL);
}

/*
 * Signs.
 */

/* guard_state returns how events_append_only fires, as pg_trigger has it, or 0 if there is no such trigger. */
static char
guard_state(void)
{
	Relation	events = relation_open(ocq_catalog_relation(OCQ_REL_EVENTS), AccessShareLock);
	TriggerDesc *triggers = events->trigdesc;
	char		state = 0;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
		if (strcmp(triggers->triggers[i].tgname, "events_append_only") == 0)
			state = triggers->triggers[i].tgenabled;
	relation_close(events, AccessShareLock);
	return state;
}

static bool
is_unguarded(void)
{
	char		state = guard_state();

	return state != 0 && state != TRIGGER_FIRES_ALWAYS;
}

static bool
sequence_is_behind(void)
{
	return ocq_statement_run_latest(&select_is_behind, NULL, NULL) > 0 &&
		DatumGetBool(ocq_row_datum(0, 1));
}

/* What restore_state says. */
typedef struct Marks
{
	bool		hold;
	bool		triggers_may_be;
	bool		sequence_may_be;
	TimestampTz since;			/* of the oldest sign that holds; 0: none does */
} Marks;

static Marks
read_marks(void)
{
	(void) ocq_statement_run_latest(&select_marks, NULL, NULL);
	return (Marks) {
		.hold = DatumGetBool(ocq_row_datum(0, 1)),
			.triggers_may_be = DatumGetBool(ocq_row_datum(0, 2)),
			.sequence_may_be = DatumGetBool(ocq_row_datum(0, 3)),
			.since = ocq_row_is_null(0, 4) ? 0 : DatumGetTimestampTz(ocq_row_datum(0, 4))
	};
}

/*
 * ocq_restore_is_under_way is for those who have to wait for the end of a restore.  It
 * comes after the look for what there is to do, if that may be rows without the end, as
 * it sees all that has been committed by now.
 */
bool
ocq_restore_is_under_way(void)
{
	OcqScope	scope;
	Marks		marks;
	bool		result;

	ocq_scope_enter(&scope);
	marks = read_marks();
	result = marks.hold ||
		(!marks.triggers_may_be && is_unguarded()) ||
		(!marks.sequence_may_be && sequence_is_behind());
	ocq_scope_leave(&scope);
	return result;
}

/*
 * Looking after the signs.
 */

/* note_sign keeps the time since when there is a sign of a kind. */
static void
note_sign(const char *kind, bool is_there)
{
	Datum		values[] = {CStringGetTextDatum(kind), BoolGetDatum(true)};

	(void) ocq_statement_run_latest(is_there ? &insert_sign : &delete_sign, values, NULL);
}

/* release_sign_if has a sign hold no longer, for as long as it is there. */
static void
release_sign_if(const char *kind, bool is_there)
{
	Datum		values[] = {CStringGetTextDatum(kind), BoolGetDatum(false)};

	if (!is_there)
		return;
	(void) ocq_statement_run_latest(&insert_sign, values, NULL);
	(void) ocq_statement_run_latest(&release_sign, values, NULL);
}

static bool
is_time(TimestampTz *last, int milliseconds)
{
	TimestampTz now = GetCurrentTimestamp();

	if (!TimestampDifferenceExceeds(*last, now, milliseconds))
		return false;
	*last = now;
	return true;
}

/* enable_guard_soon returns false if it could not have the lock. */
static bool
enable_guard_soon(void)
{
	volatile bool done = true;
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	int			level = NewGUCNestLevel();

	(void) set_config_option("lock_timeout", GUARD_LOCK_TIMEOUT, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		(void) ocq_statement_run(&enable_guard, NULL, NULL);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		if (!ocq_is_lost_race(geterrcode()))
			PG_RE_THROW();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		done = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	AtEOXact_GUC(true, level);
	return done;
}

/*
 * mend_guard has events_append_only fire always again.  One that is disabled was
 * disabled by somebody, and is left to him.
 */
static void
mend_guard(void)
{
	if (guard_state() == TRIGGER_DISABLED || !is_unguarded() || !enable_guard_soon())
		return;
	ereport(WARNING,
			(errcode(OCQ_ERR_TRIGGER_DISABLED),
			 errmsg("trigger events_append_only did not fire in replica sessions and has been set right"),
			 errdetail("ALTER TABLE ... ENABLE TRIGGER ALL, which pg_restore --disable-triggers runs, makes it an ordinary one."),
			 errhint("If rows were restored without triggers, call projection_verify for each projection.")));
}

static void
warn_of_disabled_triggers(void)
{
	static TimestampTz last_warned = 0;

	(void) ocq_statement_run(&select_disabled, NULL, NULL);
	if (ocq_row_is_null(0, 1) || !is_time(&last_warned, WARN_OF_TRIGGERS_EVERY_MS))
		return;
	ereport(WARNING,
			(errcode(OCQ_ERR_TRIGGER_DISABLED),
			 errmsg("triggers of order_cqrs are disabled: %s", TextDatumGetCString(ocq_row_datum(0, 1))),
			 errdetail("Projections fall behind the events, or events can be changed."),
			 errhint("Enable them: ALTER TABLE ... ENABLE TRIGGER, of events_append_only ENABLE ALWAYS TRIGGER.")));
}

static void
warn_of_hold(TimestampTz since)
{
	static TimestampTz last_warned = 0;

	if (!TimestampDifferenceExceeds(since, GetCurrentTimestamp(), WARN_AFTER_MS) ||
		!is_time(&last_warned, WARN_EVERY_MS))
		return;
	ereport(WARNING,
			(errcode(OCQ_ERR_RESTORE_UNDER_WAY),
			 errmsg("the saga and futures wait for the end of a restore since %s", timestamptz_to_str(since)),
			 errdetail("Events or saga rows have come past the commands, or triggers or the sequence of order_cqrs.events are not set right yet: see order_cqrs.restore_state."),
			 errhint("If no restore is under way, CALL order_cqrs.restore_end(). By itself it ends %d seconds after the last such transaction.",
					 ocq_restore_timeout)));
}

/* finish removes what a restore without triggers has left behind. */
static void
finish(void)
{
	if (ocq_statement_run_latest(&delete_second_ends, NULL, NULL) == 0)
		return;
	(void) ocq_statement_run_latest(&delete_marks, NULL, NULL);
	release_sign_if("triggers", is_unguarded());
}

/*
 * ocq_restore_look_after is called by the runner every few seconds, in a transaction that
 * it commits.
 */
void
ocq_restore_look_after(void)
{
	Datum		values[] = {Float8GetDatum(ocq_restore_timeout)};
	OcqScope	scope;
	Marks		marks;

	ocq_scope_enter(&scope);
	note_sign("triggers", is_unguarded());
	note_sign("sequence", sequence_is_behind());
	finish();
	if (ocq_statement_run_latest(&expire_signs, values, NULL) > 0)
		(void) ocq_statement_run_latest(&delete_expired_marks, NULL, NULL);
	marks = read_marks();
	if (marks.since != 0)
		warn_of_hold(marks.since);
	else
	{
		mend_guard();
		warn_of_disabled_triggers();
	}
	ocq_scope_leave(&scope);
}

/*
 * restore_ended() is the BEFORE INSERT row trigger on restore_state for rows of kind
 * 'end': all that precedes it in a dump has been committed, or is a part of the same
 * transaction.
 */
Datum
ocq_restore_ended(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	OcqScope	scope;
	bool		is_there;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_BEFORE(trigger->tg_event) ||
		!TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("restore_ended() must be called as a BEFORE INSERT row trigger")));

	ocq_scope_enter(&scope);
	(void) ocq_statement_run_latest(&delete_marks, NULL, NULL);
	is_there = ocq_statement_run_latest(&select_end, NULL, NULL) > 0;
	ocq_append_wake_at_commit();
	ocq_scope_leave(&scope);

	/* NULL instead of the row: there is nothing left to insert. */
	return PointerGetDatum(is_there ? NULL : trigger->tg_trigtuple);
}

/* restore_end() */
Datum
ocq_restore_end(PG_FUNCTION_ARGS)
{
	OcqScope	scope;

	ocq_scope_enter(&scope);
	(void) ocq_statement_run_latest(&delete_marks, NULL, NULL);
	release_sign_if("triggers", is_unguarded());
	release_sign_if("sequence", sequence_is_behind());
	(void) ocq_statement_run_latest(&insert_end, NULL, NULL);
	ocq_append_wake_at_commit();
	ocq_scope_leave(&scope);
	PG_RETURN_VOID();
}
