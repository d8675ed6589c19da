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

typedef enum Kind
{
	KIND_ORDER,
	KIND_REFERENCE,
	KIND_STOCK,
	NKINDS
} Kind;

static Kind
kind_of(const OcqStream *stream)
{
	if (ocq_text_is(stream->aggregate_type, OCQ_AGGREGATE_ORDER))
		return KIND_ORDER;
	return ocq_text_is(stream->aggregate_type, OCQ_AGGREGATE_INVENTORY) ?
		KIND_STOCK : KIND_REFERENCE;
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

/* make_stock_change is the same for the stock of a product. */
static OcqStockChange
make_stock_change(const OcqEvent *last)
{
	return (OcqStockChange) {
		.stream = last->stream,
		.version = last->version,
		.received = ocq_stock_total_received(last)
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

static void
add_stocks(OcqBatch *batch, const OcqStream *streams, int count, int64 up_to)
{
	OcqEvents	events = ocq_streams_read_last(streams, count, up_to);

	batch->stocks = palloc_array(OcqStockChange, count);
	for (int i = 0; i < events.count; i++)
		batch->stocks[batch->nstocks++] = make_stock_change(&events.items[i]);
}

/*
 * ocq_batch_of_streams folds the first count of the streams, up to a position.  An
 * order's stream with a gap is an error.
 */
OcqBatch
ocq_batch_of_streams(const OcqStreams *streams, int count, int64 up_to)
{
	OcqBatch	batch = {0};
	OcqStream  *of_kind[NKINDS];
	int			counts[NKINDS] = {0};

	for (int kind = 0; kind < NKINDS; kind++)
		of_kind[kind] = palloc_array(OcqStream, count);
	for (int i = 0; i < count; i++)
	{
		Kind		kind = kind_of(&streams->streams[i]);

		of_kind[kind][counts[kind]++] = streams->streams[i];
	}
	if (counts[KIND_ORDER] > 0)
		add_orders(&batch, of_kind[KIND_ORDER], counts[KIND_ORDER], up_to);
	if (counts[KIND_REFERENCE] > 0)
		add_changes(&batch, of_kind[KIND_REFERENCE], counts[KIND_REFERENCE], up_to);
	if (counts[KIND_STOCK] > 0)
		add_stocks(&batch, of_kind[KIND_STOCK], counts[KIND_STOCK], up_to);
	return batch;
}

/* evolve_appended applies the events of a command to the state before them. */
static OcqOrderState
evolve_appended(const OcqEvent *last, const OcqAppend *append)
{
	const OcqOrderKnown *known = append->known;
	OcqOrderState state = known->before;

	for (int i = 0; i < append->count; i++)
	{
		OcqEvent	event = *last;

		event.version = append->after_version + 1 + i;
		event.type = append->events[i].type;
		event.data = append->events[i].data;
		ocq_order_evolve(&state, &event);
	}
	if (known->items != NULL)
		state.parsed_items = known->items;
	return state;
}

/* fold_order returns false if the events before this one are not there. */
static bool
fold_order(const OcqEvent *event, const OcqAppend *append, OcqOrderState *state)
{
	OcqEvents	stream = {.items = unconstify(OcqEvent *, event), .count = 1};

	if (append != NULL && append->known != NULL)
	{
		*state = evolve_appended(event, append);
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
 * ocq_batch_of_event makes the batch of an event that is being inserted.  append,
 * if a command inserts it, is what the command appends, and the event the last of
 * it.  Returns false if there is nothing to write: while a dump is restored, rows
 * come in any order, and the worker handles what the trigger could not.
 */
bool
ocq_batch_of_event(const OcqEvent *event, const OcqAppend *append, OcqBatch *batch)
{
	memset(batch, 0, sizeof(OcqBatch));
	if (append != NULL)
	{
		batch->is_append = true;
		batch->appended_after = append->after_version;
	}
	switch (kind_of(&event->stream))
	{
		case KIND_ORDER:
			batch->orders = palloc_object(OcqOrderState);
			batch->norders = 1;
			return fold_order(event, append, batch->orders);
		case KIND_REFERENCE:
			batch->changes = palloc_object(OcqReferenceChange);
			batch->changes[0] = make_change(event);
			batch->nchanges = 1;
			return true;
		case KIND_STOCK:
			batch->stocks = palloc_object(OcqStockChange);
			batch->stocks[0] = make_stock_change(event);
			batch->nstocks = 1;
			return true;
		case NKINDS:
			break;
	}
	pg_unreachable();
}
