/*-------------------------------------------------------------------------
 * record.c
 *	  The saga's table order_saga, and its checkpoint.
 *
 * The process that has locked the row of saga_state is the saga; so one process at a time
 * handles events.  A record is written under its order's stream lock.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/argument.h"
#include "base/errors.h"
#include "base/scope.h"
#include "base/table.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "saga/saga.h"
#include "store/store.h"
#include "utils/builtins.h"
#include "utils/rel.h"

PG_FUNCTION_INFO_V1(ocq_saga_restore);

#define SELECT_CHECKPOINT \
	"SELECT last_position FROM order_cqrs.saga_state WHERE saga_name = 'order'"

static OcqStatement select_checkpoint = OCQ_STATEMENT_NOARGS(SELECT_CHECKPOINT);
static OcqStatement lock_checkpoint = OCQ_STATEMENT_NOARGS(SELECT_CHECKPOINT " FOR NO KEY UPDATE");
static OcqStatement try_lock_checkpoint =
OCQ_STATEMENT_NOARGS(SELECT_CHECKPOINT " FOR NO KEY UPDATE SKIP LOCKED");

/* A checkpoint that is not where the saga has left it was moved by hand: events that it has passed are not audited. */
static OcqStatement update_checkpoint =
OCQ_STATEMENT("UPDATE order_cqrs.saga_state SET last_position = $1, advanced_to = $1,"
			  " audited_position = CASE WHEN last_position = advanced_to THEN audited_position"
			  " ELSE greatest(audited_position, last_position) END, updated_at = clock_timestamp()"
			  " WHERE saga_name = 'order' AND last_position < $1",
			  INT8OID);

static OcqStatement reset_checkpoint =
OCQ_STATEMENT_NOARGS("UPDATE order_cqrs.saga_state SET last_position = 0, advanced_to = 0,"
					 " audited_position = 0, audit_to = 0, updated_at = clock_timestamp()"
					 " WHERE saga_name = 'order'");

static OcqStatement restore_checkpoint =
OCQ_STATEMENT("UPDATE order_cqrs.saga_state SET last_position = greatest(last_position, $2),"
			  " updated_at = clock_timestamp() WHERE saga_name = $1",
			  TEXTOID, INT8OID);

static OcqStatement select_last_event =
OCQ_STATEMENT("SELECT position FROM order_cqrs.events WHERE position <= $1 ORDER BY position DESC LIMIT 1",
			  INT8OID);

#define RECORD(field) OCQ_FIELD(0, OcqSagaRecord, field)
#define TIME(field) OCQ_FIELD(1, OcqSagaRecord, field)

/* First those that are written.  The sources are one record, or NULL for a time that it lacks. */
static const OcqColumn columns[] = {
	{"tenant_id", TEXTOID, OCQ_KEY, RECORD(order.tenant_id)},
	{"order_id", TEXTOID, OCQ_KEY, RECORD(order.aggregate_id)},
	{"step", CSTRINGOID, RECORD(step_name)},
	{"attempts", INT4OID, RECORD(attempts)},
	{"next_attempt_at", TIMESTAMPTZOID, TIME(next_attempt_at)},
	{"last_error", CSTRINGOID, RECORD(last_error)},
	{"version", INT4OID, RECORD(version)},
	{"updated_at", TIMESTAMPTZOID, RECORD(updated_at)},
	{"next_attempt_at IS NOT NULL", BOOLOID, RECORD(has_next)},
	{"next_attempt_at <= clock_timestamp()", BOOLOID, RECORD(is_due)},
};

static const OcqTable order_saga = OCQ_TABLE("order_saga", columns);
static const OcqTable written = {.name = "order_saga", .columns = columns, .ncolumns = lengthof(columns) - 3};

static OcqStatement select_record =
OCQ_TABLE_STATEMENT(&order_saga, "SELECT {columns} FROM {table} WHERE {is_key}", TEXTOID, TEXTOID);

static OcqStatement insert_record =
OCQ_ROW_STATEMENT(&written, OCQ_INSERT_ONE);

static OcqStatement update_record =
OCQ_ROW_STATEMENT(&written, "UPDATE {table} SET {changes}, updated_at = clock_timestamp() WHERE {is_key}");

static OcqStatement update_time =
OCQ_STATEMENT("UPDATE order_cqrs.order_saga SET next_attempt_at = $3, updated_at = clock_timestamp()"
			  " WHERE tenant_id = $1 AND order_id = $2",
			  TEXTOID, TEXTOID, TIMESTAMPTZOID);

