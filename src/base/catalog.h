/*-------------------------------------------------------------------------
 * catalog.h
 *	  OIDs and owner of the extension's own relations.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_BASE_CATALOG_H
#define OCQ_BASE_CATALOG_H

#define OCQ_EXTENSION "order_cqrs"
#define OCQ_SCHEMA "order_cqrs"
#define OCQ_API_SCHEMA "order_api"

typedef enum OcqRelation
{
	OCQ_REL_EVENTS,
	OCQ_REL_EVENTS_SEQUENCE,
	OCQ_REL_CUSTOMERS,
	OCQ_REL_PRODUCTS,
	OCQ_REL_INVENTORY,
	OCQ_REL_PROJECTION_STATE,
	OCQ_REL_ORDER_SAGA,
	OCQ_REL_BUS_FUTURE,
	OCQ_NUM_RELATIONS
} OcqRelation;

extern void ocq_catalog_init(void);
extern bool ocq_catalog_hold(void);
extern Oid	ocq_catalog_owner(void);
extern Oid	ocq_catalog_relation(OcqRelation relation);
extern uint64 ocq_catalog_generation(OcqRelation relation);
extern void ocq_catalog_announce(OcqRelation relation);
extern void ocq_catalog_announce_now(OcqRelation relation);

#endif							/* OCQ_BASE_CATALOG_H */
