/*-------------------------------------------------------------------------
 * reference.h
 *	  Reference data: the customers and products that orders name.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_REFERENCE_REFERENCE_H
#define OCQ_REFERENCE_REFERENCE_H

#include "utils/jsonb.h"

typedef enum OcqReferenceKind
{
	OCQ_REFERENCE_CUSTOMER,
	OCQ_REFERENCE_PRODUCT
} OcqReferenceKind;

/* A customer or a product and, if it is found, the columns that the read tables copy. */
typedef struct OcqReference
{
	text	   *tenant_id;
	text	   *id;
	bool		found;
	text	   *name;
	text	   *attribute;		/* a customer's email, a product's category */
} OcqReference;

extern void ocq_reference_lookup(OcqReferenceKind kind, OcqReference *references, int count);
extern void ocq_reference_require(OcqReferenceKind kind, OcqReference *references, int count,
								  const text *order_id);
extern void ocq_reference_changed(bool announce);
extern void ocq_reference_init(void);

/* The events' types and the key of the attribute in their data. */
#define OCQ_EVENT_CUSTOMER_CHANGED	"CustomerChanged"
#define OCQ_EVENT_PRODUCT_CHANGED	"ProductChanged"
extern const char *ocq_reference_attribute_key(OcqReferenceKind kind);
extern text *ocq_reference_text(Jsonb *data, const char *key);

#endif							/* OCQ_REFERENCE_REFERENCE_H */
