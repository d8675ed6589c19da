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

/* pin_search_path returns the level at which it is undone, or 0 if it is pinned already. */
static int
pin_search_path(void)
{
	int			level;

	if (strcmp(namespace_search_path, PINNED_SEARCH_PATH) == 0)
		return 0;
	level = NewGUCNestLevel();
	(void) set_config_option("search_path", PINNED_SEARCH_PATH, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	return level;
}

void
ocq_scope_enter(OcqScope *scope)
{
	Oid			owner = ocq_catalog_owner();

	GetUserIdAndSecContext(&scope->user, &scope->security_context);
	SetUserIdAndSecContext(owner,
						   scope->security_context | SECURITY_LOCAL_USERID_CHANGE);
	scope->settings_level = pin_search_path();
	SPI_connect();

	/* Background workers, and procedures that have committed, come without one. */
	scope->pushed_snapshot = !ActiveSnapshotSet();
	if (scope->pushed_snapshot)
		PushActiveSnapshot(GetTransactionSnapshot());
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