/* Rows are compared so that other types are not read (store/read.c). */
#define SELECT_EVENTS(unless) \
	"SELECT e.tenant_id, '" OCQ_AGGREGATE_ORDER "', e.aggregate_id, e.position, e.version FROM order_cqrs.events e" \
	" WHERE (e.aggregate_type, e.position) > ('" OCQ_AGGREGATE_ORDER "', $1)" \
	" AND (e.aggregate_type, e.position) <= ('" OCQ_AGGREGATE_ORDER "', $2)" \
	" AND e.event_type IN (" OCQ_SAGA_EVENT_TYPES ")" \
	" AND NOT EXISTS (SELECT 1 FROM order_cqrs.order_saga s WHERE s.tenant_id = e.tenant_id" \
	" AND s.order_id = e.aggregate_id AND " unless ")" \
	" ORDER BY e.aggregate_type, e.position LIMIT $3"

/* Events that the saga has seen already, because it caused them or came late, are passed over. */
static OcqStatement select_events =
OCQ_STATEMENT(SELECT_EVENTS("s.version >= e.version"), INT8OID, INT8OID, INT4OID);

static OcqStatement select_missed =
OCQ_STATEMENT(SELECT_EVENTS("(s.version >= e.version OR s.next_attempt_at IS NOT NULL)"), INT8OID, INT8OID, INT4OID);

static OcqStatement select_due =
OCQ_STATEMENT("SELECT tenant_id, '" OCQ_AGGREGATE_ORDER "', order_id, 0::bigint, 0 FROM order_cqrs.order_saga"
			  " WHERE next_attempt_at <= clock_timestamp() ORDER BY next_attempt_at LIMIT $1",
			  INT4OID);

/* The results of these. */
static const OcqColumn task_columns[] = {
	{"tenant_id", TEXTOID, OCQ_FIELD(0, OcqSagaTask, order.tenant_id)},
	{"aggregate_type", TEXTOID, OCQ_FIELD(0, OcqSagaTask, order.aggregate_type)},
	{"aggregate_id", TEXTOID, OCQ_FIELD(0, OcqSagaTask, order.aggregate_id)},
	{"position", INT8OID, OCQ_FIELD(0, OcqSagaTask, position)},
	{"version", INT4OID, OCQ_FIELD(0, OcqSagaTask, version)},
};

static const OcqTable tasks = OCQ_TABLE(NULL, task_columns);

static OcqStatement select_next =
OCQ_STATEMENT_NOARGS("SELECT next_attempt_at FROM order_cqrs.order_saga"
					 " WHERE next_attempt_at IS NOT NULL ORDER BY next_attempt_at LIMIT 1");

/* ocq_saga_read finds a record, or makes one that does not exist yet. */
OcqSagaRecord
ocq_saga_read(const OcqStream *order)
{
	OcqSagaRecord record = {.order = *order};
	Datum		values[] = {
		PointerGetDatum(order->tenant_id), PointerGetDatum(order->aggregate_id)
	};

	record.exists = ocq_statement_run(&select_record, values, NULL) > 0;
	if (!record.exists)
		return record;
	ocq_table_read(&order_saga, 0, &record);
	record.step = ocq_saga_step_of_name(record.step_name);
	return record;
}

void
ocq_saga_write(const OcqSagaRecord *record)
{
	OcqSagaRecord row = *record;
	OcqParameters parameters;

	row.step_name = ocq_saga_step_name(row.step);
	ocq_table_parameters(&written, OCQ_SOURCES(&row, row.has_next ? &row : NULL), &parameters);
	if (row.exists)
		(void) ocq_statement_run(&update_record, parameters.values, parameters.nulls);
	else
		(void) ocq_restore_run_own(&insert_record, parameters.values, parameters.nulls);
}

/*
 * ocq_saga_set_time changes nothing else, as its callers have not locked the order's
 * stream.  It makes a record for an order that has none.
 */
void
ocq_saga_set_time(const OcqStream *order, TimestampTz next_attempt_at)
{
	OcqSagaRecord record = {.order = *order, .has_next = true, .next_attempt_at = next_attempt_at};
	Datum		values[] = {
		PointerGetDatum(order->tenant_id), PointerGetDatum(order->aggregate_id),
		TimestampTzGetDatum(next_attempt_at)
	};

	if (ocq_statement_run(&update_time, values, NULL) == 0)
		ocq_saga_write(&record);
}

void
ocq_saga_report_lost_checkpoint(int level)
{
	ereport(level,
			(errcode(OCQ_ERR_UNKNOWN_SAGA),
			 errmsg("the saga has no row in order_cqrs.saga_state"),
			 errdetail("The row is made with the extension and never deleted by it."),
			 errhint("Insert it again: INSERT INTO order_cqrs.saga_state (saga_name, last_position) VALUES ('order', order_cqrs.event_horizon()).")));
}

/* ocq_saga_checkpoint returns false if the row that holds it has been deleted. */
bool
ocq_saga_checkpoint(int64 *position)
{
	if (ocq_statement_run(&select_checkpoint, NULL, NULL) == 0)
		return false;
	*position = DatumGetInt64(ocq_row_datum(0, 1));
	return true;
}

