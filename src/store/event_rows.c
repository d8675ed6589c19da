/*-------------------------------------------------------------------------
 * event_rows.c
 *	  Rows of events as the result of functions.
 *
 * A function that RETURNS SETOF events returns every column that the table has, also
 * those that an administrator has added.  Its statement selects "*", which SPI expands
 * anew when the table has changed.  The table is locked before its row type is looked
 * up, so that the rows of the statement have that type and no other.
 *
 * The row type still has the columns that were dropped, and the statement does not:
 * then each row is converted.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tupconvert.h"
#include "base/catalog.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "storage/lmgr.h"
#include "store/store.h"
#include "utils/tuplestore.h"

/* ocq_event_rows_begin makes the function's result, empty, in the current row type of events. */
void
ocq_event_rows_begin(FunctionCallInfo fcinfo)
{
	LockRelationOid(ocq_catalog_relation(OCQ_REL_EVENTS), AccessShareLock);
	InitMaterializedSRF(fcinfo, 0);
}

/* ocq_event_rows_put adds the rows of the last statement, which selects all columns of events. */
void
ocq_event_rows_put(FunctionCallInfo fcinfo, uint64 rows)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	TupleConversionMap *map = convert_tuples_by_position(SPI_tuptable->tupdesc, result->setDesc,
														 "the columns of order_cqrs.events have changed");

	for (uint64 row = 0; row < rows; row++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[row];
		HeapTuple	converted = map == NULL ? tuple : execute_attr_map_tuple(tuple, map);

		tuplestore_puttuple(result->setResult, converted);
		if (converted != tuple)
			heap_freetuple(converted);
	}
}
