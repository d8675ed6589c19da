/*-------------------------------------------------------------------------
 * projection.h
 *	  Projections: named folds of events into read tables.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_PROJECTION_PROJECTION_H
#define OCQ_PROJECTION_PROJECTION_H

#include "base/statement.h"
#include "base/table.h"
#include "fmgr.h"
#include "order/order.h"
#include "reference/reference.h"
#include "store/store.h"

/* Streams by name, and, where it is known, the position of the first event of each that is missing. */
typedef struct OcqStreams
{
	OcqStream  *streams;
	int64	   *first_positions;
	int			count;
} OcqStreams;

/* The last event of a customer's or product's stream. */
typedef struct OcqReferenceChange
{
	OcqReferenceKind kind;
	OcqStream	stream;
	int32		version;
	int64		position;
	text	   *name;
	text	   *attribute;
} OcqReferenceChange;

/* The last event of a product's Inventory stream. */
typedef struct OcqStockChange
{
	OcqStream	stream;
	int32		version;
	OcqStockTotals totals;
} OcqStockChange;

/*
 * The states that a projection handles at once: the whole state of each aggregate that
 * the batch's events touch, each aggregate once.
 */
typedef struct OcqBatch
{
	OcqOrderState *orders;
	int			norders;
	int			nnew;			/* orders without rows in the read tables: the first ones */
	OcqReferenceChange *changes;
	int			nchanges;
	OcqStockChange *stocks;
	int			nstocks;
	bool		is_append;		/* of one stream, to which a command is appending right now ... */
	int32		appended_after; /* ... after this version */
	const OcqOrderState *before;	/* state of the order before that, or NULL where it is not known */
} OcqBatch;

/*
 * The statements that find the differences between read tables and events, and the
 * streams that have them, in their order.
 */
typedef struct OcqDifferences
{
	OcqStatement all;			/* tenant_id, key, expected, actual */
	OcqStatement streams;		/* tenant_id, aggregate_type, aggregate_id */
} OcqDifferences;

/* A read table.  Its key begins with the tenant and the id of a stream. */
typedef struct OcqReadTable
{
	OcqTable   *table;
	const char *aggregate_type; /* of the streams */
	uint32		events;			/* bits: the order's events that it is about; 0: all */
	bool		is_detail;		/* of another table, which tells whether it is behind */
} OcqReadTable;

/*
 * A projection.  handle writes a state only where the read tables have an older
 * version, so that handling anything twice changes nothing; orders that it is told
 * are new it may insert without looking.  It returns the number of rows that it
 * changed.  The row trigger and the worker call the same handle.
 */
typedef struct OcqProjection
{
	const char *name;
	const char *const *aggregate_types; /* ends with NULL */
	bool		always_sync;
	bool		answers_queries;	/* answers that are read from its tables may be cached */
	bool		shares_rows;	/* among orders, which lock them in their order */
	bool		shows_names;	/* of customers or products, which have no version in its rows */
	const OcqReadTable *tables; /* the last has no table */
	int64		(*handle) (const OcqBatch *batch);

	/* forget removes the streams' traces from the read tables; NULL: it removes their rows. */
	void		(*forget) (const OcqStreams *streams);

	/* reconcile mends the rows that do not belong to one stream; it may be NULL. */
	void		(*reconcile) (void);

} OcqProjection;

extern const OcqProjection ocq_projection_reference;
extern const OcqProjection ocq_projection_inventory;
extern const OcqProjection ocq_projection_payments;
extern const OcqProjection ocq_projection_order_view;
extern const OcqProjection ocq_projection_order_summary_view;
extern const OcqProjection ocq_projection_order_stats;

/* registry.c */
#define OCQ_MAX_PROJECTIONS 16

extern const OcqProjection *const ocq_projections[];
extern int	ocq_projection_count(void);
extern const OcqProjection *ocq_projection_find(const char *name);
extern bool ocq_projection_handles(const OcqProjection *projection, const text *aggregate_type);
extern bool ocq_projection_is_triggered(int index);

/* batch.c */
extern OcqBatch ocq_batch_of_streams(const OcqStreams *streams, int count, int64 up_to);
extern OcqBatch ocq_batch_of_log(OcqEvents *events, int64 after, bool presumes_new);
extern bool ocq_batch_of_event(const OcqEvent *event, const OcqAppend *append, OcqBatch *batch);

/* projection_handle.c */
extern int64 ocq_projection_handle(const OcqProjection *projection, const OcqBatch *batch);
extern int64 ocq_projection_handle_many(const OcqProjection *projection, const OcqBatch *batch,
										bool is_sync);
