/*-------------------------------------------------------------------------
 * restored.c
 *	  Many events that no command appends: the sync projections handle them in batches.
 *
 * The row trigger on events leaves them out, as one by one they take fifty times as
 * long.  A deferred trigger has the sync projections handle them before the transaction
 * ends, from their checkpoints on, as the worker would.  It keeps out appends
 * instead of locking thousands of streams.  While others append, the events are left
 * to the worker, or to projection_sync: the checkpoints are before them.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/argument.h"
#include "base/catalog.h"
#include "base/scope.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "projection/projection.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "utils/wait_event.h"

PG_FUNCTION_INFO_V1(ocq_restore_project);

/* The attempts to keep out other transactions that append, and the pause after each. */
#define BARRIER_TRIES 100
#define BARRIER_TRY_MS 10

/* Fewer rows than this are projected one by one, and so are seen at once. */
#define MANY 100

/* Rows of this subtransaction that came past the commands. */
static int64 rows = 0;
static SubTransactionId counted_in = InvalidSubTransactionId;
static TransactionId counted_by = InvalidTransactionId;

static OcqStatement select_last_event =
OCQ_STATEMENT_NOARGS("SELECT position FROM order_cqrs.events ORDER BY position DESC LIMIT 1");

/*
 * ocq_restored_leave_out is called for each event that comes past the commands, in a
 * scope.  It returns true if there are many in the transaction, and sees to it that this
 * one is projected before the transaction ends.
 */
bool
ocq_restored_leave_out(void)
{
	if (counted_by != GetTopTransactionIdIfAny() || counted_in != GetCurrentSubTransactionId())
		rows = 0;
	counted_by = GetTopTransactionId();
	counted_in = GetCurrentSubTransactionId();

	/* The batches are read with new snapshots. */
	if (++rows <= MANY || IsolationUsesXactSnapshot())
		return false;
	if (rows == MANY + 1)
		ocq_restore_mark_many();
	return true;
}

/* keep_out_appends queues up for no lock, as two restores would wait for each other. */
static bool
keep_out_appends(void)
{
	Oid			sequence = ocq_catalog_relation(OCQ_REL_EVENTS_SEQUENCE);

	for (int try = 0; !ConditionalLockRelationOid(sequence, ShareLock); try++)
	{
		if (try == BARRIER_TRIES)
			return false;
		(void) WaitLatch(MyLatch, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, BARRIER_TRY_MS, PG_WAIT_EXTENSION);
		CHECK_FOR_INTERRUPTS();
	}
	return true;
}

/* The checkpoints move to the last event and no further: the sequence may be set later. */
static void
project(void)
{
	int64		last;

	if (ocq_statement_run(&select_last_event, NULL, NULL) == 0)
		return;
	last = DatumGetInt64(ocq_row_datum(0, 1));
	for (int i = 0; i < ocq_projection_count(); i++)
		ocq_sync_restored(ocq_projections[i], last);
}

/* begin_anew is for rows that come after this trigger has fired, if it is not deferred. */
static void
begin_anew(void)
{
	rows = 0;
	ocq_state_rewind_again();
}

/*
 * restore_project() is the deferred row trigger on restore_state for marks of many events.
 * There may be several in a transaction; the first does it all.
 */
Datum
ocq_restore_project(PG_FUNCTION_ARGS)
{
	OcqScope	scope;

	(void) ocq_argument_trigger(fcinfo, "restore_project", TRIGGER_EVENT_AFTER);
	ocq_scope_enter(&scope);
	if (keep_out_appends())
		project();
	ocq_restore_mark("events"); /* that took its time */
	begin_anew();
	ocq_scope_leave(&scope);
	return PointerGetDatum(NULL);
}
