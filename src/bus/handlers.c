/*-------------------------------------------------------------------------
 * handlers.c
 *	  The handlers of the buses, and calling those that users have registered.
 *
 * A registration names its function by schema, name and argument types, never by OID, so
 * that it survives a dump and a new version of the function.  It also names the
 * function's owner: a function of the same name that another role has made is not called,
 * as it would run as each caller.  A role that may register does so for functions of its
 * own; a caller needs EXECUTE on them like on any other.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/argument.h"
#include "base/errors.h"
#include "base/json.h"
#include "base/procedure.h"
#include "base/role_ref.h"
#include "base/scope.h"
#include "bus/bus.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "store/store.h"
#include "tenant/tenant.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(ocq_bus_builtin_handlers);

static OcqStatement select_handler =
OCQ_STATEMENT("SELECT handler, owner FROM order_cqrs.bus_registration"
			  " WHERE kind = $1 AND type = $2",
			  TEXTOID, TEXTOID);

/* It returns the handler that there is, also if that is another one. */
static OcqStatement insert_handler =
OCQ_STATEMENT("INSERT INTO order_cqrs.bus_registration AS r"
			  " (kind, type, handler, owner, registered_by) VALUES ($1, $2, $3, $4, $5)"
			  " ON CONFLICT (kind, type) DO UPDATE SET handler = r.handler"
			  " RETURNING handler, owner",
			  TEXTOID, TEXTOID, TEXTOID, OIDOID, TEXTOID);

static OcqStatement delete_handler =
OCQ_STATEMENT("DELETE FROM order_cqrs.bus_registration WHERE kind = $1 AND type = $2", TEXTOID, TEXTOID);

static const OcqBuiltin *
builtins(OcqBusKind kind, int *count)
{
	*count = kind == OCQ_BUS_COMMAND ? ocq_bus_command_count : ocq_bus_query_count;
	return kind == OCQ_BUS_COMMAND ? ocq_bus_commands : ocq_bus_queries;
}

/* ocq_builtin_find returns NULL if the type is not one of ours. */
const OcqBuiltin *
ocq_builtin_find(OcqBusKind kind, const text *type)
{
	int			count;
	const OcqBuiltin *all = builtins(kind, &count);

	for (int i = 0; i < count; i++)
		if (ocq_text_is(type, all[i].type))
			return &all[i];
	return NULL;
}

/* read_handler reads a row of the last statement, into the caller's memory. */
static OcqHandler *
read_handler(MemoryContext context)
{
	OcqHandler *handler = MemoryContextAlloc(context, sizeof(OcqHandler));

	handler->signature = MemoryContextStrdup(context, TextDatumGetCString(ocq_row_datum(0, 1)));
	handler->owner = DatumGetObjectId(ocq_row_datum(0, 2));
	return handler;
}

/* ocq_handler_find returns a registered handler, or NULL. */
OcqHandler *
ocq_handler_find(OcqBusKind kind, text *type)
{
	MemoryContext caller = CurrentMemoryContext;
	Datum		values[] = {CStringGetTextDatum(ocq_bus_kind_name(kind)), PointerGetDatum(type)};
	OcqHandler *handler = NULL;
	OcqScope	scope;

	ocq_scope_enter(&scope);
	if (ocq_statement_run(&select_handler, values, NULL) > 0)
		handler = read_handler(caller);
	ocq_scope_leave(&scope);
	return handler;
}

static Oid
owner_of(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function with OID %u does not exist", function)));
	owner = ((Form_pg_proc) GETSTRUCT(tuple))->proowner;
	ReleaseSysCache(tuple);
	return owner;
}

