/*-------------------------------------------------------------------------
 * state.c
 *	  projection_state: the mode, the checkpoint and the troubles of a projection.
 *
 * A process that moves a checkpoint holds the row's lock from before it reads the
 * checkpoint until it commits, and so one process at a time works on a projection.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/argument.h"
#include "base/catalog.h"
#include "base/errors.h"
#include "base/scope.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "projection/projection.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(ocq_projection_state_restore);

static const OcqColumn state_columns[] = {
	{"mode = 'sync'", BOOLOID, OCQ_FIELD(0, OcqProjectionState, is_sync)},
	{"status = 'paused'", BOOLOID, OCQ_FIELD(0, OcqProjectionState, is_paused)},
	{"last_position", INT8OID, OCQ_FIELD(0, OcqProjectionState, last_position)},
};

static const OcqTable states = OCQ_TABLE("projection_state", state_columns);

#define SELECT_STATE "SELECT {columns} FROM {table} WHERE projection_name = $1 FOR NO KEY UPDATE"

static OcqStatement lock_state = OCQ_TABLE_STATEMENT(&states, SELECT_STATE, TEXTOID);
static OcqStatement try_lock_state = OCQ_TABLE_STATEMENT(&states, SELECT_STATE " SKIP LOCKED", TEXTOID);

static OcqStatement update_position =
OCQ_STATEMENT("UPDATE order_cqrs.projection_state SET last_position = $2,"
			  " last_processed_time = CASE WHEN $3 > 0 THEN clock_timestamp() ELSE last_processed_time END,"
			  " last_event_count = CASE WHEN $3 > 0 THEN $3 ELSE last_event_count END,"
			  " events_total = events_total + $3,"
			  " repaired_total = repaired_total + CASE WHEN $2 > paused_to THEN $4 ELSE 0 END,"
			  " renewed_total = renewed_total + $5 + CASE WHEN $2 > paused_to THEN 0 ELSE $4 END,"
			  " status = 'running', last_error = NULL, failed_position = NULL, attempts = 0,"
			  " counted_after = CASE WHEN mode = 'sync' THEN $2"
			  " WHEN last_position < counted_to THEN last_position ELSE counted_after END,"
			  " counted_events = CASE WHEN mode = 'sync' THEN 0"
			  " WHEN last_position < counted_to THEN $3 ELSE counted_events + $3 END,"
			  " counted_checksum = CASE WHEN mode = 'sync' THEN 0"
			  " WHEN last_position < counted_to THEN $6 ELSE counted_checksum + $6 END,"
			  " counted_to = $2,"
			  " updated_at = clock_timestamp() WHERE projection_name = $1 RETURNING counted_events",
			  TEXTOID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID);

static OcqStatement update_paused_to =
OCQ_STATEMENT("UPDATE order_cqrs.projection_state SET paused_to = $2 WHERE projection_name = $1",
			  TEXTOID, INT8OID);

static OcqStatement update_failure =
OCQ_STATEMENT("UPDATE order_cqrs.projection_state SET status = 'failed', last_error = $3,"
			  " failed_position = $2, attempts = attempts + 1, updated_at = clock_timestamp()"
			  " WHERE projection_name = $1",
			  TEXTOID, INT8OID, TEXTOID);

static OcqStatement update_mode =
OCQ_STATEMENT("UPDATE order_cqrs.projection_state SET mode = $2, updated_at = clock_timestamp()"
			  " WHERE projection_name = $1",
			  TEXTOID, TEXTOID);

/* The end of the pause is not known before all appenders have heard of it. */
static OcqStatement update_status =
OCQ_STATEMENT("UPDATE order_cqrs.projection_state SET status = $2, last_error = NULL,"
			  " paused_to = CASE WHEN status = 'paused' AND mode = 'sync'"
			  " THEN 9223372036854775807 ELSE paused_to END,"
			  " failed_position = NULL, attempts = 0, updated_at = clock_timestamp()"
			  " WHERE projection_name = $1",
			  TEXTOID, TEXTOID);

