/*-------------------------------------------------------------------------
 * batch.c
 *	  From events to the states that projections write.
 *
 * A projection is handed whole states and not single events: each aggregate that
 * an event touches is folded from its first event.  So a read table that has
 * missed an event (its trigger was disabled) is true again after the next one,
 * and "write where the version is older" is all that idempotence needs.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "projection/projection.h"

static bool
is_order(const OcqStream *stream)
{
	return ocq_text_is(stream->aggregate_type, OCQ_AGGREGATE_ORDER);
}

/* make_change needs the last event only, which says all there is to say. */
static OcqReferenceChange
make_change(const OcqEvent *last)
{
	OcqReferenceKind kind = ocq_text_is(last->stream.aggregate_type, OCQ_AGGREGATE_CUSTOMER) ?
		OCQ_REFERENCE_CUSTOMER : OCQ_REFERENCE_PRODUCT;

	if (!JB_ROOT_IS_OBJECT(last->data))
		ocq_event_report_malformed(last, "has no object as data");
	return (OcqReferenceChange) {
		.kind = kind,
		.stream = last->stream,
		.version = last->version,
		.position = last->position,
		.name = ocq_reference_text(last->data, "name"),
		.attribute = ocq_reference_text(last->data, ocq_reference_attribute_key(kind))
	};
}

static int
end_of_stream(const OcqEvents *events, int start)
{
	int			end = start + 1;

	while (end < events->count &&
		   ocq_stream_equal(&events->items[start].stream, &events->items[end].stream))
		end++;
	return end;
}

static void
add_orders(OcqBatch *batch, const OcqStream *streams, int count, int64 up_to)
{
	OcqEvents	events = ocq_streams_read(streams, count, up_to);

	batch->orders = palloc_array(OcqOrderState, count);
	for (int start = 0, end; start < events.count; start = end)
	{
		end = end_of_stream(&events, start);
		ocq_stream_check_complete(&events.items[start], end - start);
		batch->orders[batch->norders++] = ocq_order_fold(&events.items[start], end - start);
	}
}

static void
add_changes(OcqBatch *batch, const OcqStream *streams, int count, int64 up_to)
{
	OcqEvents	events = ocq_streams_read_last(streams, count, up_to);

	batch->changes = palloc_array(OcqReferenceChange, count);
	for (int i = 0; i < events.count; i++)
		batch->changes[batch->nchanges++] = make_change(&events.items[i]);
}

/*
 * ocq_batch_of_streams folds the first count of the streams, up to a position.  An
 * order's stream with a gap is an error.
 */
OcqBatch
ocq_batch_of_streams(const OcqStreams *streams, int count, int64 up_to)
{
	OcqBatch	batch = {0};
	OcqStream  *orders = palloc_array(OcqStream, count);
	OcqStream  *others = palloc_array(OcqStream, count);
	int			norders = 0;
	int			nothers = 0;

	for (int i = 0; i < count; i++)
	{
		if (is_order(&streams->streams[i]))
			orders[norders++] = streams->streams[i];
		else
			others[nothers++] = streams->streams[i];
	}
	if (norders > 0)
		add_orders(&batch, orders, norders, up_to);
	if (nothers > 0)
		add_changes(&batch, others, nothers, up_to);
	return batch;
}

/* fold_with returns false if the events before this one are not there. */
static bool
fold_with(const OcqEvent *event, const OcqOrderState *before, OcqOrderState *state)
{
	OcqEvents	stream = {.items = unconstify(OcqEvent *, event), .count = 1};

	if (before != NULL && before->version == event->version - 1)
	{
		*state = *before;
		ocq_order_evolve(state, event);
		return true;
	}

	if (event->version > 1)
		stream = ocq_stream_read(&event->stream);
	if (stream.count == 0 || !ocq_stream_is_complete(stream.items, stream.count))
		return false;
	*state = ocq_order_fold(stream.items, stream.count);
	return true;
}

/*
 * ocq_batch_of_event makes the batch of one event that is being inserted.  before
 * is the order's state before it, if the command has folded it.  Returns false
 * if there is nothing to write: while a dump is restored, rows come in any order,
 * and the worker handles what the trigger could not.
 */
bool
ocq_batch_of_event(const OcqEvent *event, const OcqOrderState *before, OcqBatch *batch)
{
	memset(batch, 0, sizeof(OcqBatch));
	if (is_order(&event->stream))
	{
		batch->orders = palloc_object(OcqOrderState);
		batch->norders = 1;
		return fold_with(event, before, batch->orders);
	}
	batch->changes = palloc_object(OcqReferenceChange);
	batch->changes[0] = make_change(event);
	batch->nchanges = 1;
	return true;
}
