/*-------------------------------------------------------------------------
 * command.c
 *	  The parts that all commands share: the envelope, and the steps around deciding.
 *
 * A command procedure
 *	1. checks its own arguments,
 *	2. ocq_command_begin: enters the scope, locks the stream,
 *	3. reads the stream (a create does not: the primary key is its check),
 *	4. ocq_command_was_handled: the same command_id again has its first answer,
 *	5. ocq_command_check_expected,
 *	6. decides, and ocq_command_append,
 *	7. ocq_command_finish: leaves the scope, answers with the version.
 *
 * The same C function is behind both procedures of a command, behind its function in
 * order_api, and is called by the bus.  They differ in the answer alone.
 *
 * The scope of a command_id is the stream.  The stream is read anyway, so
 * deduplication needs no table and no index.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "base/errors.h"
#include "base/procedure.h"
#include "base/statement.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "store/command.h"
#include "tenant/tenant.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#define OCQ_COMMAND(routine, message, answer, comment, ...) PG_FUNCTION_INFO_V1(ocq_##routine);
#include "catalogue/commandlist.h"

/*
 * metadata_uuid returns the uuid that stands at a key of metadata, or NULL if
 * there is none.
 */
static pg_uuid_t *
metadata_uuid(Jsonb *metadata, const char *key)
{
	JsonbValue	value;
	char	   *string;
	const char *hex;
	int			digits = 0;

	if (getKeyJsonValueFromContainer(&metadata->root, key, strlen(key), &value) == NULL ||
		value.type == jbvNull)
		return NULL;

	/* uuid_in would answer a bad one with an error of another class. */
	string = value.type == jbvString ?
		pnstrdup(value.val.string.val, value.val.string.len) : pstrdup("");
	for (hex = string; *hex != '\0'; hex++)
		digits += isxdigit((unsigned char) *hex) ? 1 : 0;
	if (digits != 2 * UUID_LEN || strspn(string, "0123456789abcdefABCDEF-") != 36 ||
		strlen(string) != 36 || string[8] != '-' || string[13] != '-' ||
		string[18] != '-' || string[23] != '-')
		ereport(ERROR,
				(errcode(OCQ_ERR_INVALID_METADATA),
				 errmsg("\"%s\" of metadata must be a uuid", key),
				 errdetail("The keys correlation_id and causation_id of metadata go to columns of type uuid."),
				 errhint("Pass a string such as \"00000000-0000-0000-0000-000000000000\", or leave the key out.")));
	return DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(string)));
}

static void
read_metadata(OcqEnvelope *envelope, Jsonb *metadata)
{
	if (!JB_ROOT_IS_OBJECT(metadata))
		ereport(ERROR,
				(errcode(OCQ_ERR_INVALID_METADATA),
				 errmsg("metadata must be a JSON object"),
				 errdetail("It is %s.", JB_ROOT_IS_SCALAR(metadata) ? "a scalar" : "an array"),
				 errhint("Pass an object such as {\"source\": \"web\"}, or leave metadata out.")));
	envelope->metadata = metadata;
	envelope->correlation_id = metadata_uuid(metadata, "correlation_id");
	envelope->causation_id = metadata_uuid(metadata, "causation_id");
}

/* routine_name is for messages; a command that comes over the bus has no call of its own. */
static const char *
routine_name(FunctionCallInfo fcinfo)
{
	return fcinfo->flinfo == NULL ? "the command" : get_func_name(fcinfo->flinfo->fn_oid);
}

/*
 * ocq_command_begin reads the arguments that all commands share, enters the scope and
 * locks the stream.
 */
void
ocq_command_begin(OcqCommand *command, FunctionCallInfo fcinfo, OcqSignature signature,
				  const char *aggregate_type, text *aggregate_id)
{
	int			expected_version = signature.first_shared + OCQ_ARG_EXPECTED_VERSION;
	int			command_id = signature.first_shared + OCQ_ARG_COMMAND_ID;
	int			metadata = signature.first_shared + OCQ_ARG_METADATA;

	if (XactReadOnly)
		ocq_procedure_require_writable(routine_name(fcinfo));
	memset(command, 0, sizeof(OcqCommand));
	command->stream.tenant_id = ocq_tenant_resolve(fcinfo, signature.first_shared + OCQ_ARG_TENANT_ID);
	command->stream.aggregate_type = cstring_to_text(aggregate_type);
	command->stream.aggregate_id = aggregate_id;
	command->answers = PG_NARGS() > signature.nargs;
	if (!PG_ARGISNULL(expected_version))
	{
		command->has_expected_version = true;
		command->expected_version = PG_GETARG_INT32(expected_version);
	}
	if (!PG_ARGISNULL(command_id))
		command->envelope.command_id = PG_GETARG_UUID_P(command_id);
	if (!PG_ARGISNULL(metadata))
		read_metadata(&command->envelope, PG_GETARG_JSONB_P(metadata));

	ocq_scope_enter(&command->scope);
	ocq_stream_lock(&command->stream);
}

static bool
same_value(JsonbValue *a, JsonbValue *b)
{
	Jsonb	   *left = JsonbValueToJsonb(a);
	Jsonb	   *right = JsonbValueToJsonb(b);

	return compareJsonbContainers(&left->root, &right->root) == 0;
}