/*
 * Ranges of the audit that reach beyond are forgotten.  An async projection goes back to
 * the beginning of the first of them, so that its counts from there on are whole.
 */
static OcqStatement rewind_positions =
OCQ_STATEMENT("WITH forgotten AS (DELETE FROM order_cqrs.projection_ledger WHERE to_position >= $1"
			  " RETURNING projection_name, after_position),"
			  " targets AS (SELECT s.projection_name, CASE WHEN s.mode = 'sync' THEN $1 - 1"
			  " ELSE least($1 - 1, s.counted_after, (SELECT min(f.after_position) FROM forgotten f"
			  " WHERE f.projection_name = s.projection_name)) END AS position"
			  " FROM order_cqrs.projection_state s WHERE s.last_position >= $1)"
			  " UPDATE order_cqrs.projection_state s SET last_position = t.position,"
			  " counted_after = t.position, counted_to = t.position, counted_events = 0, counted_checksum = 0,"
			  " updated_at = clock_timestamp()"
			  " FROM targets t WHERE s.projection_name = t.projection_name",
			  INT8OID);

static OcqStatement reset_position =
OCQ_STATEMENT("WITH forgotten AS (DELETE FROM order_cqrs.projection_ledger WHERE projection_name = $1)"
			  " UPDATE order_cqrs.projection_state SET last_position = 0, counted_after = 0, counted_to = 0,"
			  " counted_events = 0, counted_checksum = 0, updated_at = clock_timestamp()"
			  " WHERE projection_name = $1",
			  TEXTOID);

static OcqStatement restore_state =
OCQ_STATEMENT("UPDATE order_cqrs.projection_state SET mode = $2, status = $3, events_total = $4,"
			  " repaired_total = $5, renewed_total = $6, updated_at = clock_timestamp()"
			  " WHERE projection_name = $1",
			  TEXTOID, TEXTOID, TEXTOID, INT8OID, INT8OID, INT8OID);

static Datum
name_datum(const OcqProjection *projection)
{
	return CStringGetTextDatum(projection->name);
}

/*
 * ocq_state_lock locks the projection's row and reads it.  Without wait it
 * returns false if another process has it.
 */
bool
ocq_state_lock(const OcqProjection *projection, bool wait, OcqProjectionState *state)
{
	Datum		values[] = {name_datum(projection)};

	if (ocq_statement_run(wait ? &lock_state : &try_lock_state, values, NULL) == 0)
	{
		if (!wait)
			return false;
		ereport(ERROR,
				(errcode(OCQ_ERR_UNKNOWN_PROJECTION),
				 errmsg("projection \"%s\" has no row in order_cqrs.projection_state", projection->name),
				 errdetail("The row is made with the extension and never deleted by it."),
				 errhint("Insert it again: INSERT INTO order_cqrs.projection_state (projection_name, mode) VALUES ('%s', 'sync').",
						 projection->name)));
	}
	ocq_table_read(&states, 0, state);
	return true;
}

/*
 * ocq_state_advance moves the checkpoint after success, and counts the handled events for
 * the audit.  Rows that were behind are counted as repaired, as something was wrong,
 * unless the projection was paused.
 */
void
ocq_state_advance(const OcqProjection *projection, int64 position, OcqHandled handled)
{
	Datum		values[] = {
		name_datum(projection), Int64GetDatum(position), Int64GetDatum(handled.events),
		Int64GetDatum(handled.repaired), Int64GetDatum(handled.renewed),
		Int64GetDatum(handled.checksum)
	};

	if (ocq_statement_run(&update_position, values, NULL) > 0 &&
		DatumGetInt64(ocq_row_datum(0, 1)) >= OCQ_AUDIT_RANGE)
		ocq_audit_close(projection);
}

