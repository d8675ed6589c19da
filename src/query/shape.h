/*-------------------------------------------------------------------------
 * shape.h
 *	  Statements that are put together at run time, kept by their shape.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_QUERY_SHAPE_H
#define OCQ_QUERY_SHAPE_H

#include "base/statement.h"

extern OcqStatement *ocq_shape_find(uint64 shape);
extern OcqStatement *ocq_shape_keep(uint64 shape, const char *sql, const Oid *argtypes, int nargs,
									bool depends_on_values);

#endif							/* OCQ_QUERY_SHAPE_H */
