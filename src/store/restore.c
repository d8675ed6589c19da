/*-------------------------------------------------------------------------
 * restore.c
 *	  Restores of dumps: the saga and futures wait until one has ended.
 *
 * pg_dump saves the log, the saga's tables and the futures, and a restore commits them
 * one after the other, in any order if it is parallel.  Projections can follow that.
 * The saga cannot: an order with events and without a row in order_saga yet looks like a
 * new one.  Nor can futures, which would run on an empty log.
 *
 * The beginning.  Rows of these tables that do not come from our own statements leave a
 * mark: a snapshot that shows the rows shows the mark.  Their own transaction has made it,
 * or another one in the seconds before.
 *
 * The end.  restore_state names the tables, and is a part of the dump, where a condition
 * leaves those out that have no rows (restore.sql); its rows say which parts are expected.
 * The restore has ended when each expected part has arrived and no row has come for some
 * seconds: a COPY is one transaction, but the rows of pg_dump --inserts are one each.  A
 * script that psql runs may pause for longer, but pg_dump puts restore_state behind the tables
 * of the log and of futures.  Then the sync read tables are made true before the hold ends.
 * Rows that come later still, as in a script whose tables were put into another order, hold
 * for the longer time below.
 *
 * Foreign keys would not do: pg_dump orders the rows of an extension's tables by
 * them, but does not tell pg_restore, which then restores them side by side.
 *
 * Without triggers (pg_restore --disable-triggers) there are no marks.  But ALTER TABLE
 * ... ENABLE TRIGGER ALL turns triggers that fire always into ordinary ones, and no code of
 * ours does that.  So while one of the tables has such a trigger, a restore is or was
 * under way.  It has ended when the dump's rows of restore_state are there, and rows of
 * each table that they name.
 *
 * The sequence of positions is set apart from the tables, in a serial restore after all
 * of them.  While it is behind the log, nothing should be appended.
 *
 * None of this is more than a sign: an INSERT by hand, or a restore that has failed, has no
 * end.  So a sign holds for order_cqrs.restore_timeout, and longer only while there is a
 * transaction that began to write meanwhile.  The runner looks after that, and keeps the
 * time of the signs that leave no mark.
 *
 * Consumers may have seen more of the log than a dump holds, so after it positions go on
 * far ahead (positions.c).
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/argument.h"
#include "base/catalog.h"
#include "base/errors.h"
#include "base/procedure.h"
#include "base/scope.h"
#include "base/statement.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "store/store.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(ocq_restore_arrive);
PG_FUNCTION_INFO_V1(ocq_restore_expect);
PG_FUNCTION_INFO_V1(ocq_restore_end);

/* A restore that takes no longer is not worth a warning. */
#define WARN_AFTER_MS 60000
#define WARN_EVERY_MS 60000

/* How often a transaction marks what it brings. */
#define MARK_MS 1000

static int	ocq_restore_timeout;

