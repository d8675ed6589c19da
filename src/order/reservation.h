/*-------------------------------------------------------------------------
 * reservation.h
 *	  The stock that an order holds, a part of its state.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_ORDER_RESERVATION_H
#define OCQ_ORDER_RESERVATION_H

#include "stock/stock.h"

typedef enum OcqReservationStatus
{
	OCQ_RESERVATION_NONE,		/* never made */
	OCQ_RESERVATION_HELD,
	OCQ_RESERVATION_RELEASED,
	OCQ_RESERVATION_SHIPPED
} OcqReservationStatus;

typedef struct OcqReservation
{
	OcqReservationStatus status;
	int32		version;		/* of the order's last event about it; 0: there is none */
	JsonbContainer *items;		/* points into the event that set them */
	int			items_bytes;
} OcqReservation;

extern void ocq_reservation_hold(OcqReservation *reservation, const OcqEvent *event);
extern void ocq_reservation_end(OcqReservation *reservation, OcqReservationStatus status,
								const OcqEvent *event);
extern OcqStockLines ocq_reservation_lines(const OcqReservation *reservation);
extern OcqStockLines ocq_reservation_held(const OcqReservation *reservation);
extern Jsonb *ocq_reservation_items_jsonb(const OcqReservation *reservation);
extern Jsonb *ocq_reservation_data(const OcqStockLines *held, const OcqStockLines *requested);
extern const char *ocq_reservation_status_name(OcqReservationStatus status);

#endif							/* OCQ_ORDER_RESERVATION_H */
