/*-------------------------------------------------------------------------
 * order.h
 *	  The order aggregate: its state, its rules, and its items.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_ORDER_ORDER_H
#define OCQ_ORDER_ORDER_H

#include "order/payment.h"
#include "order/reservation.h"
#include "store/event.h"
#include "utils/numeric.h"

typedef enum OcqOrderStatus
{
	OCQ_ORDER_PENDING,
	OCQ_ORDER_COMPLETED,
	OCQ_ORDER_CANCELLED
} OcqOrderStatus;

typedef enum OcqOrderEventType
{
#define OCQ_ORDER_EVENT(symbol, name) OCQ_ORDER_EVENT_##symbol,
#include "catalogue/commandlist.h"
	OCQ_ORDER_EVENT_UNKNOWN
} OcqOrderEventType;

/* The fold of an order's events.  version 0: there is no such order. */
typedef struct OcqOrderState
{
	text	   *tenant_id;
	text	   *order_id;
	int32		version;
	OcqOrderStatus status;
	text	   *customer_id;
	JsonbContainer *items;		/* points into the event that set them ... */
	int			items_bytes;
	int32		items_version;	/* ... which had this version */
	int32		item_count;
	Numeric		total_amount;
	TimestampTz created_at;
	TimestampTz updated_at;
	OcqPayment	payment;
	OcqReservation reservation;
	bool		is_shipped;
	TimestampTz shipped_at;
	const struct OcqOrderItems *parsed_items;	/* the items, if they have been parsed already */
} OcqOrderState;

/* The facts that a command on an order gives the row trigger while its events are appended. */
typedef struct OcqOrderKnown
{
	OcqOrderState before;
	const struct OcqOrderItems *items;	/* that its events set, or NULL */
} OcqOrderKnown;

typedef enum OcqOrderCommandType
{
#define OCQ_ORDER_COMMAND(routine, message, symbol, event, verb, comment, ...) \
	OCQ_ORDER_##symbol,
#include "catalogue/commandlist.h"
} OcqOrderCommandType;

typedef enum OcqOrderRefusal
{
	OCQ_ORDER_ACCEPTED,
	OCQ_ORDER_REFUSED_EXISTS,
	OCQ_ORDER_REFUSED_NOT_FOUND,
	OCQ_ORDER_REFUSED_STATUS,
	OCQ_ORDER_REFUSED_PAYMENT,
	OCQ_ORDER_REFUSED_AMOUNT,
	OCQ_ORDER_REFUSED_SHIPPED
} OcqOrderRefusal;

/* The events that a command leads to: its own, and its consequences. */
typedef struct OcqOrderDecision
{
	OcqOrderRefusal refusal;
	OcqOrderEventType events[3];
	int			count;
} OcqOrderDecision;

/* order.c */
extern OcqOrderDecision ocq_order_decide(const OcqOrderState *state, OcqOrderCommandType command,
										 bool reserves, Numeric amount);
extern void ocq_order_evolve(OcqOrderState *state, const OcqEvent *event);
extern OcqOrderState ocq_order_fold(const OcqEvent *events, int count);
extern Jsonb *ocq_order_items_jsonb(const OcqOrderState *state);
extern const char *ocq_order_status_name(OcqOrderStatus status);
extern const char *ocq_order_event_name(OcqOrderEventType type);

/* items.c */
typedef struct OcqOrderItem
{
	text	   *product_id;
	int32		quantity;
	Numeric		quantity_number;	/* the same */
	Numeric		unit_price;
	Numeric		total_price;
} OcqOrderItem;

typedef struct OcqOrderItems
{
	OcqOrderItem *items;
	int			count;
	Numeric		total_amount;
} OcqOrderItems;

extern OcqOrderItems ocq_order_items_parse(JsonbContainer *container, const text *order_id);
extern OcqOrderItems ocq_order_items_of_state(const OcqOrderState *state);
extern JsonbValue ocq_order_items_value(const OcqOrderItems *items);
extern OcqStockLines ocq_order_items_stock(const OcqOrderItems *items);

#endif							/* OCQ_ORDER_ORDER_H */
