/*-------------------------------------------------------------------------
 * registry.c
 *	  The list of projections, and those of them that the row trigger serves.
 *
 * A session keeps each projection's mode and pause until projection_state's
 * generation changes (catalog.h).  An append takes its lock on the sequence, and
 * with it the announcements of others, before its trigger asks here.  So once
 * projection_set_mode has held off appends and committed, every later event is
 * projected in the new mode.  The rows are read with the latest snapshot for the
 * same reason.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/catalog.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "projection/projection.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(ocq_projection_aggregate_types);
PG_FUNCTION_INFO_V1(ocq_read_table_columns);

/* Reference data comes first: the others look up names in it. */
const OcqProjection *const ocq_projections[] = {
	&ocq_projection_reference,
	&ocq_projection_inventory,
	&ocq_projection_payments,
	&ocq_projection_order_view,
	&ocq_projection_order_summary_view,
	&ocq_projection_order_stats,
};

StaticAssertDecl(lengthof(ocq_projections) <= OCQ_MAX_PROJECTIONS, "there is room for the statements of each projection");

static bool triggered[lengthof(ocq_projections)];
static uint64 triggered_generation = 0;
static bool triggered_is_known = false;

static OcqStatement select_triggered =
OCQ_STATEMENT_NOARGS("SELECT projection_name, mode = 'sync' AND status <> 'paused'"
					 " FROM order_cqrs.projection_state");

int
ocq_projection_count(void)
{
	return lengthof(ocq_projections);
}

/* ocq_projection_find returns NULL if there is none of that name. */
const OcqProjection *
ocq_projection_find(const char *name)
{
	for (int i = 0; i < ocq_projection_count(); i++)
		if (strcmp(ocq_projections[i]->name, name) == 0)
			return ocq_projections[i];
	return NULL;
}

bool
ocq_projection_handles(const OcqProjection *projection, const text *aggregate_type)
{
	for (const char *const *type = projection->aggregate_types; *type != NULL; type++)
		if (ocq_text_is(aggregate_type, *type))
			return true;
	return false;
}

static void
read_triggered(void)
{
	uint64		generation = ocq_catalog_generation(OCQ_REL_PROJECTION_STATE);
	uint64		rows = ocq_statement_run_latest(&select_triggered, NULL, NULL);

	memset(triggered, 0, sizeof(triggered));
	for (uint64 row = 0; row < rows; row++)
	{
		text	   *name = DatumGetTextPP(ocq_row_datum(row, 1));

		for (int i = 0; i < ocq_projection_count(); i++)
			if (ocq_text_is(name, ocq_projections[i]->name))
				triggered[i] = DatumGetBool(ocq_row_datum(row, 2));
	}
	triggered_generation = generation;
	triggered_is_known = true;
}

/* ocq_projection_is_triggered tells whether the row trigger serves projection number index. */
bool
ocq_projection_is_triggered(int index)
{
	if (!triggered_is_known ||
		triggered_generation != ocq_catalog_generation(OCQ_REL_PROJECTION_STATE))
		read_triggered();
	return triggered[index];
}

/* projection_aggregate_types(projection_name text) returns text[] */
Datum
ocq_projection_aggregate_types(PG_FUNCTION_ARGS)
{
	const OcqProjection *projection = ocq_projection_find(text_to_cstring(PG_GETARG_TEXT_PP(0)));

	if (projection == NULL)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(ocq_sync_aggregate_types(projection));
}

/*
 * ocq_read_table_columns(OUT relation oid, OUT attnum smallint, OUT name text, OUT type oid)
 *
 * The columns that are described here, and where they are.  It is for the tests, which
 * declare it.
 */
Datum
ocq_read_table_columns(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < ocq_projection_count(); i++)
		for (const OcqReadTable *read = ocq_projections[i]->tables; read->table != NULL; read++)
			for (int column = 0; column < read->table->ncolumns; column++)
			{
				Datum		values[] = {
					ObjectIdGetDatum(ocq_table_relation(read->table)),
					Int16GetDatum(ocq_table_attnum(read->table, column)),
					CStringGetTextDatum(read->table->columns[column].name),
					ObjectIdGetDatum(read->table->columns[column].type)
				};
				bool		nulls[lengthof(values)] = {false};

				tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
			}
	return (Datum) 0;
}
