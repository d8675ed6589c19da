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

/* One ordered scan for each type, so that LIMIT ends them early. */
static OcqStatement select_of_types =
OCQ_STATEMENT("SELECT e.* FROM (SELECT DISTINCT u.u FROM pg_catalog.unnest($4) AS u) AS t (aggregate_type),"
			  " LATERAL (SELECT e.* FROM order_cqrs.events e"
			  " WHERE e.aggregate_type = t.aggregate_type AND position > $1 AND position <= $2"
			  " ORDER BY position LIMIT $3) AS e ORDER BY position LIMIT $3",
			  INT8OID, INT8OID, INT4OID, TEXTARRAYOID);

/* So many may be read beyond max_bytes. */
#define LOG_FETCH_COUNT 200

/* Events that were copied from another log may share a position: they are read together. */
static OcqStatement select_log =
OCQ_STATEMENT("SELECT " OCQ_EVENT_COLUMNS " FROM order_cqrs.events"
			  " WHERE position > $1 AND position <= $2 AND aggregate_type = ANY ($3)"
			  " ORDER BY position FETCH FIRST $4 ROWS WITH TIES",
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
	values[1] = Int64GetDatum(ocq_horizon_wait());
	count = ocq_statement_run_latest(PG_ARGISNULL(2) ? &select_all : &select_of_types,
									 values, NULL);
	ocq_event_rows_put(fcinfo, count);
	ocq_horizon_flush();
	ocq_scope_leave(&scope);
	return (Datum) 0;
}