/* ocq_state_fail records a failure at the event with this position. */
void
ocq_state_fail(const OcqProjection *projection, int64 position, const char *message)
{
	Datum		values[] = {
		name_datum(projection), Int64GetDatum(position), CStringGetTextDatum(message)
	};

	(void) ocq_statement_run(&update_failure, values, NULL);
}

void
ocq_state_set_mode(const OcqProjection *projection, bool is_sync)
{
	Datum		values[] = {
		name_datum(projection), CStringGetTextDatum(is_sync ? "sync" : "async")
	};

	ocq_audit_close(projection);
	(void) ocq_statement_run(&update_mode, values, NULL);
	ocq_catalog_announce(OCQ_REL_PROJECTION_STATE);
}

/* ocq_state_set_paused_to says up to where events may be missing as the projection was paused. */
void
ocq_state_set_paused_to(const OcqProjection *projection, int64 position)
{
	Datum		values[] = {name_datum(projection), Int64GetDatum(position)};

	(void) ocq_statement_run(&update_paused_to, values, NULL);
}

void
ocq_state_set_status(const OcqProjection *projection, const char *status)
{
	Datum		values[] = {name_datum(projection), CStringGetTextDatum(status)};

	(void) ocq_statement_run(&update_status, values, NULL);
	ocq_catalog_announce(OCQ_REL_PROJECTION_STATE);
}

/* ocq_state_reset has a projection begin anew; its read tables keep their rows. */
void
ocq_state_reset(const OcqProjection *projection)
{
	Datum		values[] = {name_datum(projection)};

	(void) ocq_statement_run(&reset_position, values, NULL);
}

/*
 * ocq_state_rewind sets checkpoints that are at or beyond a position back before
 * it, and keeps all checkpoints where they are until the transaction ends, as no
 * projection could see an event at that position before.  One statement serves
 * all rows of a COPY that come in order.
 */
static int64 rewound_to = 0;
static SubTransactionId rewound_in = InvalidSubTransactionId;
static TransactionId rewound_by = InvalidTransactionId;

void
ocq_state_rewind(int64 position)
{
	Datum		values[] = {Int64GetDatum(position)};

	if (rewound_by == GetTopTransactionIdIfAny() &&
		rewound_in == GetCurrentSubTransactionId() && position > rewound_to)
		return;

	/* It conflicts with the row locks of processes that move checkpoints, which are read next. */
	LockRelationOid(ocq_catalog_relation(OCQ_REL_PROJECTION_STATE), ExclusiveLock);
	(void) ocq_statement_run_latest(&rewind_positions, values, NULL);
	ocq_append_look_over_at_commit();
	rewound_by = GetTopTransactionId();
	rewound_in = GetCurrentSubTransactionId();
	rewound_to = position;
}

/* ocq_state_rewind_again is for when checkpoints have moved on in the same transaction. */
void
ocq_state_rewind_again(void)
{
	rewound_by = InvalidTransactionId;
}

/*
 * projection_state_restore() is the BEFORE INSERT row trigger on
 * projection_state.  The rows are made with the extension, so an INSERT of one
 * that is there comes from the restore of a dump: its settings and counters are
 * taken over.  Its checkpoint is not, as the read tables that it speaks of are
 * not in the dump.
 */
Datum
ocq_projection_state_restore(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = ocq_argument_trigger(fcinfo, "projection_state_restore", TRIGGER_EVENT_BEFORE);
	OcqScope	scope;
	uint64		updated;

	ocq_scope_enter(&scope);
	updated = ocq_argument_run(trigger, &restore_state,
							   OCQ_NAMES("projection_name", "mode", "status", "events_total", "repaired_total",
										 "renewed_total"));
	ocq_catalog_announce(OCQ_REL_PROJECTION_STATE);
	ocq_scope_leave(&scope);

	/* NULL instead of the row: there is nothing left to insert. */
	return PointerGetDatum(updated > 0 ? NULL : trigger->tg_trigtuple);
}
