/*-------------------------------------------------------------------------
 * projection_handle.c
 *	  Has a projection handle a batch, and tells caches about the changes.
 *
 * The row trigger, the worker, repairs and rebuilds all write read tables through these
 * functions.  The orders that show a changed name are not known, nor are the customers
 * under whom a forgotten row was listed: both invalidate all cached answers.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/stamps.h"
#include "projection/projection.h"

/* Lines of orders that are written at once, and the same where parts are to be avoided. */
#define LINES_OF_PART 200
#define LINES_OF_WHOLE 100000

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

/*
 * ocq_projection_handle_many hands over a batch of any size, in parts, and frees the
 * memory of each.  The parts are small for the sake of memory: glibc gives freed memory
 * back to the kernel, unless it is little, and getting it anew for each part costs more
 * than larger statements save.  Those of new orders come first, and are marked as such.
 *
 * A sync projection whose rows are about several orders is handed as much as memory
 * allows: commands lock such rows, too, in an order that two parts would not keep.
 */
int64
ocq_projection_handle_many(const OcqProjection *projection, const OcqBatch *batch, bool is_sync)
{
	OcqBatch	part = {.orders = batch->orders};
	int			most_lines = is_sync && projection->shares_rows ? LINES_OF_WHOLE : LINES_OF_PART;
	int			done = 0;
	int64		changed = 0;

	do
	{
		int			end = done < batch->nnew ? batch->nnew : batch->norders;
		int			lines = 0;

		for (part.norders = 0; done < end && lines < most_lines; part.norders++, done++)
			lines += part.orders[part.norders].item_count;
		part.nnew = end == batch->nnew ? part.norders : 0;
		if (done == batch->norders)
		{
			part.changes = batch->changes;
			part.nchanges = batch->nchanges;
			part.stocks = batch->stocks;
			part.nstocks = batch->nstocks;
		}
		SPI_connect();
		changed += ocq_projection_handle(projection, &part);
		SPI_finish();
		part.orders += part.norders;
	} while (done < batch->norders);
	return changed;
}

void
ocq_projection_forget(const OcqProjection *projection, const OcqStreams *streams)
{
	if (projection->forget != NULL)
		projection->forget(streams);
	else
		ocq_read_tables_forget(projection->tables, streams);
	if (projection->answers_queries)
		ocq_stamps_announce_all();
}
