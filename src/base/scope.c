/*-------------------------------------------------------------------------
 * scope.c
 *	  Runs the extension's SQL as its owner, whoever calls.
 *
 * Inside a scope the current user is the extension's owner, names resolve in
 * pg_catalog alone, and SPI is connected.  So an application needs EXECUTE on
 * the commands and nothing on the tables, and no search_path of its own can
 * change what our statements mean.  It is what SECURITY DEFINER with a SET
 * clause does, without setting a GUC for each call.
 *
 * What a statement returns lives in SPI's memory, until the scope is left.  A
 * scope must be left before the transaction is committed.  An error needs no
 * care: the abort of the (sub)transaction restores user, path and SPI.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "base/scope.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"

void
ocq_scope_enter(OcqScope *scope)
{
	Oid			owner = ocq_catalog_owner();

	GetUserIdAndSecContext(&scope->user, &scope->security_context);
	SetUserIdAndSecContext(owner,
						   scope->security_context | SECURITY_LOCAL_USERID_CHANGE);
	scope->search_path_level = ocq_search_path_pin();
	SPI_connect();
	scope->settings_level = 0;

	/* Background workers, and procedures that have committed, come without one. */
	scope->pushed_snapshot = !ActiveSnapshotSet();
	if (scope->pushed_snapshot)
		PushActiveSnapshot(GetTransactionSnapshot());
}

static void
set_for_now(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
}

/*
 * ocq_scope_enter_for_batches is for work that grows the tables which its own
 * statements read.  Plans are kept; one made while a table is empty would scan it
 * from end to end and go on doing so.  Indexes serve all of these statements.
 * What is scanned all the same gets a cost that would have it compiled.
 */
void
ocq_scope_enter_for_batches(OcqScope *scope)
{
	ocq_scope_enter(scope);
	scope->settings_level = NewGUCNestLevel();
	set_for_now("enable_seqscan", "off");
	set_for_now("jit", "off");
}

void
ocq_scope_leave(OcqScope *scope)
{
	if (scope->settings_level > 0)
		AtEOXact_GUC(true, scope->settings_level);
	if (scope->pushed_snapshot)
		PopActiveSnapshot();
	SPI_finish();
	ocq_search_path_unpin(scope->search_path_level);
	SetUserIdAndSecContext(scope->user, scope->security_context);
}
