/*-------------------------------------------------------------------------
 * event.h
 *	  The vocabulary of the store: streams and events.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_STORE_EVENT_H
#define OCQ_STORE_EVENT_H

#include "utils/timestamp.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

/* A stream: the events of one aggregate, numbered 1, 2, 3 ... */
typedef struct OcqStream
{
	text	   *tenant_id;
	text	   *aggregate_type;
	text	   *aggregate_id;
} OcqStream;

/* An event as it was appended.  Its parts live as long as the row that it was read from. */
typedef struct OcqEvent
{
	OcqStream	stream;
	int64		position;
	int32		version;
	text	   *type;
	Jsonb	   *data;
	pg_uuid_t  *command_id;		/* NULL if the command had none */
	TimestampTz occurred_at;
} OcqEvent;

typedef struct OcqEvents
{
	OcqEvent   *items;
	int			count;
} OcqEvents;

/* An event that a command has decided on and not appended yet. */
typedef struct OcqNewEvent
{
	text	   *type;
	Jsonb	   *data;
	bool		is_partial;		/* data hold only the values that follow from the arguments, or NULL */
} OcqNewEvent;

/* The aggregate types that are the extension's own. */
#define OCQ_AGGREGATE_ORDER		"Order"
#define OCQ_AGGREGATE_CUSTOMER	"Customer"
#define OCQ_AGGREGATE_PRODUCT	"Product"
#define OCQ_AGGREGATE_INVENTORY "Inventory"

#endif							/* OCQ_STORE_EVENT_H */
