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
	KIND_STOCK
} Kind;

static Kind
kind_of(const OcqStream *stream)
{
	if (ocq_text_is(stream->aggregate_type, OCQ_AGGREGATE_ORDER))
		return KIND_ORDER;
	return ocq_text_is(stream->aggregate_type, OCQ_AGGREGATE_INVENTORY) ?
		KIND_STOCK : KIND_REFERENCE;
}

/* make_change needs the last event only, which holds the whole state. */
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
		.totals = ocq_stock_totals(last)
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

static OcqOrderState
fold_stream(const OcqEvent *events, int count)
{
	ocq_stream_check_complete(events, count);
	return ocq_order_fold(events, count);
}

/* add_stream leaves an order to the caller: its place depends on whether it is known to be new. */
static void
add_stream(OcqBatch *batch, const OcqEvent *last)
{
	if (kind_of(&last->stream) == KIND_REFERENCE)
		batch->changes[batch->nchanges++] = make_change(last);
	else
		batch->stocks[batch->nstocks++] = make_stock_change(last);
}

/*
 * fold makes a batch of events that come one stream after the other, each in order.
 * Orders that begin after a position are new and come first.
 */
static OcqBatch
fold(const OcqEvents *events, int64 new_after)
{
	OcqBatch	batch = {0};
	OcqOrderState *others;
	int			nothers = 0;
	int			nstreams = 0;

	for (int i = 0; i < events->count; i = end_of_stream(events, i))
		nstreams++;
	batch.orders = palloc_array(OcqOrderState, nstreams);
	batch.changes = palloc_array(OcqReferenceChange, nstreams);
	batch.stocks = palloc_array(OcqStockChange, nstreams);
	others = palloc_array(OcqOrderState, nstreams);
	for (int start = 0, end; start < events->count; start = end)
	{
		const OcqEvent *first = &events->items[start];

		end = end_of_stream(events, start);
		if (kind_of(&first->stream) != KIND_ORDER)
			add_stream(&batch, &events->items[end - 1]);
		else if (first->position > new_after)
			batch.orders[batch.nnew++] = fold_stream(first, end - start);
		else
			others[nothers++] = fold_stream(first, end - start);
	}
	memcpy(&batch.orders[batch.nnew], others, sizeof(OcqOrderState) * nothers);
	batch.norders = batch.nnew + nothers;
	return batch;
}

/* merge is for two lists that are in order, of stream and version. */
static OcqEvents
merge(const OcqEvents *a, const OcqEvents *b)
{
	OcqEvents	all = {.items = palloc_array(OcqEvent, a->count + b->count)};
	int			next_a = 0;
	int			next_b = 0;

	while (next_a < a->count || next_b < b->count)
	{
		bool		is_from_a = next_b == b->count ||
			(next_a < a->count && ocq_event_compare(&a->items[next_a], &b->items[next_b]) < 0);

		all.items[all.count++] = is_from_a ? a->items[next_a++] : b->items[next_b++];
	}
	return all;
}

/*
 * ocq_batch_of_streams folds the first count of the streams, up to a position.  An
 * order's stream with a gap is an error.
 */
OcqBatch
ocq_batch_of_streams(const OcqStreams *streams, int count, int64 up_to)
{
	OcqStream  *orders = palloc_array(OcqStream, count);
	OcqStream  *others = palloc_array(OcqStream, count);
	int			norders = 0;
	int			nothers = 0;
	OcqEvents	of_orders;
	OcqEvents	of_others;
	OcqEvents	all;

	for (int i = 0; i < count; i++)
	{
		if (kind_of(&streams->streams[i]) == KIND_ORDER)
			orders[norders++] = streams->streams[i];
		else
			others[nothers++] = streams->streams[i];
	}
	of_orders = ocq_streams_read(orders, norders, up_to);
	of_others = ocq_streams_read_last(others, nothers, up_to);
	all = merge(&of_orders, &of_others);
	return fold(&all, PG_INT64_MAX);
}

/* read_earlier returns the events that precede these in the streams of orders. */
static OcqEvents
read_earlier(const OcqEvents *events, int64 up_to)
{
	OcqStream  *streams = palloc_array(OcqStream, events->count);
	int			count = 0;

	for (int start = 0; start < events->count; start = end_of_stream(events, start))
	{
		const OcqEvent *first = &events->items[start];

		if (first->version > 1 && kind_of(&first->stream) == KIND_ORDER)
			streams[count++] = first->stream;
	}
	return ocq_streams_read(streams, count, up_to);
}

/*
 * ocq_batch_of_log folds the streams of all events of a part of the log that begins after
 * a position.  Earlier events are read only for the streams that do not begin here; with
 * presumes_new the streams that begin here are taken for new.
 */
OcqBatch
ocq_batch_of_log(OcqEvents *events, int64 after, bool presumes_new)
{
	OcqEvents	earlier;
	OcqEvents	all;

	qsort(events->items, events->count, sizeof(OcqEvent), ocq_event_compare);
	earlier = read_earlier(events, after);
	all = merge(&earlier, events);
	return fold(&all, presumes_new ? after : PG_INT64_MAX);
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

	/* Only a command's first event is surely alone: a restore may bring it last. */
	if (event->version > 1 || append == NULL)
		stream = ocq_stream_read(&event->stream);
	if (stream.count == 0 || !ocq_stream_is_complete(stream.items, stream.count))
		return false;
	*state = ocq_order_fold(stream.items, stream.count);
	return true;
}

/*
 * ocq_batch_of_event makes the batch of an event that is being inserted.  If a command
 * inserts it, append is the command's append, and the event is the last of it.  Returns
 * false if there is nothing to write: while a dump is restored, rows come in any order,
 * and the worker handles the events that the trigger could not.
 */
bool
ocq_batch_of_event(const OcqEvent *event, const OcqAppend *append, OcqBatch *batch)
{
	memset(batch, 0, sizeof(OcqBatch));
	if (append != NULL)
	{
		batch->is_append = true;
		batch->appended_after = append->after_version;
		batch->before = append->known == NULL ? NULL : &append->known->before;
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
	}
	pg_unreachable();
}
