/*-------------------------------------------------------------------------
 * argument.h
 *	  The arguments of a call: ids, texts, items, and the row of a trigger.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_BASE_ARGUMENT_H
#define OCQ_BASE_ARGUMENT_H

#include "base/statement.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/jsonb.h"

#define OCQ_ID_MAX_BYTES 255

/* The limit of a text for people, such as a reason. */
#define OCQ_TEXT_MAX_BYTES 1000

#define OCQ_NAMES(...) ((const char *const[]){__VA_ARGS__})

extern text *ocq_argument_id(FunctionCallInfo fcinfo, int argno, const char *name);
extern text *ocq_argument_text(FunctionCallInfo fcinfo, int argno, const char *name);
extern JsonbContainer *ocq_argument_items(FunctionCallInfo fcinfo, int argno, const text *order_id,
										  const char *purpose, const char *hint);
extern TriggerData *ocq_argument_trigger(FunctionCallInfo fcinfo, const char *name,
										 TriggerEvent timing);
extern uint64 ocq_argument_run(const TriggerData *trigger, OcqStatement *statement,
							   const char *const *names);
extern char *ocq_argument_clip(const char *string, int length);

#endif							/* OCQ_BASE_ARGUMENT_H */