void
ocq_restore_define_settings(void)
{
	DefineCustomIntVariable("order_cqrs.restore_timeout",
							"How long the saga and futures wait for the end of a restore.",
							"It counts from the last commit of events or saga rows that came past the commands.",
							&ocq_restore_timeout, 300, 1, 7 * 86400,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
}

/*
 * $1: part.  A mark serves the transactions of some seconds, as a restore may commit each
 * row; the pause that ends one is longer.
 */
static OcqStatement insert_mark =
OCQ_STATEMENT("INSERT INTO order_cqrs.restore_state (kind, part, holds, marked_at)"
			  " SELECT 'arrived', $1, true, clock_timestamp()"
			  " WHERE NOT EXISTS (SELECT FROM order_cqrs.restore_state WHERE kind = 'arrived' AND part = $1"
			  " AND holds AND marked_at > clock_timestamp() - interval '2 seconds')",
			  TEXTOID);

static OcqStatement insert_many =
OCQ_STATEMENT_NOARGS("INSERT INTO order_cqrs.restore_state (kind, part, holds, marked_at, is_many)"
					 " VALUES ('arrived', 'events', true, clock_timestamp(), true)");

static OcqStatement insert_expected =
OCQ_STATEMENT("INSERT INTO order_cqrs.restore_state (kind, part, holds, marked_at)"
			  " VALUES ('expected', $1, true, clock_timestamp())",
			  TEXTOID);

static OcqStatement delete_marks =
OCQ_STATEMENT_NOARGS("DELETE FROM order_cqrs.restore_state WHERE kind IN ('arrived', 'expected')");

#define MARKS " FROM order_cqrs.restore_state AS r WHERE r.kind IN ('arrived', 'expected') AND r.holds"

static OcqStatement select_any_mark = OCQ_STATEMENT_ON_ALL("SELECT" MARKS " LIMIT 1");

/* No session that began to write at an earlier time is still at it: its rows and marks are not visible yet. */
#define NO_WRITER_FROM_BEFORE(time) \
	" NOT EXISTS (SELECT FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)" \
	" WHERE l.locktype = 'relation' AND l.database = a.datid AND l.granted" \
	" AND l.relation IN ('order_cqrs.events'::regclass, 'order_cqrs.order_saga'::regclass," \
	" 'order_cqrs.bus_future'::regclass, 'order_cqrs.bus_registration'::regclass)" \
	" AND l.mode = 'RowExclusiveLock' AND a.backend_type = 'client backend'" \
	" AND a.xact_start < " time ")"

/* Whether parts are expected, all of them have arrived, and no mark is of the last seconds. */
#define IS_COMPLETE \
	"(EXISTS (SELECT" MARKS " AND r.kind = 'expected')" \
	" AND NOT EXISTS (SELECT" MARKS " AND r.kind = 'expected' AND NOT EXISTS" \
	" (SELECT FROM order_cqrs.restore_state AS a WHERE a.kind = 'arrived' AND a.part = r.part AND a.holds))" \
	" AND NOT EXISTS (SELECT" MARKS " AND r.marked_at > clock_timestamp() - interval '5 seconds'))"

static OcqStatement select_is_complete = OCQ_STATEMENT_ON_ALL("SELECT " IS_COMPLETE);

/* pg_restore may pause between its statements for longer than marks are young. */
static OcqStatement select_no_writer =
OCQ_STATEMENT_NOARGS("SELECT NOT EXISTS (SELECT FROM pg_stat_activity"
					 " WHERE datname = current_database() AND application_name = 'pg_restore')"
					 " AND" NO_WRITER_FROM_BEFORE("clock_timestamp() - interval '2 seconds'"));

/* $1: an end of the log */
static OcqStatement select_is_projected =
OCQ_STATEMENT("SELECT NOT EXISTS (SELECT FROM order_cqrs.projection_state"
			  " WHERE mode = 'sync' AND status = 'running'"
			  " AND last_position < least($1, coalesce((SELECT max(position) FROM order_cqrs.events), 0)))",
			  INT8OID);

/*
 * Whether marks hold, also when all has arrived: positions go on far ahead before the next
 * append.  Then the other signs that are known not to hold, and the time of the oldest sign
 * that does.
 */
static OcqStatement select_marks =
OCQ_STATEMENT_ON_ALL("SELECT EXISTS (SELECT" MARKS "),"
					 " EXISTS (SELECT FROM order_cqrs.restore_state WHERE part = 'triggers' AND NOT holds),"
					 " EXISTS (SELECT FROM order_cqrs.restore_state WHERE part = 'sequence' AND NOT holds),"
					 " (SELECT min(marked_at) FROM order_cqrs.restore_state WHERE holds)");

/* Whether the rows of a dump that came without triggers are there, as far as one can tell. */
static OcqStatement select_is_doubled =
OCQ_STATEMENT_ON_ALL("WITH doubled AS (SELECT part FROM order_cqrs.restore_state"
					 " WHERE kind = 'content' GROUP BY part HAVING count(*) > 1)"
					 " SELECT EXISTS (SELECT FROM doubled)"
					 " AND NOT EXISTS (SELECT FROM doubled WHERE CASE part"
					 " WHEN 'events' THEN NOT EXISTS (SELECT FROM order_cqrs.events)"
					 " WHEN 'order_saga' THEN NOT EXISTS (SELECT FROM order_cqrs.order_saga)"
					 " WHEN 'bus_registration' THEN NOT EXISTS (SELECT FROM order_cqrs.bus_registration)"
					 " ELSE false END)");

static OcqStatement delete_doubles =
OCQ_STATEMENT_ON_ALL("DELETE FROM order_cqrs.restore_state AS r WHERE kind = 'content' AND EXISTS"
					 " (SELECT FROM order_cqrs.restore_state AS s"
					 " WHERE s.kind = 'content' AND s.part = r.part AND s.ctid < r.ctid)");

/* $1: part; $2: whether it holds */
static OcqStatement insert_sign =
OCQ_STATEMENT("INSERT INTO order_cqrs.restore_state (kind, part, holds, marked_at)"
			  " SELECT 'sign', $1, $2, clock_timestamp() WHERE NOT EXISTS"
			  " (SELECT FROM order_cqrs.restore_state WHERE kind = 'sign' AND part = $1)",
			  TEXTOID, BOOLOID);

static OcqStatement release_sign =
OCQ_STATEMENT("UPDATE order_cqrs.restore_state SET holds = false WHERE kind = 'sign' AND part = $1 AND holds",
			  TEXTOID);

static OcqStatement delete_sign =
OCQ_STATEMENT("DELETE FROM order_cqrs.restore_state WHERE kind = 'sign' AND part = $1", TEXTOID);

/*
 * $1: seconds.  All signs are one restore's, so the last one counts.  A transaction that
 * began to write before the time was over may be the restore's.
 */
static OcqStatement expire_signs =
OCQ_STATEMENT("WITH last AS MATERIALIZED (SELECT max(marked_at) + make_interval(secs => $1) AS time"
			  " FROM order_cqrs.restore_state WHERE holds)"
			  " UPDATE order_cqrs.restore_state AS r SET holds = false FROM last"
			  " WHERE holds AND last.time < clock_timestamp()"
			  " AND" NO_WRITER_FROM_BEFORE("last.time"),
			  FLOAT8OID);

static OcqStatement delete_expired =
OCQ_STATEMENT_NOARGS("DELETE FROM order_cqrs.restore_state WHERE kind IN ('arrived', 'expected') AND NOT holds");

static OcqStatement select_expected =
OCQ_STATEMENT_NOARGS("SELECT FROM order_cqrs.restore_state WHERE kind = 'expected' LIMIT 1");

static bool own_rows = false;

/*
 * Marks.
 */

/*
 * ocq_restore_run_own runs a statement whose rows are no restore's.  Within it no code of
 * users inserts into the same tables.
 */
uint64
ocq_restore_run_own(OcqStatement *statement, Datum *values, const char *nulls)
{
	uint64		count = 0;

	own_rows = true;
	PG_TRY();
	{
		count = ocq_statement_run(statement, values, nulls);
	}
	PG_FINALLY();
	{
		own_rows = false;
	}
	PG_END_TRY();
	return count;
}

/*
 * ocq_restore_mark is called for each row of a table that comes past the commands, in a
 * scope.
 */
void
ocq_restore_mark(const char *part)
{
	static SubTransactionId marked_in = InvalidSubTransactionId;
	static TransactionId marked_by = InvalidTransactionId;
	static TimestampTz marked_at = 0;
	static char marked_part[NAMEDATALEN];
	Datum		values[1];

	/* A long transaction marks again, so that its last mark is young when it commits. */
	if (marked_by == GetTopTransactionIdIfAny() && marked_in == GetCurrentSubTransactionId() &&
		strcmp(marked_part, part) == 0 && !TimestampDifferenceExceeds(marked_at, GetCurrentTimestamp(), MARK_MS))
		return;
	values[0] = CStringGetTextDatum(part);
	(void) ocq_statement_run_latest(&insert_mark, values, NULL);
	ocq_append_wake_at_commit();
	marked_by = GetTopTransactionId();
	marked_in = GetCurrentSubTransactionId();
	marked_at = GetCurrentTimestamp();
	strlcpy(marked_part, part, sizeof(marked_part));
}

/*
 * ocq_restore_mark_many does the same for many rows of events.  projection/restored.c
 * projects them before the transaction ends.
 */
void
ocq_restore_mark_many(void)
{
	(void) ocq_statement_run(&insert_many, NULL, NULL);
}

/*
 * Signs.
 */

/* The content of restore_state. */
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
 * ocq_restore_is_under_way is for processes that have to wait for the end of a restore.
 * They call it after they have looked for work: it sees everything that has been committed
 * by now, also a mark that came with the rows.
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
		(!marks.triggers_may_be && ocq_guards_are_lifted()) ||
		(!marks.sequence_may_be && ocq_positions_are_behind());
	ocq_scope_leave(&scope);
	return result;
}

