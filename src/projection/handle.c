/*-------------------------------------------------------------------------
 * handle.c
 *	  Has a projection do its work, and tells caches what has changed by it.
 *
 * All that writes read tables comes by here: the row trigger, the worker, repairs
 * and rebuilds.  Which orders show a name that has changed is not known, and
 * which customer a forgotten row was listed under is not either; that is everything,
 * then.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/stamps.h"
#include "projection/projection.h"

static void
announce(const OcqBatch *batch)
{
	if (batch->nchanges > 0)
		ocq_stamps_announce_all();
	for (int i = 0; i < batch->norders; i++)
	{
		const OcqOrderState *order = &batch->orders[i];

		ocq_stamps_announce(OCQ_SUBJECT_ORDER, order->tenant_id, order->order_id);
		ocq_stamps_announce(OCQ_SUBJECT_CUSTOMER, order->tenant_id, order->customer_id);
	}
}

/* ocq_projection_handle returns the number of rows that it has changed. */
int64
ocq_projection_handle(const OcqProjection *projection, const OcqBatch *batch)
{
	int64		changed = projection->handle(batch);

	if (projection->answers_queries && changed > 0)
		announce(batch);
	return changed;
}

void
ocq_projection_forget(const OcqProjection *projection, const OcqStreams *streams)
{
	projection->forget(streams);
	if (projection->answers_queries)
		ocq_stamps_announce_all();
}
