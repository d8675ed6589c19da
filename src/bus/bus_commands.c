/*-------------------------------------------------------------------------
 * bus_commands.c
 *	  The built-in commands, as messages.
 *
 * A command's own parameters come from the payload, and of the optional ones that all
 * commands share (store/command.h) expected_version and metadata do, too; command_id and
 * tenant_id are the sender's.  The command's C function is called as a function.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/catalog.h"
#include "base/errors.h"
#include "base/json.h"
#include "base/procedure.h"
#include "bus/bus.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "store/command.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

const OcqBuiltin ocq_bus_commands[] = {
#define ID(name, type) {name, type, .required = true, .is_id = true},
#define REQUIRED(name, type) {name, type, .required = true},
#define OPTIONAL(name, type) {name, type, .required = false},
#define NAMED(name, type) {name, type, .required = false},
#define OCQ_COMMAND(routine, message, answer, comment, ...) \
	{message, #routine, {__VA_ARGS__}, .function = ocq_##routine, .first_shared = ocq_first_shared_##routine},
#include "catalogue/commandlist.h"
};

/* What the answer repeats. */
#define ID(name, type) + 1
#define REQUIRED(name, type)
#define OPTIONAL(name, type)
#define NAMED(name, type)
#define OCQ_COMMAND(routine, message, answer, comment, ...) \
	StaticAssertDecl((0 __VA_ARGS__) == 1, #routine " has one id");
#include "catalogue/commandlist.h"

const int	ocq_bus_command_count = lengthof(ocq_bus_commands);

/* The keys that the payload of every command may have besides. */
static const OcqParameter shared_parameters[] = {
	{"expected_version", INT4OID, .required = false},
	{"metadata", JSONBOID, .required = false}
};

#define MAX_PAYLOAD (OCQ_MAX_PARAMETERS + (int) lengthof(shared_parameters))
#define MAX_ARGS (OCQ_MAX_PARAMETERS + OCQ_NUM_SHARED_ARGS + 1)

/* argument_of returns the number of the procedure's argument that a parameter is. */
static int
argument_of(const OcqBuiltin *builtin, int parameter)
{
	return parameter < builtin->first_shared ? parameter : parameter + OCQ_NUM_SHARED_ARGS;
}

/* read_payload fills in the command's own arguments, and behind them the shared ones. */
static int
read_payload(const OcqBuiltin *builtin, const OcqMessage *message, NullableDatum *arguments)
{
	int			count = ocq_builtin_count_parameters(builtin);
	OcqParameter parameters[MAX_PAYLOAD];

	memcpy(parameters, builtin->parameters, sizeof(OcqParameter) * count);
	memcpy(&parameters[count], shared_parameters, sizeof(shared_parameters));
	(void) ocq_payload_read(message, parameters, count + lengthof(shared_parameters), arguments, MAX_PAYLOAD);
	return count;
}

/* find_procedure looks for the answering variant, whose first parameter is an identifier. */
static Oid
find_procedure(const OcqBuiltin *builtin)
{
	static const Oid shared_types[] = {
#define OCQ_SHARED_ARGUMENT(symbol, name, type) type,
#include "catalogue/commandlist.h"
	};
	int			count = ocq_builtin_count_parameters(builtin);
	Oid			schema = get_namespace_oid(OCQ_SCHEMA, false);
	Oid			types[MAX_ARGS];

	types[0] = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("identifier"),
							   ObjectIdGetDatum(schema));
	for (int i = 1; i < count; i++)
		types[argument_of(builtin, i)] = builtin->parameters[i].type;
	memcpy(&types[builtin->first_shared], shared_types, sizeof(shared_types));
	types[count + OCQ_NUM_SHARED_ARGS] = INT4OID;
	return GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum(builtin->routine),
						   PointerGetDatum(buildoidvector(types, count + OCQ_NUM_SHARED_ARGS + 1)),
						   ObjectIdGetDatum(schema));
}

/* A role that may not CALL the procedure may not go round it by the bus. */
static void
check_privilege(const OcqBuiltin *builtin)
{
	Oid			procedure = find_procedure(builtin);

	if (!OidIsValid(procedure))
		elog(ERROR, "there is no procedure \"%s\" of the bus's parameters", builtin->routine);
	if (!ocq_may_execute(procedure, GetUserId()))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_PROCEDURE, builtin->routine);
}

/* ocq_bus_command_check reports the errors that can be found without running the command. */
void
ocq_bus_command_check(const OcqBuiltin *builtin, const OcqMessage *message)
{
	NullableDatum arguments[MAX_PAYLOAD];

	check_privilege(builtin);
	(void) read_payload(builtin, message, arguments);
}

static Jsonb *
make_answer(const char *id_name, text *id, int32 version)
{
	JsonbParseState *state = NULL;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	ocq_json_push_text(&state, id_name, id);
	ocq_json_push_int64(&state, "version", version);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

static int
id_parameter(const OcqBuiltin *builtin)
{
	int			i = 0;

	while (!builtin->parameters[i].is_id)
		i++;
	return i;
}

static NullableDatum
pointer_argument(void *pointer)
{
	return (NullableDatum) {PointerGetDatum(pointer), pointer == NULL};
}

/* ocq_bus_command_run runs the command as the procedure would. */
Jsonb *
ocq_bus_command_run(const OcqBuiltin *builtin, const OcqMessage *message)
{
	NullableDatum payload[MAX_PAYLOAD];
	int			shared = builtin->first_shared;
	int			id = id_parameter(builtin);
	int32		version;
	int			count;

	LOCAL_FCINFO(fcinfo, MAX_ARGS);

	check_privilege(builtin);
	ocq_procedure_require_writable(builtin->routine);
	count = read_payload(builtin, message, payload);

	InitFunctionCallInfoData(*fcinfo, NULL, count + OCQ_NUM_SHARED_ARGS, InvalidOid, NULL, NULL);
	for (int i = 0; i < count; i++)
		fcinfo->args[argument_of(builtin, i)] = payload[i];
	fcinfo->args[shared + OCQ_ARG_COMMAND_ID] = pointer_argument(message->id);
	fcinfo->args[shared + OCQ_ARG_EXPECTED_VERSION] = payload[count];
	fcinfo->args[shared + OCQ_ARG_METADATA] = payload[count + 1];
	fcinfo->args[shared + OCQ_ARG_TENANT_ID] = pointer_argument(message->tenant_id);
	version = DatumGetInt32(builtin->function(fcinfo));

	return make_answer(builtin->parameters[id].name, DatumGetTextPP(payload[id].value), version);
}
