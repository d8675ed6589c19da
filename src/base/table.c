/*-------------------------------------------------------------------------
 * table.c
 *	  Descriptions of tables: which columns they have, and where the values come from.
 *
 * A description is the one place that knows a table's columns.  The SQL that writes
 * them, the records of a batch, and where a column is in the table are made from it.
 * Statements for one row take its columns as parameters, statements for many an array of
 * records: it is read in one pass, at a tenth of the cost of an array for each column.
 *
 * SQL that is about a described table is a template, in which names in braces stand for
 * the table's name and lists of its columns: see lists.
 *
 * The relation and its attribute numbers are looked up once, and again after an
 * invalidation message for the relation.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/catalog.h"
#include "base/direct.h"
#include "base/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

/* The tables whose relation has ever been looked up. */
static OcqTable *known_tables = NULL;

/* --- SQL ------------------------------------------------------------------------------- */

static Oid
type_of(const OcqColumn *column)
{
	return column->type == CSTRINGOID ? TEXTOID : column->type;
}

#define ROLE(role) (1 << (role))
#define ALL (~0)

/* In a pattern @ stands for a column's name, ~ for its type and # for its number. */
static const struct
{
	const char *name;
	int			roles;			/* of the columns */
	const char *separator;
	const char *pattern;
}			lists[] = {
	{"columns", ALL, ", ", "@"},
	{"v.columns", ALL, ", ", "v.@"},
	{"types", ALL, ", ", "@ ~"},
	{"values", ALL, ", ", "$#"},
	{"key", ROLE(OCQ_KEY), ", ", "@"},
	{"is_key", ROLE(OCQ_KEY), " AND ", "@ = $#"},
	{"excluded", ALL & ~ROLE(OCQ_KEY), ", ", "@ = excluded.@"},
	{"changes", ROLE(OCQ_CHANGES), ", ", "@ = $#"},
	{"and_changes", ROLE(OCQ_LASTS_IF_NULL), "", ", @ = coalesce($#, @)"},
};

static void
put_column(StringInfo sql, const OcqTable *table, int number, const char *pattern)
{
	for (const char *c = pattern; *c != '\0'; c++)
	{
		if (*c == '@')
			appendStringInfoString(sql, table->columns[number].name);
		else if (*c == '~')
			appendStringInfoString(sql, format_type_be(type_of(&table->columns[number])));
		else if (*c == '#')
			appendStringInfo(sql, "%d", number + 1);
		else
			appendStringInfoChar(sql, *c);
	}
}

static void
put_list(StringInfo sql, const OcqTable *table, const char *name)
{
	const char *separator = "";
	int			list = 0;

	while (strcmp(lists[list].name, name) != 0)
		if (++list == lengthof(lists))
			elog(ERROR, "there is no list \"%s\"", name);
	for (int i = 0; i < table->ncolumns; i++)
	{
		if ((ROLE(table->columns[i].role) & lists[list].roles) == 0)
			continue;
		appendStringInfoString(sql, separator);
		put_column(sql, table, i, lists[list].pattern);
		separator = lists[list].separator;
	}
}

/* ocq_table_sql fills the template in; {before} is the parameter after the columns'. */
char *
ocq_table_sql(const OcqTable *table, const char *template)
{
	StringInfoData sql;
	const char *end;

	initStringInfo(&sql);
	for (const char *c = template; *c != '\0'; c = end + 1)
	{
		end = *c == '{' ? strchr(c, '}') : c;
		if (end == c)
			appendStringInfoChar(&sql, *c);
		else if (strncmp(c, "{table}", end + 1 - c) == 0)
			appendStringInfo(&sql, OCQ_SCHEMA ".%s", table->name);
		else if (strncmp(c, "{before}", end + 1 - c) == 0)
			appendStringInfo(&sql, "$%d", table->ncolumns + 1);
		else
			put_list(&sql, table, pnstrdup(c + 1, end - c - 1));
	}
	return sql.data;
}

/* ocq_table_make makes a statement's text; without other parameters they are a row's. */
char *
ocq_table_make(OcqStatement *statement)
{
	const OcqTable *table = statement->subject;

	if (statement->nargs == 0)
	{
		if (table->ncolumns > OCQ_TABLE_MAX_COLUMNS)
			elog(ERROR, "more than %d columns are described of %s", OCQ_TABLE_MAX_COLUMNS, table->name);
		for (int i = 0; i < table->ncolumns; i++)
			statement->argtypes[i] = type_of(&table->columns[i]);
		statement->argtypes[table->ncolumns] = INT4OID;
		statement->nargs = table->ncolumns + 1;
	}
	return ocq_table_sql(table, statement->template);
}

StaticAssertDecl(OCQ_TABLE_MAX_COLUMNS < OCQ_STATEMENT_MAX_ARGS, "a row's columns and {before} are parameters");

/* --- values ---------------------------------------------------------------------------- */

StaticAssertDecl(sizeof(TimestampTz) == sizeof(int64) && sizeof(Oid) == sizeof(int32),
				 "value_of and set_field take them for the same");

