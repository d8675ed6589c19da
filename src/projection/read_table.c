/*-------------------------------------------------------------------------
 * read_table.c
 *	  The streams that the rows of read tables are of: forgetting them, and finding those
 *	  that are behind or differ.  The statements are made from the descriptions.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "projection/projection.h"
#include "utils/memutils.h"

static const OcqColumn key_columns[] = {
	{"tenant_id", TEXTOID, OCQ_FIELD(0, OcqStream, tenant_id)},
	{"aggregate_id", TEXTOID, OCQ_FIELD(0, OcqStream, aggregate_id)},
};

static OcqTable keys_table = OCQ_TABLE(NULL, key_columns);

/* ocq_stream_keys returns tenant_id and aggregate_id of those streams that are of one type. */
OcqRows
ocq_stream_keys(const OcqStreams *streams, const char *aggregate_type)
{
	OcqRows		keys = ocq_rows_make(&keys_table, streams->count);

	for (int i = 0; i < streams->count; i++)
		if (ocq_text_is(streams->streams[i].aggregate_type, aggregate_type))
			ocq_rows_add(&keys, OCQ_SOURCES(&streams->streams[i]));
	return keys;
}

static char *
keep(const char *sql)
{
	return MemoryContextStrdup(TopMemoryContext, sql);
}

static OcqStatement *
delete_of(const OcqReadTable *read)
{
	OcqStatement *statement = &read->table->delete_many;

	if (statement->sql == NULL)
		*statement = (OcqStatement)
			OCQ_STATEMENT(keep(psprintf("DELETE FROM order_cqrs.%s v"
										" USING unnest($1) AS n (tenant_id text, aggregate_id text)"
										" WHERE v.tenant_id = n.tenant_id AND v.%s = n.aggregate_id",
										read->table->name, read->table->columns[1].name)),
						  RECORDARRAYOID);
	return statement;
}

/* ocq_read_tables_forget deletes the streams' rows. */
void
ocq_read_tables_forget(const OcqReadTable *tables, const OcqStreams *streams)
{
	for (const OcqReadTable *read = tables; read->table != NULL; read++)
	{
		OcqRows		keys = ocq_stream_keys(streams, read->aggregate_type);

		(void) ocq_rows_run(&keys, delete_of(read));
	}
}

/* table_of returns the read table that tells whether streams of the type are behind, or NULL. */
static const OcqReadTable *
table_of(const OcqProjection *projection, const char *aggregate_type)
{
	for (const OcqReadTable *read = projection->tables; read->table != NULL; read++)
		if (!read->is_detail && strcmp(read->aggregate_type, aggregate_type) == 0)
			return read;
	return NULL;
}

static void
put_events(StringInfo sql, uint32 events)
{
	const char *before = " AND e.event_type IN (";

	for (int type = 0; type < OCQ_ORDER_EVENT_UNKNOWN; type++)
	{
		if ((events & (1 << type)) == 0)
			continue;
		appendStringInfo(sql, "%s'%s'", before, ocq_order_event_name(type));
		before = ", ";
	}
	appendStringInfoChar(sql, ')');
}

/* Streams of a type that no read table has the versions of: every change is handled. */
static void
put_behind(StringInfo sql, const char *aggregate_type, const OcqReadTable *read)
{
	appendStringInfoString(sql, "SELECT e.tenant_id, e.aggregate_type, e.aggregate_id, min(e.position)"
						   " FROM order_cqrs.events e");
	if (read != NULL)
		appendStringInfo(sql, " LEFT JOIN order_cqrs.%s v ON v.tenant_id = e.tenant_id"
						 " AND v.%s = e.aggregate_id", read->table->name, read->table->columns[1].name);
	appendStringInfo(sql, " WHERE e.aggregate_type = '%s' AND e.position > $1 AND e.position <= $2",
					 aggregate_type);
	if (read != NULL && read->events != 0)
		put_events(sql, read->events);
	if (read != NULL)
		appendStringInfoString(sql, " AND (v.version IS NULL OR v.version < e.version)");
	appendStringInfoString(sql, " GROUP BY 1, 2, 3");
}

static int
index_of(const OcqProjection *projection)
{
	int			index = 0;

	while (ocq_projections[index] != projection)
		index++;
	return index;
}

/*
 * ocq_projection_behind returns the statement that finds the streams of which an event in
 * ($1, $2] is not in the read tables: tenant_id, aggregate_type, aggregate_id, first position.
 */
OcqStatement *
ocq_projection_behind(const OcqProjection *projection)
{
	static OcqStatement statements[OCQ_MAX_PROJECTIONS];
	OcqStatement *statement = &statements[index_of(projection)];
	StringInfoData sql;

	if (statement->sql != NULL)
		return statement;

	initStringInfo(&sql);
	for (const char *const *type = projection->aggregate_types; *type != NULL; type++)
	{
		if (type != projection->aggregate_types)
			appendStringInfoString(&sql, " UNION ALL ");
		put_behind(&sql, *type, table_of(projection, *type));
	}
	appendStringInfoString(&sql, " ORDER BY 4");
	*statement = (OcqStatement) OCQ_STATEMENT(keep(sql.data), INT8OID, INT8OID);
	return statement;
}

/* rows_of_orders returns a query of all rows of tables that each order is in, or an empty text. */
static char *
rows_of_orders(const OcqProjection *projection)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (const OcqReadTable *read = projection->tables; read->table != NULL; read++)
		if (read->events == 0 && strcmp(read->aggregate_type, OCQ_AGGREGATE_ORDER) == 0)
			appendStringInfo(&sql, "%sSELECT 1 FROM order_cqrs.%s",
							 sql.len == 0 ? "" : " UNION ALL ", read->table->name);
	return sql.data;
}

/*
 * ocq_projection_differences returns the statements that find differences.  Where the
 * tables that each order is in are empty, as after a TRUNCATE or in a restored database,
 * every order differs, and nothing need be folded to know that.
 */
OcqDifferences *
ocq_projection_differences(const OcqProjection *projection)
{
	static OcqDifferences differences[OCQ_MAX_PROJECTIONS];
	OcqDifferences *result = &differences[index_of(projection)];
	char	   *rows = rows_of_orders(projection);
	StringInfoData sql;

	if (result->streams.sql != NULL)
		return result;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT DISTINCT tenant_id, aggregate_type, aggregate_id"
					 " FROM order_cqrs.%s_difference() WHERE aggregate_id IS NOT NULL", projection->name);
	if (*rows != '\0')
		appendStringInfo(&sql, " AND EXISTS (%s) UNION ALL SELECT DISTINCT tenant_id, aggregate_type,"
						 " aggregate_id FROM order_cqrs.events WHERE aggregate_type = '"
						 OCQ_AGGREGATE_ORDER "' AND NOT EXISTS (%s)", rows, rows);
	appendStringInfoString(&sql, " ORDER BY 1, 2, 3");
	result->all.sql = keep(psprintf("SELECT tenant_id, key, expected, actual FROM order_cqrs.%s_difference()",
									projection->name));
	result->streams.sql = keep(sql.data);
	return result;
}
