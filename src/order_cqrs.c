/*-------------------------------------------------------------------------
 * order_cqrs.c
 *	  The module: initialisation, settings, hooks.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/argument.h"
#include "base/catalog.h"
#include "base/compat.h"
#include "base/prepared.h"
#include "base/stamps.h"
#include "base/statement.h"
#include "bus/future.h"
#include "commands/dbcommands.h"
#include "fmgr.h"
#include "fulfilment/fulfilment.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "projection/projection.h"
#include "query/cache.h"
#include "reference/reference.h"
#include "saga/saga.h"
#include "storage/ipc.h"
#include "store/notify.h"
#include "store/store.h"
#include "tcop/utility.h"
#include "tenant/tenant.h"
#include "utils/guc.h"
#include "utils/varlena.h"
#include "worker/worker.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

int			ocq_bus_workers = 4;
char	   *ocq_databases = NULL;
int			ocq_sync_interval = 30;
int			ocq_workers = 4;

static shmem_request_hook_type previous_shmem_request_hook = NULL;
static shmem_startup_hook_type previous_shmem_startup_hook = NULL;
static ProcessUtility_hook_type previous_process_utility_hook = NULL;

static bool
check_databases(char **newval, void **extra, GucSource source)
{
	char	   *names = pstrdup(*newval);
	List	   *list;

	if (!SplitIdentifierString(names, ',', &list))
	{
		GUC_check_errdetail("It is a comma-separated list of database names.");
		return false;
	}
	if (list_length(list) > OCQ_MAX_DATABASES)
	{
		GUC_check_errdetail("It names at most %d databases.", OCQ_MAX_DATABASES);
		return false;
	}
	return true;
}

/* check_actor bounds what each event of the session will hold. */
static bool
check_actor(char **newval, void **extra, GucSource source)
{
	size_t		length = strlen(*newval);

	if (length <= OCQ_ID_MAX_BYTES)
		return true;
	GUC_check_errdetail("It has %zu bytes; at most %d are allowed.", length, OCQ_ID_MAX_BYTES);
	GUC_check_errhint("Set it to the id of the user on whose behalf the application acts.");
	return false;
}

/* The settings, in alphabetical order. */
static void
define_settings(void)
{
	DefineCustomStringVariable("order_cqrs.actor",
							   "On whose behalf the application sends commands.",
							   "It is stored with their events; if it is empty the session user is.",
							   &ocq_actor, "",
							   PGC_USERSET, 0, check_actor, NULL, NULL);
	DefineCustomIntVariable("order_cqrs.audit_delay",
							"How long after the work of projections and the saga it is audited.",
							"What was handled is counted, and compared with the log by the worker.",
							&ocq_audit_delay, 60 * 1000, 1, 86400 * 1000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("order_cqrs.batch_size",
							"Events that a projection handles in one transaction.",
							"A larger batch costs less per event and more memory.",
							&ocq_batch_size, 10000, 1, 100000,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("order_cqrs.bus_lock_timeout",
							"How long a future waits for a lock before it goes back to the queue.",
							"It is in force for the workers that run futures; with 0 they wait without limit.",
							&ocq_bus_lock_timeout, 5000, 0, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("order_cqrs.bus_workers",
							"Most processes that run the futures of one database at once.",
							"They take their places from max_worker_processes; with 0 none run.",
							&ocq_bus_workers, 4, 0, OCQ_MAX_BUS_WORKERS,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("order_cqrs.cache_size",
							"Shared memory for answers of order_get and customer_orders.",
							"It needs order_cqrs in shared_preload_libraries; with 0 there is no cache.",
							&ocq_cache_size, 0, 0, MAX_KILOBYTES,
							process_shared_preload_libraries_in_progress ? PGC_POSTMASTER : PGC_SIGHUP,
							GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomStringVariable("order_cqrs.databases",
							   "Databases that background workers look after.",
							   "A comma-separated list; it needs order_cqrs in shared_preload_libraries.",
							   &ocq_databases, "postgres",
							   PGC_SIGHUP, GUC_LIST_INPUT, check_databases, NULL, NULL);
	DefineCustomIntVariable("order_cqrs.max_event_size",
							"Most that the data of an event, or a command's metadata, may have.",
							"Commands with more are refused; events that are there already stay as they are.",
							&ocq_max_event_size, 1024, 4, 256 * 1024,
							PGC_SUSET, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("order_cqrs.max_stream_size",
							"Most that the events of an order may have before it can only be brought to its end.",
							"Every command on an order reads all of its events.",
							&ocq_max_stream_size, 16 * 1024, 1, 1024 * 1024,
							PGC_SUSET, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomBoolVariable("order_cqrs.notify",
							 "Whether commands NOTIFY the channel order_cqrs of what they change.",
							 "It is for caches outside of the database; commits then take turns.",
							 &ocq_notify, false,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("order_cqrs.payment_timeout",
							"How long the saga waits for the outcome of a payment.",
							"Then the payment has failed with the reason \"timeout\".",
							&ocq_payment_timeout, 15 * 60, 1, 365 * 86400,
							PGC_SUSET, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("order_cqrs.queue_capacity",
							"Futures of one database that may wait to be run.",
							"A role may have as many waiting as are left free; sending another is an error.",
							&ocq_queue_capacity, 2000, 1, INT_MAX,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	ocq_stock_define_settings();
	DefineCustomIntVariable("order_cqrs.restore_timeout",
							"How long the saga and futures wait for the end of a restore.",
							"It counts from the last commit of events or saga rows that came past the commands.",
							&ocq_restore_timeout, 300, 1, 7 * 86400,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("order_cqrs.result_retention",
							"How long the result of a future is kept.",
							"It counts from when the future was done, failed or cancelled.",
							&ocq_result_retention, 24 * 60 * 60, 1, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	ocq_saga_define_settings();
	DefineCustomIntVariable("order_cqrs.sync_interval",
							"Longest time between two looks at the log by a synchroniser.",
							"Async projections are woken by commits; this is when sync projections are checked.",
							&ocq_sync_interval, 30, 1, 86400,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	ocq_tenant_define_settings();
	DefineCustomIntVariable("order_cqrs.workers",
							"Most processes that work on the projections of one database at once.",
							"They take their places from max_worker_processes.",
							&ocq_workers, 4, 1, OCQ_MAX_WORKERS,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
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

/* name_of_database returns the database that a utility command wants for itself, or NULL. */
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
 * database_to_leave returns the database whose workers have to go for a utility
 * command.  For a command that will be refused anyway they stay.
 */
static Oid
database_to_leave(Node *statement)
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
	Oid			database = database_to_leave(statement);
	bool		drops = OidIsValid(database) && IsA(statement, DropdbStmt) &&
		!IsInTransactionBlock(is_top_level);

	/* The statement may be gone once it has committed. */
	bool		commits = commits_ours(statement, is_top_level);

	if (OidIsValid(database))
		ocq_database_evict(database);

	/*
	 * Both change answers that have been kept before this transaction ends: what was
	 * prepared becomes visible, and the next database may be given the same OID.
	 */
	if (commits || drops)
		ocq_stamps_mark_all();
	run_utility(pstmt, query, read_only_tree, context, params,
				environment, receiver, completion);
	if (commits)
	{
		ocq_database_wake(true);	/* nobody knows what was in it */
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
	ocq_future_wake_hook = ocq_database_wake_pool;
	ocq_future_obstacle_hook = ocq_database_pool_obstacle;
	ocq_database_init();
	ocq_launcher_register();
}
