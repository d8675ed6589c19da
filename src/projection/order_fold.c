/*-------------------------------------------------------------------------
 * order_fold.c
 *	  order_fold: the states of all orders, folded from their events.
 *
 * This is the truth that read tables are compared with.  It reads in the
 * snapshot of the statement that calls it, and one stream at a time.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/scope.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "projection/projection.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(ocq_order_fold_all);

#define FETCH_COUNT 1000

static OcqStatement select_orders =
OCQ_STATEMENT("SELECT " OCQ_EVENT_COLUMNS " FROM order_cqrs.events"
			  " WHERE aggregate_type = '" OCQ_AGGREGATE_ORDER "' AND position <= $1"
			  " ORDER BY tenant_id, aggregate_type, aggregate_id, version",
			  INT8OID);

#define ORDER(field) OCQ_FIELD(0, OcqOrderState, field)
#define PAYMENT(field) OCQ_FIELD(1, OcqOrderState, payment.field)
#define RESERVATION(field) OCQ_FIELD(2, OcqOrderState, reservation.field)

/* order_fold's results.  The sources are one state, or NULL for a part that it lacks. */
static const OcqColumn columns[] = {
	{"tenant_id", TEXTOID, ORDER(tenant_id)},
	{"order_id", TEXTOID, ORDER(order_id)},
	{"version", INT4OID, ORDER(version)},
	{"customer_id", TEXTOID, ORDER(customer_id)},
	{"status", TEXTOID, .get = ocq_get_status},
	{"total_amount", NUMERICOID, ORDER(total_amount)},
	{"item_count", INT4OID, ORDER(item_count)},
	{"items", JSONBOID, .get = ocq_get_items},
	{"items_version", INT4OID, ORDER(items_version)},
	{"created_at", TIMESTAMPTZOID, ORDER(created_at)},
	{"updated_at", TIMESTAMPTZOID, ORDER(updated_at)},
	{"shipped_at", TIMESTAMPTZOID, .get = ocq_get_shipped_at},
	{"payment_status", TEXTOID, .get = ocq_get_payment_status},
	{"payment_amount", NUMERICOID, PAYMENT(amount)},
	{"payment_reference", TEXTOID, PAYMENT(reference)},
	{"payment_reason", TEXTOID, PAYMENT(reason)},
	{"payment_requested_at", TIMESTAMPTZOID, PAYMENT(requested_at)},
	{"payment_updated_at", TIMESTAMPTZOID, PAYMENT(updated_at)},
	{"payment_version", INT4OID, PAYMENT(version)},
	{"reservation_status", TEXTOID, .source = 2, .get = ocq_get_reservation_status},
	{"reservation_items", JSONBOID, .source = 2, .get = ocq_get_reservation_items},
	{"reservation_version", INT4OID, RESERVATION(version)},
};

static OcqTable states = OCQ_TABLE(NULL, columns);

static void
put_state(ReturnSetInfo *result, const OcqOrderState *state)
{
	Datum		values[lengthof(columns)];
	bool		nulls[lengthof(columns)];

	ocq_table_check_width(lengthof(columns), result->setDesc);
	ocq_table_values(&states, OCQ_SOURCES(state, state->payment.status == OCQ_PAYMENT_NONE ? NULL : state,
										  state->reservation.items == NULL ? NULL : state),
					 values, nulls);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* evolve_row applies the row to the state, in memory that lasts as long as the state. */
static void
evolve_row(OcqOrderState *state, uint64 row)
{
	OcqEvent   *event = palloc_object(OcqEvent);

	ocq_event_read_row(row, event);
	event->stream.tenant_id = ocq_text_copy(event->stream.tenant_id);
	event->stream.aggregate_id = ocq_text_copy(event->stream.aggregate_id);
	event->data = (Jsonb *) PG_DETOAST_DATUM_COPY(PointerGetDatum(event->data));
	ocq_order_evolve(state, event);
}

/* is_of_state tells whether the row belongs to the order whose state this is. */
static bool
is_of_state(const OcqOrderState *state, uint64 row)
{
	return state->version > 0 &&
		ocq_text_equal(state->order_id, DatumGetTextPP(ocq_row_datum(row, 3))) &&
		ocq_text_equal(state->tenant_id, DatumGetTextPP(ocq_row_datum(row, 1)));
}

static void
fold_all(ReturnSetInfo *result, int64 up_to)
{
	Datum		values[] = {Int64GetDatum(up_to)};
	Portal		portal = ocq_statement_open(&select_orders, values, NULL);
	MemoryContext stream_context = AllocSetContextCreate(CurrentMemoryContext,
														 "order_cqrs order fold",
														 ALLOCSET_DEFAULT_SIZES);
	MemoryContext outer = CurrentMemoryContext;
	OcqOrderState state = {0};

	for (;;)
	{
		SPI_cursor_fetch(portal, true, FETCH_COUNT);
		if (SPI_processed == 0)
			break;
		/* SPI has left its own context behind, which lasts until the end. */
		MemoryContextSwitchTo(stream_context);
		for (uint64 row = 0; row < SPI_processed; row++)
		{
			if (!is_of_state(&state, row))
			{
				if (state.version > 0)
					put_state(result, &state);
				MemoryContextReset(stream_context);
				memset(&state, 0, sizeof(state));
			}
			evolve_row(&state, row);
		}
		SPI_freetuptable(SPI_tuptable);
		CHECK_FOR_INTERRUPTS();
	}
	if (state.version > 0)
		put_state(result, &state);
	MemoryContextSwitchTo(outer);
	MemoryContextDelete(stream_context);
	SPI_cursor_close(portal);
}

/* order_fold(up_to_position bigint) */
Datum
ocq_order_fold_all(PG_FUNCTION_ARGS)
{
	OcqScope	scope;

	InitMaterializedSRF(fcinfo, 0);
	ocq_scope_enter(&scope);
	fold_all((ReturnSetInfo *) fcinfo->resultinfo, PG_ARGISNULL(0) ? PG_INT64_MAX : PG_GETARG_INT64(0));
	ocq_scope_leave(&scope);
	return (Datum) 0;
}
