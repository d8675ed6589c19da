/*-------------------------------------------------------------------------
 * worker.h
 *	  Background processes: the launcher and the synchronisers.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_WORKER_WORKER_H
#define OCQ_WORKER_WORKER_H

#include "nodes/pg_list.h"
#include "postmaster/bgworker.h"

#define OCQ_MAX_WORKERS 8
#define OCQ_MAX_DATABASES 64

/* GUCs */
extern char *ocq_databases;
extern int	ocq_sync_interval;	/* in seconds */
extern int	ocq_workers;

/* launcher.c */
extern void ocq_launcher_register(void);
extern PGDLLEXPORT void ocq_launcher_main(Datum arg);

/* synchroniser.c */
extern PGDLLEXPORT void ocq_synchroniser_main(Datum arg);

/* database.c */
extern void ocq_database_init(void);
extern void ocq_database_request_shmem(void);
extern void ocq_database_startup_shmem(void);
extern bool ocq_database_enter(Oid database, int worker);
extern bool ocq_database_has_worker(Oid database, int worker);
extern bool ocq_database_may_enter(Oid database);
extern void ocq_database_wake(void);
extern void ocq_database_evict(Oid database);
extern void ocq_database_terminate_unlisted(List *databases);
extern void ocq_database_set_launcher(void);

/* Starts worker number "worker" of a database; 0 is the one that stays. */
extern bool ocq_synchroniser_start(Oid database, int worker, BackgroundWorkerHandle **handle);

#endif							/* OCQ_WORKER_WORKER_H */
