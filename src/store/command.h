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
 * A command on one stream.  The optional arguments of its procedure are
 * command_id, expected_version, metadata, tenant_id, those of its own that are to be
 * passed by name, and, in the variant that answers, version.
 */
#define OCQ_COMMAND_SHARED_ARGS 4

typedef struct OcqCommand
{
	OcqStream	stream;
	OcqEnvelope envelope;
	bool		has_expected_version;
	int32		expected_version;
	bool		answers;
	OcqScope	scope;
} OcqCommand;

extern void ocq_command_begin(OcqCommand *command, FunctionCallInfo fcinfo, int first_optional,
							  const char *aggregate_type, text *aggregate_id);
extern void ocq_command_begin_with_named(OcqCommand *command, FunctionCallInfo fcinfo,
										 int first_optional, int named_args,
										 const char *aggregate_type, text *aggregate_id);
extern bool ocq_command_was_handled(const OcqCommand *command, OcqEvents stream,
									const OcqNewEvent *events, int count,
									bool has_consequences, int32 *version);
extern void ocq_command_check_expected(const OcqCommand *command, int32 version);
extern void ocq_command_append(const OcqCommand *command, const void *known, int32 after_version,
							   TimestampTz not_before, const OcqNewEvent *events, int count);
extern Datum ocq_command_finish(OcqCommand *command, FunctionCallInfo fcinfo, int32 version);

#endif							/* OCQ_STORE_COMMAND_H */