/*
 * ocq_saga_lock_checkpoint locks and reads it.  Without wait it returns false if
 * another process has it; in any case if its row has been deleted.
 */
bool
ocq_saga_lock_checkpoint(bool wait, int64 *position)
{
	if (ocq_statement_run(wait ? &lock_checkpoint : &try_lock_checkpoint, NULL, NULL) == 0)
		return false;
	*position = DatumGetInt64(ocq_row_datum(0, 1));
	return true;
}

void
ocq_saga_set_checkpoint(int64 position)
{
	Datum		values[] = {Int64GetDatum(position)};

	(void) ocq_statement_run(&update_checkpoint, values, NULL);
}

/*
 * ocq_saga_reset_checkpoint is for a checkpoint of another log.  Orders that the saga
 * has seen it passes over by their versions.
 */
void
ocq_saga_reset_checkpoint(int64 position, int64 log_end)
{
	ereport(WARNING,
			(errcode(OCQ_ERR_CHECKPOINT_BEYOND_LOG),
			 errmsg("the checkpoint of the saga is beyond the end of the log"),
			 errdetail("The checkpoint is " INT64_FORMAT ", and the log ends at " INT64_FORMAT ". The saga looks over all events again.",
					   position, log_end),
			 errhint("Its table order_cqrs.order_saga may speak of orders that are not in the log.")));
	(void) ocq_statement_run(&reset_checkpoint, NULL, NULL);
}

/* ocq_saga_follow_log moves the checkpoint to the last event up to a position. */
void
ocq_saga_follow_log(int64 position)
{
	Datum		values[] = {Int64GetDatum(position)};

	if (ocq_statement_run(&select_last_event, values, NULL) > 0)
		ocq_saga_set_checkpoint(DatumGetInt64(ocq_row_datum(0, 1)));
}

/* SPI leaves each statement in a memory context of its own. */
static OcqSagaTasks
read_tasks(uint64 count, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	OcqSagaTasks found = {.tasks = palloc_array(OcqSagaTask, 2 * OCQ_SAGA_MAX_TASKS)};

	for (uint64 row = 0; row < count; row++)
		ocq_table_read(&tasks, row, &found.tasks[found.count++]);
	MemoryContextSwitchTo(old);
	return found;
}

static OcqSagaTasks
find_between(OcqStatement *statement, int64 after, int64 up_to, MemoryContext context)
{
	Datum		values[] = {
		Int64GetDatum(after), Int64GetDatum(up_to), Int32GetDatum(OCQ_SAGA_MAX_TASKS)
	};

	return read_tasks(ocq_statement_run(statement, values, NULL), context);
}

/* ocq_saga_find_events returns the orders that events after a position are about, in the context. */
OcqSagaTasks
ocq_saga_find_events(int64 after, int64 up_to, MemoryContext context)
{
	return find_between(&select_events, after, up_to, context);
}

/* ocq_saga_find_missed returns those that the saga has not looked at and is not going to. */
OcqSagaTasks
ocq_saga_find_missed(int64 after, int64 up_to)
{
	return find_between(&select_missed, after, up_to, CurrentMemoryContext);
}

/* ocq_saga_find_due returns the orders whose time has come; there is room for as many more. */
OcqSagaTasks
ocq_saga_find_due(MemoryContext context)
{
	Datum		values[] = {Int32GetDatum(OCQ_SAGA_MAX_TASKS)};

	return read_tasks(ocq_statement_run(&select_due, values, NULL), context);
}

/* ocq_saga_milliseconds_to_next returns -1 if no order has to be looked at again. */
long
ocq_saga_milliseconds_to_next(void)
{
	if (ocq_statement_run(&select_next, NULL, NULL) == 0)
		return -1;
	return TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
										   DatumGetTimestampTz(ocq_row_datum(0, 1)));
}

/*
 * saga_restore() is the BEFORE INSERT row trigger on saga_state and order_saga.  An
 * INSERT that is not ours comes from the restore of a dump.  Its checkpoint is taken over,
 * unless the saga is further already.
 */
Datum
ocq_saga_restore(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = ocq_argument_trigger(fcinfo, "saga_restore", TRIGGER_EVENT_BEFORE);
	OcqScope	scope;
	uint64		present;

	ocq_scope_enter(&scope);
	if (!ocq_restore_is_own_row())
		ocq_restore_mark(RelationGetRelationName(trigger->tg_relation));
	present = strcmp(RelationGetRelationName(trigger->tg_relation), "saga_state") == 0 ?
		ocq_argument_run(trigger, &restore_checkpoint, OCQ_NAMES("saga_name", "last_position")) :
		ocq_argument_run(trigger, &select_record, OCQ_NAMES("tenant_id", "order_id"));
	ocq_scope_leave(&scope);

	/* NULL instead of the row: there is nothing left to insert. */
	return PointerGetDatum(present > 0 ? NULL : trigger->tg_trigtuple);
}
