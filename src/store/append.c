/*-------------------------------------------------------------------------
 * append.c
 *	  Appending events to a stream.
 *
 * The caller holds the stream's lock and knows its version.  The events go in
 * at once.  A version that another transaction has taken meanwhile (possible only for a
 * create, which reads nothing, or under REPEATABLE READ) is found by the primary key:
 * under READ COMMITTED the append returns false, and under the stricter levels PostgreSQL
 * raises 40001.  A caller under READ COMMITTED that says how to report it is spared the
 * price of ON CONFLICT, which looks into the index before it writes, and of a statement
 * (base/direct.c).
 *
 * Meanwhile ocq_append_current() tells the row trigger on events that the row is a
 * command's, and hands over the facts that the command knows already.  Rows that arrive in
 * another way (COPY, a restore) find it NULL.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/argument.h"
#include "base/catalog.h"
#include "base/direct.h"
#include "base/errors.h"
#include "base/statement.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "store/store.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

void		(*ocq_append_wake_hook) (bool looks_over) = NULL;

static const OcqAppend *current_append = NULL;
static bool wake_at_commit = false;
static bool look_over_at_commit = false;

static Datum
get_schema_version(const void *source, bool *isnull)
{
	return Int32GetDatum(1);
}

/* The facts that an event has of neither its stream, its command nor itself. */
typedef struct Facts
{
	int32		version;
	text	   *session_role;
	text	   *actor;
	TimestampTz occurred_at;
} Facts;

#define STREAM(field) OCQ_FIELD(0, OcqStream, field)
#define EVENT(field) OCQ_FIELD(1, OcqNewEvent, field)
#define ENVELOPE(field) OCQ_FIELD(2, OcqEnvelope, field)
#define FACTS(field) OCQ_FIELD(3, Facts, field)

/* The position is the identity column. */
static const OcqColumn columns[] = {
	{"tenant_id", TEXTOID, OCQ_KEY, STREAM(tenant_id)},
	{"aggregate_type", TEXTOID, OCQ_KEY, STREAM(aggregate_type)},
	{"aggregate_id", TEXTOID, OCQ_KEY, STREAM(aggregate_id)},
	{"version", INT4OID, OCQ_KEY, FACTS(version)},
	{"event_type", TEXTOID, EVENT(type)},
	{"schema_version", INT4OID, .get = get_schema_version},
	{"data", JSONBOID, EVENT(data)},
	{"command_id", UUIDOID, ENVELOPE(command_id)},
	{"correlation_id", UUIDOID, ENVELOPE(correlation_id)},
	{"causation_id", UUIDOID, ENVELOPE(causation_id)},
	{"session_role", TEXTOID, FACTS(session_role)},
	{"actor", TEXTOID, FACTS(actor)},
	{"metadata", JSONBOID, ENVELOPE(metadata)},
	{"occurred_at", TIMESTAMPTZOID, FACTS(occurred_at)},
};

static OcqTable events_table = OCQ_TABLE("events", columns);

#define UNLESS_TAKEN " ON CONFLICT ({key}) DO NOTHING"

static OcqStatement insert_one;
static OcqStatement insert_one_unless_taken;

/*
 * $2 to $5: the key of the first event.  The order of unnest is the order in which nextval() is called.  It
 * is all of them or none: a stream that has the first of these versions may not have the
 * others.
 */
static OcqStatement insert_many_unless_taken =
OCQ_TABLE_STATEMENT(&events_table,
					OCQ_INSERT_MANY " WHERE NOT EXISTS (SELECT FROM {table} AS e WHERE e.tenant_id = $2"
					" AND e.aggregate_type = $3 AND e.aggregate_id = $4 AND e.version = $5)" UNLESS_TAKEN,
					RECORDARRAYOID, TEXTOID, TEXTOID, TEXTOID, INT4OID);

char	   *ocq_actor;
int			ocq_max_event_size;

/* check_actor bounds what each event of the session will hold. */
static bool
check_actor(char **newval, void **extra, GucSource source)
{
	size_t		length = strlen(*newval);

	if (length <= OCQ_ID_MAX_BYTES)
		return true;
	GUC_check_errdetail("It has %zu bytes; at most %d are allowed.", length, OCQ_ID_MAX_BYTES);
	GUC_check_errhint("Set it to the id of the user on whose behalf the application acts.");
	return false;
}