/* value_of reads the field as the C type that the column's type has. */
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
		case BOOLOID:
			return BoolGetDatum(*(const bool *) field);
		case OIDOID:
			return ObjectIdGetDatum(*(const Oid *) field);
		default:
			*isnull = *(void *const *) field == NULL;
			return column->type == CSTRINGOID && !*isnull ? CStringGetTextDatum(*(char *const *) field) :
				PointerGetDatum(*(void *const *) field);
	}
}

static void *
copy_pointer(Oid type, Datum value)
{
	if (type == CSTRINGOID)
		return TextDatumGetCString(value);
	if (type == UUIDOID)
		return memcpy(palloc(UUID_LEN), DatumGetPointer(value), UUID_LEN);
	return PG_DETOAST_DATUM_COPY(value);
}

/* set_field is value_of's reverse.  A pointer is to a copy in the current memory context; 0 and NULL stand for NULL. */
static void
set_field(const OcqColumn *column, void *target, Datum value, bool isnull)
{
	void	   *field = (char *) target + column->offset;

	switch (column->type)
	{
		case INT4OID:
		case OIDOID:
		case XIDOID:
			*(int32 *) field = isnull ? 0 : DatumGetInt32(value);
			break;
		case INT8OID:
		case TIMESTAMPTZOID:
			*(int64 *) field = isnull ? 0 : DatumGetInt64(value);
			break;
		case BOOLOID:
			*(bool *) field = !isnull && DatumGetBool(value);
			break;
		default:
			*(void **) field = isnull ? NULL : copy_pointer(column->type, value);
	}
}

/* ocq_table_read fills in the columns' fields from a row of the last statement, which has selected {columns}. */
void
ocq_table_read(const OcqTable *table, uint64 row, void *target)
{
	for (int i = 0; i < table->ncolumns; i++)
	{
		bool		isnull;
		Datum		value = ocq_row_value(row, i + 1, &isnull);

		set_field(&table->columns[i], target, value, isnull);
	}
}

/* ocq_table_read_slot does so from a row of the table. */
void
ocq_table_read_slot(OcqTable *table, TupleTableSlot *slot, void *target)
{
	for (int i = 0; i < table->ncolumns; i++)
	{
		bool		isnull;
		Datum		value = slot_getattr(slot, ocq_table_attnum(table, i), &isnull);

		set_field(&table->columns[i], target, value, isnull);
	}
}

void
ocq_table_values(const OcqTable *table, const void *const *sources, Datum *values, bool *nulls)
{
	for (int i = 0; i < table->ncolumns; i++)
		values[i] = value_of(&table->columns[i], sources[table->columns[i].source], &nulls[i]);
}

/* ocq_table_check_width raises an error if a function is not declared with the columns that it returns. */
void
ocq_table_check_width(int ncolumns, TupleDesc declared)
{
	if (declared->natts != ncolumns)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("a function of order_cqrs returns %d columns and is declared with %d", ncolumns, declared->natts),
				 errdetail("The library and the SQL objects of the extension are of different versions."),
				 errhint("Run ALTER EXTENSION order_cqrs UPDATE, and begin a new session.")));
}

/* ocq_source_itself gets a value that is a source, and not a field of one. */
Datum
ocq_source_itself(const void *source, bool *isnull)
{
	return PointerGetDatum(source);
}

static void
complete_parameters(const OcqTable *table, const bool *is_null, int32 version_before, OcqParameters *parameters)
{
	for (int i = 0; i < table->ncolumns; i++)
		parameters->nulls[i] = is_null[i] ? 'n' : ' ';
	parameters->values[table->ncolumns] = Int32GetDatum(version_before);
	parameters->nulls[table->ncolumns] = ' ';
}

/* ocq_table_parameters makes those of an OCQ_ROW_STATEMENT; {before} is 0. */
void
ocq_table_parameters(const OcqTable *table, const void *const *sources, OcqParameters *parameters)
{
	bool		is_null[OCQ_TABLE_MAX_COLUMNS];

	ocq_table_values(table, sources, parameters->values, is_null);
	complete_parameters(table, is_null, 0, parameters);
}

/* --- rows ------------------------------------------------------------------------------ */

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

/*
 * ocq_rows_run_one runs a statement, made of the template at the first use, for a single row:
 * its parameters are the columns and, at last, version_before.
 */
uint64
ocq_rows_run_one(const OcqRows *row, OcqStatement *statement, const char *template, int32 version_before)
{
	OcqParameters parameters;

	if (statement->template == NULL)
		*statement = (OcqStatement) OCQ_ROW_STATEMENT(row->table, template);
	memcpy(parameters.values, row->values, sizeof(Datum) * row->table->ncolumns);
	complete_parameters(row->table, row->nulls, version_before, &parameters);
	return ocq_statement_run(statement, parameters.values, parameters.nulls);
}

