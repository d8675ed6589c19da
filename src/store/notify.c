/*-------------------------------------------------------------------------
 * notify.c
 *	  NOTIFY of changes, for caches outside of the database.
 *
 * With order_cqrs.notify a command that appends sends one notification on the channel
 * order_cqrs: to the sessions that LISTEN when its transaction commits, and never if it
 * does not.  It is off by default, because transactions that notify commit one by
 * one, and because PostgreSQL refuses to prepare them.
 *
 * The payload is a JSON object.  The longest ids, each byte of them escaped, fit
 * into PostgreSQL's 8000 bytes.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/async.h"
#include "store/notify.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/json.h"

#define CHANNEL "order_cqrs"

bool		ocq_notify;

void
ocq_notify_define_settings(void)
{
	DefineCustomBoolVariable("order_cqrs.notify",
							 "Whether commands NOTIFY the channel order_cqrs of what they change.",
							 "It is for caches outside of the database; commits then take turns.",
							 &ocq_notify, false, PGC_SUSET, 0, NULL, NULL, NULL);
}

static void
add_text(StringInfo payload, const char *key, const text *value)
{
	appendStringInfo(payload, "%s\"%s\": ", payload->len == 0 ? "{" : ", ", key);
	escape_json(payload, text_to_cstring(value));
}

/*
 * ocq_notify_change tells that the stream has come to a version, by an event and
 * perhaps others that follow from it.  id_key is the key of the aggregate's id;
 * customer_id is NULL if the id says it all.
 */
void
ocq_notify_change(const OcqStream *stream, const char *id_key, const text *customer_id,
				  int32 version, const text *event_type)
{
	StringInfoData payload;

	if (!ocq_notify)
		return;
	initStringInfo(&payload);
	add_text(&payload, "tenant_id", stream->tenant_id);
	add_text(&payload, id_key, stream->aggregate_id);
	if (customer_id != NULL)
		add_text(&payload, "customer_id", customer_id);
	appendStringInfo(&payload, ", \"version\": %d", version);
	add_text(&payload, "event_type", event_type);
	appendStringInfoChar(&payload, '}');
	Async_Notify(CHANNEL, payload.data);
}
