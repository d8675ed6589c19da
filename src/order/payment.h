/*-------------------------------------------------------------------------
 * payment.h
 *	  The payment of an order, a part of its state.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_ORDER_PAYMENT_H
#define OCQ_ORDER_PAYMENT_H

#include "store/event.h"
#include "utils/numeric.h"

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
extern Jsonb *ocq_payment_data(const char *key, const text *value, Numeric amount);

#endif							/* OCQ_ORDER_PAYMENT_H */