static OcqRows
make_row(OcqTable *table, const void *const *sources)
{
	OcqRows		row = ocq_rows_make(table, 1);

	ocq_rows_add(&row, sources);
	return row;
}

/* ocq_table_insert_one inserts a row of which there is no version. */
uint64
ocq_table_insert_one(OcqTable *table, const void *const *sources)
{
	OcqRows		row = make_row(table, sources);

	return ocq_direct_insert(&row) ? 1 :
		ocq_rows_run_one(&row, &table->insert_one, OCQ_INSERT_ONE, 0);
}

/* ocq_table_update_one changes a row that has the version before, and returns 0 if none has. */
uint64
ocq_table_update_one(OcqTable *table, const void *const *sources, int32 version_before)
{
	OcqRows		row = make_row(table, sources);
	bool		updated;

	if (ocq_direct_update(&row, version_before, &updated))
		return updated ? 1 : 0;
	return ocq_rows_run_one(&row, &table->update_one,
							"UPDATE {table} SET {changes}{and_changes} WHERE {is_key} AND version = {before}",
							version_before);
}

/* ocq_table_record returns the type of the table's records, made once: its columns' types are built in. */
TupleDesc
ocq_table_record(OcqTable *table)
{
	MemoryContext old;
	TupleDesc	record;

	if (table->record != NULL)
		return table->record;
	old = MemoryContextSwitchTo(TopMemoryContext);
	record = CreateTemplateTupleDesc(table->ncolumns);
	for (int i = 0; i < table->ncolumns; i++)
		TupleDescInitEntry(record, i + 1, table->columns[i].name, table->columns[i].type, -1, 0);
	table->record = BlessTupleDesc(record);
	MemoryContextSwitchTo(old);
	return table->record;
}

/* ocq_rows_records returns the rows as an array of records, for OCQ_RECORDS. */
Datum
ocq_rows_records(const OcqRows *rows)
{
	TupleDesc	record = ocq_table_record(rows->table);
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

/* run_template makes the statement at the first use. */
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
	if (ocq_direct_insert(rows))
		return rows->count;
	return run_template(&rows->table->insert_many, rows, OCQ_INSERT_MANY, OCQ_INSERT_MANY " RETURNING {key}");
}

/* ocq_rows_upsert inserts or replaces rows where there is no version, or an older one. */
uint64
ocq_rows_upsert(const OcqRows *rows)
{
	return run_template(&rows->table->upsert_many, rows,
						OCQ_INSERT_MANY OCQ_UPSERT, OCQ_INSERT_MANY OCQ_UPSERT " RETURNING {key}");
}

/* --- the catalogue --------------------------------------------------------------------- */

/* InvalidOid stands for every relation.  A table that was not found may be the one. */
static void
invalidate_relation(Datum arg, Oid relid)
{
	for (OcqTable *table = known_tables; table != NULL; table = table->next)
		if (!OidIsValid(relid) || !OidIsValid(table->relation) || relid == table->relation)
			table->invalidations++;
}

/* know_table has invalidation messages for the table heard from now on. */
static void
know_table(OcqTable *table)
{
	if (table->invalidations > 0)
		return;
	if (known_tables == NULL)
		CacheRegisterRelcacheCallback(invalidate_relation, (Datum) 0);
	table->invalidations = 1;
	table->next = known_tables;
	known_tables = table;
}

/* look_up_columns returns NULL, or the first column that is not as it is described. */
static const OcqColumn *
look_up_columns(OcqTable *table)
{
	for (int i = 0; i < table->ncolumns; i++)
	{
		table->attnums[i] = get_attnum(table->relation, table->columns[i].name);
		if (table->attnums[i] == InvalidAttrNumber ||
			get_atttype(table->relation, table->attnums[i]) != type_of(&table->columns[i]))
			return &table->columns[i];
	}
	return NULL;
}

/* ocq_table_is_as_described looks again after each invalidation, also after one that arrives while it looks. */
bool
ocq_table_is_as_described(OcqTable *table)
{
	uint64		current;

	know_table(table);
	current = table->invalidations;
	if (table->resolved == current)
		return table->is_as_described;
	table->relation = get_relname_relid(table->name, get_namespace_oid(OCQ_SCHEMA, false));
	table->is_as_described = look_up_columns(table) == NULL;
	table->resolved = current;
	return table->is_as_described;
}

static void
require_as_described(OcqTable *table)
{
	if (!ocq_table_is_as_described(table))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of table \"%s\" is not as it was created",
						look_up_columns(table)->name, table->name),
				 errdetail("The table has been altered."),
				 errhint("Give the column its name and type back.")));
}

/* ocq_table_relation returns the table's OID.  Hold a lock on it to rely on the columns. */
Oid
ocq_table_relation(OcqTable *table)
{
	require_as_described(table);
	return table->relation;
}

/* ocq_table_attnum returns where a column of the description, from 0, is in the table. */
AttrNumber
ocq_table_attnum(OcqTable *table, int column)
{
	require_as_described(table);
	return table->attnums[column];
}
