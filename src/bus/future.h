/*-------------------------------------------------------------------------
 * future.h
 *	  Futures: messages that are handled later, by another process.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_BUS_FUTURE_H
#define OCQ_BUS_FUTURE_H

#include "base/table.h"
#include "bus/bus.h"
#include "nodes/pg_list.h"

/* A future that this process sends, or has claimed. */
typedef struct OcqFuture
{
	pg_uuid_t  *id;
	const char *kind;			/* of the message, in the table */
	OcqMessage	message;
	Oid			session_role;	/* session user of the sender */
	Oid			role;			/* current role of the sender */

	const char *actor;			/* order_cqrs.actor of the sender; NULL if it was empty */

	/* Other settings of the sender; NULL: those of this session. */
	const char *time_zone;
	const char *date_style;
	const char *interval_style;

	/* From here on only of one that was claimed. */
	int32		attempts;		/* with this one */
	int32		lock_timeouts;	/* so far */
	int64		number;			/* in the order of sending */
	bool		has_next;		/* another one waits in its lane */
} OcqFuture;

/* The columns of a future that is sent. */
#define OCQ_FUTURE(field) OCQ_FIELD(0, OcqFuture, field)
#define OCQ_FUTURE_COLUMNS \
	{"id", UUIDOID, OCQ_KEY, OCQ_FUTURE(id)}, \
	{"kind", CSTRINGOID, OCQ_FUTURE(kind)}, \
	{"type", TEXTOID, OCQ_FUTURE(message.type)}, \
	{"payload", JSONBOID, OCQ_FUTURE(message.payload)}, \
	{"command_id", UUIDOID, OCQ_FUTURE(message.id)}, \
	{"tenant_id", TEXTOID, OCQ_FUTURE(message.tenant_id)}, \
	{"session_role", OIDOID, OCQ_FUTURE(session_role)}, \
	{"role", OIDOID, OCQ_FUTURE(role)}, \
	{"actor", CSTRINGOID, OCQ_FUTURE(actor)}, \
	{"time_zone", CSTRINGOID, OCQ_FUTURE(time_zone)}, \
	{"date_style", CSTRINGOID, OCQ_FUTURE(date_style)}, \
	{"interval_style", CSTRINGOID, OCQ_FUTURE(interval_style)}

/* The error of a future whose sender has been dropped. */
#define OCQ_SENDER_GONE_MESSAGE "the role that has sent the future does not exist"
#define OCQ_SENDER_GONE_DETAIL \
	"It has been dropped, or it did not exist where a dump of the future was restored. A role of the same name is another one."
#define OCQ_SENDER_GONE_HINT "Send it again, as a role that exists."

/* The reason that no process runs futures. */
typedef struct OcqObstacle
{
	const char *detail;
	const char *hint;
} OcqObstacle;

/* capacity.c */
extern void ocq_capacity_define_settings(void);
extern void ocq_capacity_request_shmem(void);
extern void ocq_capacity_startup_shmem(void);
extern void ocq_capacity_init(void);
extern void ocq_capacity_check(Oid session_role);
extern void ocq_future_waiting_changed(Oid session_role, int64 change);

/* claim.c */
extern bool ocq_future_claim(Oid session_role, Oid role, OcqFuture *future);
extern void ocq_future_claim_anew(void);

/* future_run.c */
extern void ocq_future_define_settings(void);
extern void ocq_future_perform(const OcqFuture *future);
extern void ocq_future_failed_to_commit(const OcqFuture *future, ErrorData *error);

/* upkeep.c */
extern void ocq_upkeep_define_settings(void);
extern bool ocq_future_recover(void);
extern bool ocq_future_expire(void);
extern long ocq_future_release(void);
extern bool ocq_future_can_log_in(Oid role);
extern List *ocq_future_waiting_roles(void);
extern void ocq_future_fail_forsaken(void);

/* error.c */
extern Jsonb *ocq_future_error_make(const ErrorData *error);
pg_noreturn extern void ocq_future_error_raise(Jsonb *error);

/* wait.c */
extern void ocq_future_request_shmem(void);
extern void ocq_future_startup_shmem(void);
extern void ocq_future_init(void);
extern void ocq_future_was_sent(void);
extern void ocq_future_was_put_back(Oid session_role);
extern void ocq_future_was_finished(const pg_uuid_t *id);
extern void ocq_future_committed_prepared(void);
extern bool ocq_future_can_sleep(void);
extern uint64 ocq_future_generation(const pg_uuid_t *id);
extern void ocq_future_sleep(const pg_uuid_t *id, uint64 generation, long milliseconds);
extern void ocq_future_end_sleep(void);

/* Called after the commit of a transaction that has sent; set by the worker room. */
extern void (*ocq_future_wake_hook) (void);

/* Returns the reason that no worker of this database runs futures, or NULL; set by the worker room. */
extern const OcqObstacle *(*ocq_future_obstacle_hook) (void);

#endif							/* OCQ_BUS_FUTURE_H */