static void
check_owner(Oid function, const OcqHandler *handler, const OcqMessage *message)
{
	Oid			owner = owner_of(function);

	if (owner == handler->owner)
		return;
	ereport(ERROR,
			(errcode(OCQ_ERR_HANDLER_OWNER),
			 errmsg("function %s has changed hands", handler->signature),
			 errdetail("It was registered as the handler of %s \"%s\" as a function of %s; now \"%s\" owns it.",
					   ocq_bus_kind_name(message->kind), text_to_cstring(message->type),
					   ocq_role_ref_describe(handler->owner), GetUserNameFromId(owner, false)),
			 errhint("If the new owner can be trusted with all callers, have the owner of the extension call %s_handler_unregister and %s_handler_register.",
					 ocq_bus_kind_name(message->kind), ocq_bus_kind_name(message->kind))));
}

/*
 * find_function looks as the caller: a schema that the caller may not use is an error of
 * PostgreSQL's.
 */
static Oid
find_function(const OcqHandler *handler, const OcqMessage *message)
{
	LOCAL_FCINFO(fcinfo, 1);
	Oid			function;

	InitFunctionCallInfoData(*fcinfo, NULL, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0] = (NullableDatum) {CStringGetTextDatum(handler->signature), false};
	function = DatumGetObjectId(to_regprocedure(fcinfo));
	if (fcinfo->isnull)
		ereport(ERROR,
				(errcode(message->kind == OCQ_BUS_COMMAND ?
						 OCQ_ERR_NO_COMMAND_HANDLER : OCQ_ERR_NO_QUERY_HANDLER),
				 errmsg("function %s does not exist", handler->signature),
				 errdetail("It is registered as the handler of %s \"%s\".",
						   ocq_bus_kind_name(message->kind), text_to_cstring(message->type)),
				 errhint("Create it again, or have the owner of the extension call %s_handler_unregister.",
						 ocq_bus_kind_name(message->kind))));
	check_owner(function, handler, message);
	if (!ocq_may_execute(function, GetUserId()))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FUNCTION, handler->signature);
	InvokeFunctionExecuteHook(function);
	return function;
}

/* make_context builds {"type", "id", "tenant_id", "sender", "actor"}. */
static Jsonb *
make_context(const OcqMessage *message, const text *tenant_id)
{
	JsonbParseState *state = NULL;
	char	   *id = message->id == NULL ? NULL :
		DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(message->id)));
	char	   *sender = GetUserNameFromId(GetSessionUserId(), false);

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	ocq_json_push_text(&state, "type", message->type);
	ocq_json_push_string(&state, "id", id);
	ocq_json_push_text(&state, "tenant_id", tenant_id);
	ocq_json_push_string(&state, "sender", sender);
	ocq_json_push_string(&state, "actor", ocq_actor[0] == '\0' ? sender : ocq_actor_verified());
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* call returns NULL if the function does. */
static Jsonb *
call(Oid function, Jsonb *payload, Jsonb *context)
{
	FmgrInfo	flinfo;
	Datum		result;

	LOCAL_FCINFO(fcinfo, 2);

	fmgr_info(function, &flinfo);
	InitFunctionCallInfoData(*fcinfo, &flinfo, 2, InvalidOid, NULL, NULL);
	fcinfo->args[0] = (NullableDatum) {JsonbPGetDatum(payload), false};
	fcinfo->args[1] = (NullableDatum) {JsonbPGetDatum(context), false};
	result = FunctionCallInvoke(fcinfo);
	return fcinfo->isnull ? NULL : DatumGetJsonbP(result);
}

/*
 * ocq_handler_call calls a registered handler as the current role.  While it runs
 * order_cqrs.tenant_id is the message's tenant, so that messages that the handler sends
 * go to that tenant, too.
 */
