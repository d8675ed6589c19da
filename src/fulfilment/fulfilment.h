/*-------------------------------------------------------------------------
 * fulfilment.h
 *	  What an order needs to be fulfilled: payment, stock.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_FULFILMENT_FULFILMENT_H
#define OCQ_FULFILMENT_FULFILMENT_H

#include "store/event.h"
#include "utils/numeric.h"

/* payment.c */
typedef enum OcqPaymentStatus
{
	OCQ_PAYMENT_NONE,			/* never requested */
	OCQ_PAYMENT_PENDING,
	OCQ_PAYMENT_COMPLETED,
	OCQ_PAYMENT_FAILED,
	OCQ_PAYMENT_REFUNDED
} OcqPaymentStatus;

typedef struct OcqPayment
{
	OcqPaymentStatus status;
	int32		version;		/* of the order's last event about it; 0: there is none */
	Numeric		amount;			/* as it was requested last */
	bool		amount_changed; /* an earlier request was of another amount */
	text	   *reference;		/* the provider's, once completed; or NULL */
	text	   *reason;			/* of the failure; or NULL */
	TimestampTz requested_at;
	TimestampTz updated_at;
} OcqPayment;

extern bool ocq_payment_allows(OcqPaymentStatus from, OcqPaymentStatus to);
extern bool ocq_payment_is_meant(const OcqPayment *payment, OcqPaymentStatus to, Numeric amount);
extern void ocq_payment_evolve(OcqPayment *payment, OcqPaymentStatus to, const OcqEvent *event);
extern const char *ocq_payment_status_name(OcqPaymentStatus status);
extern Jsonb *ocq_payment_amount_data(Numeric amount);
extern Jsonb *ocq_payment_completed_data(const text *reference, Numeric amount);
extern Jsonb *ocq_payment_failed_data(const text *reason, Numeric amount);

/* reservation.c */
typedef struct OcqStockLine
{
	text	   *product_id;
	int64		quantity;
} OcqStockLine;

/* Each product once, in the order of their ids. */
typedef struct OcqStockLines
{
	OcqStockLine *lines;
	int			count;
} OcqStockLines;

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

extern OcqStockLines ocq_stock_lines_merge(OcqStockLine *lines, int count);
extern int64 ocq_stock_lines_quantity(const OcqStockLines *lines, const text *product_id);
extern bool ocq_stock_lines_equal(const OcqStockLines *a, const OcqStockLines *b);
extern void ocq_reservation_hold(OcqReservation *reservation, const OcqEvent *event);
extern void ocq_reservation_end(OcqReservation *reservation, OcqReservationStatus status,
								const OcqEvent *event);
extern OcqStockLines ocq_reservation_lines(const OcqReservation *reservation);
extern OcqStockLines ocq_reservation_held(const OcqReservation *reservation);
extern Jsonb *ocq_reservation_items_jsonb(const OcqReservation *reservation);
extern Jsonb *ocq_reservation_requested_data(const OcqStockLines *requested);
extern Jsonb *ocq_reservation_data(const OcqStockLines *held, const OcqStockLines *requested);
extern const char *ocq_reservation_status_name(OcqReservationStatus status);

/* lines.c */
typedef struct OcqStockItem
{
	OcqStockLine line;
	bool		has_price;
	JsonbValue	unit_price;
	int			sqlstate;		/* if it is not valid */
} OcqStockItem;

extern const char *ocq_stock_item_read(const JsonbValue *element, bool in_event, OcqStockItem *item);
extern OcqStockLines ocq_stock_lines_parse(JsonbContainer *container);

/* stock.c */
typedef enum OcqReserveOn
{
	OCQ_RESERVE_ON_CREATE,
	OCQ_RESERVE_ON_SAGA,
	OCQ_RESERVE_OFF
} OcqReserveOn;

/* GUC order_cqrs.reserve_on, an OcqReserveOn */
extern int	ocq_reserve_on;

/* What a product lacks for a reservation. */
typedef struct OcqShortage
{
	text	   *product_id;
	int64		requested;
	int64		available;
} OcqShortage;

typedef struct OcqClaim
{
	OcqStockLines reserved;		/* of what is wanted, the products that are stocked */
	OcqShortage *shortages;
	int			nshortages;
} OcqClaim;

extern void ocq_stock_define_settings(void);
extern OcqClaim ocq_stock_claim(text *tenant_id, const OcqStockLines *wanted,
								const OcqStockLines *held);
extern void ocq_stock_report_shortages(const OcqClaim *claim, const OcqStream *order);
extern void ocq_stock_changed(void);

/* stock_commands.c */
#define OCQ_EVENT_STOCK_RECEIVED "StockReceived"
#define OCQ_EVENT_STOCK_ADJUSTED "StockAdjusted"

/* Sums over a product's stream. */
typedef struct OcqStockTotals
{
	int64		received;
	int64		adjusted;		/* may be less than 0 */
} OcqStockTotals;

extern OcqStockTotals ocq_stock_totals(const OcqEvent *event);

#endif							/* OCQ_FULFILMENT_FULFILMENT_H */
