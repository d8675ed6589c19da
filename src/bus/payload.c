/*-------------------------------------------------------------------------
 * payload.c
 *	  The keys of payloads: which there are, and what they hold.
 *
 * A payload is a JSON object whose keys are the parameters of what it is sent to.
 * A key that is unknown, missing or of another type is an error that names it.
 * null stands for a key that is left out.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/errors.h"
#include "bus/bus.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "tenant/tenant.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

int
ocq_builtin_count_parameters(const OcqBuiltin *builtin)
{
	int			count = 0;

	while (count < OCQ_MAX_PARAMETERS && builtin->parameters[count].name != NULL)
		count++;
	return count;
}

static char *
describe(const OcqMessage *message)
{
	return psprintf("%s \"%s\"", ocq_bus_kind_name(message->kind), text_to_cstring(message->type));
}

static char *
list_keys(const OcqParameter *parameters, int count)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < count; i++)
		appendStringInfo(&names, "%s%s%s", i == 0 ? "" : ", ", parameters[i].name,
						 parameters[i].required ? "" : " (optional)");
	return names.data;
}

pg_noreturn static void
refuse_key(const OcqMessage *message, const OcqParameter *parameters, int count, const char *problem)
{
	ereport(ERROR,
			(errcode(OCQ_ERR_INVALID_PAYLOAD),
			 errmsg("%s", problem),
			 errdetail("The payload is that of %s.", describe(message)),
			 errhint("Its keys are: %s.", list_keys(parameters, count))));
}

void
ocq_payload_check_object(const OcqMessage *message)
{
	const char *problem = message->payload == NULL ? "null" : "no JSON object";

	if (message->payload != NULL && JB_ROOT_IS_OBJECT(message->payload))
		return;
	ereport(ERROR,
			(errcode(OCQ_ERR_INVALID_PAYLOAD),
			 errmsg("the payload of %s is %s", describe(message), problem),
			 errdetail("A payload is a JSON object of the parameters by their names."),
			 errhint("Pass an object such as {\"order_id\": \"o-1\"}.")));
}

static void
check_unknown_keys(const OcqMessage *message, const OcqParameter *parameters, int count)
{
	JsonbIterator *iterator = JsonbIteratorInit(&message->payload->root);
	JsonbIteratorToken token;
	JsonbValue	value;

	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		bool		known = false;

		if (token != WJB_KEY)
			continue;
		for (int i = 0; i < count && !known; i++)
			known = (size_t) value.val.string.len == strlen(parameters[i].name) &&
				memcmp(value.val.string.val, parameters[i].name, value.val.string.len) == 0;
		if (!known)
			refuse_key(message, parameters, count,
					   psprintf("unknown key \"%s\" in the payload",
								ocq_tenant_clip(value.val.string.val, value.val.string.len)));
	}
}

/* read_whole returns false if the number has a fraction, or does not fit into int8. */
static bool
read_whole(Numeric number, int64 *whole)
{
	Datum		trunc = DirectFunctionCall2(numeric_trunc, NumericGetDatum(number), Int32GetDatum(0));
	Datum		least = NumericGetDatum(int64_to_numeric(PG_INT64_MIN));
	Datum		greatest = NumericGetDatum(int64_to_numeric(PG_INT64_MAX));

	if (!DatumGetBool(DirectFunctionCall2(numeric_eq, trunc, NumericGetDatum(number))) ||
		DatumGetBool(DirectFunctionCall2(numeric_lt, trunc, least)) ||
		DatumGetBool(DirectFunctionCall2(numeric_gt, trunc, greatest)))
		return false;
	*whole = DatumGetInt64(DirectFunctionCall1(numeric_int8, trunc));
	return true;
}

/* read_value returns what the key must be if the value is something else, or NULL. */
static const char *
read_value(JsonbValue *value, Oid type, Datum *result)
{
	int64		whole;

	switch (type)
	{
		case TEXTOID:
			if (value->type != jbvString)
				return "a string";
			*result = PointerGetDatum(cstring_to_text_with_len(value->val.string.val,
															   value->val.string.len));
			return NULL;
		case INT4OID:
			if (value->type != jbvNumeric || !read_whole(value->val.numeric, &whole) ||
				whole < PG_INT32_MIN || whole > PG_INT32_MAX)
				return "a whole number of 32 bits";
			*result = Int32GetDatum((int32) whole);
			return NULL;
		case INT8OID:
			if (value->type != jbvNumeric || !read_whole(value->val.numeric, &whole))
				return "a whole number of 64 bits";
			*result = Int64GetDatum(whole);
			return NULL;
		case JSONBOID:
			*result = JsonbPGetDatum(JsonbValueToJsonb(value));
			return NULL;
		default:
			elog(ERROR, "a payload has no values of type %u", type);
	}
}

/*
 * ocq_payload_read fills in the arguments from the keys of the same number, in the
 * caller's memory.
 */
void
ocq_payload_read(const OcqMessage *message, const OcqParameter *parameters, int count,
				 NullableDatum *arguments)
{
	ocq_payload_check_object(message);
	check_unknown_keys(message, parameters, count);

	for (int i = 0; i < count; i++)
	{
		const char *name = parameters[i].name;
		const char *wanted;
		JsonbValue	value;
		bool		found = getKeyJsonValueFromContainer(&message->payload->root, name, strlen(name),
														 &value) != NULL;

		arguments[i].isnull = !found || value.type == jbvNull;
		if (arguments[i].isnull && parameters[i].required)
			refuse_key(message, parameters, count,
					   psprintf("key \"%s\" of the payload %s", name, found ? "must not be null" : "is missing"));
		if (arguments[i].isnull)
			continue;
		wanted = read_value(&value, parameters[i].type, &arguments[i].value);
		if (wanted != NULL)
			refuse_key(message, parameters, count,
					   psprintf("key \"%s\" of the payload must be %s", name, wanted));
	}
}
