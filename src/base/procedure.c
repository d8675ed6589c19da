/*-------------------------------------------------------------------------
 * procedure.c
 *	  Procedures that work in several transactions, or in the caller's if they are
 *	  called inside one.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "base/errors.h"
#include "base/procedure.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"

bool
ocq_procedure_is_atomic(FunctionCallInfo fcinfo)
{
	return fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		castNode(CallContext, fcinfo->context)->atomic;
}

void
ocq_procedure_require_own_transactions(FunctionCallInfo fcinfo, const char *procedure)
{
	if (ocq_procedure_is_atomic(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("%s cannot run inside a transaction block", procedure),
				 errdetail("It has transactions of its own, so that it never holds a lock for long."),
				 errhint("CALL it on its own, outside BEGIN and outside functions.")));
}

/*
 * ocq_procedure_require_writable is for every procedure or function that writes.  Without
 * it the caller's error would name an inner statement that the caller never sent, or, with
 * nothing to do, there would be none.
 */
void
ocq_procedure_require_writable(const char *procedure)
{
	if (!XactReadOnly)
		return;
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(OCQ_ERR_READ_ONLY_SERVER),
				 errmsg("%s cannot run on a standby", procedure),
				 errdetail("It writes, and this server replays what its primary writes."),
				 errhint("Connect to the primary.")));
	ereport(ERROR,
			(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
			 errmsg("%s cannot run in a read-only transaction", procedure),
			 errdetail("It writes, and the transaction was begun to read only."),
			 errhint("Begin it READ WRITE, and see the setting default_transaction_read_only.")));
}

/* ocq_procedure_begin connects to SPI; SPI_finish ends it. */
void
ocq_procedure_begin(FunctionCallInfo fcinfo)
{
	SPI_connect_ext(ocq_procedure_is_atomic(fcinfo) ? 0 : SPI_OPT_NONATOMIC);
}

void
ocq_procedure_commit(FunctionCallInfo fcinfo)
{
	if (!ocq_procedure_is_atomic(fcinfo))
		SPI_commit();
	CHECK_FOR_INTERRUPTS();
}