void
ocq_append_define_settings(void)
{
	DefineCustomStringVariable("order_cqrs.actor",
							   "On whose behalf the application sends commands.",
							   "It is stored with their events; if it is empty the session user is.",
							   &ocq_actor, "", PGC_USERSET, 0, check_actor, NULL, NULL);
	DefineCustomIntVariable("order_cqrs.max_event_size",
							"Most that the data of an event, or a command's metadata, may have.",
							"Commands with more are refused; events that are there already stay as they are.",
							&ocq_max_event_size, 1024, 4, 256 * 1024,
							PGC_SUSET, GUC_UNIT_KB, NULL, NULL, NULL);
}

/*
 * ocq_actor_verified returns the value of order_cqrs.actor, perhaps an empty one.  PostgreSQL
 * does not verify the encoding of a connection's options.
 */
const char *
ocq_actor_verified(void)
{
	(void) pg_verifymbstr(ocq_actor, strlen(ocq_actor), false);
	return ocq_actor;
}

const OcqAppend *
ocq_append_current(void)
{
	return current_append;
}

/* end_transaction may not touch catalogs nor raise errors. */
static void
end_transaction(XactEvent event, void *arg)
{
	bool		wakes = wake_at_commit;
	bool		looks_over = look_over_at_commit;

	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	wake_at_commit = false;
	look_over_at_commit = false;
	if (event == XACT_EVENT_PREPARE)
		ocq_horizon_forget();
	if (wakes && event == XACT_EVENT_COMMIT && ocq_append_wake_hook != NULL)
		ocq_append_wake_hook(looks_over);
}

void
ocq_append_init(void)
{
	RegisterXactCallback(end_transaction, NULL);
}

/* ocq_append_wake_at_commit says that there will be something to do for the worker. */
void
ocq_append_wake_at_commit(void)
{
	wake_at_commit = true;
}

/* ocq_append_look_over_at_commit has the worker look over the sync projections, too, and at once. */
void
ocq_append_look_over_at_commit(void)
{
	wake_at_commit = true;
	look_over_at_commit = true;
}

static bool
is_about(const ErrorData *error, const char *constraint)
{
	return error->sqlerrcode == ERRCODE_UNIQUE_VIOLATION &&
		error->schema_name != NULL && strcmp(error->schema_name, OCQ_SCHEMA) == 0 &&
		error->constraint_name != NULL && strcmp(error->constraint_name, constraint) == 0;
}

pg_noreturn static void
report_position_taken(const OcqAppend *append)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not append to %s: its position in the log is taken",
					ocq_stream_name(append->stream)),
			 errdetail("The sequence order_cqrs.events_position_seq was set back behind the log."),
			 errhint("Repeat the transaction: the sequence is set right before the next append.")));
}

/* report_if_taken is called with an error in flight, and returns if it is about something else. */
static void
report_if_taken(const OcqAppend *append, bool may_report_version, MemoryContext context)
{
	ErrorData  *error;
	bool		version_is_taken;
	bool		position_is_taken;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	version_is_taken = may_report_version && is_about(error, "events_pkey");
	position_is_taken = is_about(error, "events_position_key");
	FreeErrorData(error);
	if (!version_is_taken && !position_is_taken)
		return;
	FlushErrorState();
	if (version_is_taken)
		append->report_taken(append);
	ocq_positions_doubt();
	report_position_taken(append);
}

/*
 * may_report_taken tells whether an append that finds its first version taken may raise the
 * error at once.  Where several events begin a stream the caller gives a better one.
 */
static bool
may_report_taken(const OcqAppend *append)
{
	return append->report_taken != NULL && !IsolationUsesXactSnapshot() &&
		(append->count == 1 || append->after_version > 0);
}

static uint64
insert_rows(const OcqAppend *append, const OcqRows *rows)
{
	bool		may_fail = may_report_taken(append);
	Datum		values[] = {
		(Datum) 0,
		PointerGetDatum(append->stream->tenant_id),
		PointerGetDatum(append->stream->aggregate_type),
		PointerGetDatum(append->stream->aggregate_id),
		Int32GetDatum(append->after_version + 1)
	};

	if (may_fail && ocq_direct_insert(rows))
		return rows->count;
	if (rows->count == 1 && may_fail)
		return ocq_rows_run_one(rows, &insert_one, OCQ_INSERT_ONE, 0);
	if (rows->count == 1)
		return ocq_rows_run_one(rows, &insert_one_unless_taken, OCQ_INSERT_ONE UNLESS_TAKEN, 0);
	values[0] = ocq_rows_records(rows);
	return ocq_statement_run(&insert_many_unless_taken, values, NULL);
}

