/*-------------------------------------------------------------------------
 * read.c
 *	  The log in position order: event_read, and for projections.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/errors.h"
#include "base/scope.h"
#include "base/statement.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "store/store.h"
#include "utils/array.h"

PG_FUNCTION_INFO_V1(ocq_event_read);

/* The columns are whatever the table has by now: see event_rows.c. */
static OcqStatement select_all =
OCQ_STATEMENT("SELECT * FROM order_cqrs.events"
			  " WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3",
			  INT8OID, INT8OID, INT4OID);

/*
 * One ordered scan for each type, which LIMIT ends early.  Comparing rows leaves one
 * index for it, whatever the statistics: by position alone a rare type would be looked
 * for in the whole log.
 */
#define EVENTS_OF_TYPES(columns, types, max_count) \
	"SELECT e.* FROM (SELECT DISTINCT u.u FROM pg_catalog.unnest(" types ") AS u) AS t (aggregate_type)," \
	" LATERAL (SELECT " columns " FROM order_cqrs.events" \
	" WHERE (aggregate_type, position) > (t.aggregate_type, $1)" \
	" AND (aggregate_type, position) <= (t.aggregate_type, $2)" \
	" ORDER BY aggregate_type, position LIMIT " max_count ") AS e" \
	" ORDER BY e.position LIMIT " max_count

static OcqStatement select_of_types =
OCQ_STATEMENT(EVENTS_OF_TYPES("*", "$4", "$3"),
			  INT8OID, INT8OID, INT4OID, TEXTARRAYOID);

/* So many may be read beyond max_bytes. */
#define LOG_FETCH_COUNT 200

static OcqStatement select_log =
OCQ_STATEMENT(EVENTS_OF_TYPES(OCQ_EVENT_COLUMNS, "$3", "$4"),
			  INT8OID, INT8OID, TEXTARRAYOID, INT8OID);

/* append_rows returns how many bytes of data it has added. */
static Size
append_rows(OcqEvents *events, uint64 rows)
{
	Size		bytes = 0;

	for (uint64 row = 0; row < rows; row++)
	{
		OcqEvent   *event = &events->items[events->count++];

		ocq_event_read_row(row, event);
		bytes += VARSIZE(event->data);
	}
	return bytes;
}

/*
 * ocq_log_read returns the events of these types in (after, up_to] in order, or
 * the first of them when their data fill max_bytes.  up_to is at most the horizon.
 */
OcqEvents
ocq_log_read(Datum aggregate_types, int64 after, int64 up_to, Size max_bytes)
{
	int			room = LOG_FETCH_COUNT;
	OcqEvents	events = {.items = palloc_array(OcqEvent, room)};
	Size		bytes = 0;
	uint64		rows;

	do
	{
		Datum		values[] = {
			Int64GetDatum(after), Int64GetDatum(up_to), aggregate_types,
			Int64GetDatum(LOG_FETCH_COUNT)
		};

		rows = ocq_statement_run(&select_log, values, NULL);
		if (events.count + (int) rows > room)
		{
			room = 2 * (events.count + (int) rows);
			events.items = repalloc_array(events.items, OcqEvent, room);
		}
		bytes += append_rows(&events, rows);
		after = events.count > 0 ? events.items[events.count - 1].position : after;
	} while (rows >= LOG_FETCH_COUNT && bytes < max_bytes);
	return events;
}

static int64
position_argument(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(OCQ_ERR_INVALID_ARGUMENT),
				 errmsg("after_position must not be null"),
				 errdetail("It is the position of the last event that the caller has handled."),
				 errhint("Pass 0 to read from the beginning.")));
	return PG_GETARG_INT64(0);
}

/* ocq_event_max_count is the argument max_count of a function that returns events. */
int32
ocq_event_max_count(FunctionCallInfo fcinfo, int argno)
{
	if (PG_ARGISNULL(argno) || PG_GETARG_INT32(argno) < 1)
		ereport(ERROR,
				(errcode(OCQ_ERR_INVALID_ARGUMENT),
				 errmsg("max_count must be at least 1"),
				 errdetail("It bounds the number of events that one call returns."),
				 errhint("Leave it out to read up to 1000 events.")));
	return PG_GETARG_INT32(argno);
}

/*
 * read_settled reads the answer, and waits for the horizon only if the positions that are
 * known to be settled do not fill it: as many as max_count are needed for that.
 */
static uint64
read_settled(OcqStatement *statement, Datum *values)
{
	int64		known = ocq_horizon_known();
	int32		max_count = DatumGetInt32(values[2]);

	if (known - DatumGetInt64(values[0]) >= max_count)
	{
		values[1] = Int64GetDatum(known);
		if (ocq_statement_run_latest(statement, values, NULL) == (uint64) max_count)
			return max_count;
	}
	values[1] = Int64GetDatum(ocq_horizon_wait());
	return ocq_statement_run_latest(statement, values, NULL);
}

/* event_read(after_position bigint, max_count int, aggregate_types text[]) returns setof events */
Datum
ocq_event_read(PG_FUNCTION_ARGS)
{
	Datum		values[4];
	OcqScope	scope;
	uint64		count;

	values[0] = Int64GetDatum(position_argument(fcinfo));
	values[2] = Int32GetDatum(ocq_event_max_count(fcinfo, 1));
	values[3] = PG_GETARG_DATUM(2);

	ocq_event_rows_begin(fcinfo);
	ocq_scope_enter(&scope);
	ocq_horizon_require_primary();
	ocq_position_check(DatumGetInt64(values[0]));
	count = read_settled(PG_ARGISNULL(2) ? &select_all : &select_of_types, values);
	ocq_event_rows_put(fcinfo, count);
	ocq_horizon_flush();
	ocq_scope_leave(&scope);
	return (Datum) 0;
}
