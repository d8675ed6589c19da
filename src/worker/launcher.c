/*-------------------------------------------------------------------------
 * launcher.c
 *	  The process that starts a synchroniser and a runner for each database.
 *
 * It is registered when the library is preloaded, runs once recovery has ended (and so
 * never on a standby), and is restarted by the postmaster.  It supervises the processes
 * of the databases in order_cqrs.databases: one that has ended is started again after a
 * pause, so that a database that makes its processes fail does not fill the log.  The
 * launcher itself never connects to those databases.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"
#include "utils/wait_event.h"
#include "worker/worker.h"

#define RESTART_SECONDS 2
#define LOOK_ROUND_SECONDS 2

/* Each database has these for as long as it is listed. */
static const int permanent_processes[] = {OCQ_SYNCHRONISER, OCQ_RUNNER};

typedef struct SupervisedProcess
{
	Oid			database;
	int			process;
	BackgroundWorkerHandle *handle;
	TimestampTz not_before;		/* no start before that */
} SupervisedProcess;

/*
 * No process is started before that.  A launcher that does not start with the server is
 * there because a process has crashed, perhaps one of those.
 */
static TimestampTz first_start = 0;

static List *supervised = NIL;
static MemoryContext supervised_context = NULL;

void
ocq_launcher_register(void)
{
	BackgroundWorker worker = {0};

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = RESTART_SECONDS;
	strlcpy(worker.bgw_library_name, "order_cqrs", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "ocq_launcher_main", BGW_MAXLEN);
	strlcpy(worker.bgw_name, "order_cqrs launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "order_cqrs launcher", BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}

static char *ocq_databases;

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

void
ocq_launcher_define_settings(void)
{
	DefineCustomStringVariable("order_cqrs.databases",
							   "Databases that background workers look after.",
							   "A comma-separated list; it needs order_cqrs in shared_preload_libraries.",
							   &ocq_databases, "postgres",
							   PGC_SIGHUP, GUC_LIST_INPUT, check_databases, NULL, NULL);
}

static bool
is_listed_name(List *names, const char *name)
{
	ListCell   *cell;

	foreach(cell, names)
	{
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	}
	return false;
}

/*
 * listed_databases returns the OIDs of the databases in order_cqrs.databases that exist.
 * Without a database of its own, a process can read pg_database from end to end,
 * but not through the system caches.
 */
static List *
listed_databases(void)
{
	List	   *names;
	List	   *databases = NIL;
	Relation	relation;
	TableScanDesc scan;
	HeapTuple	tuple;

	if (!SplitIdentifierString(pstrdup(ocq_databases), ',', &names))
		return NIL;				/* the check hook lets none pass */

	relation = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(relation, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);

		if (database->datallowconn && is_listed_name(names, NameStr(database->datname)))
			databases = lappend_oid(databases, database->oid);
	}
	table_endscan(scan);
	table_close(relation, AccessShareLock);
	return databases;
}

static SupervisedProcess *
find_supervised(Oid database, int process)
{
	ListCell   *cell;
	MemoryContext old;
	SupervisedProcess *found;

	foreach(cell, supervised)
	{
		found = lfirst(cell);
		if (found->database == database && found->process == process)
			return found;
	}

	old = MemoryContextSwitchTo(supervised_context);
	found = palloc0_object(SupervisedProcess);
	found->database = database;
	found->process = process;
	found->not_before = first_start;
	supervised = lappend(supervised, found);
	MemoryContextSwitchTo(old);
	return found;
}

static bool
is_running(SupervisedProcess *process)
{
	pid_t		pid;

	/* An earlier launcher may have started it. */
	if (ocq_database_has_process(process->database, process->process))
		return true;
	if (process->handle == NULL)
		return false;
	if (GetBackgroundWorkerPid(process->handle, &pid) != BGWH_STOPPED)
		return true;
	pfree(process->handle);
	process->handle = NULL;
	process->not_before = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													  RESTART_SECONDS * 1000);
	return false;
}

/*
 * start starts no process while the database's are being evicted.  After that, as when a
 * DROP DATABASE has failed, it starts at once, without the pause.
 */
static void
start(SupervisedProcess *process)
{
	MemoryContext old;

	if (!ocq_database_may_enter(process->database))
	{
		process->not_before = 0;
		return;
	}
	if (GetCurrentTimestamp() < process->not_before)
		return;

	old = MemoryContextSwitchTo(supervised_context);
	if (!ocq_process_start(process->database, (OcqProcess) {.number = process->process}, &process->handle))
	{
		ereport(WARNING,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("could not start a process of order_cqrs"),
				 errdetail("All background worker slots are in use."),
				 errhint("Increase max_worker_processes.")));
		process->not_before = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), 60 * 1000);
	}
	MemoryContextSwitchTo(old);
}

static void
look_round(void)
{
	List	   *databases;
	ListCell   *cell;

	StartTransactionCommand();
	databases = listed_databases();
	ocq_database_terminate_unlisted(databases);
	foreach(cell, databases)
	{
		for (int i = 0; i < (int) lengthof(permanent_processes); i++)
		{
			SupervisedProcess *process = find_supervised(lfirst_oid(cell), permanent_processes[i]);

			if (!is_running(process))
				start(process);
		}
	}
	CommitTransactionCommand();
}

void
ocq_launcher_main(Datum arg)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	supervised_context = AllocSetContextCreate(TopMemoryContext, "order_cqrs launcher",
											   ALLOCSET_DEFAULT_SIZES);
	ocq_database_set_launcher();
	if (TimestampDifferenceExceeds(PgStartTime, GetCurrentTimestamp(), RESTART_SECONDS * 1000))
		first_start = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), RESTART_SECONDS * 1000);

	for (;;)
	{
		ocq_process_reload_if_asked();
		look_round();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 LOOK_ROUND_SECONDS * 1000L, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}
