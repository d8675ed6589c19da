/*-------------------------------------------------------------------------
 * future.h
 *	  Futures: messages that are handled later, by another process.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_BUS_FUTURE_H
#define OCQ_BUS_FUTURE_H

#include "bus/bus.h"
#include "nodes/pg_list.h"

/* GUCs */
extern int	ocq_queue_capacity;
extern int	ocq_result_retention;	/* in seconds */

/* A future that this process has claimed. */
typedef struct OcqFuture
{
	pg_uuid_t	id;
	int32		attempts;		/* with this one */
	char	   *role;			/* current role of the sender */
	OcqMessage	message;
} OcqFuture;

/* Why nobody runs futures. */
typedef struct OcqObstacle
{
	const char *detail;
	const char *hint;
} OcqObstacle;

/* capacity.c */
extern void ocq_capacity_request_shmem(void);
extern void ocq_capacity_startup_shmem(void);
extern void ocq_capacity_init(void);
extern void ocq_capacity_check(void);
extern void ocq_future_waiting_changed(int64 change);

/* claim.c */
extern bool ocq_future_claim(const char *session_role, const char *role, OcqFuture *future);
extern void ocq_future_claim_anew(void);

/* run.c */
extern void ocq_future_perform(const OcqFuture *future);
extern void ocq_future_failed_to_commit(const OcqFuture *future, const ErrorData *error);

/* upkeep.c */
extern bool ocq_future_recover(void);
extern bool ocq_future_expire(void);
extern List *ocq_future_waiting_roles(void);

/* error.c */
extern Jsonb *ocq_future_error_make(const ErrorData *error);
pg_noreturn extern void ocq_future_error_raise(Jsonb *error);

/* wait.c */
extern void ocq_future_request_shmem(void);
extern void ocq_future_startup_shmem(void);
extern void ocq_future_init(void);
extern void ocq_future_was_sent(void);
extern void ocq_future_was_put_back(void);
extern void ocq_future_was_finished(const pg_uuid_t *id);
extern void ocq_future_committed_prepared(void);
extern bool ocq_future_can_sleep(void);
extern uint64 ocq_future_prepare_to_sleep(const pg_uuid_t *id);
extern void ocq_future_sleep(const pg_uuid_t *id, uint64 generation, long milliseconds);
extern void ocq_future_end_sleep(void);

/* Called after the commit of a transaction that has sent; set by the worker room. */
extern void (*ocq_future_wake_hook) (void);

/* Returns what keeps the workers of this database from running futures, or NULL; set by the worker room. */
extern const OcqObstacle *(*ocq_future_obstacle_hook) (void);

#endif							/* OCQ_BUS_FUTURE_H */
