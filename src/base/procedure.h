/*-------------------------------------------------------------------------
 * procedure.h
 *	  Procedures that work in several transactions.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_BASE_PROCEDURE_H
#define OCQ_BASE_PROCEDURE_H

#include "fmgr.h"

extern bool ocq_procedure_is_atomic(FunctionCallInfo fcinfo);
extern void ocq_procedure_require_own_transactions(FunctionCallInfo fcinfo, const char *procedure);
extern void ocq_procedure_require_writable(const char *procedure);
extern void ocq_procedure_begin(FunctionCallInfo fcinfo);
extern void ocq_procedure_commit(FunctionCallInfo fcinfo);

#endif							/* OCQ_BASE_PROCEDURE_H */