/* has_values tells whether each key of one object is in another, with the same value. */
static bool
has_values(Jsonb *object, Jsonb *keys)
{
	JsonbIterator *iterator = JsonbIteratorInit(&keys->root);
	JsonbIteratorToken token;
	JsonbValue	key;
	JsonbValue	wanted;
	JsonbValue	found;

	while ((token = JsonbIteratorNext(&iterator, &key, true)) != WJB_DONE)
	{
		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&iterator, &wanted, true);
		if (getKeyJsonValueFromContainer(&object->root, key.val.string.val, key.val.string.len,
										 &found) == NULL ||
			!same_value(&wanted, &found))
			return false;
	}
	return true;
}

static bool
same_event(const OcqEvent *old, const OcqNewEvent *new)
{
	if (!ocq_text_equal(old->type, new->type))
		return false;
	if (new->is_partial)
		return new->data == NULL || has_values(old->data, new->data);
	return compareJsonbContainers(&old->data->root, &new->data->root) == 0;
}

static bool
has_command_id(const OcqEvent *event, const OcqCommand *command)
{
	return event->command_id != NULL &&
		memcmp(event->command_id, command->envelope.command_id, UUID_LEN) == 0;
}

/*
 * ocq_command_was_handled tells whether the stream has events of this command,
 * and the version after them.  Other events than those that the command would
 * append now mean that its id was used for something else, which is an error.
 * With has_consequences more events may follow, which depend on the state that the
 * stream had.
 */
bool
ocq_command_was_handled(const OcqCommand *command, OcqEvents stream, const OcqNewEvent *events,
						int count, bool has_consequences, int32 *version)
{
	int			found = 0;
	bool		same = true;

	if (command->envelope.command_id == NULL)
		return false;

	for (int i = 0; i < stream.count; i++)
	{
		const OcqEvent *event = &stream.items[i];

		if (!has_command_id(event, command))
			continue;
		same = same && (found < count ? same_event(event, &events[found]) : has_consequences);
		*version = event->version;
		found++;
	}
	if (found == 0)
		return false;
	if (!same || found < count)
		ereport(ERROR,
				(errcode(OCQ_ERR_COMMAND_ID_REUSED),
				 errmsg("command_id %s was used for another command",
						DatumGetCString(DirectFunctionCall1(uuid_out,
															UUIDPGetDatum(command->envelope.command_id)))),
				 errdetail("%s has version %d from a command with this id and other arguments.",
						   ocq_stream_name(&command->stream), *version),
				 errhint("Use a new command_id for a new command; repeat one only with the same arguments.")));
	return true;
}

/* ocq_command_check_expected raises an error if the stream is not where the caller saw it. */
void
ocq_command_check_expected(const OcqCommand *command, int32 version)
{
	if (!command->has_expected_version || command->expected_version == version)
		return;
	ereport(ERROR,
			(errcode(OCQ_ERR_EXPECTED_VERSION),
			 errmsg("expected version %d, but the stream is at version %d",
					command->expected_version, version),
			 errdetail("The stream is %s.", ocq_stream_name(&command->stream)),
			 errhint("Read it again, decide again, and send the command with the version that you read.")));
}

/* report_changed is for a stream whose lock we hold: only a writer without that lock gets in between. */
pg_noreturn static void
report_changed(const OcqAppend *append)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not append to a stream that was changed meanwhile"),
			 errdetail("Version %d of %s exists already.",
					   append->after_version + 1, ocq_stream_name(append->stream)),
			 errhint("Repeat the transaction.")));
}

/*
 * ocq_command_append appends the events that the command has decided on.  known is for the row trigger
 * (OcqAppend); it may be NULL.
 */
void
ocq_command_append(const OcqCommand *command, const struct OcqOrderKnown *known, int32 after_version,
				   TimestampTz not_before, const OcqNewEvent *events, int count)
{
	OcqAppend	append = {
		.stream = &command->stream, .known = known, .after_version = after_version,
		.events = events, .count = count, .report_taken = report_changed
	};
	OcqEvent	last = {0};

	if (ocq_append(&append, not_before, &command->envelope))
		return;

	(void) ocq_stream_read_last(&command->stream, &last);
	if (last.version <= after_version)
		ocq_append_report_lost(&command->stream, count, 0);
	report_changed(&append);
}

/* answer_descriptor is the row type of a procedure with INOUT version int. */
static TupleDesc
answer_descriptor(void)
{
	static TupleDesc descriptor = NULL;

	if (descriptor == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
		TupleDesc	fresh = CreateTemplateTupleDesc(1);

		TupleDescInitEntry(fresh, 1, "version", INT4OID, -1, 0);
		descriptor = BlessTupleDesc(fresh);
		MemoryContextSwitchTo(old);
	}
	return descriptor;
}

/*
 * ocq_command_finish leaves the scope and makes the result: a function's is the version, a
 * procedure's a row of it, or nothing.  Only CALL passes a CallContext.
 */
Datum
ocq_command_finish(OcqCommand *command, FunctionCallInfo fcinfo, int32 version)
{
	Datum		values[] = {Int32GetDatum(version)};
	bool		nulls[] = {false};

	ocq_scope_leave(&command->scope);
	if (fcinfo->context == NULL || !IsA(fcinfo->context, CallContext))
		PG_RETURN_INT32(version);
	if (!command->answers)
		PG_RETURN_VOID();
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(answer_descriptor(), values, nulls)));
}