extern void ocq_projection_forget(const OcqProjection *projection, const OcqStreams *streams);

/* read_table.c */
extern OcqDifferences *ocq_projection_differences(const OcqProjection *projection);
extern OcqStatement *ocq_projection_behind(const OcqProjection *projection);
extern void ocq_read_tables_forget(const OcqReadTable *tables, const OcqStreams *streams);
extern OcqRows ocq_stream_keys(const OcqStreams *streams, const char *aggregate_type);

/* order_rows.c: OCQ_SOURCES(OcqOrderState, its customer's OcqReference, its items as Jsonb) */
extern OcqTable ocq_order_view;
extern OcqTable ocq_order_summary_view;
extern OcqTable ocq_names;		/* OCQ_SOURCES(OcqReference) */

extern Datum ocq_get_status(const void *order, bool *isnull);
extern Datum ocq_get_payment_status(const void *order, bool *isnull);
extern Datum ocq_get_shipped_at(const void *order, bool *isnull);
extern Datum ocq_get_items(const void *order, bool *isnull);
extern Datum ocq_get_reservation_status(const void *order, bool *isnull);
extern Datum ocq_get_reservation_items(const void *order, bool *isnull);

extern bool ocq_order_rows_append(OcqTable *table, const OcqBatch *batch, Jsonb *items);
extern int64 ocq_order_rows_write(OcqTable *table, const OcqBatch *batch, Jsonb **items,
								  bool *written);
extern int64 ocq_names_renew(OcqStatement *statement, const OcqBatch *batch, OcqReferenceKind kind);

/* state.c */
typedef struct OcqProjectionState
{
	bool		is_sync;
	bool		is_paused;
	int64		last_position;
} OcqProjectionState;

/* The outcome of a step. */
typedef struct OcqHandled
{
	int64		events;
	int64		checksum;		/* of the events that an async projection has really handled */
	int64		repaired;		/* rows of a sync projection */
	int64		renewed;		/* likewise */
} OcqHandled;

extern bool ocq_state_lock(const OcqProjection *projection, bool wait, OcqProjectionState *state);
extern void ocq_state_advance(const OcqProjection *projection, int64 position,
							  OcqHandled handled);
extern void ocq_state_fail(const OcqProjection *projection, int64 position, const char *message);
extern void ocq_state_set_mode(const OcqProjection *projection, bool is_sync);
extern void ocq_state_set_paused_to(const OcqProjection *projection, int64 position);
extern void ocq_state_set_status(const OcqProjection *projection, const char *status);
extern void ocq_state_reset(const OcqProjection *projection);
extern void ocq_state_rewind(int64 position);
extern void ocq_state_rewind_again(void);

/* restored.c */
extern bool ocq_restored_leave_out(void);

/* audit.c: a range of the log is closed when a projection has handled so many of its events */
#define OCQ_AUDIT_RANGE 100000

extern int	ocq_audit_delay;	/* GUC order_cqrs.audit_delay, in milliseconds */

extern void ocq_audit_define_settings(void);
extern void ocq_audit_close(const OcqProjection *projection);
extern bool ocq_audit_step(void);

/* manage.c */
extern const OcqProjection *ocq_projection_argument(FunctionCallInfo fcinfo);

/* sync.c */
typedef enum OcqSyncResult
{
	OCQ_SYNC_DONE,				/* at the horizon */
	OCQ_SYNC_PROGRESS,			/* a batch was handled: call again */
	OCQ_SYNC_BUSY,				/* another process has the projection */
	OCQ_SYNC_PAUSED,
	OCQ_SYNC_FAILED				/* recorded in projection_state */
} OcqSyncResult;

extern int	ocq_batch_size;		/* GUC order_cqrs.batch_size */

extern void ocq_sync_define_settings(void);
extern int64 ocq_sync_horizon(void);
extern int64 ocq_sync_renamed_to(int64 horizon);
extern OcqSyncResult ocq_sync_step(const OcqProjection *projection, int64 horizon, bool wait,
								   bool appends_are_blocked);
extern void ocq_sync_restored(const OcqProjection *projection, int64 up_to);
extern OcqStreams ocq_sync_read_streams(uint64 rows);
extern Datum ocq_sync_aggregate_types(const OcqProjection *projection);
extern const char *ocq_sync_lock_timeout(void);
extern void ocq_sync_require_read_committed(void);
extern int	ocq_sync_lock_streams(const OcqStreams *streams, int from, bool wait);

#endif							/* OCQ_PROJECTION_PROJECTION_H */
