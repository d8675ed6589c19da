/*-------------------------------------------------------------------------
 * notify.h
 *	  NOTIFY of changes, for caches outside of the database.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_STORE_NOTIFY_H
#define OCQ_STORE_NOTIFY_H

#include "store/event.h"

extern bool ocq_notify;			/* GUC order_cqrs.notify */

extern void ocq_notify_define_settings(void);
extern void ocq_notify_change(const OcqStream *stream, const char *id_key,
							  const text *customer_id, int32 version, const text *event_type);

#endif							/* OCQ_STORE_NOTIFY_H */
