/*-------------------------------------------------------------------------
 * bus.h
 *	  The command bus and the query bus.
 *
 * A message is a command or a query by its name, with a payload.  A handler takes it:
 * a built-in one, or a function that has been registered.
 * A future is a message that is handled later, by another process.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_BUS_BUS_H
#define OCQ_BUS_BUS_H

#include "base/compat.h"
#include "base/statement.h"
#include "fmgr.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

typedef enum OcqBusKind
{
	OCQ_BUS_COMMAND,
	OCQ_BUS_QUERY
} OcqBusKind;

static inline const char *
ocq_bus_kind_name(OcqBusKind kind)
{
	return kind == OCQ_BUS_COMMAND ? "command" : "query";
}

typedef struct OcqMessage
{
	OcqBusKind	kind;
	text	   *type;
	Jsonb	   *payload;
	pg_uuid_t  *id;				/* command_id; NULL if the sender gave none */
	text	   *tenant_id;		/* NULL: that of the setting */
} OcqMessage;

/* The C functions of one purpose, for commands and for queries. */
#define OCQ_BUS_FUNCTIONS(purpose, function) \
	PG_FUNCTION_INFO_V1(ocq_command_##purpose); \
	Datum ocq_command_##purpose(PG_FUNCTION_ARGS) { return function(OCQ_BUS_COMMAND, fcinfo); } \
	PG_FUNCTION_INFO_V1(ocq_query_##purpose); \
	Datum ocq_query_##purpose(PG_FUNCTION_ARGS) { return function(OCQ_BUS_QUERY, fcinfo); } \
	extern int	no_such_variable

/* payload.c: the keys of payloads */
#define OCQ_MAX_PARAMETERS 6
#define OCQ_MAX_ARGUMENTS 24

typedef struct OcqParameter
{
	const char *name;
	Oid			type;			/* of the argument; of an object with members, none */
	bool		required;
	bool		is_id;			/* of a command: the answer repeats it */

	/* The keys of an object, each an argument of its own; they end with a NULL name. */
	const struct OcqParameter *members;
} OcqParameter;

extern int	ocq_payload_read(const OcqMessage *message, const OcqParameter *parameters, int count,
							 NullableDatum *arguments, int max_arguments);
extern void ocq_payload_check_object(const OcqMessage *message);

/* A handler of ours, from catalogue/commandlist.h. */
typedef struct OcqBuiltin
{
	const char *type;
	const char *routine;		/* the procedure or function that does the same */
	OcqParameter parameters[OCQ_MAX_PARAMETERS];
	PGFunction	function;		/* a command's */
	int			first_shared;	/* a command's: where its procedure has the arguments that all share */
	OcqStatement *statement;	/* a query's; returns one jsonb */
	const char *answer;			/* a query's: that jsonb, made from its rows o */
} OcqBuiltin;

extern int	ocq_builtin_count_parameters(const OcqBuiltin *builtin);

/* bus_commands.c */
extern const OcqBuiltin ocq_bus_commands[];
extern const int ocq_bus_command_count;
extern void ocq_bus_command_check(const OcqBuiltin *builtin, const OcqMessage *message);
extern Jsonb *ocq_bus_command_run(const OcqBuiltin *builtin, const OcqMessage *message);

/* queries.c */
extern const OcqBuiltin ocq_bus_queries[];
extern const int ocq_bus_query_count;
extern void ocq_bus_query_check(const OcqBuiltin *builtin, const OcqMessage *message);
extern Jsonb *ocq_bus_query_run(const OcqBuiltin *builtin, const OcqMessage *message);

/* A handler of a user's. */
typedef struct OcqHandler
{
	char	   *signature;		/* the function's, with schemas */
	Oid			owner;			/* at its registration; InvalidOid: a role that is not here */
} OcqHandler;

/* Where to look if a type is not known. */
#define OCQ_HINT_TYPES \
	"See order_cqrs.bus_handlers, or order_cqrs.bus_builtin_handlers() for the types that are built in."

/* handlers.c */
extern const OcqBuiltin *ocq_builtin_find(OcqBusKind kind, const text *type);
extern OcqHandler *ocq_handler_find(OcqBusKind kind, text *type);
extern Jsonb *ocq_handler_call(const OcqHandler *handler, const OcqMessage *message);

/* bus.c */
extern void ocq_bus_check(const OcqMessage *message);
extern Jsonb *ocq_bus_send(const OcqMessage *message);
extern Jsonb *ocq_command_bus_send(text *type, Jsonb *payload, pg_uuid_t *command_id, text *tenant_id);
extern OcqMessage ocq_bus_message(OcqBusKind kind, FunctionCallInfo fcinfo);

#endif							/* OCQ_BUS_BUS_H */
