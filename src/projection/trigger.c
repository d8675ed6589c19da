/*-------------------------------------------------------------------------
 * trigger.c
 *	  The AFTER INSERT row trigger on events: synchronous projections.
 *
 * It hands a batch of one to the handle of every projection whose mode is sync.
 * The read tables change in the transaction that appends; of the events of one
 * command the last stands for all.
 *
 * An event that no command appends (COPY, a restore, an INSERT by the owner) has a
 * position that was not drawn under the sequence's lock, perhaps below a checkpoint.  For
 * such events the checkpoints are set back and held there until the transaction ends, so
 * that the worker handles them; many of them are handled in batches at its end
 * (restored.c).  They also mark that a restore may be under way (store/restore.c).  Their
 * versions are checked here: a CHECK of the table's would be read anew for each append of
 * a command, whose versions count from 1.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/argument.h"
#include "base/scope.h"
#include "base/table.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "projection/projection.h"

PG_FUNCTION_INFO_V1(ocq_events_project);

static void
project(const OcqEvent *event, const OcqAppend *append)
{
	OcqBatch	batch;
	bool		have_batch = false;

	for (int i = 0; i < ocq_projection_count(); i++)
	{
		if (!ocq_projection_handles(ocq_projections[i], event->stream.aggregate_type) ||
			!ocq_projection_is_triggered(i))
			continue;
		if (!have_batch)
		{
			if (!ocq_batch_of_event(event, append, &batch))
				return;
			have_batch = true;
		}
		(void) ocq_projection_handle(ocq_projections[i], &batch);
	}
}

Datum
ocq_events_project(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = ocq_argument_trigger(fcinfo, "events_project", TRIGGER_EVENT_AFTER);
	const OcqAppend *append = ocq_append_current();
	OcqScope	scope;
	OcqEvent	event = {0};

	ocq_scope_enter(&scope);
	ocq_table_read_slot(&ocq_event_table, trigger->tg_trigslot, &event);
	if (append != NULL && !ocq_stream_equal(append->stream, &event.stream))
		append = NULL;			/* another trigger's INSERT */
	if (append == NULL)
	{
		if (event.version < 1)
			ocq_event_report_malformed(&event, "has no valid version");
		ocq_horizon_hold();
		ocq_state_rewind(event.position);
		ocq_restore_mark("events");
		if (!ocq_restored_leave_out())
			project(&event, NULL);
	}
	else if (event.version == append->after_version + append->count)
		project(&event, append);
	ocq_scope_leave(&scope);
	return PointerGetDatum(NULL);
}
