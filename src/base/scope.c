/*-------------------------------------------------------------------------
 * scope.c
 *	  Runs the extension's SQL as its owner, for every caller.
 *
 * Inside a scope the current user is the extension's owner, names resolve in
 * pg_catalog alone, and SPI is connected.  So an application needs EXECUTE on
 * the commands and nothing on the tables, and no search_path of its own can
 * change the meaning of our statements.  SECURITY DEFINER with a SET clause does the
 * same; a scope inside another one costs nothing more.
 *
 * Code that is not ours, and the rights that it has if it runs within a scope:
 *
 * - Deferred triggers that the caller's session has queued.  They never fire in a scope,
 *   but at its commit; only processes of ours have theirs fire, as the owner, and not as
 *   the bootstrap superuser of their connection (base/statement.c, worker/process.c).
 *   09_privileges, 019_process_rights.
 * - Deferred triggers, and cursors WITH HOLD, of triggers on our tables.  In a process of
 *   ours they run as the owner, as late as in the commit.  In a session they run at its
 *   commit and so, up to 17, as the caller: to write a table of another role, directly or
 *   by a command, is to trust that role.  019_process_rights.
 * - Triggers on our tables run as the owner.  They take the owner, or the TRIGGER
 *   privilege, which no other role has: it is worth as much as the owner's rights.  Within
 *   the scope they cannot become another role: SECURITY_LOCAL_USERID_CHANGE forbids SET ROLE and SET
 *   SESSION AUTHORIZATION.  019_process_rights.
 * - Rules, policies, index expressions, defaults, CHECKs, statistics and children of our
 *   tables take their owner; event triggers, languages, operator classes and libraries
 *   with hooks of planner and executor take a superuser.  hostile_role.
 * - Foreign keys of others to our tables take REFERENCES, which no other role has:
 *   PostgreSQL looks for the key as our table's owner, and by casts of the other one's types.
 *   hostile_role.
 * - Functions, operators and casts that the caller has made, and temporary tables: our
 *   statements name each relation with its schema, the path leads to pg_catalog, and in
 *   pg_temp PostgreSQL looks for relations and types only.  hostile_role, also with plans
 *   made anew and row_security off.
 * - Conversions of the client's encoding, which messages from within a scope go through:
 *   their functions take a type that only C and internal functions can, and a superuser.
 *   hostile_role.
 * - Arguments are of types of pg_catalog, or of our domain, which has no CHECK.  A cast or
 *   a domain's CHECK has run, as the caller, before we are called.  hostile_role.
 * - Handlers of the bus run outside of any scope, as the caller.  hostile_role, 18_bus.
 * - Callbacks of the error context that are further out than we are run no user's code:
 *   those of PostgreSQL and its languages print names, lines and texts that are there.
 *   hostile_role has frames of SQL, PL/pgSQL, a trigger and COPY around an error in a scope.
 *
 * SECURITY_RESTRICTED_OPERATION would be one more guard, and is not set: the author of a
 * trigger on our tables has the owner's rights anyway, and it forbids deferred constraints
 * and temporary tables, which such triggers use.
 *
 * The rows of a statement live in SPI's memory, until the scope is left.  A
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

/*
 * ocq_scope_set changes a setting until the innermost level of settings ends
 * (NewGUCNestLevel, AtEOXact_GUC).  With NULL it changes nothing.
 */
void
ocq_scope_set(const char *setting, const char *value)
{
	if (value != NULL)
		(void) set_config_option(setting, value, PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
}

/* pin_search_path returns the level at which it is undone, or 0 if it is pinned already. */
static int
pin_search_path(void)
{
	int			level;

	if (strcmp(namespace_search_path, PINNED_SEARCH_PATH) == 0)
		return 0;
	level = NewGUCNestLevel();
	ocq_scope_set("search_path", PINNED_SEARCH_PATH);
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
