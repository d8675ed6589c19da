/*-------------------------------------------------------------------------
 * scope.c
 *	  Runs the extension's SQL as its owner, whoever calls.
 *
 * Inside a scope the current user is the extension's owner, names resolve in
 * pg_catalog alone, and SPI is connected.  So an application needs EXECUTE on
 * the commands and nothing on the tables, and no search_path of its own can
 * change what our statements mean.  It is what SECURITY DEFINER with a SET
 * clause does; a scope inside another one costs nothing more.
 *
 * What a statement returns lives in SPI's memory, until the scope is left.  A
 * scope must be left before the transaction is committed.  An error needs no
 * care: the abort of the (sub)transaction restores user, settings and SPI.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/catalog.h"
#include "base/scope.h"
#include "catalog/namespace.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"

#define PINNED_SEARCH_PATH "pg_catalog, pg_temp"

static void
set_for_now(OcqScope *scope, const char *name, const char *value)
{
	if (scope->settings_level == 0)
		scope->settings_level = NewGUCNestLevel();
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
}

/*
 * keep_to_indexes is for statements that are planned once and kept.  A plan made
 * while a table is small would scan it from end to end, and go on doing so when it
 * has grown.  Indexes serve all of our statements.  A table that is scanned all
 * the same gets a cost that would have the statement compiled.
 */
static void
keep_to_indexes(OcqScope *scope)
{
	set_for_now(scope, "enable_seqscan", "off");
	set_for_now(scope, "jit", "off");
}

static void
enter(OcqScope *scope, bool for_scans)
{
	Oid			owner = ocq_catalog_owner();

	scope->settings_level = 0;
	GetUserIdAndSecContext(&scope->user, &scope->security_context);
	SetUserIdAndSecContext(owner,
						   scope->security_context | SECURITY_LOCAL_USERID_CHANGE);
	if (strcmp(namespace_search_path, PINNED_SEARCH_PATH) != 0)
	{
		set_for_now(scope, "search_path", PINNED_SEARCH_PATH);
		if (!for_scans)
			keep_to_indexes(scope);
	}
	SPI_connect();

	/* Background workers, and procedures that have committed, come without one. */
	scope->pushed_snapshot = !ActiveSnapshotSet();
	if (scope->pushed_snapshot)
		PushActiveSnapshot(GetTransactionSnapshot());
}

void
ocq_scope_enter(OcqScope *scope)
{
	enter(scope, false);
}

/* ocq_scope_enter_for_scans is for statements that read whole tables. */
void
ocq_scope_enter_for_scans(OcqScope *scope)
{
	enter(scope, true);
}

void
ocq_scope_leave(OcqScope *scope)
{
	if (scope->pushed_snapshot)
		PopActiveSnapshot();
	SPI_finish();
	if (scope->settings_level > 0)
		AtEOXact_GUC(true, scope->settings_level);
	SetUserIdAndSecContext(scope->user, scope->security_context);
}
