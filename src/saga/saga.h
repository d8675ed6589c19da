/*-------------------------------------------------------------------------
 * saga.h
 *	  The order saga: the commands that follow from the events of an order.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_SAGA_SAGA_H
#define OCQ_SAGA_SAGA_H

#include "order/order.h"

/* GUCs that other files go by */
extern bool ocq_saga_enabled;
extern int	ocq_payment_timeout;	/* in seconds */

extern void ocq_saga_define_settings(void);

/* step.c: the step of an order */
typedef enum OcqSagaStep
{
	OCQ_SAGA_RESERVE_INVENTORY,
	OCQ_SAGA_AWAIT_PAYMENT,
	OCQ_SAGA_COMPLETE_ORDER,
	OCQ_SAGA_CANCEL_ORDER,
	OCQ_SAGA_COMPENSATE,
	OCQ_SAGA_SHIPPED,
	OCQ_SAGA_CANCELLED,
	OCQ_SAGA_ENDED,
	OCQ_SAGA_FAILED
} OcqSagaStep;

extern OcqSagaStep ocq_saga_step(const OcqOrderState *order);
extern bool ocq_saga_is_over(OcqSagaStep step);
extern const char *ocq_saga_step_name(OcqSagaStep step);
extern OcqSagaStep ocq_saga_step_of_name(const char *name);

/* record.c: table order_saga, and the checkpoint */
typedef struct OcqSagaRecord
{
	OcqStream	order;
	bool		exists;
	OcqSagaStep step;
	const char *step_name;		/* in the table */
	int32		attempts;
	bool		is_due;			/* next_attempt_at has come */
	bool		has_next;
	TimestampTz next_attempt_at;
	char	   *last_error;		/* NULL: none */
	int32		version;		/* of the order, when the saga last looked at it */
	TimestampTz updated_at;
} OcqSagaRecord;

/* An order that the saga has to look at; position 0: because its time has come. */
typedef struct OcqSagaTask
{
	OcqStream	order;
	int64		position;
	int32		version;		/* of the event */
} OcqSagaTask;

/* No more are found at a time. */
#define OCQ_SAGA_MAX_TASKS 100

typedef struct OcqSagaTasks
{
	OcqSagaTask *tasks;
	int			count;
} OcqSagaTasks;

extern OcqSagaRecord ocq_saga_read(const OcqStream *order);
extern void ocq_saga_write(const OcqSagaRecord *record);
extern void ocq_saga_set_time(const OcqStream *order, TimestampTz next_attempt_at);
extern void ocq_saga_report_lost_checkpoint(int level);
extern bool ocq_saga_checkpoint(int64 *position);
extern bool ocq_saga_lock_checkpoint(bool wait, int64 *position);

/* The types of events that the saga reacts to, as a list in SQL. */
#define OCQ_SAGA_EVENT_TYPES \
	"'" OCQ_EVENT_ORDER_CREATED "', '" OCQ_EVENT_ORDER_CANCELLED "', '" OCQ_EVENT_ORDER_COMPLETED "'," \
	" '" OCQ_EVENT_PAYMENT_REQUESTED "', '" OCQ_EVENT_PAYMENT_COMPLETED "', '" OCQ_EVENT_PAYMENT_FAILED "'," \
	" '" OCQ_EVENT_PAYMENT_REFUNDED "', '" OCQ_EVENT_SHIPPING_STARTED "'"

extern void ocq_saga_set_checkpoint(int64 position);
extern void ocq_saga_reset_checkpoint(int64 position, int64 log_end);
extern void ocq_saga_follow_log(int64 position);
extern OcqSagaTasks ocq_saga_find_events(int64 after, int64 up_to, MemoryContext context);
extern OcqSagaTasks ocq_saga_find_missed(int64 after, int64 up_to);
extern OcqSagaTasks ocq_saga_find_due(MemoryContext context);
extern long ocq_saga_milliseconds_to_next(void);

/* missed.c */
extern void ocq_saga_audit(int delay);

/* act.c: the commands of a step */
extern OcqSagaRecord ocq_saga_advance(OcqSagaRecord *record);

/* saga_run.c */
typedef enum OcqSagaResult
{
	OCQ_SAGA_TAKEN,
	OCQ_SAGA_LOST_RACE,			/* another transaction has a lock that it needs: put off */
	OCQ_SAGA_NOT_OURS			/* another process is about to take it */
} OcqSagaResult;

extern OcqSagaResult ocq_saga_take(const OcqSagaTask *task, bool wait, bool is_patient);
extern OcqSagaTasks ocq_saga_collect(int64 checkpoint, int64 horizon, MemoryContext context);

#endif							/* OCQ_SAGA_SAGA_H */
