/*-------------------------------------------------------------------------
 * table.c
 *	  Descriptions of tables: which columns they have, and where the values come from.
 *
 * A description is the one place that knows a table's columns.  The SQL that writes
 * them, the records of a batch, and where a column is in the table are made from it.
 * Statements for one row take its columns as parameters, statements for many an array
 * of records, which is read in one pass, at a tenth of what an array for each column
 * costs.
 *
 * SQL that is about a described table is a template, in which stand for
 *
 *	{table}		its name
 *	{columns}	its columns; {v.columns}: each with v. before it
 *	{records}	the array of records that is the first parameter, as n
 *	{key}		the columns of its key
 *	{upsert}	what to do with a row of that key: replace it if it is older
 *
 * The relation and its attribute numbers are looked up once, and again after an
 * invalidation message for the relation.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/catalog.h"
#include "base/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

/* Those whose relation has ever been looked up. */
static OcqTable *known_tables = NULL;

/* --- SQL ------------------------------------------------------------------------------- */

/* Columns by their roles. */
#define ALL (~0)
#define KEY (1 << OCQ_KEY)

/*
 * put_list appends the columns of some roles by a pattern, in which @ stands for a
 * column's name, ~ for its type and # for its number.
 */
static void
put_list(StringInfo sql, const OcqTable *table, int roles, const char *separator,
		 const char *pattern)
{
	const char *before = "";

	for (int i = 0; i < table->ncolumns; i++)
	{
		const OcqColumn *column = &table->columns[i];

		if (((1 << column->role) & roles) == 0)
			continue;
		appendStringInfoString(sql, before);
		before = separator;
		for (const char *c = pattern; *c != '\0'; c++)
		{
			if (*c == '@')
				appendStringInfoString(sql, column->name);
			else if (*c == '~')
				appendStringInfoString(sql, format_type_be(column->type));
			else if (*c == '#')
				appendStringInfo(sql, "%d", i + 1);
			else
				appendStringInfoChar(sql, *c);
		}
	}
}

static void
put_records(StringInfo sql, const OcqTable *table)
{
	appendStringInfoString(sql, "unnest($1) AS n (");
	put_list(sql, table, ALL, ", ", "@ ~");
	appendStringInfoChar(sql, ')');
}

static void
put_upsert(StringInfo sql, const OcqTable *table)
{
	appendStringInfoString(sql, "ON CONFLICT (");
	put_list(sql, table, KEY, ", ", "@");
	appendStringInfoString(sql, ") DO UPDATE SET ");
	put_list(sql, table, ALL & ~KEY, ", ", "@ = excluded.@");
	appendStringInfoString(sql, " WHERE v.version < excluded.version");
}

static void
put_placeholder(StringInfo sql, const OcqTable *table, const char *name)
{
	const char *point = strchr(name, '.');

	if (strcmp(name, "table") == 0)
		appendStringInfo(sql, OCQ_SCHEMA ".%s", table->name);
	else if (strcmp(name, "columns") == 0)
		put_list(sql, table, ALL, ", ", "@");
	else if (point != NULL && strcmp(point, ".columns") == 0)
		put_list(sql, table, ALL, ", ", psprintf("%.*s.@", (int) (point - name), name));
	else if (strcmp(name, "key") == 0)
		put_list(sql, table, KEY, ", ", "@");
	else if (strcmp(name, "records") == 0)
		put_records(sql, table);
	else if (strcmp(name, "upsert") == 0)
		put_upsert(sql, table);
	else
		elog(ERROR, "unknown placeholder \"%s\"", name);
}

/* put_template fills the template in. */
static void
put_template(StringInfo sql, const OcqTable *table, const char *template)
{
	for (const char *c = template; *c != '\0'; c++)
	{
		const char *end = *c == '{' ? strchr(c, '}') : NULL;

		if (end == NULL)
			appendStringInfoChar(sql, *c);
		else
		{
			put_placeholder(sql, table, pnstrdup(c + 1, end - c - 1));
			c = end;
		}
	}
}

char *
ocq_table_sql(const OcqTable *table, const char *template)
{
	StringInfoData sql;

	initStringInfo(&sql);
	put_template(&sql, table, template);
	return sql.data;
}

/* --- one row --------------------------------------------------------------------------- */

static Datum
value_of(const OcqColumn *column, const void *source, bool *isnull)
{
	const void *field = (const char *) source + column->offset;

	*isnull = source == NULL;
	if (source == NULL)
		return (Datum) 0;
	if (column->get != NULL)
		return column->get(source, isnull);
	switch (column->type)
	{
		case INT4OID:
			return Int32GetDatum(*(const int32 *) field);
		case INT8OID:
		case TIMESTAMPTZOID:
			return Int64GetDatum(*(const int64 *) field);
		default:
			*isnull = *(void *const *) field == NULL;
			return PointerGetDatum(*(void *const *) field);
	}
}

