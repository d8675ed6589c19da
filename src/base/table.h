/*-------------------------------------------------------------------------
 * table.h
 *	  Descriptions of tables: which columns they have, and where the values come from.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_BASE_TABLE_H
#define OCQ_BASE_TABLE_H

#include "access/attnum.h"
#include "base/statement.h"
#include "executor/tuptable.h"

#define OCQ_TABLE_MAX_COLUMNS 24
#define OCQ_TABLE_MAX_KEYS 4

typedef enum OcqColumnRole
{
	OCQ_CHANGES,				/* with each version of the row */
	OCQ_KEY,
	OCQ_LASTS,					/* an append to the row's stream leaves it as it is */
	OCQ_LASTS_IF_NULL			/* an append that sets it to NULL does */
} OcqColumnRole;

/*
 * A row is made of sources: structs that its columns point into by their number.  Where
 * a source is NULL, so are its columns, and so is a column whose field is a NULL pointer.
 */
typedef struct OcqColumn
{
	const char *name;
	Oid			type;
	OcqColumnRole role;
	int			source;
	size_t		offset;			/* of the field, which has the type's C type ... */
	Datum		(*get) (const void *source, bool *isnull);	/* ... unless this makes the value */
} OcqColumn;

/* The C types of fields: a char * is a column of type text, and described as CSTRINGOID. */

#define OCQ_FIELD(number, type, field) .source = (number), .offset = offsetof(type, field)

/* The fitness of a table for direct writes and reads, and the facts that they need (direct.c). */
typedef struct OcqDirect
{
	uint64		examined;		/* the value of resolved when it was looked up */
	bool		takes_reads;
	bool		takes_lists;
	bool		takes_inserts;
	bool		takes_updates;
	AttrNumber	identity;		/* a column that draws its values from the sequence */
	Oid			sequence;
	Oid			key_index;
	int			nkeys;
	int			key_columns[OCQ_TABLE_MAX_KEYS];
	int			version_column;
	bool		has_key;		/* of texts alone */
	bool		has_versioned_key;	/* of texts and the version */
} OcqDirect;

/*
 * A table is a static variable, defined by its first fields; the others are filled in at
 * the first use.  A table without a name describes only the records of an array.
 */
typedef struct OcqTable
{
	const char *name;
	const OcqColumn *columns;
	int			ncolumns;
	bool		returns_keys;	/* of the rows that insert and upsert have written */

	OcqStatement insert_one;
	OcqStatement update_one;
	OcqStatement insert_many;
	OcqStatement upsert_many;
	OcqStatement delete_many;

	TupleDesc	record;
	Oid			relation;
	AttrNumber	attnums[OCQ_TABLE_MAX_COLUMNS];
	uint64		invalidations;	/* from 1; 0: the table is not in the list of those that hear of them */
	uint64		resolved;		/* how many there had been when the two were looked up */
	bool		is_as_described;
	OcqDirect	direct;
	struct OcqTable *next;
} OcqTable;

#define OCQ_TABLE(table_name, table_columns) \
	{ .name = (table_name), .columns = (table_columns), .ncolumns = lengthof(table_columns) }

/* In templates: the records that are the first parameter; inserts; and replacing a row by a newer one. */
#define OCQ_RECORDS "unnest($1) AS n ({types})"
#define OCQ_INSERT_ONE "INSERT INTO {table} ({columns}) VALUES ({values})"
#define OCQ_INSERT_MANY "INSERT INTO {table} AS v ({columns}) SELECT * FROM " OCQ_RECORDS
#define OCQ_UPSERT " ON CONFLICT ({key}) DO UPDATE SET {excluded} WHERE v.version < excluded.version"

#define OCQ_SOURCES(...) ((const void *const[]){__VA_ARGS__})

/* Rows of a table that are about to be written. */
typedef struct OcqRows
{
	OcqTable   *table;
	Datum	   *values;			/* row by row */
	bool	   *nulls;
	int			count;
} OcqRows;

#define OCQ_TABLE_STATEMENT(of, text, ...) \
	{ \
		.make = ocq_table_make, .subject = (of), .template = (text), \
		.nargs = lengthof(((Oid[]){__VA_ARGS__})), .argtypes = {__VA_ARGS__} \
	}

/* One whose parameters are a row's columns, and behind them {before}. */
#define OCQ_ROW_STATEMENT(of, text) { .make = ocq_table_make, .subject = (of), .template = (text) }

typedef struct OcqParameters
{
	Datum		values[OCQ_TABLE_MAX_COLUMNS + 1];
	char		nulls[OCQ_TABLE_MAX_COLUMNS + 1];
} OcqParameters;

extern char *ocq_table_make(OcqStatement *statement);
extern char *ocq_table_sql(const OcqTable *table, const char *template);
extern void ocq_table_check_width(int ncolumns, TupleDesc declared);
extern void ocq_table_values(const OcqTable *table, const void *const *sources, Datum *values,
							 bool *nulls);
extern void ocq_table_parameters(const OcqTable *table, const void *const *sources,
								 OcqParameters *parameters);
extern void ocq_table_read(const OcqTable *table, uint64 row, void *target);
extern void ocq_table_read_slot(OcqTable *table, TupleTableSlot *slot, void *target);
extern bool ocq_table_is_as_described(OcqTable *table);
extern Oid	ocq_table_relation(OcqTable *table);
extern AttrNumber ocq_table_attnum(OcqTable *table, int column);

extern uint64 ocq_table_insert_one(OcqTable *table, const void *const *sources);
extern uint64 ocq_table_update_one(OcqTable *table, const void *const *sources, int32 version_before);

extern TupleDesc ocq_table_record(OcqTable *table);

extern OcqRows ocq_rows_make(OcqTable *table, int room);
extern void ocq_rows_add(OcqRows *rows, const void *const *sources);
extern Datum ocq_rows_records(const OcqRows *rows);
extern uint64 ocq_rows_run_one(const OcqRows *row, OcqStatement *statement, const char *template,
							   int32 version_before);
extern uint64 ocq_rows_run(const OcqRows *rows, OcqStatement *statement);
extern uint64 ocq_rows_insert(const OcqRows *rows);
extern uint64 ocq_rows_upsert(const OcqRows *rows);

extern Datum ocq_source_itself(const void *source, bool *isnull);

#endif							/* OCQ_BASE_TABLE_H */
