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

#include "catalog/pg_type.h"
#include "projection/projection.h"
#include "utils/builtins.h"

static OcqReferenceChange
fold_reference(OcqReferenceKind kind, const OcqEvent *last)
{
	return (OcqReferenceChange) {
		.kind = kind,
		.stream = last->stream,
		.version = last->version,
		.position = last->position,
		.name = ocq_reference_text(last->data, "name"),
		.attribute = ocq_reference_text(last->data, ocq_reference_attribute_key(kind))
	};
}

/* add_stream folds one stream into the batch, which has room for it. */
static void
add_stream(OcqBatch *batch, const OcqEvent *events, int count)
{
	const OcqEvent *last = &events[count - 1];

	if (ocq_text_is(last->stream.aggregate_type, OCQ_AGGREGATE_ORDER))
		batch->orders[batch->norders++] = ocq_order_fold(events, count);
	else if (ocq_text_is(last->stream.aggregate_type, OCQ_AGGREGATE_CUSTOMER))
		batch->changes[batch->nchanges++] = fold_reference(OCQ_REFERENCE_CUSTOMER, last);
	else if (ocq_text_is(last->stream.aggregate_type, OCQ_AGGREGATE_PRODUCT))
		batch->changes[batch->nchanges++] = fold_reference(OCQ_REFERENCE_PRODUCT, last);
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

static OcqEvents
read_streams(const OcqStreams *streams, int count, int64 up_to)
{
	Datum	   *tenants = palloc_array(Datum, count);
	Datum	   *types = palloc_array(Datum, count);
	Datum	   *ids = palloc_array(Datum, count);

	for (int i = 0; i < count; i++)
	{
		tenants[i] = PointerGetDatum(streams->streams[i].tenant_id);
		types[i] = PointerGetDatum(streams->streams[i].aggregate_type);
		ids[i] = PointerGetDatum(streams->streams[i].aggregate_id);
	}
	return ocq_streams_read(DatumGetArrayTypeP(ocq_array(tenants, NULL, count, TEXTOID)),
							DatumGetArrayTypeP(ocq_array(types, NULL, count, TEXTOID)),
							DatumGetArrayTypeP(ocq_array(ids, NULL, count, TEXTOID)),
							up_to);
}

/*
 * ocq_batch_of_streams folds the first count of the streams, up to a position.  A
 * stream with a gap is an error: its state cannot be known.
 */
OcqBatch
ocq_batch_of_streams(const OcqStreams *streams, int count, int64 up_to)
{
	OcqBatch	batch = {0};
	OcqEvents	events;

	if (count == 0)
		return batch;

	batch.orders = palloc_array(OcqOrderState, count);
	batch.changes = palloc_array(OcqReferenceChange, count);
	events = read_streams(streams, count, up_to);
	for (int start = 0, end; start < events.count; start = end)
	{
		end = end_of_stream(&events, start);
		ocq_stream_check_complete(&events.items[start], end - start);
		add_stream(&batch, &events.items[start], end - start);
	}
	return batch;
}

/*
 * ocq_batch_of_event makes the batch of one event that is being inserted.  before
 * is the order's state before it, if the command has folded it.  Returns false
 * if the events before it are not there: while a dump is restored, rows come in
 * any order, and the worker handles what the trigger could not.
 */
bool
ocq_batch_of_event(const OcqEvent *event, const OcqOrderState *before, OcqBatch *batch)
{
	OcqEvents	stream = {.items = unconstify(OcqEvent *, event), .count = 1};

	memset(batch, 0, sizeof(OcqBatch));
	batch->orders = palloc_array(OcqOrderState, 1);
	batch->changes = palloc_array(OcqReferenceChange, 1);

	if (before != NULL && before->version == event->version - 1)
	{
		batch->orders[0] = *before;
		ocq_order_evolve(&batch->orders[0], event);
		batch->norders = 1;
		return true;
	}

	if (event->version > 1)
		stream = ocq_stream_read(&event->stream);
	if (stream.count == 0 || !ocq_stream_is_complete(stream.items, stream.count))
		return false;
	add_stream(batch, stream.items, stream.count);
	return true;
}
