/*-------------------------------------------------------------------------
 * queries.c
 *	  The built-in queries, as messages.
 *
 * Each line of the table is a query function and a statement that turns what it
 * returns into one jsonb.  The statement's parameters are those of the payload, and
 * the tenant as the last one; a value that is no text, number or JSON in the
 * payload, such as a time, is cast by the statement.  It runs as the caller, so
 * that PostgreSQL checks his EXECUTE privilege on the function.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "bus/bus.h"
#include "catalog/pg_type.h"
#include "query/criteria.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

static OcqStatement get_order =
OCQ_STATEMENT("SELECT pg_catalog.to_jsonb(o) FROM order_cqrs.order_get($1, $2) AS o", TEXTOID, TEXTOID);

static OcqStatement check_inventory =
OCQ_STATEMENT("SELECT pg_catalog.jsonb_agg(pg_catalog.to_jsonb(c))"
			  " FROM order_cqrs.inventory_check($1, $2, $3) AS c",
			  JSONBOID, TEXTOID, TEXTOID);

static OcqStatement get_customer_orders =
OCQ_STATEMENT("SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(o)), '[]')"
			  " FROM order_cqrs.customer_orders($1, $2, $3, $4, $5, $6, $7) AS o",
			  TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID, INT4OID, TEXTOID, TEXTOID);

static OcqStatement search_orders =
OCQ_STATEMENT("SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(o)), '[]')"
			  " FROM order_cqrs.order_search($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13,"
			  " $14, $15, $16, $17, $18, $19, $20) AS o",
			  TEXTOID, TEXTOID, TEXTARRAYOID, TEXTARRAYOID, NUMERICOID, NUMERICOID, TIMESTAMPTZOID,
			  TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, TEXTOID, TEXTOID, INT4OID,
			  INT4OID, TEXTOID, INT4OID, INT4OID, TEXTOID, TEXTOID);

#define REQUIRED(name, type) {name, type, true, NULL}
#define OPTIONAL(name, type) {name, type, false, NULL}
#define OBJECT(name, members) {name, InvalidOid, false, members}

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

const OcqBuiltin ocq_bus_queries[] = {
	{"GetOrder", "order_get", {REQUIRED("order_id", TEXTOID)}, .statement = &get_order},
	{"GetCustomerOrders", "customer_orders", {REQUIRED("customer_id", TEXTOID),
	OPTIONAL("from", TIMESTAMPTZOID), OPTIONAL("to", TIMESTAMPTZOID), OBJECT("pageable", page_members)},
	.statement = &get_customer_orders},
	{"SearchOrders", "order_search", {OBJECT("criteria", criteria_members),
	OBJECT("pageable", sorted_page_members)}, .statement = &search_orders},
	{"CheckInventory", "inventory_check", {REQUIRED("items", JSONBOID), OPTIONAL("order_id", TEXTOID)},
	.statement = &check_inventory},
};

const int	ocq_bus_query_count = lengthof(ocq_bus_queries);

static int
read_payload(const OcqBuiltin *builtin, const OcqMessage *message, NullableDatum *arguments)
{
	return ocq_payload_read(message, builtin->parameters, ocq_builtin_count_parameters(builtin),
							arguments);
}

/* ocq_bus_query_check finds what can be found wrong without running the query. */
void
ocq_bus_query_check(const OcqBuiltin *builtin, const OcqMessage *message)
{
	NullableDatum arguments[OCQ_MAX_ARGUMENTS];

	(void) read_payload(builtin, message, arguments);
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
	return run_statement(builtin->statement, values, nulls);
}