Jsonb *
ocq_handler_call(const OcqHandler *handler, const OcqMessage *message)
{
	text	   *tenant_id = ocq_tenant_of(message->tenant_id);
	Oid			function = find_function(handler, message);
	bool		pushes_snapshot = !ActiveSnapshotSet();
	int			level = NewGUCNestLevel();
	Jsonb	   *answer;

	(void) set_config_option("order_cqrs.tenant_id", text_to_cstring(tenant_id), PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	if (pushes_snapshot)
		PushActiveSnapshot(GetTransactionSnapshot());
	answer = call(function, message->payload, make_context(message, tenant_id));
	if (pushes_snapshot)
		PopActiveSnapshot();
	AtEOXact_GUC(true, level);
	return answer;
}

/*
 * Registering.
 */

pg_noreturn static void
refuse_function(const char *signature, const char *problem)
{
	ereport(ERROR,
			(errcode(OCQ_ERR_HANDLER_REFUSED),
			 errmsg("function %s cannot be a handler", signature),
			 errdetail("It %s.", problem),
			 errhint("A handler is a function (payload jsonb, context jsonb) RETURNS jsonb.")));
}

/* check_function returns the function's signature, with schemas. */
static char *
check_function(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	char	   *signature;
	Form_pg_proc proc;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function with OID %u does not exist", function)));
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	signature = format_procedure_qualified(function);
	if (proc->prokind != PROKIND_FUNCTION)
		refuse_function(signature, "is no function but a procedure, an aggregate or a window function");
	if (proc->pronargs != 2 || proc->proargtypes.values[0] != JSONBOID ||
		proc->proargtypes.values[1] != JSONBOID)
		refuse_function(signature, "has other arguments than (jsonb, jsonb)");
	if (proc->prorettype != JSONBOID || proc->proretset)
		refuse_function(signature, "does not return one jsonb");
	ReleaseSysCache(tuple);
	return signature;
}

static text *
type_argument(OcqBusKind kind, FunctionCallInfo fcinfo)
{
	text	   *type = ocq_argument_id(fcinfo, 0, kind == OCQ_BUS_COMMAND ? "command_type" : "query_type");

	if (ocq_builtin_find(kind, type) != NULL)
		ereport(ERROR,
				(errcode(OCQ_ERR_HANDLER_REFUSED),
				 errmsg("%s \"%s\" is built in", ocq_bus_kind_name(kind), text_to_cstring(type)),
				 errdetail("Its handler can be neither replaced nor removed."),
				 errhint("Choose a name of your own.")));
	return type;
}

static Oid
function_argument(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(OCQ_ERR_INVALID_ARGUMENT),
				 errmsg("handler must not be null"),
				 errdetail("It is the function that is called."),
				 errhint("Pass for example 'my_handler(jsonb, jsonb)'.")));
	return PG_GETARG_OID(1);
}

static void
require_own_function(Oid function, const char *signature)
{
	Oid			owner = owner_of(function);

	if (ocq_role_ref_acts_for(owner))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("must be owner of function %s", signature),
			 errdetail("It is owned by \"%s\".", GetUserNameFromId(owner, false)),
			 errhint("Register functions of your own, or have the owner of the extension register it.")));
}

static OcqHandler *
insert_registration(OcqBusKind kind, text *type, Oid function, const char *signature)
{
	Datum		values[] = {
		CStringGetTextDatum(ocq_bus_kind_name(kind)), PointerGetDatum(type), CStringGetTextDatum(signature),
		ObjectIdGetDatum(owner_of(function)), CStringGetTextDatum(GetUserNameFromId(GetSessionUserId(), false))
	};

	if (ocq_restore_run_own(&insert_handler, values, NULL) == 0)
		ereport(ERROR,
				(errcode(OCQ_ERR_HANDLER_REFUSED),
				 errmsg("the handler of %s \"%s\" was not registered", ocq_bus_kind_name(kind), text_to_cstring(type)),
				 errdetail("The row was not inserted."),
				 errhint("Look for a trigger or a rule on order_cqrs.bus_registration that drops rows.")));
	return read_handler(CurrentMemoryContext);
}

