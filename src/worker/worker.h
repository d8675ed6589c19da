/*-------------------------------------------------------------------------
 * worker.h
 *	  Background processes: the launcher, and the processes of each database.
 *
 * The processes of a database have numbers: the synchroniser is 0, its helpers
 * follow, then comes the runner, and then the pool workers.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_WORKER_WORKER_H
#define OCQ_WORKER_WORKER_H

#include "nodes/pg_list.h"
#include "postmaster/bgworker.h"

#define OCQ_MAX_DATABASES 64
#define OCQ_MAX_WORKERS 8
#define OCQ_MAX_BUS_WORKERS 16

#define OCQ_SYNCHRONISER 0
#define OCQ_RUNNER OCQ_MAX_WORKERS
#define OCQ_FIRST_POOL (OCQ_RUNNER + 1)
#define OCQ_MAX_PROCESSES (OCQ_FIRST_POOL + OCQ_MAX_BUS_WORKERS)

/* launcher.c */
extern void ocq_launcher_define_settings(void);
extern void ocq_launcher_register(void);
extern PGDLLEXPORT void ocq_launcher_main(Datum arg);

/* process.c */
typedef struct OcqProcess
{
	int			number;
	Oid			role;			/* that a pool worker logs in as */
} OcqProcess;

extern bool ocq_process_start(Oid database, OcqProcess process, BackgroundWorkerHandle **handle);
extern int	ocq_process_begin(Oid database);
extern void ocq_process_use_own_settings(void);
extern bool ocq_process_begin_transaction(void);
extern void ocq_process_commit(void);
extern void ocq_process_reload_if_asked(void);

/* synchroniser.c */
extern void ocq_synchroniser_define_settings(void);
extern PGDLLEXPORT void ocq_synchroniser_main(Datum arg);

/* runner.c: how often it looks after the queue of futures, at least */
#define OCQ_UPKEEP_MS 5000

extern PGDLLEXPORT void ocq_runner_main(Datum arg);

/* pool_round.c */
extern long ocq_pool_round_milliseconds(void);
extern void ocq_pool_round_run(void);
extern void ocq_pool_round_hasten(void);

/* pool_slots.c */
extern bool ocq_pool_reap(void);
extern void ocq_pool_serve(List *roles);
extern bool ocq_pool_is_out_of_slots(void);
extern bool ocq_pool_has_worker(void);

/* saga_round.c */
extern bool ocq_saga_round_run(long *wait_ms);

/* pool.c */
extern int	ocq_bus_workers;	/* GUC order_cqrs.bus_workers */

extern void ocq_pool_define_settings(void);
extern PGDLLEXPORT void ocq_pool_main(Datum arg);

/* pool_state.c: between sessions with futures, the runner, and pool workers */
typedef enum OcqPoolState
{
	OCQ_POOL_SERVES,
	OCQ_POOL_IS_OFF,			/* order_cqrs.bus_workers is 0 */
	OCQ_POOL_AWAITS_RESTORE,	/* a restore is, or seems to be, under way */
	OCQ_POOL_HAS_NO_SLOT		/* there is no worker, and none can be started */
} OcqPoolState;

extern void ocq_pool_wake(void);
extern const struct OcqObstacle *ocq_pool_obstacle(void);
extern void ocq_pool_set_state(OcqPoolState state);
extern bool ocq_pool_has_work(void);
extern void ocq_pool_take_work(void);
extern bool ocq_pool_wake_idle(Oid role);
extern void ocq_pool_set_short(bool is_short);
extern bool ocq_pool_take_short(void);
extern bool ocq_pool_set_idle(bool is_idle);
extern bool ocq_pool_is_marked_idle(void);

/* database.c */
extern void ocq_database_request_shmem(void);
extern void ocq_database_startup_shmem(void);
extern bool ocq_database_enter(Oid database, int process);
extern bool ocq_database_has_process(Oid database, int process);
extern bool ocq_database_may_enter(Oid database);

/* wakeup.c */
extern void ocq_database_wake(bool looks_over);
extern uint64 ocq_database_log_changes(void);
extern bool ocq_database_take_look_over(void);

/* eviction.c */
extern void ocq_database_init(void);
extern void ocq_database_evict(Oid database);
extern void ocq_database_terminate_unlisted(List *databases);
extern void ocq_database_set_launcher(void);

#endif							/* OCQ_WORKER_WORKER_H */