void
ocq_table_values(const OcqTable *table, const void *const *sources, Datum *values, bool *nulls)
{
	for (int i = 0; i < table->ncolumns; i++)
		values[i] = value_of(&table->columns[i], sources[table->columns[i].source], &nulls[i]);
}

/* ocq_source_itself gets a value that is a source, and not a field of one. */
Datum
ocq_source_itself(const void *source, bool *isnull)
{
	return PointerGetDatum(source);
}

/* complete_row makes a statement whose parameters are the columns, and maybe an int more. */
static void
complete_row(OcqStatement *statement, const OcqTable *table, int extra, const char *sql)
{
	for (int i = 0; i < table->ncolumns; i++)
		statement->argtypes[i] = table->columns[i].type;
	statement->argtypes[table->ncolumns] = INT4OID;
	statement->nargs = table->ncolumns + extra;
	statement->sql = MemoryContextStrdup(TopMemoryContext, sql);
}

static uint64
run_row(OcqStatement *statement, const OcqTable *table, const void *const *sources,
		int32 version_before)
{
	Datum		values[OCQ_TABLE_MAX_COLUMNS + 1];
	bool		is_null[OCQ_TABLE_MAX_COLUMNS];
	char		nulls[OCQ_TABLE_MAX_COLUMNS + 1];

	ocq_table_values(table, sources, values, is_null);
	for (int i = 0; i < table->ncolumns; i++)
		nulls[i] = is_null[i] ? 'n' : ' ';
	values[table->ncolumns] = Int32GetDatum(version_before);
	nulls[table->ncolumns] = ' ';
	return ocq_statement_run(statement, values, nulls);
}

static void
make_insert(OcqTable *table)
{
	StringInfoData sql;

	initStringInfo(&sql);
	put_template(&sql, table, "INSERT INTO {table} ({columns}) VALUES (");
	put_list(&sql, table, ALL, ", ", "$#");
	appendStringInfoChar(&sql, ')');
	complete_row(&table->insert_one, table, 0, sql.data);
}

/* ocq_table_insert_one inserts a row of which there is no version. */
uint64
ocq_table_insert_one(OcqTable *table, const void *const *sources)
{
	if (table->insert_one.sql == NULL)
		make_insert(table);
	return run_row(&table->insert_one, table, sources, 0);
}

static void
make_update(OcqTable *table)
{
	const char *before = "";
	StringInfoData sql;

	initStringInfo(&sql);
	put_template(&sql, table, "UPDATE {table} SET ");
	for (int i = 0; i < table->ncolumns; i++)
	{
		const OcqColumn *column = &table->columns[i];

		if (column->role == OCQ_CHANGES)
			appendStringInfo(&sql, "%s%s = $%d", before, column->name, i + 1);
		else if (column->role == OCQ_LASTS_IF_NULL)
			appendStringInfo(&sql, "%s%s = coalesce($%d, %s)", before, column->name, i + 1, column->name);
		else
			continue;
		before = ", ";
	}
	appendStringInfoString(&sql, " WHERE ");
	put_list(&sql, table, KEY, " AND ", "@ = $#");
	appendStringInfo(&sql, " AND version = $%d", table->ncolumns + 1);
	complete_row(&table->update_one, table, 1, sql.data);
}

/* ocq_table_update_one changes a row that has the version before, and returns 0 if none has. */
uint64
ocq_table_update_one(OcqTable *table, const void *const *sources, int32 version_before)
{
	if (table->update_one.sql == NULL)
		make_update(table);
	return run_row(&table->update_one, table, sources, version_before);
}

/* --- many rows ------------------------------------------------------------------------- */

/* ocq_rows_make returns no rows yet, and room for some. */
OcqRows
ocq_rows_make(OcqTable *table, int room)
{
	return (OcqRows) {
		.table = table,
		.values = palloc_array(Datum, room * table->ncolumns),
		.nulls = palloc_array(bool, room * table->ncolumns)
	};
}

void
ocq_rows_add(OcqRows *rows, const void *const *sources)
{
	int			first = rows->count++ * rows->table->ncolumns;

	ocq_table_values(rows->table, sources, &rows->values[first], &rows->nulls[first]);
}

/* record_of returns the type of the table's records.  It has no type that could be changed. */
static TupleDesc
record_of(OcqTable *table)
{
	MemoryContext old;
	TupleDesc	record;

	if (table->record != NULL)
		return table->record;
	old = MemoryContextSwitchTo(TopMemoryContext);
	record = CreateTemplateTupleDesc(table->ncolumns);
	for (int i = 0; i < table->ncolumns; i++)
		TupleDescInitEntry(record, i + 1, NULL, table->columns[i].type, -1, 0);
	table->record = BlessTupleDesc(record);
	MemoryContextSwitchTo(old);
	return table->record;
}

