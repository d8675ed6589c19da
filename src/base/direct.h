/*-------------------------------------------------------------------------
 * direct.h
 *	  Writing, and reading, rows of described tables past the executor.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_BASE_DIRECT_H
#define OCQ_BASE_DIRECT_H

#include "base/table.h"

extern void ocq_direct_define_settings(void);
extern bool ocq_direct_read(OcqTable *table, const Datum *values, Datum *row);
extern void *ocq_direct_list(OcqTable *table, const Datum *values, Size size, int *count);
extern bool ocq_direct_insert(const OcqRows *rows);
extern bool ocq_direct_update(const OcqRows *row, int32 version_before, bool *updated);

#endif							/* OCQ_BASE_DIRECT_H */
