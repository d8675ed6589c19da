/*-------------------------------------------------------------------------
 * commands.c
 *	  The built-in commands, as messages.
 *
 * Each line of the table is a command procedure: its own parameters come from the
 * payload, and of the optional ones that all commands share (store/command.c)
 * expected_version and metadata do, too; command_id and tenant_id are the
 * sender's.  The procedure's C function is called in its answering variant.
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
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

extern Datum ocq_order_create(PG_FUNCTION_ARGS);
extern Datum ocq_order_update(PG_FUNCTION_ARGS);
extern Datum ocq_order_cancel(PG_FUNCTION_ARGS);
extern Datum ocq_order_complete(PG_FUNCTION_ARGS);
extern Datum ocq_stock_receive(PG_FUNCTION_ARGS);
extern Datum ocq_inventory_reserve(PG_FUNCTION_ARGS);
extern Datum ocq_inventory_adjust(PG_FUNCTION_ARGS);
extern Datum ocq_inventory_release(PG_FUNCTION_ARGS);
extern Datum ocq_payment_process(PG_FUNCTION_ARGS);
extern Datum ocq_payment_complete(PG_FUNCTION_ARGS);
extern Datum ocq_payment_fail(PG_FUNCTION_ARGS);
extern Datum ocq_payment_refund(PG_FUNCTION_ARGS);
extern Datum ocq_shipping_start(PG_FUNCTION_ARGS);
extern Datum ocq_customer_put(PG_FUNCTION_ARGS);
extern Datum ocq_product_put(PG_FUNCTION_ARGS);
extern Datum ocq_event_append(PG_FUNCTION_ARGS);

#define REQUIRED(name, type) {name, type, true, NULL}
#define OPTIONAL(name, type) {name, type, false, NULL}
#define COMMAND(type, routine, ...) {type, #routine, {__VA_ARGS__}, .function = ocq_##routine}

const OcqBuiltin ocq_bus_commands[] = {
	COMMAND("CreateOrder", order_create, REQUIRED("order_id", TEXTOID),
			REQUIRED("customer_id", TEXTOID), REQUIRED("items", JSONBOID)),
	COMMAND("UpdateOrder", order_update, REQUIRED("order_id", TEXTOID),
			REQUIRED("items", JSONBOID), OPTIONAL("reason", TEXTOID)),
	COMMAND("CancelOrder", order_cancel, REQUIRED("order_id", TEXTOID), OPTIONAL("reason", TEXTOID)),
	COMMAND("CompleteOrder", order_complete, REQUIRED("order_id", TEXTOID)),
	COMMAND("ReceiveStock", stock_receive, REQUIRED("product_id", TEXTOID),
			REQUIRED("quantity", INT4OID)),
	COMMAND("ReserveInventory", inventory_reserve, REQUIRED("order_id", TEXTOID)),
	COMMAND("AdjustInventory", inventory_adjust, REQUIRED("order_id", TEXTOID),
			REQUIRED("items", JSONBOID)),
	COMMAND("ReleaseInventory", inventory_release, REQUIRED("order_id", TEXTOID)),
	COMMAND("ProcessPayment", payment_process, REQUIRED("order_id", TEXTOID)),
	COMMAND("CompletePayment", payment_complete, REQUIRED("order_id", TEXTOID),
			OPTIONAL("reference", TEXTOID)),
	COMMAND("FailPayment", payment_fail, REQUIRED("order_id", TEXTOID), OPTIONAL("reason", TEXTOID)),
	COMMAND("RefundPayment", payment_refund, REQUIRED("order_id", TEXTOID)),
	COMMAND("StartShipping", shipping_start, REQUIRED("order_id", TEXTOID)),
	COMMAND("PutCustomer", customer_put, REQUIRED("customer_id", TEXTOID),
			REQUIRED("name", TEXTOID), REQUIRED("email", TEXTOID)),
	COMMAND("PutProduct", product_put, REQUIRED("product_id", TEXTOID),
			REQUIRED("name", TEXTOID), REQUIRED("category", TEXTOID)),
	{"AppendEvents", "event_append", {REQUIRED("aggregate_type", TEXTOID), REQUIRED("aggregate_id", TEXTOID),
	REQUIRED("events", JSONBOID)}, .function = ocq_event_append, .id_parameter = 1},
};

const int	ocq_bus_command_count = lengthof(ocq_bus_commands);

/* What the payload of every command may have besides. */
static const OcqParameter shared_parameters[] = {
	OPTIONAL("expected_version", INT4OID),
	OPTIONAL("metadata", JSONBOID)
};

