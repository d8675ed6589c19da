/*-------------------------------------------------------------------------
 * order_cqrs.c
 *	  The module: initialisation and hooks.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/argument.h"
#include "base/catalog.h"
#include "base/compat.h"
#include "base/direct.h"
#include "base/prepared.h"
#include "base/stamps.h"
#include "base/statement.h"
#include "bus/future.h"
#include "commands/dbcommands.h"
#include "fmgr.h"
#include "stock/stock.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "projection/projection.h"
#include "query/cache_store.h"
#include "reference/reference.h"
#include "saga/saga.h"
#include "storage/ipc.h"
#include "store/notify.h"
#include "store/store.h"
#include "tcop/utility.h"
#include "tenant/tenant.h"
#include "utils/guc.h"
#include "worker/worker.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

static shmem_request_hook_type previous_shmem_request_hook = NULL;
static shmem_startup_hook_type previous_shmem_startup_hook = NULL;
static ProcessUtility_hook_type previous_process_utility_hook = NULL;

/* A setting is defined in the file that goes by it. */
static void
define_settings(void)
{
	ocq_direct_define_settings();
	ocq_tenant_define_settings();
	ocq_append_define_settings();
	ocq_notify_define_settings();
	ocq_restore_define_settings();
	ocq_stream_define_settings();
	ocq_stock_define_settings();
	ocq_audit_define_settings();
	ocq_sync_define_settings();
	ocq_cache_define_settings();
	ocq_capacity_define_settings();
	ocq_future_define_settings();
	ocq_upkeep_define_settings();
	ocq_saga_define_settings();
	ocq_launcher_define_settings();
	ocq_pool_define_settings();
	ocq_synchroniser_define_settings();
	MarkGUCPrefixReserved("order_cqrs");
}

static void
request_shmem(void)
{
	if (previous_shmem_request_hook != NULL)
		previous_shmem_request_hook();
	ocq_positions_request_shmem();
	ocq_database_request_shmem();
	ocq_future_request_shmem();
	ocq_cache_request_shmem();
}

static void
startup_shmem(void)
{
	if (previous_shmem_startup_hook != NULL)
		previous_shmem_startup_hook();
	ocq_positions_startup_shmem();
	ocq_database_startup_shmem();
	ocq_future_startup_shmem();
	ocq_cache_startup_shmem();
}

/* option_of returns the string value of an option of a utility command, or NULL. */
static const char *
option_of(List *options, const char *name)
{
	ListCell   *cell;

	foreach(cell, options)
	{
		DefElem    *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, name) == 0 && option->arg != NULL && IsA(option->arg, String))
			return strVal(option->arg);
	}
	return NULL;
}

/* name_of_database returns the database that a utility command needs without sessions, or NULL. */
static const char *
name_of_database(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_DropdbStmt:
			return castNode(DropdbStmt, statement)->dbname;
		case T_RenameStmt:
			return castNode(RenameStmt, statement)->renameType == OBJECT_DATABASE ?
				castNode(RenameStmt, statement)->subname : NULL;
		case T_CreatedbStmt:
			return option_of(castNode(CreatedbStmt, statement)->options, "template");
		case T_AlterDatabaseStmt:
			return option_of(castNode(AlterDatabaseStmt, statement)->options, "tablespace") == NULL ?
				NULL : castNode(AlterDatabaseStmt, statement)->dbname;
		default:
			return NULL;
	}
}

/*
 * database_to_evict returns the database whose processes are to be evicted for a utility
 * command.  For a command that will be refused anyway they stay.
 */
static Oid
database_to_evict(Node *statement)
{
	const char *name = name_of_database(statement);
	Oid			database = name == NULL ? InvalidOid : get_database_oid(name, true);

	if (OidIsValid(database) && ocq_owns_database(database, GetUserId()))
		return database;
	return InvalidOid;
}

static void
run_utility(PlannedStmt *pstmt, const char *query, bool read_only_tree,
			ProcessUtilityContext context, ParamListInfo params,
			QueryEnvironment *environment, DestReceiver *receiver, QueryCompletion *completion)
{
	if (previous_process_utility_hook != NULL)
		previous_process_utility_hook(pstmt, query, read_only_tree, context, params,
									  environment, receiver, completion);
	else
		standard_ProcessUtility(pstmt, query, read_only_tree, context, params,
								environment, receiver, completion);
}

static bool
is_commit_prepared(Node *statement)
{
	return IsA(statement, TransactionStmt) &&
		castNode(TransactionStmt, statement)->kind == TRANS_STMT_COMMIT_PREPARED;
}

/*
 * commits_ours tells whether a utility command is going to commit a prepared
 * transaction that has written tables of ours.  Within a transaction block, and on a
 * standby, it will be refused.
 */
static bool
commits_ours(Node *statement, bool is_top_level)
{
	return is_commit_prepared(statement) && !IsInTransactionBlock(is_top_level) &&
		!RecoveryInProgress() && ocq_prepared_writes_ours(castNode(TransactionStmt, statement)->gid);
}

static void
process_utility(PlannedStmt *pstmt, const char *query, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params,
				QueryEnvironment *environment, DestReceiver *receiver, QueryCompletion *completion)
{
	Node	   *statement = pstmt->utilityStmt;
	bool		is_top_level = context == PROCESS_UTILITY_TOPLEVEL;
	Oid			database = database_to_evict(statement);
	bool		drops = OidIsValid(database) && IsA(statement, DropdbStmt) &&
		!IsInTransactionBlock(is_top_level);

	/* The statement may be gone once it has committed. */
	bool		commits = commits_ours(statement, is_top_level);

	if (OidIsValid(database))
		ocq_database_evict(database);

	/* Both change kept answers early: prepared changes become visible, an OID may be given anew. */
	if (commits || drops)
		ocq_stamps_mark_all();
	run_utility(pstmt, query, read_only_tree, context, params,
				environment, receiver, completion);
	if (commits)
	{
		ocq_database_wake(true);	/* the changes in it are not known */
		ocq_future_committed_prepared();
	}
}

void
_PG_init(void)
{
	define_settings();
	ocq_catalog_init();
	ocq_stamps_init();
	ocq_statement_init();
	ocq_reference_init();
	ocq_append_init();
	ocq_future_init();

	if (!process_shared_preload_libraries_in_progress)
		return;

	previous_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = request_shmem;
	previous_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup_shmem;
	previous_process_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
	ocq_append_wake_hook = ocq_database_wake;
	ocq_future_wake_hook = ocq_pool_wake;
	ocq_future_obstacle_hook = ocq_pool_obstacle;
	ocq_database_init();
	ocq_launcher_register();
}