static uint64
insert_events(const OcqAppend *append, const OcqRows *rows)
{
	uint64		inserted = 0;
	const OcqAppend *outer = current_append;
	MemoryContext context = CurrentMemoryContext;

	current_append = append;
	PG_TRY();
	{
		inserted = insert_rows(append, rows);
	}
	PG_CATCH();
	{
		current_append = outer;
		report_if_taken(append, may_report_taken(append), context);
		PG_RE_THROW();
	}
	PG_END_TRY();
	current_append = outer;
	return inserted;
}

/* ocq_append_report_lost raises the error of an append that did not take place. */
void
ocq_append_report_lost(const OcqStream *stream, int wanted, int appended)
{
	ereport(ERROR,
			(errcode(OCQ_ERR_APPEND_LOST),
			 errmsg("%d events were to be appended, but %d were", wanted, appended),
			 errdetail("The stream is %s.", ocq_stream_name(stream)),
			 errhint("Look for a trigger or a rule on order_cqrs.events that drops rows.")));
}

/* check_room raises an error if versions beyond the greatest int would be needed. */
static void
check_room(const OcqAppend *append)
{
	if (append->after_version <= PG_INT32_MAX - append->count)
		return;
	ereport(ERROR,
			(errcode(OCQ_ERR_STREAM_FULL),
			 errmsg("%s is full", ocq_stream_name(append->stream)),
			 errdetail("It is at version %d of at most %d; the number of events to append is %d.",
					   append->after_version, PG_INT32_MAX, append->count),
			 errhint("Go on in a stream with another id.")));
}

pg_noreturn static void
report_too_large(const char *what, Size size, const OcqStream *stream)
{
	ereport(ERROR,
			(errcode(OCQ_ERR_EVENT_TOO_LARGE),
			 errmsg("%s too large", what),
			 errdetail("The size is %zu kB, and order_cqrs.max_event_size is %d kB. The stream is %s.",
					   (size + 1023) / 1024, ocq_max_event_size, ocq_stream_name(stream)),
			 errhint("Keep what is large elsewhere, and its key in the event.")));
}

/*
 * check_sizes bounds the memory that every reader of the log will need.  It looks at the
 * arguments alone: the rest of an event follows from older events, or is small.
 */
static void
check_sizes(const OcqAppend *append, const OcqEnvelope *envelope)
{
	Size		most = (Size) ocq_max_event_size * 1024;

	if (envelope->metadata != NULL && VARSIZE(envelope->metadata) > most)
		report_too_large("metadata is", VARSIZE(envelope->metadata), append->stream);
	for (int i = 0; i < append->count; i++)
		if (!append->events[i].is_partial && VARSIZE(append->events[i].data) > most)
			report_too_large(psprintf("data of event \"%s\" are", text_to_cstring(append->events[i].type)),
							 VARSIZE(append->events[i].data), append->stream);
}

static OcqRows
rows_of(const OcqAppend *append, TimestampTz not_before, const OcqEnvelope *envelope)
{
	OcqRows		rows = ocq_rows_make(&events_table, append->count);
	text	   *session_role = cstring_to_text(GetUserNameFromId(GetSessionUserId(), false));
	TimestampTz now = GetCurrentTimestamp();
	Facts		facts = {
		.session_role = session_role,
		.actor = ocq_actor[0] == '\0' ? session_role : cstring_to_text(ocq_actor_verified()),
		.occurred_at = Max(now, not_before)
	};

	for (int i = 0; i < append->count; i++)
	{
		facts.version = append->after_version + 1 + i;
		ocq_rows_add(&rows, OCQ_SOURCES(append->stream, &append->events[i], envelope, &facts));
	}
	return rows;
}

/*
 * ocq_append appends the events and returns true.  If their first version has been
 * taken it does nothing and returns false, or, if it may, calls report_taken.  The
 * events' time is now, but never before not_before: time does not run backwards in
 * a stream.
 */
bool
ocq_append(const OcqAppend *append, TimestampTz not_before, const OcqEnvelope *envelope)
{
	OcqRows		rows;
	uint64		inserted;

	check_room(append);
	check_sizes(append, envelope);
	rows = rows_of(append, not_before, envelope);
	ocq_positions_prepare();
	inserted = insert_events(append, &rows);
	if (inserted == 0)
		return false;
	if (inserted != (uint64) append->count)
		ocq_append_report_lost(append->stream, append->count, (int) inserted);
	ocq_append_wake_at_commit();
	return true;
}
