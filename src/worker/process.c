/*-------------------------------------------------------------------------
 * process.c
 *	  The processes of a database: how they start, and their settings.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/catalog.h"
#include "base/scope.h"
#include "base/statement.h"
#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "worker/worker.h"

StaticAssertDecl(sizeof(OcqProcess) <= BGW_EXTRALEN, "OcqProcess goes into bgw_extra");

static const char *
kind_of(int number)
{
	if (number == OCQ_SYNCHRONISER)
		return "synchroniser";
	if (number < OCQ_RUNNER)
		return "helper";
	return number == OCQ_RUNNER ? "runner" : "pool worker";
}

static const char *
main_of(int number)
{
	if (number < OCQ_RUNNER)
		return "ocq_synchroniser_main";
	return number == OCQ_RUNNER ? "ocq_runner_main" : "ocq_pool_main";
}

/* ocq_process_start returns false if there is no slot for a background worker. */
bool
ocq_process_start(Oid database, OcqProcess process, BackgroundWorkerHandle **handle)
{
	BackgroundWorker registration = {0};
	const char *kind = kind_of(process.number);

	registration.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	registration.bgw_start_time = BgWorkerStart_RecoveryFinished;
	registration.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(registration.bgw_library_name, "order_cqrs", BGW_MAXLEN);
	strlcpy(registration.bgw_function_name, main_of(process.number), BGW_MAXLEN);
	snprintf(registration.bgw_name, BGW_MAXLEN, "order_cqrs %s of database %u", kind, database);
	snprintf(registration.bgw_type, BGW_MAXLEN, "order_cqrs %s", kind);
	registration.bgw_notify_pid = MyProcPid;
	registration.bgw_main_arg = ObjectIdGetDatum(database);
	memcpy(registration.bgw_extra, &process, sizeof(process));
	return RegisterDynamicBackgroundWorker(&registration, handle);
}

/* ocq_process_begin enters the database and connects to it, or exits.  It returns the process's number. */
int
ocq_process_begin(Oid database)
{
	OcqProcess	process;

	memcpy(&process, MyBgworkerEntry->bgw_extra, sizeof(process));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	if (!ocq_database_enter(database, process.number))
		proc_exit(0);
	BackgroundWorkerInitializeConnectionByOid(database, process.role, 0);
	return process.number;
}

/* ocq_process_use_own_settings is for processes that do the extension's own work. */
void
ocq_process_use_own_settings(void)
{
	ocq_process_is_own = true;

	/* The horizon needs a newer snapshot for each statement. */
	SetConfigOption("default_transaction_isolation", "read committed", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_read_only", "off", PGC_SUSET, PGC_S_OVERRIDE);

	/* The processes act on no user's behalf. */
	SetConfigOption("order_cqrs.actor", "", PGC_SUSET, PGC_S_OVERRIDE);

	/* Projections are triggers. */
	SetConfigOption("session_replication_role", "origin", PGC_SUSET, PGC_S_OVERRIDE);

	/* In a deadlock with a command the worker finds out first, and gives way. */
	SetConfigOption("deadlock_timeout", "100ms", PGC_SUSET, PGC_S_OVERRIDE);

	SetConfigOption("statement_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("lock_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("idle_in_transaction_session_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	if (GetConfigOption("transaction_timeout", true, false) != NULL)
		SetConfigOption("transaction_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
}

/* Whether the extension was there when the transaction began. */
static bool is_held = false;

/*
 * ocq_process_begin_transaction returns false if the extension is not there.  It is for
 * processes that do the extension's own work.
 */
bool
ocq_process_begin_transaction(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	is_held = ocq_catalog_hold();
	return is_held;
}

/*
 * ocq_process_commit commits as the extension's owner.  Code of triggers on its tables may
 * run as late as in the commit: cursors WITH HOLD, and deferred triggers that others have
 * queued in their turn.  Without this it would run as the bootstrap superuser, the role of
 * the process's connection.  A transaction that has dropped the extension before its commit
 * begins, by a trigger, is not committed.
 */
void
ocq_process_commit(void)
{
	Oid			user;
	int			security_context;
	OcqScope	scope;

	if (!is_held)
	{
		CommitTransactionCommand();
		return;
	}
	ocq_scope_enter(&scope);	/* an error if it is not there */
	ocq_check_own_deferred_constraints();
	ocq_scope_leave(&scope);
	GetUserIdAndSecContext(&user, &security_context);
	SetUserIdAndSecContext(ocq_catalog_owner(), security_context | SECURITY_LOCAL_USERID_CHANGE);
	CommitTransactionCommand();
	SetUserIdAndSecContext(user, security_context);
}

void
ocq_process_reload_if_asked(void)
{
	CHECK_FOR_INTERRUPTS();
	if (!ConfigReloadPending)
		return;
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
}
