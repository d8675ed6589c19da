/*-------------------------------------------------------------------------
 * missed.c
 *	  The audit of the saga: orders whose events its checkpoint has passed by.
 *
 * The saga has looked at an order if its record has the version of the order's last
 * event that concerns it, or a time at which it looks again.  Orders with such an event
 * at or below the checkpoint of a while ago, of which neither is true, were missed.
 * They are reported, counted, and due at once.
 *
 * (audited_position, audit_to] is the part of the log that is to be audited next; the
 * checkpoint was at audit_to at audit_since.  Each part is audited once, as records of
 * orders that are at an end may be deleted later.  Events that an administrator makes the
 * checkpoint pass over concern neither the saga nor its audit (record.c).
 *
 * The process that audits holds the lock of the checkpoint's row.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/errors.h"
#include "base/scope.h"
#include "base/statement.h"
#include "catalog/pg_type.h"
#include "saga/saga.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* $1: milliseconds that the part has to be old. */
static OcqStatement select_part =
OCQ_STATEMENT("SELECT audited_position, audit_to, audit_since IS NOT NULL"
			  " AND audit_since <= clock_timestamp() - make_interval(secs => $1 / 1000.0)"
			  " FROM order_cqrs.saga_state WHERE saga_name = 'order'",
			  INT4OID);

/* Events that the checkpoint was made to pass over by hand are left out. */
static OcqStatement adopt_checkpoint =
OCQ_STATEMENT_NOARGS("UPDATE order_cqrs.saga_state SET audited_position = greatest(audited_position, last_position),"
					 " advanced_to = last_position"
					 " WHERE saga_name = 'order' AND last_position <> advanced_to");

static OcqStatement begin_part =
OCQ_STATEMENT_NOARGS("UPDATE order_cqrs.saga_state SET audit_to = last_position, audit_since = clock_timestamp()"
					 " WHERE saga_name = 'order' AND last_position > audited_position"
					 " AND audit_to <= audited_position");

static OcqStatement end_part =
OCQ_STATEMENT("UPDATE order_cqrs.saga_state SET audited_position = $1, missed_total = missed_total + $2"
			  " WHERE saga_name = 'order'",
			  INT8OID, INT8OID);

/* find_part returns false if none is old enough; the log behind it becomes the next. */
static bool
find_part(int delay, int64 *after, int64 *end)
{
	Datum		values[] = {Int32GetDatum(delay)};
	bool		is_due;

	(void) ocq_statement_run(&adopt_checkpoint, NULL, NULL);
	(void) ocq_statement_run(&begin_part, NULL, NULL);
	if (ocq_statement_run(&select_part, values, NULL) == 0)
		return false;
	*after = DatumGetInt64(ocq_row_datum(0, 1));
	*end = DatumGetInt64(ocq_row_datum(0, 2));
	is_due = DatumGetBool(ocq_row_datum(0, 3));
	return is_due && *end > *after;
}

static void
report(int64 after, int64 end, int count, const OcqStream *first)
{
	ereport(WARNING,
			(errcode(OCQ_ERR_SAGA_MISSED),
			 errmsg("the saga has missed events of orders"),
			 errdetail("After position " INT64_FORMAT " and up to " INT64_FORMAT " there are %d"
					   " of them; the first is of order \"%s\" of tenant \"%s\".",
					   after, end, count, text_to_cstring(first->aggregate_id),
					   text_to_cstring(first->tenant_id)),
			 errhint("The orders are looked at now.")));
}

/* audit_part returns how far it has come. */
static int64
audit_part(int64 after, int64 end)
{
	OcqSagaTasks missed = ocq_saga_find_missed(after, end);
	Datum		values[] = {Int64GetDatum(end), Int64GetDatum(missed.count)};

	if (missed.count == OCQ_SAGA_MAX_TASKS)
		values[0] = Int64GetDatum(end = missed.tasks[missed.count - 1].position);
	if (missed.count > 0)
		report(after, end, missed.count, &missed.tasks[0].order);
	for (int i = 0; i < missed.count; i++)
		ocq_saga_set_time(&missed.tasks[i].order, GetCurrentTimestamp());	/* due at once */
	(void) ocq_statement_run(&end_part, values, NULL);
	return end;
}

/*
 * ocq_saga_audit looks at the part of the log that the checkpoint has passed for at
 * least so many milliseconds, and leaves it to the caller to commit.  It does nothing
 * if another process has the checkpoint.
 */
void
ocq_saga_audit(int delay)
{
	OcqScope	scope;
	int64		checkpoint;
	int64		after;
	int64		end;

	ocq_scope_enter(&scope);
	if (ocq_saga_lock_checkpoint(false, &checkpoint) && find_part(delay, &after, &end))
		while (after < end)
			after = audit_part(after, end);
	ocq_scope_leave(&scope);
}