/* ocq_rows_records returns the rows as an array of records, for {records}. */
Datum
ocq_rows_records(const OcqRows *rows)
{
	TupleDesc	record = record_of(rows->table);
	Datum	   *records = palloc_array(Datum, rows->count);

	for (int row = 0; row < rows->count; row++)
	{
		int			first = row * rows->table->ncolumns;

		records[row] = HeapTupleGetDatum(heap_form_tuple(record, &rows->values[first],
														 &rows->nulls[first]));
	}
	return ocq_array(records, NULL, rows->count, RECORDOID);
}

/* ocq_rows_run runs a statement that has the rows' records as its only parameter. */
uint64
ocq_rows_run(const OcqRows *rows, OcqStatement *statement)
{
	Datum		records = ocq_rows_records(rows);

	return ocq_statement_run(statement, &records, NULL);
}

#define INSERT_MANY "INSERT INTO {table} AS v ({columns}) SELECT * FROM {records}"

static uint64
run_template(OcqStatement *statement, const OcqRows *rows, const char *template,
			 const char *template_returning)
{
	if (statement->template == NULL)
		*statement = (OcqStatement)
		OCQ_TABLE_STATEMENT(rows->table, rows->table->returns_keys ? template_returning : template,
							RECORDARRAYOID);
	return ocq_rows_run(rows, statement);
}

/* ocq_rows_insert inserts rows of which there are no versions. */
uint64
ocq_rows_insert(const OcqRows *rows)
{
	return run_template(&rows->table->insert_many, rows, INSERT_MANY, INSERT_MANY " RETURNING {key}");
}

/* ocq_rows_upsert inserts or replaces rows where there is no version, or an older one. */
uint64
ocq_rows_upsert(const OcqRows *rows)
{
	return run_template(&rows->table->upsert_many, rows,
						INSERT_MANY " {upsert}", INSERT_MANY " {upsert} RETURNING {key}");
}

/*
 * ocq_table_delete deletes the rows whose key begins with one of the keys, which are
 * rows of as many columns.
 */
uint64
ocq_table_delete(OcqTable *table, const OcqRows *keys)
{
	OcqStatement *statement = &table->delete_many;

	if (statement->sql == NULL)
	{
		StringInfoData sql;

		initStringInfo(&sql);
		put_template(&sql, table, "DELETE FROM {table} v USING ");
		put_records(&sql, keys->table);
		for (int i = 0; i < keys->table->ncolumns; i++)
			appendStringInfo(&sql, " %s v.%s = n.%s", i == 0 ? "WHERE" : "AND",
							 table->columns[i].name, keys->table->columns[i].name);
		statement->argtypes[0] = RECORDARRAYOID;
		statement->nargs = 1;
		statement->sql = MemoryContextStrdup(TopMemoryContext, sql.data);
	}
	return ocq_rows_run(keys, statement);
}

/* --- the catalogue --------------------------------------------------------------------- */

/* InvalidOid stands for every relation. */
static void
invalidate_relation(Datum arg, Oid relid)
{
	for (OcqTable *table = known_tables; table != NULL; table = table->next)
		if (!OidIsValid(relid) || relid == table->relation)
			table->invalidations++;
}

/* know_table has invalidation messages heard for the table, from now on. */
static void
know_table(OcqTable *table)
{
	static bool is_registered = false;

	if (!is_registered)
		CacheRegisterRelcacheCallback(invalidate_relation, (Datum) 0);
	is_registered = true;
	if (table->is_known)
		return;
	table->is_known = true;
	table->next = known_tables;
	known_tables = table;
}

static AttrNumber
look_up_column(const OcqTable *table, const OcqColumn *column)
{
	AttrNumber	attnum = get_attnum(table->relation, column->name);

	if (attnum == InvalidAttrNumber || get_atttype(table->relation, attnum) != column->type)
		elog(ERROR, "column \"%s\" of table \"%s\" is not as it was created",
			 column->name, table->name);
	return attnum;
}

/* resolve takes what it has found for true until an invalidation arrives, also meanwhile. */
static void
resolve(OcqTable *table)
{
	uint64		current;

	if (table->resolved == table->invalidations + 1)
		return;
	know_table(table);
	current = table->invalidations + 1;
	table->relation = get_relname_relid(table->name, get_namespace_oid(OCQ_SCHEMA, false));
	if (!OidIsValid(table->relation))
		elog(ERROR, "table \"%s\" does not exist", table->name);
	for (int i = 0; i < table->ncolumns; i++)
		table->attnums[i] = look_up_column(table, &table->columns[i]);
	table->resolved = current;
}

/* ocq_table_relation returns the table's OID.  Hold a lock on it to rely on the columns. */
Oid
ocq_table_relation(OcqTable *table)
{
	resolve(table);
	return table->relation;
}

/* ocq_table_attnum returns where a column of the description, from 0, is in the table. */
AttrNumber
ocq_table_attnum(OcqTable *table, int column)
{
	resolve(table);
	return table->attnums[column];
}
