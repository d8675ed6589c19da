/*-------------------------------------------------------------------------
 * append_only.c
 *	  The trigger that refuses UPDATE, DELETE and TRUNCATE of events.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/errors.h"
#include "commands/trigger.h"
#include "fmgr.h"

PG_FUNCTION_INFO_V1(ocq_events_append_only);

static const char *
operation_name(TriggerEvent event)
{
	if (TRIGGER_FIRED_BY_UPDATE(event))
		return "UPDATE";
	if (TRIGGER_FIRED_BY_DELETE(event))
		return "DELETE";
	return "TRUNCATE";
}

Datum
ocq_events_append_only(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("events_append_only() must be called as a trigger")));

	ereport(ERROR,
			(errcode(OCQ_ERR_APPEND_ONLY),
			 errmsg("%s of order_cqrs.events is not allowed",
					operation_name(((TriggerData *) fcinfo->context)->tg_event)),
			 errdetail("Events are facts: every read table is derived from them, and none is changed or deleted."),
			 errhint("Append an event that corrects the earlier one.")));
	PG_RETURN_NULL();
}
