/*-------------------------------------------------------------------------
 * command.h
 *	  The parts that all commands share: the envelope, and the steps around deciding.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_STORE_COMMAND_H
#define OCQ_STORE_COMMAND_H

#include "base/scope.h"
#include "fmgr.h"
#include "store/store.h"

/*
 * The arguments of a command's procedure are its own; those that all commands share, of
 * which these are the positions from the first of them; its own that are to be passed by
 * name; and, in the variant that answers, version.
 */
enum
{
#define OCQ_SHARED_ARGUMENT(symbol, name, type) OCQ_ARG_##symbol,
#include "catalogue/commandlist.h"
	OCQ_NUM_SHARED_ARGS
};

/* OCQ_SIGNATURE(routine) is where the shared arguments begin, and how many there are before version. */
typedef struct OcqSignature
{
	int			first_shared;
	int			nargs;
} OcqSignature;

#define OCQ_SIGNATURE(routine) ((OcqSignature) {ocq_first_shared_##routine, ocq_nargs_##routine})

/* OCQ_NAMED_ARG(routine) is the first argument that is to be passed by name. */
#define OCQ_NAMED_ARG(routine) (ocq_first_shared_##routine + OCQ_NUM_SHARED_ARGS)

enum
{
#define ID(name, type) + 1
#define REQUIRED(name, type) + 1
#define OPTIONAL(name, type) + 1
#define NAMED(name, type)
#define OCQ_COMMAND(routine, message, answer, comment, ...) \
	ocq_first_shared_##routine = 0 __VA_ARGS__,
#include "catalogue/commandlist.h"
#define ID(name, type) + 1
#define REQUIRED(name, type) + 1
#define OPTIONAL(name, type) + 1
#define NAMED(name, type) + 1
#define OCQ_COMMAND(routine, message, answer, comment, ...) \
	ocq_nargs_##routine = OCQ_NUM_SHARED_ARGS __VA_ARGS__,
#include "catalogue/commandlist.h"
};

/* The C functions are in the rooms of their aggregates. */
#define OCQ_COMMAND(routine, message, answer, comment, ...) \
	extern PGDLLEXPORT Datum ocq_##routine(PG_FUNCTION_ARGS);
#include "catalogue/commandlist.h"

/* A command on one stream. */
typedef struct OcqCommand
{
	OcqStream	stream;
	OcqEnvelope envelope;
	bool		has_expected_version;
	int32		expected_version;
	bool		answers;
	OcqScope	scope;
} OcqCommand;

extern void ocq_command_begin(OcqCommand *command, FunctionCallInfo fcinfo, OcqSignature signature,
							  const char *aggregate_type, text *aggregate_id);
extern bool ocq_command_was_handled(const OcqCommand *command, OcqEvents stream,
									const OcqNewEvent *events, int count,
									bool has_consequences, int32 *version);
extern void ocq_command_check_expected(const OcqCommand *command, int32 version);
extern void ocq_command_append(const OcqCommand *command, const struct OcqOrderKnown *known, int32 after_version,
							   TimestampTz not_before, const OcqNewEvent *events, int count);
extern Datum ocq_command_finish(OcqCommand *command, FunctionCallInfo fcinfo, int32 version);

#endif							/* OCQ_STORE_COMMAND_H */