/* The optional arguments of a command procedure, after its own. */
enum
{
	ARG_EXPECTED_VERSION,
	ARG_COMMAND_ID,
	ARG_METADATA,
	ARG_TENANT_ID,
	ARG_VERSION,
	NUM_OPTIONAL_ARGS
};

#define MAX_ARGS (OCQ_MAX_PARAMETERS + NUM_OPTIONAL_ARGS)

/* read_payload fills in the command's own arguments, and behind them the shared ones. */
static int
read_payload(const OcqBuiltin *builtin, const OcqMessage *message, NullableDatum *arguments)
{
	int			count = ocq_builtin_count_parameters(builtin);
	OcqParameter parameters[OCQ_MAX_PARAMETERS + lengthof(shared_parameters)];

	memcpy(parameters, builtin->parameters, sizeof(OcqParameter) * count);
	memcpy(&parameters[count], shared_parameters, sizeof(shared_parameters));
	(void) ocq_payload_read(message, parameters, count + lengthof(shared_parameters), arguments);
	return count;
}

/* find_procedure looks for the answering variant, whose first parameter is an identifier. */
static Oid
find_procedure(const OcqBuiltin *builtin)
{
	static const Oid optional_types[] = {INT4OID, UUIDOID, JSONBOID, TEXTOID, INT4OID};
	int			count = ocq_builtin_count_parameters(builtin);
	Oid			schema = get_namespace_oid(OCQ_SCHEMA, false);
	Oid			types[MAX_ARGS];

	types[0] = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("identifier"),
							   ObjectIdGetDatum(schema));
	for (int i = 1; i < count; i++)
		types[i] = builtin->parameters[i].type;
	memcpy(&types[count], optional_types, sizeof(optional_types));
	return GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum(builtin->routine),
						   PointerGetDatum(buildoidvector(types, count + NUM_OPTIONAL_ARGS)),
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

/* ocq_bus_command_check finds what can be found wrong without running the command. */
void
ocq_bus_command_check(const OcqBuiltin *builtin, const OcqMessage *message)
{
	NullableDatum arguments[OCQ_MAX_PARAMETERS + lengthof(shared_parameters)];

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

static NullableDatum
pointer_argument(void *pointer)
{
	return (NullableDatum) {PointerGetDatum(pointer), pointer == NULL};
}

/* ocq_bus_command_run runs the command as the procedure would. */
Jsonb *
ocq_bus_command_run(const OcqBuiltin *builtin, const OcqMessage *message)
{
	NullableDatum payload[OCQ_MAX_PARAMETERS + lengthof(shared_parameters)];
	const char *id_name = builtin->parameters[builtin->id_parameter].name;
	bool		isnull;
	Datum		row;
	int			count;

	LOCAL_FCINFO(fcinfo, MAX_ARGS);

	check_privilege(builtin);
	ocq_procedure_require_writable(builtin->routine);
	count = read_payload(builtin, message, payload);

	InitFunctionCallInfoData(*fcinfo, NULL, count + NUM_OPTIONAL_ARGS, InvalidOid, NULL, NULL);
	memcpy(fcinfo->args, payload, sizeof(NullableDatum) * count);
	fcinfo->args[count + ARG_EXPECTED_VERSION] = payload[count];
	fcinfo->args[count + ARG_COMMAND_ID] = pointer_argument(message->id);
	fcinfo->args[count + ARG_METADATA] = payload[count + 1];
	fcinfo->args[count + ARG_TENANT_ID] = pointer_argument(message->tenant_id);
	fcinfo->args[count + ARG_VERSION] = (NullableDatum) {(Datum) 0, true};
	row = builtin->function(fcinfo);

	return make_answer(id_name, DatumGetTextPP(payload[builtin->id_parameter].value),
					   DatumGetInt32(GetAttributeByNum(DatumGetHeapTupleHeader(row), 1, &isnull)));
}
