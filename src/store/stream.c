/*-------------------------------------------------------------------------
 * stream.c
 *	  Streams: their lock, and reading them.
 *
 * A command holds the lock of its stream from before it reads it until its
 * transaction ends, so that two commands on one aggregate queue up.  The lock
 * is of the advisory kind with a class number of its own, which keeps it apart
 * from every lock that pg_advisory_lock can take; the key is a 64-bit hash.  Two
 * streams with one hash merely queue up without need.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/direct.h"
#include "base/errors.h"
#include "base/statement.h"
#include "base/table.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "store/store.h"
#include "utils/builtins.h"
#include "utils/guc.h"

/* pg_locks shows it as objsubid; pg_advisory_lock uses 1 and 2. */
#define OCQ_STREAM_LOCK_CLASS 0x4F43

static int	ocq_max_stream_size;

void
ocq_stream_define_settings(void)
{
	DefineCustomIntVariable("order_cqrs.max_stream_size",
							"Most that the events of an order may have before it can only be brought to its end.",
							"Every command on an order reads all of its events.",
							&ocq_max_stream_size, 16 * 1024, 1, 1024 * 1024,
							PGC_SUSET, GUC_UNIT_KB, NULL, NULL, NULL);
}

#define EVENT(field) OCQ_FIELD(0, OcqEvent, field)

static const OcqColumn event_columns[] = {
	{"tenant_id", TEXTOID, OCQ_KEY, EVENT(stream.tenant_id)},
	{"aggregate_type", TEXTOID, OCQ_KEY, EVENT(stream.aggregate_type)},
	{"aggregate_id", TEXTOID, OCQ_KEY, EVENT(stream.aggregate_id)},
	{"position", INT8OID, EVENT(position)},
	{"version", INT4OID, OCQ_KEY, EVENT(version)},
	{"event_type", TEXTOID, EVENT(type)},
	{"data", JSONBOID, EVENT(data)},
	{"command_id", UUIDOID, EVENT(command_id)},
	{"occurred_at", TIMESTAMPTZOID, EVENT(occurred_at)},
};

OcqTable	ocq_event_table = OCQ_TABLE("events", event_columns);

static OcqStatement select_stream =
OCQ_STATEMENT("SELECT " OCQ_EVENT_COLUMNS
			  " FROM order_cqrs.events"
			  " WHERE tenant_id = $1 AND aggregate_type = $2 AND aggregate_id = $3"
			  " ORDER BY version",
			  TEXTOID, TEXTOID, TEXTOID);

static OcqStatement select_last =
OCQ_STATEMENT("SELECT " OCQ_EVENT_COLUMNS
			  " FROM order_cqrs.events"
			  " WHERE tenant_id = $1 AND aggregate_type = $2 AND aggregate_id = $3"
			  " ORDER BY version DESC LIMIT 1",
			  TEXTOID, TEXTOID, TEXTOID);

static OcqStatement select_of_command =
OCQ_STATEMENT("SELECT " OCQ_EVENT_COLUMNS
			  " FROM order_cqrs.events"
			  " WHERE tenant_id = $1 AND aggregate_type = $2 AND aggregate_id = $3"
			  " AND command_id = $4"
			  " ORDER BY version",
			  TEXTOID, TEXTOID, TEXTOID, UUIDOID);

#define OCQ_EVENT_COLUMNS_OF_E \
	"e.tenant_id, e.aggregate_type, e.aggregate_id, e.position, e.version, e.event_type, e.data," \
	" e.command_id, e.occurred_at"

static const OcqColumn stream_columns[] = {
	{"tenant_id", TEXTOID, OCQ_FIELD(0, OcqStream, tenant_id)},
	{"aggregate_type", TEXTOID, OCQ_FIELD(0, OcqStream, aggregate_type)},
	{"aggregate_id", TEXTOID, OCQ_FIELD(0, OcqStream, aggregate_id)},
};

OcqTable	ocq_stream_table = OCQ_TABLE(NULL, stream_columns);

static OcqStatement select_streams =
OCQ_TABLE_STATEMENT(&ocq_stream_table,
					"SELECT " OCQ_EVENT_COLUMNS_OF_E
					" FROM " OCQ_RECORDS " JOIN order_cqrs.events e ON e.tenant_id = n.tenant_id"
					" AND e.aggregate_type = n.aggregate_type AND e.aggregate_id = n.aggregate_id"
					" WHERE e.position <= $2",
					RECORDARRAYOID, INT8OID);

static OcqStatement select_last_of_streams =
OCQ_TABLE_STATEMENT(&ocq_stream_table,
					"SELECT " OCQ_EVENT_COLUMNS_OF_E
					" FROM " OCQ_RECORDS ", LATERAL (SELECT * FROM order_cqrs.events WHERE tenant_id = n.tenant_id"
					" AND aggregate_type = n.aggregate_type AND aggregate_id = n.aggregate_id"
					" AND position <= $2 ORDER BY version DESC LIMIT 1) AS e",
					RECORDARRAYOID, INT8OID);

