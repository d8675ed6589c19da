/*-------------------------------------------------------------------------
 * event_append.c
 *	  event_append: events on aggregates of the users' own.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/argument.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/statement.h"
#include "fmgr.h"
#include "store/command.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

static bool
is_reserved(const text *aggregate_type)
{
	return ocq_text_is(aggregate_type, OCQ_AGGREGATE_ORDER) ||
		ocq_text_is(aggregate_type, OCQ_AGGREGATE_CUSTOMER) ||
		ocq_text_is(aggregate_type, OCQ_AGGREGATE_PRODUCT) ||
		ocq_text_is(aggregate_type, OCQ_AGGREGATE_INVENTORY);
}

static void
check_aggregate_type(text *aggregate_type)
{
	if (is_reserved(aggregate_type))
		ereport(ERROR,
				(errcode(OCQ_ERR_RESERVED_AGGREGATE_TYPE),
				 errmsg("aggregate type \"%s\" is order_cqrs's own", text_to_cstring(aggregate_type)),
				 errdetail("Its events are appended by its commands only, which keep its rules."),
				 errhint("Call the commands of that aggregate, such as order_create, or choose a type name of your own.")));
}

pg_noreturn static void
refuse_events(int number, const char *problem)
{
	ereport(ERROR,
			(errcode(OCQ_ERR_INVALID_EVENTS),
			 number == 0 ? errmsg("events %s", problem) :
			 errmsg("event %d %s", number, problem),
			 errdetail("events is a JSON array of objects {\"type\": text, \"data\": object}."),
			 errhint("Pass for example [{\"type\": \"BasketFilled\", \"data\": {\"items\": 3}}].")));
}

/* read_event turns one element of the array into an event; number counts from 1. */
static OcqNewEvent
read_event(JsonbContainer *element, int number)
{
	OcqNewEvent event = {0};
	JsonbValue	type;
	JsonbValue	data;

	if (!JsonContainerIsObject(element))
		refuse_events(number, "is not an object");
	if (getKeyJsonValueFromContainer(element, "type", 4, &type) == NULL)
		refuse_events(number, "has no \"type\"");
	if (type.type != jbvString || type.val.string.len < 1 ||
		type.val.string.len > OCQ_ID_MAX_BYTES)
		refuse_events(number, "needs a \"type\" of 1 to 255 bytes");
	if (getKeyJsonValueFromContainer(element, "data", 4, &data) == NULL)
		refuse_events(number, "has no \"data\"");
	if (data.type != jbvBinary || !JsonContainerIsObject(data.val.binary.data))
		refuse_events(number, "needs an object as \"data\"");
	if (JsonContainerSize(element) != 2)
		refuse_events(number, "has keys other than \"type\" and \"data\"");

	event.type = cstring_to_text_with_len(type.val.string.val, type.val.string.len);
	event.data = JsonbValueToJsonb(&data);
	return event;
}

static OcqNewEvent *
read_events(Jsonb *array, int *count)
{
	OcqNewEvent *events;

	if (!JB_ROOT_IS_ARRAY(array) || JB_ROOT_IS_SCALAR(array))
		refuse_events(0, "must be a JSON array");
	*count = JB_ROOT_COUNT(array);
	if (*count == 0)
		refuse_events(0, "must not be empty");

	events = palloc_array(OcqNewEvent, *count);
	for (int i = 0; i < *count; i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(&array->root, i);

		if (element->type != jbvBinary)
			refuse_events(i + 1, "is not an object");
		events[i] = read_event(element->val.binary.data, i + 1);
	}
	return events;
}

/* event_append(aggregate_type text, aggregate_id text, events jsonb, ...) */
Datum
ocq_event_append(PG_FUNCTION_ARGS)
{
	text	   *aggregate_type = ocq_argument_id(fcinfo, 0, "aggregate_type");
	text	   *aggregate_id = ocq_argument_id(fcinfo, 1, "aggregate_id");
	OcqNewEvent *events;
	int			count;
	OcqCommand	command;
	OcqEvents	earlier;
	int32		version;

	check_aggregate_type(aggregate_type);
	if (PG_ARGISNULL(2))
		refuse_events(0, "must not be null");
	events = read_events(PG_GETARG_JSONB_P(2), &count);

	ocq_command_begin(&command, fcinfo, OCQ_SIGNATURE(event_append), text_to_cstring(aggregate_type), aggregate_id);
	earlier = ocq_stream_read_command(&command.stream, command.envelope.command_id);
	if (!ocq_command_was_handled(&command, earlier, events, count, false, &version))
	{
		OcqEvent	last = {0};

		(void) ocq_stream_read_last(&command.stream, &last);
		ocq_command_check_expected(&command, last.version);
		ocq_command_append(&command, NULL, last.version, last.occurred_at, events, count);
		version = last.version + count;
	}
	return ocq_command_finish(&command, fcinfo, version);
}
