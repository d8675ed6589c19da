/*-------------------------------------------------------------------------
 * reference_commands.c
 *	  customer_put and product_put.
 *
 * A customer or product is an aggregate of its own: each change is an event, so that read
 * tables follow names in the order of the log as they follow orders, and a dump of the
 * events holds them too.  A command that would change nothing appends no event.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/argument.h"
#include "base/errors.h"
#include "base/json.h"
#include "base/statement.h"
#include "fmgr.h"
#include "reference/reference.h"
#include "store/command.h"
#include "store/notify.h"
#include "utils/builtins.h"

/*
 * Orders are sorted by names and products found by categories, in indexes whose rows
 * have room for OCQ_TEXT_MAX_BYTES, beside two ids.
 */
static text *
text_argument(FunctionCallInfo fcinfo, int argno, const char *name)
{
	if (PG_ARGISNULL(argno))
		ereport(ERROR,
				(errcode(OCQ_ERR_INVALID_ARGUMENT),
				 errmsg("%s must not be null", name),
				 errdetail("The read tables show it."),
				 errhint("Pass an empty string if there is none.")));
	return ocq_argument_text(fcinfo, argno, name);
}

static Jsonb *
make_data(OcqReferenceKind kind, const text *name, const text *attribute)
{
	JsonbParseState *state = NULL;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	ocq_json_push_text(&state, "name", name);
	ocq_json_push_text(&state, ocq_reference_attribute_key(kind), attribute);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

static Datum
put(FunctionCallInfo fcinfo, OcqSignature signature, OcqReferenceKind kind,
	const char *aggregate_type, const char *event_type, const char *id_name)
{
	text	   *id = ocq_argument_id(fcinfo, 0, id_name);
	text	   *name = text_argument(fcinfo, 1, "name");
	text	   *attribute = text_argument(fcinfo, 2, ocq_reference_attribute_key(kind));
	OcqNewEvent event = {
		.type = cstring_to_text(event_type), .data = make_data(kind, name, attribute)
	};
	OcqCommand	command;
	OcqEvents	earlier;
	int32		version;

	ocq_command_begin(&command, fcinfo, signature, aggregate_type, id);
	earlier = ocq_stream_read_command(&command.stream, command.envelope.command_id);
	if (!ocq_command_was_handled(&command, earlier, &event, 1, false, &version))
	{
		OcqEvent	last = {0};
		bool		changes = !ocq_stream_read_last(&command.stream, &last) ||
			compareJsonbContainers(&last.data->root, &event.data->root) != 0;

		version = last.version;
		ocq_command_check_expected(&command, version);
		if (changes || command.envelope.command_id != NULL)
		{
			ocq_command_append(&command, NULL, version, last.occurred_at, &event, 1);
			version++;
			/* No session can have a copy of a new one. */
			if (changes && version > 1)
				ocq_notify_change(&command.stream, id_name, NULL, version, event.type);
		}
	}
	return ocq_command_finish(&command, fcinfo, version);
}

/* customer_put(customer_id text, name text, email text, ...) */
Datum
ocq_customer_put(PG_FUNCTION_ARGS)
{
	return put(fcinfo, OCQ_SIGNATURE(customer_put), OCQ_REFERENCE_CUSTOMER, OCQ_AGGREGATE_CUSTOMER,
			   OCQ_EVENT_CUSTOMER_CHANGED, "customer_id");
}

/* product_put(product_id text, name text, category text, ...) */
Datum
ocq_product_put(PG_FUNCTION_ARGS)
{
	return put(fcinfo, OCQ_SIGNATURE(product_put), OCQ_REFERENCE_PRODUCT, OCQ_AGGREGATE_PRODUCT,
			   OCQ_EVENT_PRODUCT_CHANGED, "product_id");
}
