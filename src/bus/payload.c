/*-------------------------------------------------------------------------
 * payload.c
 *	  The keys of payloads, and their values.
 *
 * A payload is a JSON object whose keys are the parameters of the command or query that
 * it is sent to.  A key that is unknown, missing or of another type is an error that
 * names it.  null stands for a key that is left out.  A parameter may be an object
 * itself, and then its keys are arguments.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/argument.h"
#include "base/errors.h"
#include "base/json.h"
#include "bus/bus.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
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

/* An object that is being read: the payload, or one in it. */
typedef struct Object
{
	const OcqMessage *message;
	const char *name;			/* for messages */
	JsonbContainer *container;	/* NULL: it was left out */
	const OcqParameter *parameters;
	int			count;
} Object;

/* The arguments that have not been filled in. */
typedef struct Arguments
{
	NullableDatum *next;
	NullableDatum *end;
} Arguments;

static char *
list_keys(const Object *object)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < object->count; i++)
		appendStringInfo(&names, "%s%s%s", i == 0 ? "" : ", ", object->parameters[i].name,
						 object->parameters[i].required ? "" : " (optional)");
	return names.data;
}

pg_noreturn static void
refuse_key(const Object *object, const char *problem)
{
	ereport(ERROR,
			(errcode(OCQ_ERR_INVALID_PAYLOAD),
			 errmsg("%s", problem),
			 errdetail("The payload is that of %s.", describe(object->message)),
			 errhint("Its keys are: %s.", list_keys(object))));
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
check_unknown_keys(const Object *object)
{
	JsonbIterator *iterator = JsonbIteratorInit(object->container);
	JsonbIteratorToken token;
	JsonbValue	value;

	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		bool		known = false;

		if (token != WJB_KEY)
			continue;
		for (int i = 0; i < object->count && !known; i++)
			known = ocq_json_key_is(&value, object->parameters[i].name);
		if (!known)
			refuse_key(object, psprintf("unknown key \"%s\" in %s",
										ocq_argument_clip(value.val.string.val, value.val.string.len),
										object->name));
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

static text *
make_text(const JsonbValue *value)
{
	return cstring_to_text_with_len(value->val.string.val, value->val.string.len);
}

/* read_texts returns false if the value is no array of strings. */
static bool
read_texts(const JsonbValue *value, Datum *result)
{
	JsonbContainer *array = value->val.binary.data;
	Datum	   *elements;

	if (value->type != jbvBinary || !JsonContainerIsArray(array))
		return false;
	elements = palloc_array(Datum, JsonContainerSize(array) + 1);
	for (uint32 i = 0; i < JsonContainerSize(array); i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(array, i);

		if (element->type != jbvString)
			return false;
		elements[i] = PointerGetDatum(make_text(element));
	}
	*result = ocq_array(elements, NULL, JsonContainerSize(array), TEXTOID);
	return true;
}

static void
add_key_to_context(void *arg)
{
	errcontext("key \"%s\" of the payload", (const char *) arg);
}

/* read_time leaves the error's description to PostgreSQL, and adds the key's name. */
static Datum
read_time(const JsonbValue *value, const char *name)
{
	ErrorContextCallback context = {
		.previous = error_context_stack,
		.callback = add_key_to_context,
		.arg = unconstify(char *, name)
	};
	Datum		result;

	error_context_stack = &context;
	result = DirectFunctionCall3(timestamptz_in, CStringGetDatum(text_to_cstring(make_text(value))),
								 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	error_context_stack = context.previous;
	return result;
}

/*
 * read_value returns a description of the value that the key must have if it has another
 * one, or NULL.
 */
static const char *
read_value(JsonbValue *value, const OcqParameter *parameter, Datum *result)
{
	int64		whole;

	switch (parameter->type)
	{
		case TEXTOID:
			if (value->type != jbvString)
				return "a string";
			*result = PointerGetDatum(make_text(value));
			return NULL;
		case TEXTARRAYOID:
			return read_texts(value, result) ? NULL : "an array of strings";
		case INT4OID:
			if (value->type != jbvNumeric || !read_whole(value->val.numeric, &whole) ||
				whole < PG_INT32_MIN || whole > PG_INT32_MAX)
				return "a whole number of 32 bits";
			*result = Int32GetDatum((int32) whole);
			return NULL;
		case NUMERICOID:
			if (value->type != jbvNumeric)
				return "a number";
			*result = NumericGetDatum(value->val.numeric);
			return NULL;
		case TIMESTAMPTZOID:
			if (value->type != jbvString)
				return "a string that says a time";
			*result = read_time(value, parameter->name);
			return NULL;
		case JSONBOID:
			*result = JsonbPGetDatum(JsonbValueToJsonb(value));
			return NULL;
		default:
			elog(ERROR, "a payload has no values of type %u", parameter->type);
	}
}

static void read_object(const Object *object, Arguments *arguments);

/* read_members reads an object within the object. */
static void
read_members(const Object *object, const OcqParameter *parameter, const JsonbValue *value,
			 Arguments *arguments)
{
	Object		inner = {
		.message = object->message,
		.name = psprintf("\"%s\" of %s", parameter->name, object->name),
		.parameters = parameter->members
	};

	if (value != NULL)
	{
		if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
			refuse_key(object, psprintf("key \"%s\" of %s must be an object",
										parameter->name, object->name));
		inner.container = value->val.binary.data;
	}
	while (inner.parameters[inner.count].name != NULL)
		inner.count++;
	read_object(&inner, arguments);
}

static NullableDatum *
next_argument(Arguments *arguments)
{
	if (arguments->next == arguments->end)
		elog(ERROR, "a payload has more arguments than there is room for");
	return arguments->next++;
}

/* read_object fills in the next arguments, one for each parameter, or for each of its members. */
static void
read_object(const Object *object, Arguments *arguments)
{
	if (object->container != NULL)
		check_unknown_keys(object);

	for (int i = 0; i < object->count; i++)
	{
		const OcqParameter *parameter = &object->parameters[i];
		const char *name = parameter->name;
		const char *wanted;
		NullableDatum *argument;
		JsonbValue	value;
		bool		found = object->container != NULL &&
			getKeyJsonValueFromContainer(object->container, name, strlen(name), &value) != NULL;
		bool		isnull = !found || value.type == jbvNull;

		if (isnull && parameter->required && object->container != NULL)
			refuse_key(object, psprintf("key \"%s\" of %s %s", name, object->name,
										found ? "must not be null" : "is missing"));
		if (parameter->members != NULL)
		{
			read_members(object, parameter, isnull ? NULL : &value, arguments);
			continue;
		}
		argument = next_argument(arguments);
		*argument = (NullableDatum) {(Datum) 0, isnull};
		wanted = isnull ? NULL : read_value(&value, parameter, &argument->value);
		if (wanted != NULL)
			refuse_key(object, psprintf("key \"%s\" of %s must be %s", name, object->name, wanted));
	}
}

/*
 * ocq_payload_read fills in the arguments in the order of the parameters, in the
 * caller's memory, and returns how many they are.
 */
int
ocq_payload_read(const OcqMessage *message, const OcqParameter *parameters, int count,
				 NullableDatum *arguments, int max_arguments)
{
	Object		payload = {
		.message = message, .name = "the payload", .parameters = parameters, .count = count
	};
	Arguments	rest = {arguments, arguments + max_arguments};

	ocq_payload_check_object(message);
	payload.container = &message->payload->root;
	read_object(&payload, &rest);
	return (int) (rest.next - arguments);
}
