/*-------------------------------------------------------------------------
 * store.h
 *	  Reading streams, appending to them, and the horizon of the log.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_STORE_STORE_H
#define OCQ_STORE_STORE_H

#include "base/compat.h"
#include "fmgr.h"
#include "base/statement.h"
#include "store/event.h"

/* stream.c */
#define OCQ_EVENT_COLUMNS \
	"tenant_id, aggregate_type, aggregate_id, position, version, event_type, data, command_id," \
	" occurred_at"

extern struct OcqTable ocq_event_table; /* for reading OcqEvent */
extern struct OcqTable ocq_stream_table;	/* for records of OCQ_SOURCES(OcqStream) */

extern void ocq_event_read_row(uint64 row, OcqEvent *event);
extern void ocq_stream_lock(const OcqStream *stream);
extern bool ocq_stream_try_lock(const OcqStream *stream);
extern void ocq_stream_define_settings(void);
extern void ocq_stream_check_room(const OcqStream *stream, OcqEvents events);
extern OcqEvents ocq_stream_read(const OcqStream *stream);
extern bool ocq_stream_read_last(const OcqStream *stream, OcqEvent *event);
extern OcqEvents ocq_stream_read_command(const OcqStream *stream, const pg_uuid_t *command_id);
extern int	ocq_event_compare(const void *left, const void *right);
extern OcqEvents ocq_streams_read(const OcqStream *streams, int count, int64 up_to);
extern OcqEvents ocq_streams_read_last(const OcqStream *streams, int count, int64 up_to);
pg_noreturn extern void ocq_event_report_malformed(const OcqEvent *event, const char *problem);
extern bool ocq_event_find_value(const OcqEvent *event, const char *key, enum jbvType type,
								 JsonbValue *value);
extern JsonbValue ocq_event_value(const OcqEvent *event, const char *key, enum jbvType type);
extern text *ocq_event_text(const OcqEvent *event, const char *key);
extern bool ocq_stream_is_complete(const OcqEvent *events, int count);
extern void ocq_stream_check_complete(const OcqEvent *events, int count);
extern bool ocq_stream_equal(const OcqStream *a, const OcqStream *b);
extern char *ocq_stream_name(const OcqStream *stream);

/* read.c */
extern OcqEvents ocq_log_read(Datum aggregate_types, int64 after, int64 up_to, Size max_bytes);
extern int32 ocq_event_max_count(FunctionCallInfo fcinfo, int argno);

/* event_rows.c: for functions that return setof events */
extern void ocq_event_rows_begin(FunctionCallInfo fcinfo);
extern void ocq_event_rows_put(FunctionCallInfo fcinfo, uint64 rows);

/* subscription.c */
extern bool ocq_log_is_subscribed(void);
extern void ocq_log_warn_if_subscribed(void);

/*
 * count.c: number and checksum of a part of the log.  ocq_event_checksum and OCQ_EVENT_COUNT
 * are the same in C and in SQL.
 */
#define OCQ_CHECKSUM_MODULUS INT64CONST(2147483647)
#define OCQ_EVENT_COUNT \
	"count(*), coalesce(sum(((position % 2147483647) * (position % 2147483647) % 2147483647)::int), 0)"

static inline int64
ocq_event_checksum(int64 position)
{
	int64		rest = position % OCQ_CHECKSUM_MODULUS;

	return rest * rest % OCQ_CHECKSUM_MODULUS;
}

/*
 * append.c
 *
 * Events to append, after a version of a stream, and the state of the aggregate as the
 * command knows it: all of that is handed to the row trigger that the INSERT fires.
 */
typedef struct OcqAppend
{
	const OcqStream *stream;
	const struct OcqOrderKnown *known;	/* of an order: its state, so that the row trigger need not read it; or NULL */
	int32		after_version;
	const OcqNewEvent *events;
	int			count;

	/* report_taken raises the error of a first version that has been taken; it may be NULL. */
	void		(*report_taken) (const struct OcqAppend *append);
} OcqAppend;

typedef struct OcqEnvelope
{
	pg_uuid_t  *command_id;		/* NULL if the caller gave none */
	pg_uuid_t  *correlation_id; /* from metadata, or NULL */
	pg_uuid_t  *causation_id;	/* likewise */
	Jsonb	   *metadata;		/* NULL if the caller gave none */
} OcqEnvelope;

extern bool ocq_append(const OcqAppend *append, TimestampTz not_before,
					   const OcqEnvelope *envelope);
extern void ocq_append_report_lost(const OcqStream *stream, int wanted, int appended);
extern const OcqAppend *ocq_append_current(void);

extern void ocq_append_define_settings(void);
extern char *ocq_actor;			/* GUC order_cqrs.actor; empty: the session user */
extern const char *ocq_actor_verified(void);
extern int	ocq_max_event_size; /* GUC order_cqrs.max_event_size, in kB */

/* Wakes the worker of this database; set by the worker room. */
extern void (*ocq_append_wake_hook) (bool looks_over);
extern void ocq_append_wake_at_commit(void);
extern void ocq_append_look_over_at_commit(void);
extern void ocq_append_init(void);

/* positions.c */
extern void ocq_positions_request_shmem(void);
extern void ocq_positions_startup_shmem(void);
extern int64 ocq_position_last_drawn(void);
extern bool ocq_position_is_beyond_log(int64 position, int64 *end);
extern bool ocq_positions_are_behind(void);
extern void ocq_positions_prepare(void);
extern void ocq_positions_move_on(void);
extern void ocq_positions_doubt(void);
extern bool ocq_positions_look_after(void);
extern void ocq_position_check(int64 position);

/* restore.c */
extern void ocq_restore_define_settings(void);
extern uint64 ocq_restore_run_own(OcqStatement *statement, Datum *values, const char *nulls);
extern bool ocq_restore_is_own_row(void);
extern void ocq_restore_mark(const char *part);
extern void ocq_restore_mark_many(void);
extern bool ocq_restore_is_under_way(void);
extern bool ocq_restore_may_set_sequence(void);
extern void ocq_restore_look_after(void);

/* guards.c */
extern bool ocq_guards_are_lifted(void);
extern bool ocq_guards_are_disabled(void);
extern void ocq_guards_look_after(void);

/* horizon.c */
extern void ocq_horizon_require_primary(void);
extern int64 ocq_horizon_wait(void);
extern int64 ocq_horizon_known(void);
extern void ocq_horizon_forget(void);
extern bool ocq_horizon_try(int64 *horizon);
extern void ocq_horizon_wait_for_appenders(void);
extern void ocq_horizon_hold(void);
extern void ocq_horizon_flush(void);
extern void ocq_horizon_barrier(void);

#endif							/* OCQ_STORE_STORE_H */