/* Registering the same handler again changes nothing, so that scripts can be repeated. */
static Datum
register_handler(OcqBusKind kind, FunctionCallInfo fcinfo)
{
	text	   *type = type_argument(kind, fcinfo);
	Oid			function = function_argument(fcinfo);
	char	   *signature = check_function(function);
	OcqHandler *present;
	OcqScope	scope;

	require_own_function(function, signature);
	ocq_procedure_require_writable(kind == OCQ_BUS_COMMAND ? "command_handler_register" : "query_handler_register");
	ocq_scope_enter(&scope);
	present = insert_registration(kind, type, function, signature);
	if (strcmp(present->signature, signature) != 0 || present->owner != owner_of(function))
		ereport(ERROR,
				(errcode(OCQ_ERR_HANDLER_REFUSED),
				 errmsg("%s \"%s\" has a handler already", ocq_bus_kind_name(kind), text_to_cstring(type)),
				 errdetail("It is function %s of %s.", present->signature, ocq_role_ref_describe(present->owner)),
				 errhint("Call %s_handler_unregister first.", ocq_bus_kind_name(kind))));
	ocq_scope_leave(&scope);
	PG_RETURN_VOID();
}

static void
require_own_registration(OcqBusKind kind, text *type)
{
	OcqHandler *handler = ocq_handler_find(kind, type);

	if (handler == NULL || ocq_role_ref_acts_for(handler->owner))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("must be owner of the handler of %s \"%s\"", ocq_bus_kind_name(kind), text_to_cstring(type)),
			 errdetail("It is function %s of %s.", handler->signature, ocq_role_ref_describe(handler->owner)),
			 errhint("Have that role, or the owner of the extension, unregister it.")));
}

static Datum
unregister_handler(OcqBusKind kind, FunctionCallInfo fcinfo)
{
	text	   *type = type_argument(kind, fcinfo);
	Datum		values[] = {CStringGetTextDatum(ocq_bus_kind_name(kind)), PointerGetDatum(type)};
	OcqScope	scope;

	require_own_registration(kind, type);
	ocq_procedure_require_writable(kind == OCQ_BUS_COMMAND ? "command_handler_unregister" : "query_handler_unregister");
	ocq_scope_enter(&scope);
	if (ocq_statement_run(&delete_handler, values, NULL) == 0)
		ereport(ERROR,
				(errcode(kind == OCQ_BUS_COMMAND ? OCQ_ERR_NO_COMMAND_HANDLER : OCQ_ERR_NO_QUERY_HANDLER),
				 errmsg("%s \"%s\" has no registered handler", ocq_bus_kind_name(kind), text_to_cstring(type)),
				 errdetail("There is nothing to unregister."),
				 errhint("See order_cqrs.bus_handlers.")));
	ocq_scope_leave(&scope);
	PG_RETURN_VOID();
}

/*
 * command_handler_register(command_type text, handler regprocedure)
 * query_handler_register(query_type text, handler regprocedure)
 */
OCQ_BUS_FUNCTIONS(handler_register, register_handler);

/*
 * command_handler_unregister(command_type text)
 * query_handler_unregister(query_type text)
 */
OCQ_BUS_FUNCTIONS(handler_unregister, unregister_handler);

static void
put_builtins(OcqBusKind kind, ReturnSetInfo *result)
{
	int			count;
	const OcqBuiltin *all = builtins(kind, &count);

	for (int i = 0; i < count; i++)
	{
		int			nparameters = ocq_builtin_count_parameters(&all[i]);
		Datum		parameters[OCQ_MAX_PARAMETERS];
		Datum		values[4];
		bool		nulls[4] = {false};

		for (int j = 0; j < nparameters; j++)
			parameters[j] = CStringGetTextDatum(all[i].parameters[j].name);
		values[0] = CStringGetTextDatum(ocq_bus_kind_name(kind));
		values[1] = CStringGetTextDatum(all[i].type);
		values[2] = CStringGetTextDatum(all[i].routine);
		values[3] = ocq_array(parameters, NULL, nparameters, TEXTOID);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}

/* bus_builtin_handlers() returns table (kind, type, handler, parameters) */
Datum
ocq_bus_builtin_handlers(PG_FUNCTION_ARGS)
{
	InitMaterializedSRF(fcinfo, 0);
	put_builtins(OCQ_BUS_COMMAND, (ReturnSetInfo *) fcinfo->resultinfo);
	put_builtins(OCQ_BUS_QUERY, (ReturnSetInfo *) fcinfo->resultinfo);
	return (Datum) 0;
}
