/*-------------------------------------------------------------------------
 * order_handle.h
 *	  Handling a command on an order, once its arguments are checked.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_ORDER_ORDER_HANDLE_H
#define OCQ_ORDER_ORDER_HANDLE_H

#include "base/compat.h"
#include "order/order.h"
#include "store/command.h"

/* The request of a command. */
typedef struct OcqOrderRequest
{
	OcqOrderCommandType type;
	OcqNewEvent event;			/* that it leads to first; data NULL: they follow from the order's state */
	const OcqOrderItems *items; /* of a create or update; else NULL */
	const OcqStockLines *stock; /* of reservation_change; else NULL */
	const text *remark;			/* the reference or reason of a report on a payment; or NULL */
	Numeric		amount;			/* that a report or refund names; or NULL */
} OcqOrderRequest;

/* order_handle.c */
extern OcqOrderRequest ocq_order_request(OcqOrderCommandType type, Jsonb *data);
extern int32 ocq_order_handle_create(const OcqCommand *command, const OcqOrderRequest *request);
extern int32 ocq_order_handle(const OcqCommand *command, const OcqOrderRequest *request);
extern Datum ocq_order_run(FunctionCallInfo fcinfo, OcqSignature signature, text *order_id,
						   const OcqOrderRequest *request);

/* order_refusals.c */
pg_noreturn extern void ocq_order_report_refusal(const OcqCommand *command, OcqOrderRefusal refusal,
												 const OcqOrderState *state, const OcqOrderRequest *request);
extern void ocq_order_report_exists(const OcqAppend *append);

#endif							/* OCQ_ORDER_ORDER_HANDLE_H */