static void
set_lock_tag(LOCKTAG *tag, const OcqStream *stream)
{
	uint64		hash = ocq_text_hash(stream->tenant_id, 0);

	hash = ocq_text_hash(stream->aggregate_type, hash);
	hash = ocq_text_hash(stream->aggregate_id, hash);
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash,
						 OCQ_STREAM_LOCK_CLASS);
}

/* ocq_stream_lock waits for the stream's lock and keeps it until the transaction ends. */
void
ocq_stream_lock(const OcqStream *stream)
{
	LOCKTAG		tag;

	set_lock_tag(&tag, stream);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

/* ocq_stream_try_lock returns false, without waiting, if another transaction has the lock. */
bool
ocq_stream_try_lock(const OcqStream *stream)
{
	LOCKTAG		tag;

	set_lock_tag(&tag, stream);
	return LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

/* ocq_event_read_row reads a row of a statement that selects OCQ_EVENT_COLUMNS. */
void
ocq_event_read_row(uint64 row, OcqEvent *event)
{
	Datum		values[9];
	bool		nulls[9];

	Assert(SPI_tuptable->tupdesc->natts == lengthof(values));
	heap_deform_tuple(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, values, nulls);
	event->stream.tenant_id = DatumGetTextPP(values[0]);
	event->stream.aggregate_type = DatumGetTextPP(values[1]);
	event->stream.aggregate_id = DatumGetTextPP(values[2]);
	event->position = DatumGetInt64(values[3]);
	event->version = DatumGetInt32(values[4]);
	event->type = DatumGetTextPP(values[5]);
	event->data = DatumGetJsonbP(values[6]);
	event->command_id = nulls[7] ? NULL : DatumGetUUIDP(values[7]);
	event->occurred_at = DatumGetTimestampTz(values[8]);
}

static OcqEvents
read_rows(uint64 count)
{
	OcqEvents	events;

	events.count = (int) count;
	events.items = palloc_array(OcqEvent, count);
	for (uint64 row = 0; row < count; row++)
		ocq_event_read_row(row, &events.items[row]);
	return events;
}

/* ocq_stream_read returns the stream's events in order, none if there is no such stream. */
OcqEvents
ocq_stream_read(const OcqStream *stream)
{
	Datum		values[] = {
		PointerGetDatum(stream->tenant_id),
		PointerGetDatum(stream->aggregate_type),
		PointerGetDatum(stream->aggregate_id)
	};
	OcqEvents	events;

	events.items = ocq_direct_list(&ocq_event_table, values, sizeof(OcqEvent), &events.count);
	return events.items != NULL ? events : read_rows(ocq_statement_run(&select_stream, values, NULL));
}

/* ocq_stream_read_last reads the stream's last event, or returns false if it has none. */
bool
ocq_stream_read_last(const OcqStream *stream, OcqEvent *event)
{
	Datum		values[] = {
		PointerGetDatum(stream->tenant_id),
		PointerGetDatum(stream->aggregate_type),
		PointerGetDatum(stream->aggregate_id)
	};

	if (ocq_statement_run(&select_last, values, NULL) == 0)
		return false;
	ocq_event_read_row(0, event);
	return true;
}

/* ocq_stream_read_command returns the stream's events that carry a command_id. */
OcqEvents
ocq_stream_read_command(const OcqStream *stream, const pg_uuid_t *command_id)
{
	Datum		values[] = {
		PointerGetDatum(stream->tenant_id),
		PointerGetDatum(stream->aggregate_type),
		PointerGetDatum(stream->aggregate_id),
		UUIDPGetDatum(command_id)
	};

	if (command_id == NULL)
		return (OcqEvents) {0};
	return read_rows(ocq_statement_run(&select_of_command, values, NULL));
}

/* ocq_event_compare orders events by stream and version. */
int
ocq_event_compare(const void *left, const void *right)
{
	const OcqEvent *a = left;
	const OcqEvent *b = right;
	int			order = ocq_text_compare(a->stream.tenant_id, b->stream.tenant_id);

	if (order == 0)
		order = ocq_text_compare(a->stream.aggregate_type, b->stream.aggregate_type);
	if (order == 0)
		order = ocq_text_compare(a->stream.aggregate_id, b->stream.aggregate_id);
	return order != 0 ? order : a->version - b->version;
}

static OcqEvents
read_streams(OcqStatement *statement, const OcqStream *streams, int count, int64 up_to)
{
	OcqRows		keys = ocq_rows_make(&ocq_stream_table, count);
	Datum		values[2];
	OcqEvents	events;

	if (count == 0)
		return (OcqEvents) {0};
	for (int i = 0; i < count; i++)
		ocq_rows_add(&keys, OCQ_SOURCES(&streams[i]));
	values[0] = ocq_rows_records(&keys);
	values[1] = Int64GetDatum(up_to);
	events = read_rows(ocq_statement_run(statement, values, NULL));
	qsort(events.items, events.count, sizeof(OcqEvent), ocq_event_compare);
	return events;
}

/*
 * ocq_streams_read returns the events of several streams up to a position, one
 * stream after the other, each in order.
 */
OcqEvents
ocq_streams_read(const OcqStream *streams, int count, int64 up_to)
{
	return read_streams(&select_streams, streams, count, up_to);
}

/* ocq_streams_read_last returns the last event of each stream up to a position. */
OcqEvents
ocq_streams_read_last(const OcqStream *streams, int count, int64 up_to)
{
	return read_streams(&select_last_of_streams, streams, count, up_to);
}

/* ocq_event_report_malformed raises an error about an event that no command can have written. */
void
ocq_event_report_malformed(const OcqEvent *event, const char *problem)
{
	ereport(ERROR,
			(errcode(OCQ_ERR_MALFORMED_EVENT),
			 errmsg("event %s at position " INT64_FORMAT " %s",
					text_to_cstring(event->type), event->position, problem),
			 errdetail("It is version %d of %s.", event->version, ocq_stream_name(&event->stream)),
			 errhint("The commands never write such an event; find its origin by its metadata and time.")));
}

/*
 * ocq_event_find_value returns false if the event's data have no such key, or
 * null there.  A value of another type is an error.
 */
bool
ocq_event_find_value(const OcqEvent *event, const char *key, enum jbvType type, JsonbValue *value)
{
	if (!JB_ROOT_IS_OBJECT(event->data))
		ocq_event_report_malformed(event, "has no object as data");
	if (getKeyJsonValueFromContainer(&event->data->root, key, strlen(key), value) == NULL ||
		value->type == jbvNull)
		return false;
	if (value->type != type)
		ocq_event_report_malformed(event, psprintf("has no valid \"%s\"", key));
	return true;
}

/* ocq_event_value is for a key that must be there. */
JsonbValue
ocq_event_value(const OcqEvent *event, const char *key, enum jbvType type)
{
	JsonbValue	value;

	if (!ocq_event_find_value(event, key, type, &value))
		ocq_event_report_malformed(event, psprintf("has no valid \"%s\"", key));
	return value;
}

/* ocq_event_text returns a copy of a string, or NULL if there is none. */
text *
ocq_event_text(const OcqEvent *event, const char *key)
{
	JsonbValue	value;

	if (!ocq_event_find_value(event, key, jbvString, &value))
		return NULL;
	return cstring_to_text_with_len(value.val.string.val, value.val.string.len);
}

/* ocq_stream_is_complete tells whether the events are a stream's from its first, without a gap. */
bool
ocq_stream_is_complete(const OcqEvent *events, int count)
{
	for (int i = 0; i < count; i++)
		if (events[i].version != i + 1)
			return false;
	return true;
}

/* ocq_stream_check_complete raises an error if a stream has a gap: its state cannot be known. */
void
ocq_stream_check_complete(const OcqEvent *events, int count)
{
	if (!ocq_stream_is_complete(events, count))
		ereport(ERROR,
				(errcode(OCQ_ERR_INCOMPLETE_STREAM),
				 errmsg("%s has a gap", ocq_stream_name(&events[0].stream)),
				 errdetail("Its versions are not 1 to %d.", count),
				 errhint("Restore the missing events from a backup.")));
}

/*
 * ocq_stream_check_room raises an error if a stream holds so much that every command on it
 * would cost too much.
 */
void
ocq_stream_check_room(const OcqStream *stream, OcqEvents events)
{
	Size		size = 0;

	for (int i = 0; i < events.count; i++)
		size += sizeof(OcqEvent) + VARSIZE(events.items[i].data);
	if (size <= (Size) ocq_max_stream_size * 1024)
		return;
	ereport(ERROR,
			(errcode(OCQ_ERR_STREAM_FULL),
			 errmsg("%s is full", ocq_stream_name(stream)),
			 errdetail("Its %d events have %zu kB; order_cqrs.max_stream_size is %d kB.",
					   events.count, (size + 1023) / 1024, ocq_max_stream_size),
			 errhint("Bring it to its end, and go on with another id. A superuser can raise order_cqrs.max_stream_size.")));
}

bool
ocq_stream_equal(const OcqStream *a, const OcqStream *b)
{
	return ocq_text_equal(a->aggregate_id, b->aggregate_id) &&
		ocq_text_equal(a->aggregate_type, b->aggregate_type) &&
		ocq_text_equal(a->tenant_id, b->tenant_id);
}

/* ocq_stream_name is how messages call a stream. */
char *
ocq_stream_name(const OcqStream *stream)
{
	return psprintf("%s \"%s\" of tenant \"%s\"",
					text_to_cstring(stream->aggregate_type),
					text_to_cstring(stream->aggregate_id),
					text_to_cstring(stream->tenant_id));
}
