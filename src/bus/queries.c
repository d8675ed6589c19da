/*-------------------------------------------------------------------------
 * queries.c
 *	  The built-in queries, as messages.
 *
 * A query function is called by a statement that turns its rows into one jsonb.  The
 * statement's parameters are those of the payload, and the tenant as the last one.  It
 * runs as the caller, so that PostgreSQL checks the caller's EXECUTE privilege on the
 * function.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "bus/bus.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "query/criteria.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#define OPTIONAL(name, type) {name, type, .required = false}

static const OcqParameter page_members[] = {
	OPTIONAL("page", INT4OID), OPTIONAL("page_size", INT4OID), OPTIONAL("after", TEXTOID), {0}
};

static const OcqParameter sorted_page_members[] = {
	OPTIONAL("sort", TEXTOID), OPTIONAL("page", INT4OID), OPTIONAL("page_size", INT4OID),
	OPTIONAL("after", TEXTOID), {0}
};

#define MEMBER(constant, name, type, ...) OPTIONAL(name, type),

static const OcqParameter criteria_members[] = {
	OCQ_CRITERIA(MEMBER) {0}
};

#define OCQ_QUERY(routine, message, result, ...) static OcqStatement statement_##routine;
#include "catalogue/commandlist.h"

const OcqBuiltin ocq_bus_queries[] = {
#define REQUIRED(name, type) {name, type, .required = true},
#define OPTIONAL(name, type) {name, type, .required = false},
#define OBJECT(name, keys) {name, InvalidOid, .members = keys},
#define ROW "pg_catalog.to_jsonb(o)"
#define ROWS "coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(o)), '[]')"
#define OCQ_QUERY(routine, message, result, ...) \
	{message, #routine, {__VA_ARGS__}, .statement = &statement_##routine, .answer = result},
#include "catalogue/commandlist.h"
};

const int	ocq_bus_query_count = lengthof(ocq_bus_queries);

/* A search has the most; a statement has the tenant besides. */
StaticAssertDecl((lengthof(criteria_members) - 1) + (lengthof(sorted_page_members) - 1) <= OCQ_MAX_ARGUMENTS &&
				 OCQ_MAX_ARGUMENTS + 1 <= OCQ_STATEMENT_MAX_ARGS,
				 "there is room for the arguments of a search");

static int
read_payload(const OcqBuiltin *builtin, const OcqMessage *message, NullableDatum *arguments)
{
	return ocq_payload_read(message, builtin->parameters, ocq_builtin_count_parameters(builtin),
							arguments, OCQ_MAX_ARGUMENTS);
}

/* ocq_bus_query_check reports the errors that can be found without running the query. */
void
ocq_bus_query_check(const OcqBuiltin *builtin, const OcqMessage *message)
{
	NullableDatum arguments[OCQ_MAX_ARGUMENTS];

	(void) read_payload(builtin, message, arguments);
}

static void
add_type(OcqStatement *statement, Oid type)
{
	if (statement->nargs == OCQ_MAX_ARGUMENTS + 1)
		elog(ERROR, "a query has more arguments than there is room for");
	statement->argtypes[statement->nargs++] = type;
}

static void
add_types(OcqStatement *statement, const OcqParameter *parameters, int count)
{
	for (int i = 0; i < count && parameters[i].name != NULL; i++)
	{
		if (parameters[i].members != NULL)
			add_types(statement, parameters[i].members, OCQ_MAX_ARGUMENTS);
		else
			add_type(statement, parameters[i].type);
	}
}

/* statement_of makes the statement at its first use. */
static OcqStatement *
statement_of(const OcqBuiltin *builtin)
{
	OcqStatement *statement = builtin->statement;
	StringInfoData sql;

	if (statement->sql != NULL)
		return statement;

	statement->nargs = 0;
	add_types(statement, builtin->parameters, OCQ_MAX_PARAMETERS);
	add_type(statement, TEXTOID);
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT %s FROM order_cqrs.%s(", builtin->answer, builtin->routine);
	for (int i = 1; i <= statement->nargs; i++)
		appendStringInfo(&sql, "%s$%d", i == 1 ? "" : ", ", i);
	appendStringInfoString(&sql, ") AS o");
	statement->sql = MemoryContextStrdup(TopMemoryContext, sql.data);
	return statement;
}

/* run_statement returns the answer in the memory that was current at the call. */
static Jsonb *
run_statement(OcqStatement *statement, Datum *values, const char *nulls)
{
	MemoryContext caller = CurrentMemoryContext;
	bool		pushes_snapshot = !ActiveSnapshotSet();
	Jsonb	   *answer = NULL;

	SPI_connect();
	if (pushes_snapshot)
		PushActiveSnapshot(GetTransactionSnapshot());
	if (ocq_statement_run(statement, values, nulls) > 0 && !ocq_row_is_null(0, 1))
	{
		MemoryContext spi = MemoryContextSwitchTo(caller);

		answer = DatumGetJsonbPCopy(ocq_row_datum(0, 1));
		MemoryContextSwitchTo(spi);
	}
	if (pushes_snapshot)
		PopActiveSnapshot();
	SPI_finish();
	return answer;
}

Jsonb *
ocq_bus_query_run(const OcqBuiltin *builtin, const OcqMessage *message)
{
	NullableDatum arguments[OCQ_MAX_ARGUMENTS];
	Datum		values[OCQ_MAX_ARGUMENTS + 1];
	char		nulls[OCQ_MAX_ARGUMENTS + 2] = {0};
	int			count = read_payload(builtin, message, arguments);

	for (int i = 0; i < count; i++)
	{
		values[i] = arguments[i].isnull ? (Datum) 0 : arguments[i].value;
		nulls[i] = arguments[i].isnull ? 'n' : ' ';
	}
	values[count] = PointerGetDatum(message->tenant_id);
	nulls[count] = message->tenant_id == NULL ? 'n' : ' ';
	return run_statement(statement_of(builtin), values, nulls);
}
