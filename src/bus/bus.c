/*-------------------------------------------------------------------------
 * bus.c
 *	  command_send and query_send: from a message to its handler.
 *
 * A handler of ours checks the payload and runs with the owner's rights, as the
 * procedure or function of the same purpose does.  A registered handler runs as
 * the caller, with the search_path of the session, outside of any scope (base/scope.c).
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/argument.h"
#include "base/errors.h"
#include "bus/bus.h"
#include "utils/builtins.h"

/* add_context is the line of context that an error in a handler gains. */
static void
add_context(void *arg)
{
	const OcqMessage *message = arg;
	char	   *type = text_to_cstring(message->type);

	if (message->kind == OCQ_BUS_QUERY)
		errcontext("query \"%s\"", type);
	else
		errcontext("command \"%s\" with id %s", type, message->id == NULL ? "none" :
				   DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(message->id))));
}

static void
check_type(const OcqMessage *message)
{
	if (message->type != NULL)
		return;
	ereport(ERROR,
			(errcode(OCQ_ERR_INVALID_ARGUMENT),
			 errmsg("%s_type must not be null", ocq_bus_kind_name(message->kind)),
			 errdetail("It says what the payload is sent to."),
			 errhint(OCQ_HINT_TYPES)));
}

/* find_registered returns the handler of a type that is not ours. */
static OcqHandler *
find_registered(const OcqMessage *message)
{
	bool		is_command = message->kind == OCQ_BUS_COMMAND;
	OcqHandler *handler = ocq_handler_find(message->kind, message->type);

	if (handler == NULL)
		ereport(ERROR,
				(errcode(is_command ? OCQ_ERR_NO_COMMAND_HANDLER : OCQ_ERR_NO_QUERY_HANDLER),
				 errmsg("%s handler not found for \"%s\"", ocq_bus_kind_name(message->kind),
						ocq_argument_clip(VARDATA_ANY(message->type), VARSIZE_ANY_EXHDR(message->type))),
				 errdetail("Types are compared byte by byte."),
				 errhint(OCQ_HINT_TYPES " %s_handler_register adds one.", ocq_bus_kind_name(message->kind))));
	return handler;
}

static Jsonb *
dispatch(const OcqMessage *message)
{
	const OcqBuiltin *builtin = ocq_builtin_find(message->kind, message->type);

	if (builtin == NULL)
	{
		OcqHandler *handler = find_registered(message);

		ocq_payload_check_object(message);
		return ocq_handler_call(handler, message);
	}
	return message->kind == OCQ_BUS_COMMAND ?
		ocq_bus_command_run(builtin, message) : ocq_bus_query_run(builtin, message);
}

/*
 * ocq_bus_send has the message handled, and returns the answer, which may be NULL,
 * in the caller's memory.  It needs a transaction and nothing else.
 */
Jsonb *
ocq_bus_send(const OcqMessage *message)
{
	ErrorContextCallback context = {
		.previous = error_context_stack,
		.callback = add_context,
		.arg = unconstify(OcqMessage *, message)
	};
	Jsonb	   *answer;

	check_type(message);
	error_context_stack = &context;
	answer = dispatch(message);
	error_context_stack = context.previous;
	return answer;
}

/*
 * ocq_bus_check raises the errors that are known before the message is handled: no
 * handler, and a payload that a handler of ours does not understand.
 */
void
ocq_bus_check(const OcqMessage *message)
{
	const OcqBuiltin *builtin;

	check_type(message);
	builtin = ocq_builtin_find(message->kind, message->type);
	if (builtin == NULL)
	{
		(void) find_registered(message);
		ocq_payload_check_object(message);
	}
	else if (message->kind == OCQ_BUS_COMMAND)
		ocq_bus_command_check(builtin, message);
	else
		ocq_bus_query_check(builtin, message);
}

/* ocq_command_bus_send is for code that has no function call at hand, such as a worker's. */
Jsonb *
ocq_command_bus_send(text *type, Jsonb *payload, pg_uuid_t *command_id, text *tenant_id)
{
	OcqMessage	message = {
		.kind = OCQ_BUS_COMMAND, .type = type, .payload = payload,
		.id = command_id, .tenant_id = tenant_id
	};

	return ocq_bus_send(&message);
}

/* ocq_bus_message reads (type, payload, command_id, tenant_id), of a query without command_id. */
OcqMessage
ocq_bus_message(OcqBusKind kind, FunctionCallInfo fcinfo)
{
	int			tenant_id = kind == OCQ_BUS_COMMAND ? 3 : 2;
	OcqMessage	message = {.kind = kind};

	if (!PG_ARGISNULL(0))
		message.type = PG_GETARG_TEXT_PP(0);
	if (!PG_ARGISNULL(1))
		message.payload = PG_GETARG_JSONB_P(1);
	if (kind == OCQ_BUS_COMMAND && !PG_ARGISNULL(2))
		message.id = PG_GETARG_UUID_P(2);
	if (!PG_ARGISNULL(tenant_id))
		message.tenant_id = PG_GETARG_TEXT_PP(tenant_id);
	return message;
}

static Datum
send_message(OcqBusKind kind, FunctionCallInfo fcinfo)
{
	OcqMessage	message = ocq_bus_message(kind, fcinfo);
	Jsonb	   *answer = ocq_bus_send(&message);

	if (answer == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(answer);
}

/*
 * command_send(command_type text, payload jsonb, command_id uuid, tenant_id text)
 * query_send(query_type text, payload jsonb, tenant_id text)
 */
OCQ_BUS_FUNCTIONS(send, send_message);
