/*-------------------------------------------------------------------------
 * reservation.c
 *	  The stock that an order holds.
 *
 * An order has one reservation.  It is made, changed as a whole, and released or,
 * when the order ships, taken out of the stock.  No SQL, no I/O.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/json.h"
#include "base/statement.h"
#include "order/reservation.h"
#include "store/store.h"
#include "utils/builtins.h"

static const char *const status_names[] = {
	[OCQ_RESERVATION_NONE] = "NONE",
	[OCQ_RESERVATION_HELD] = "HELD",
	[OCQ_RESERVATION_RELEASED] = "RELEASED",
	[OCQ_RESERVATION_SHIPPED] = "SHIPPED",
};

const char *
ocq_reservation_status_name(OcqReservationStatus status)
{
	return status_names[status];
}

/* ocq_reservation_hold applies an event that makes or changes the reservation. */
void
ocq_reservation_hold(OcqReservation *reservation, const OcqEvent *event)
{
	JsonbValue	items = ocq_event_value(event, "items", jbvBinary);

	if (!JsonContainerIsArray(items.val.binary.data))
		ocq_event_report_malformed(event, "has no valid \"items\"");
	reservation->status = OCQ_RESERVATION_HELD;
	reservation->version = event->version;
	reservation->items = items.val.binary.data;
	reservation->items_bytes = items.val.binary.len;
}

/*
 * ocq_reservation_end applies an event after which no stock is held; it has no effect if
 * none was held.
 */
void
ocq_reservation_end(OcqReservation *reservation, OcqReservationStatus status, const OcqEvent *event)
{
	if (reservation->status != OCQ_RESERVATION_HELD)
		return;
	reservation->status = status;
	reservation->version = event->version;
}

static OcqStockLine
read_line(const JsonbValue *element)
{
	OcqStockItem item;
	const char *problem = ocq_stock_item_read(element, true, &item);

	if (problem != NULL)
		ereport(ERROR,
				(errcode(OCQ_ERR_MALFORMED_EVENT),
				 errmsg("malformed items in a reservation: %s", problem),
				 errdetail("They are an array of objects {\"product_id\": text, \"quantity\": integer}."),
				 errhint("The commands never write such an event; find its origin by its metadata and time.")));
	return item.line;
}

/* ocq_reservation_lines returns the lines that the reservation holds, or held. */
OcqStockLines
ocq_reservation_lines(const OcqReservation *reservation)
{
	OcqStockLines lines = {0};

	if (reservation->items == NULL)
		return lines;
	lines.lines = palloc_array(OcqStockLine, JsonContainerSize(reservation->items) + 1);
	for (uint32 i = 0; i < JsonContainerSize(reservation->items); i++)
		lines.lines[lines.count++] =
			read_line(getIthJsonbValueFromContainer(reservation->items, i));
	return ocq_stock_lines_merge(lines.lines, lines.count);
}

/* ocq_reservation_held returns the lines that are held: none, unless the status is HELD. */
OcqStockLines
ocq_reservation_held(const OcqReservation *reservation)
{
	return reservation->status == OCQ_RESERVATION_HELD ?
		ocq_reservation_lines(reservation) : (OcqStockLines) {0};
}

/* ocq_reservation_items_jsonb returns a copy of the items as a value of their own. */
Jsonb *
ocq_reservation_items_jsonb(const OcqReservation *reservation)
{
	return ocq_json_of_container(reservation->items, reservation->items_bytes);
}

static void
push_lines(JsonbParseState **state, const char *key, const OcqStockLines *lines)
{
	ocq_json_push_key(state, key);
	(void) pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < lines->count; i++)
	{
		(void) pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
		ocq_json_push_text(state, "product_id", lines->lines[i].product_id);
		ocq_json_push_int64(state, "quantity", lines->lines[i].quantity);
		(void) pushJsonbValue(state, WJB_END_OBJECT, NULL);
	}
	(void) pushJsonbValue(state, WJB_END_ARRAY, NULL);
}

/*
 * ocq_reservation_data builds the data of an event that makes or changes a reservation:
 * the lines that are held and, for reservation_change, the lines that were requested,
 * which may name products that are unlimited.  Of the arguments of reservation_change
 * alone follow the requested lines; held is NULL then.
 */
Jsonb *
ocq_reservation_data(const OcqStockLines *held, const OcqStockLines *requested)
{
	JsonbParseState *state = NULL;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	if (held != NULL)
		push_lines(&state, "items", held);
	if (requested != NULL)
		push_lines(&state, "requested", requested);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}
