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

/* Where its columns start, and how many they are. */
#define PAYMENT_COLUMN 12
#define NPAYMENT_COLUMNS 7
#define RESERVATION_COLUMN (PAYMENT_COLUMN + NPAYMENT_COLUMNS)
#define NRESERVATION_COLUMNS 3
#define NCOLUMNS (RESERVATION_COLUMN + NRESERVATION_COLUMNS)

static OcqStatement select_orders =
OCQ_STATEMENT("SELECT " OCQ_EVENT_COLUMNS " FROM order_cqrs.events"
			  " WHERE aggregate_type = 'Order' AND position <= $1"
			  " ORDER BY tenant_id, aggregate_type, aggregate_id, version",
			  INT8OID);

static Datum
name_datum(const char *name)
{
	return CStringGetTextDatum(name);
}

static void
put_payment(Datum *values, bool *nulls, const OcqPayment *payment)
{
	if (payment->status == OCQ_PAYMENT_NONE)
	{
		memset(nulls, true, sizeof(bool) * NPAYMENT_COLUMNS);
		return;
	}
	values[0] = name_datum(ocq_payment_status_name(payment->status));
	values[1] = NumericGetDatum(payment->amount);
	nulls[1] = payment->amount == NULL;
	values[2] = PointerGetDatum(payment->reference);
	nulls[2] = payment->reference == NULL;
	values[3] = PointerGetDatum(payment->reason);
	nulls[3] = payment->reason == NULL;
	values[4] = TimestampTzGetDatum(payment->requested_at);
	values[5] = TimestampTzGetDatum(payment->updated_at);
	values[6] = Int32GetDatum(payment->version);
}

static void
put_reservation(Datum *values, bool *nulls, const OcqReservation *reservation)
{
	if (reservation->items == NULL)
	{
		memset(nulls, true, sizeof(bool) * NRESERVATION_COLUMNS);
		return;
	}
	values[0] = name_datum(ocq_reservation_status_name(reservation->status));
	values[1] = JsonbPGetDatum(ocq_reservation_items_jsonb(reservation));
	values[2] = Int32GetDatum(reservation->version);
}

static void
put_state(ReturnSetInfo *result, const OcqOrderState *state)
{
	Datum		values[NCOLUMNS] = {0};
	bool		nulls[NCOLUMNS] = {false};

	values[0] = PointerGetDatum(state->tenant_id);
	values[1] = PointerGetDatum(state->order_id);
	values[2] = Int32GetDatum(state->version);
	values[3] = PointerGetDatum(state->customer_id);
	values[4] = name_datum(ocq_order_status_name(state->status));
	values[5] = NumericGetDatum(state->total_amount);
	values[6] = Int32GetDatum(state->item_count);
	values[7] = JsonbPGetDatum(ocq_order_items_jsonb(state));
	values[8] = Int32GetDatum(state->items_version);
	values[9] = TimestampTzGetDatum(state->created_at);
	values[10] = TimestampTzGetDatum(state->updated_at);
	values[11] = TimestampTzGetDatum(state->shipped_at);
	nulls[11] = !state->is_shipped;
	put_payment(&values[PAYMENT_COLUMN], &nulls[PAYMENT_COLUMN], &state->payment);
	put_reservation(&values[RESERVATION_COLUMN], &nulls[RESERVATION_COLUMN], &state->reservation);
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