/*
 * ocq_restore_may_set_sequence tells whether the sequence may be behind the log because
 * a restore has yet to set it.
 */
bool
ocq_restore_may_set_sequence(void)
{
	OcqScope	scope;
	bool		result;

	ocq_scope_enter(&scope);
	result = ocq_statement_run_latest(&select_any_mark, NULL, NULL) > 0 ||
		(!read_marks().triggers_may_be && ocq_guards_are_lifted());
	ocq_scope_leave(&scope);
	return result;
}

/*
 * Looking after the signs.
 */

/* note_sign keeps the time since when there is a sign. */
static void
note_sign(const char *part, bool is_there)
{
	Datum		values[] = {CStringGetTextDatum(part), BoolGetDatum(true)};

	(void) ocq_statement_run_latest(is_there ? &insert_sign : &delete_sign, values, NULL);
}

/* release_sign_if has a sign hold no longer, for as long as it is there. */
static void
release_sign_if(const char *part, bool is_there)
{
	Datum		values[] = {CStringGetTextDatum(part), BoolGetDatum(false)};

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

static bool
is_true(OcqStatement *statement, Datum *values)
{
	(void) ocq_statement_run_latest(statement, values, NULL);
	return DatumGetBool(ocq_row_datum(0, 1));
}

/*
 * is_projected tells whether the sync read tables have all that was restored, so that
 * commands find in them the rows that they check against.  When the parts have arrived the
 * synchroniser is asked to look over them, once: before the sequence was set it did not see
 * the events.
 */
static bool
is_projected(bool has_arrived)
{
	static int64 restored_to = 0;	/* the end of the log when the parts had arrived */
	Datum		value;

	if (!has_arrived)
	{
		restored_to = 0;
		return false;
	}
	if (restored_to == 0)
	{
		restored_to = Max(ocq_position_last_drawn(), 1);
		ocq_append_look_over_at_commit();
	}
	value = Int64GetDatum(restored_to);
	return is_true(&select_is_projected, &value);
}

/* is_complete looks at the marks again after the writers: one may have committed in between. */
static bool
is_complete(void)
{
	return is_true(&select_is_complete, NULL) && is_true(&select_no_writer, NULL) &&
		is_true(&select_is_complete, NULL);
}

/* finish ends a restore whose parts have all arrived, and returns whether there was one. */
static bool
finish(void)
{
	bool		is_marked = is_complete();
	bool		is_doubled = !ocq_guards_are_disabled() /* COPY is under way */ && is_true(&select_is_doubled, NULL);

	if (!is_projected(is_marked || is_doubled))
		return false;
	if (is_marked)
		(void) ocq_statement_run_latest(&delete_marks, NULL, NULL);
	if (is_doubled)
	{
		(void) ocq_statement_run_latest(&delete_doubles, NULL, NULL);
		release_sign_if("triggers", ocq_guards_are_lifted());
	}
	return true;
}

/* is_dump_expected tells whether there is a dump whose restore has not ended. */
static bool
is_dump_expected(void)
{
	return ocq_statement_run_latest(&select_expected, NULL, NULL) > 0;
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
	bool		is_behind;
	bool		had_dump;
	bool		has_ended;

	ocq_scope_enter(&scope);
	had_dump = is_dump_expected();
	note_sign("triggers", ocq_guards_are_lifted());
	is_behind = ocq_positions_are_behind();
	note_sign("sequence", is_behind);
	has_ended = !is_behind && finish();
	if (ocq_statement_run_latest(&expire_signs, values, NULL) > 0)
		(void) ocq_statement_run_latest(&delete_expired, NULL, NULL);
	if (has_ended || (had_dump && !is_dump_expected()))
		ocq_positions_move_on();
	marks = read_marks();
	if (marks.since != 0)
		warn_of_hold(marks.since);
	else
		ocq_guards_look_after();
	ocq_scope_leave(&scope);
}

/*
 * Triggers.
 */

/* restore_arrive() is the BEFORE INSERT row trigger on bus_future and bus_registration. */
Datum
ocq_restore_arrive(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = ocq_argument_trigger(fcinfo, "restore_arrive", TRIGGER_EVENT_BEFORE);
	OcqScope	scope;

	if (!own_rows)
	{
		ocq_scope_enter(&scope);
		ocq_restore_mark(RelationGetRelationName(trigger->tg_relation));
		ocq_scope_leave(&scope);
	}
	return PointerGetDatum(trigger->tg_trigtuple);
}

bool
ocq_restore_is_own_row(void)
{
	return own_rows;
}

/*
 * restore_expect() is the BEFORE INSERT row trigger on restore_state, whose rows in a dump
 * name the dump's parts.
 */
Datum
ocq_restore_expect(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = ocq_argument_trigger(fcinfo, "restore_expect", TRIGGER_EVENT_BEFORE);
	TupleDesc	descriptor = RelationGetDescr(trigger->tg_relation);
	OcqScope	scope;
	Datum		values[1];
	bool		isnull;

	ocq_scope_enter(&scope);
	values[0] = SPI_getbinval(trigger->tg_trigtuple, descriptor, SPI_fnumber(descriptor, "part"), &isnull);
	(void) ocq_statement_run(&insert_expected, values, NULL);
	ocq_append_wake_at_commit();
	ocq_scope_leave(&scope);

	/* NULL instead of the row: the extension has its own. */
	return PointerGetDatum(NULL);
}

/* restore_end() */
Datum
ocq_restore_end(PG_FUNCTION_ARGS)
{
	OcqScope	scope;
	bool		had_dump;

	ocq_procedure_require_writable("restore_end");
	ocq_scope_enter(&scope);
	had_dump = is_dump_expected();
	(void) ocq_statement_run_latest(&delete_marks, NULL, NULL);
	had_dump |= ocq_statement_run_latest(&delete_doubles, NULL, NULL) > 0;
	release_sign_if("triggers", ocq_guards_are_lifted());
	release_sign_if("sequence", ocq_positions_are_behind());
	if (had_dump)
		ocq_positions_move_on();
	ocq_append_look_over_at_commit();
	ocq_scope_leave(&scope);
	PG_RETURN_VOID();
}
