/*-------------------------------------------------------------------------
 * direct.c
 *	  Writing, and reading, rows of described tables past the executor.
 *
 * A command writes four tables, one row or a few each.  To start the executor for each of
 * them costs more than the rows.  So the rows go to the table and its indexes, and the
 * AFTER ROW triggers are queued and fired, as COPY does it.  Each caller has the same write
 * as SQL, which goes on wherever this file returns false.
 *
 * Whether a table is fit is known again after each invalidation of its relation: no
 * session can change it while we hold its lock.  Fit are ordinary heap tables of the
 * extension's owner, whose rights are not looked up.  The executor's other work for them:
 *
 * - indexes, NOT NULL and CHECK, stored generated columns, foreign keys and other AFTER ROW
 *   triggers, TOAST, counters of statistics, replica identity and command ids are served by
 *   the functions that the executor calls as well;
 * - the identity column of events is served here, by the function behind nextval(), whose
 *   lock is the horizon's;
 * - defaults of columns that are not described, BEFORE ROW and statement triggers, rules,
 *   policies that bind the owner, children and other access methods make a table unfit;
 * - read-only transactions and parallel mode are refused with the executor's errors;
 * - under REPEATABLE READ and SERIALIZABLE the statements run: a lost race is 40001 there,
 *   and reads take part in SSI;
 * - modules that hook into the executor, such as pgaudit, do not see these writes: the
 *   setting makes all of them statements.
 *
 * One row, or the versions of one stream, are read by the primary key, at any isolation level.
 *
 * An update reads the row by its primary key in a new snapshot.  Another transaction may
 * have changed it since, such as a change of names, which does not take the stream's lock.
 * Then the new row is made of the latest version, once that is locked.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "base/catalog.h"
#include "base/compat.h"
#include "base/direct.h"
#include "catalog/pg_am.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* Rows that are inserted at once. */
#define MAX_SLOTS 200

static bool ocq_direct_writes;

void
ocq_direct_define_settings(void)
{
	DefineCustomBoolVariable("order_cqrs.direct_writes",
							 "Write events and read tables, and read single orders, without SQL statements where that has the same effect.",
							 "Modules such as pgaudit see the statements only.",
							 &ocq_direct_writes, true, PGC_SUSET, 0, NULL, NULL, NULL);
}

/* --- fitness --------------------------------------------------------------------------- */

static bool
is_plain(Relation relation)
{
	Form_pg_class form = relation->rd_rel;

	return form->relkind == RELKIND_RELATION && form->relam == HEAP_TABLE_AM_OID &&
		!form->relispartition && !form->relhassubclass && !form->relforcerowsecurity &&
		relation->rd_rules == NULL;
}

/* column_at returns the number of the described column that is there in the table, or -1. */
static int
column_at(const OcqTable *table, AttrNumber attnum)
{
	for (int i = 0; i < table->ncolumns; i++)
		if (table->attnums[i] == attnum)
			return i;
	return -1;
}

/* takes_values tells whether SQL takes values for all columns that are described, and as they are. */
static bool
takes_values(const OcqTable *table, TupleDesc descriptor)
{
	for (int i = 0; i < table->ncolumns; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, table->attnums[i] - 1);

		if (attribute->attgenerated != '\0' || attribute->attidentity != '\0' || attribute->atttypmod != -1)
			return false;
	}
	return true;
}

/* lacks_value tells whether SQL would give a column that is not described another value than NULL. */
static bool
lacks_value(const OcqTable *table, Form_pg_attribute attribute)
{
	if (attribute->attisdropped || attribute->attgenerated != '\0' ||
		attribute->attnum == table->direct.identity || column_at(table, attribute->attnum) >= 0)
		return false;
	return attribute->atthasdef || attribute->attidentity != '\0' ||
		get_typtype(attribute->atttypid) == TYPTYPE_DOMAIN || get_typdefault(attribute->atttypid) != NULL;
}

static bool
serves_all_columns(const OcqTable *table, TupleDesc descriptor)
{
	for (int i = 0; i < descriptor->natts; i++)
		if (lacks_value(table, TupleDescAttr(descriptor, i)))
			return false;
	return true;
}

static bool
serves_insert_triggers(const TriggerDesc *triggers)
{
	return triggers == NULL ||
		!(triggers->trig_insert_before_row || triggers->trig_insert_before_statement ||
		  triggers->trig_insert_after_statement || triggers->trig_insert_new_table);
}

static bool
serves_update_triggers(const TriggerDesc *triggers)
{
	return triggers == NULL ||
		!(triggers->trig_update_before_row || triggers->trig_update_before_statement ||
		  triggers->trig_update_after_statement || triggers->trig_update_new_table ||
		  triggers->trig_update_old_table);
}

/* find_identity finds the column that draws its values from a sequence. */
static void
find_identity(OcqTable *table, Relation relation)
{
	TupleDesc	descriptor = RelationGetDescr(relation);

	table->direct.identity = InvalidAttrNumber;
	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);

		if (attribute->attidentity == '\0' || attribute->attisdropped || attribute->atttypid != INT8OID)
			continue;
		table->direct.identity = attribute->attnum;
		table->direct.sequence = ocq_identity_sequence(relation, attribute->attnum);
	}
}

static int
find_column(const OcqTable *table, const char *name)
{
	for (int i = 0; i < table->ncolumns; i++)
		if (strcmp(table->columns[i].name, name) == 0)
			return i;
	return -1;
}

static int
count_keys(const OcqTable *table)
{
	int			count = 0;

	for (int i = 0; i < table->ncolumns; i++)
		if (table->columns[i].role == OCQ_KEY)
			count++;
	return count;
}

static bool
is_text_key(const OcqTable *table, int column)
{
	return column >= 0 && table->columns[column].role == OCQ_KEY && table->columns[column].type == TEXTOID;
}

/* find_key looks at the primary key: texts, after which the version may follow. */
static void
find_key(OcqTable *table, Relation relation)
{
	OcqDirect  *direct = &table->direct;
	Relation	index;
	int			ncolumns;

	direct->key_index = ocq_primary_key(relation);
	direct->nkeys = 0;
	direct->has_key = direct->has_versioned_key = false;
	if (!OidIsValid(direct->key_index))
		return;
	index = index_open(direct->key_index, AccessShareLock);
	ncolumns = IndexRelationGetNumberOfKeyAttributes(index);
	while (direct->nkeys < Min(ncolumns, OCQ_TABLE_MAX_KEYS))
	{
		int			column = column_at(table, index->rd_index->indkey.values[direct->nkeys]);

		if (!is_text_key(table, column))
			break;
		direct->key_columns[direct->nkeys++] = column;
	}
	direct->has_key = direct->nkeys == ncolumns && ncolumns == count_keys(table);
	direct->has_versioned_key = direct->nkeys == ncolumns - 1 && ncolumns == count_keys(table) && direct->version_column >= 0 &&
		column_at(table, index->rd_index->indkey.values[direct->nkeys]) == direct->version_column &&
		(index->rd_indoption[direct->nkeys] & INDOPTION_DESC) == 0;
	index_close(index, AccessShareLock);
}

static void
examine_table(OcqTable *table, Relation relation)
{
	bool		plain = is_plain(relation);

	find_identity(table, relation);
	table->direct.version_column = find_column(table, "version");
	find_key(table, relation);
	table->direct.takes_reads = plain && table->direct.has_key;
	table->direct.takes_lists = plain && table->direct.has_versioned_key;
	plain &= takes_values(table, RelationGetDescr(relation));
	table->direct.takes_inserts = plain && serves_all_columns(table, RelationGetDescr(relation)) &&
		serves_insert_triggers(relation->trigdesc);
	table->direct.takes_updates = plain && table->direct.has_key && table->direct.version_column >= 0 &&
		serves_update_triggers(relation->trigdesc);
	table->direct.examined = table->resolved;
}

/* open_table locks the table, and knows it as it is then; NULL if it is not as described. */
static Relation
open_table(OcqTable *table, LOCKMODE lock)
{
	while (ocq_table_is_as_described(table))
	{
		Relation	relation = try_table_open(table->relation, lock);

		if (relation == NULL)
			break;
		if (ocq_table_is_as_described(table) && table->relation == RelationGetRelid(relation))
		{
			if (table->direct.examined != table->resolved)
				examine_table(table, relation);
			if (table->direct.examined == table->invalidations)
				return relation;
		}
		table_close(relation, lock);
	}
	return NULL;
}

/* open_fit returns NULL if the table is not fit: one of the flags that examine_table sets. */
static Relation
open_fit(OcqTable *table, LOCKMODE lock, const bool *fit)
{
	Relation	relation = ocq_direct_writes ? open_table(table, lock) : NULL;

	if (relation == NULL || (*fit && relation->rd_rel->relowner == ocq_catalog_owner()))
		return relation;
	table_close(relation, NoLock);
	return NULL;
}

/* --- reads ----------------------------------------------------------------------------- */

static TupleTableSlot *
make_slot(Relation relation)
{
	return MakeSingleTupleTableSlot(RelationGetDescr(relation), table_slot_callbacks(relation));
}

/* A scan of the rows that have the text columns of the primary key. */
typedef struct KeyScan
{
	Relation	index;
	IndexScanDesc scan;
	ScanKeyData keys[OCQ_TABLE_MAX_KEYS];
} KeyScan;

/*
 * begin_scan finds the rows that the active snapshot shows.  values has the key's columns, which are
 * the first of the description.  A new index serves older snapshots, too: keys never change.
 */
static void
begin_scan(KeyScan *scan, const OcqDirect *direct, Relation relation, const Datum *values)
{
	scan->index = index_open(direct->key_index, AccessShareLock);
	for (int i = 0; i < direct->nkeys; i++)
	{
		Assert(direct->key_columns[i] < direct->nkeys);
		ScanKeyEntryInitialize(&scan->keys[i], 0, i + 1, BTEqualStrategyNumber, TEXTOID,
							   scan->index->rd_indcollation[i], F_TEXTEQ, values[direct->key_columns[i]]);
	}
	scan->scan = ocq_index_beginscan(relation, scan->index, GetActiveSnapshot(), direct->nkeys);
	index_rescan(scan->scan, scan->keys, direct->nkeys, NULL, 0);
}

static void
end_scan(KeyScan *scan)
{
	index_endscan(scan->scan);
	index_close(scan->index, NoLock);
}

static bool
find_row(const OcqDirect *direct, Relation relation, const Datum *values, TupleTableSlot *slot)
{
	KeyScan		scan;
	bool		found;

	begin_scan(&scan, direct, relation, values);
	found = index_getnext_slot(scan.scan, ForwardScanDirection, slot);
	end_scan(&scan);
	return found;
}

static HeapTuple
form_row(OcqTable *table, TupleTableSlot *slot)
{
	Datum		values[OCQ_TABLE_MAX_COLUMNS];
	bool		nulls[OCQ_TABLE_MAX_COLUMNS];

	slot_getallattrs(slot);
	for (int i = 0; i < table->ncolumns; i++)
	{
		values[i] = slot->tts_values[table->attnums[i] - 1];
		nulls[i] = slot->tts_isnull[table->attnums[i] - 1];
	}
	return heap_form_tuple(ocq_table_record(table), values, nulls);
}

/* A read takes the snapshot that a statement would take. */
static Relation
begin_read(OcqTable *table, const bool *fit, TupleTableSlot **slot)
{
	Relation	relation = open_fit(table, AccessShareLock, fit);

	if (relation == NULL)
		return NULL;
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	*slot = make_slot(relation);
	return relation;
}

static void
end_read(Relation relation, TupleTableSlot *slot)
{
	ExecDropSingleTupleTableSlot(slot);
	PopActiveSnapshot();
	table_close(relation, NoLock);
}

/*
 * ocq_direct_read reads the described columns of the row with a key, as a row value, or 0 if
 * there is none.  It returns false if the statement has to do it.
 */
bool
ocq_direct_read(OcqTable *table, const Datum *values, Datum *row)
{
	TupleTableSlot *slot;
	Relation	relation = begin_read(table, &table->direct.takes_reads, &slot);

	if (relation == NULL)
		return false;
	*row = find_row(&table->direct, relation, values, slot) ? HeapTupleGetDatum(form_row(table, slot)) : (Datum) 0;
	end_read(relation, slot);
	return true;
}

/*
 * ocq_direct_list reads the versions of the row with a key in their order, each into an
 * element of a size, and returns them and their number; or NULL if the statement has to do it.
 */
void *
ocq_direct_list(OcqTable *table, const Datum *values, Size size, int *count)
{
	TupleTableSlot *slot;
	Relation	relation = begin_read(table, &table->direct.takes_lists, &slot);
	int			room = 16;
	char	   *items;
	KeyScan		scan;

	if (relation == NULL)
		return NULL;
	items = palloc(room * size);
	*count = 0;
	begin_scan(&scan, &table->direct, relation, values);
	while (index_getnext_slot(scan.scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		if (*count == room)
			items = repalloc_huge(items, (room *= 2) * size);
		ocq_table_read_slot(table, slot, items + *count * size);
		(*count)++;
	}
	end_scan(&scan);
	end_read(relation, slot);
	return items;
}

/* --- a write --------------------------------------------------------------------------- */

typedef struct Write
{
	OcqTable   *table;
	Relation	relation;
	EState	   *estate;
	ResultRelInfo *result;
	MemoryContext outer;
	bool		has_triggers;
} Write;

/* begin_write returns false if the statement has to do it. */
static bool
begin_write(Write *write, OcqTable *table, CmdType command)
{
	bool		is_insert = command == CMD_INSERT;
	Relation	relation;

	if (IsolationUsesXactSnapshot())
		return false;
	PreventCommandIfReadOnly(is_insert ? "INSERT" : "UPDATE");
	PreventCommandIfParallelMode(is_insert ? "INSERT" : "UPDATE");
	relation = open_fit(table, RowExclusiveLock,
						is_insert ? &table->direct.takes_inserts : &table->direct.takes_updates);
	if (relation == NULL)
		return false;
	CheckCmdReplicaIdentity(relation, command);

	*write = (Write) {.table = table, .relation = relation, .has_triggers = relation->trigdesc != NULL};
	write->estate = CreateExecutorState();
	write->outer = MemoryContextSwitchTo(write->estate->es_query_cxt);
	write->result = makeNode(ResultRelInfo);
	InitResultRelInfo(write->result, relation, is_insert ? 0 : 1, NULL, 0);
	write->estate->es_opened_result_relations = list_make1(write->result);
	CommandCounterIncrement();
	write->estate->es_output_cid = GetCurrentCommandId(true);
	PushActiveSnapshot(GetTransactionSnapshot());
	if (write->has_triggers)
		AfterTriggerBeginQuery();
	return true;
}

static void
end_write(Write *write)
{
	MemoryContextSwitchTo(write->outer);
	if (write->has_triggers)
		AfterTriggerEndQuery(write->estate);
	PopActiveSnapshot();
	ExecResetTupleTable(write->estate->es_tupleTable, false);
	ExecCloseResultRelations(write->estate);
	FreeExecutorState(write->estate);
	table_close(write->relation, NoLock);
	CommandCounterIncrement();
}

static void
check_row(Write *write, TupleTableSlot *slot, CmdType command)
{
	const TupleConstr *constraints = RelationGetDescr(write->relation)->constr;

	if (constraints == NULL)
		return;
	if (constraints->has_generated_stored)
		ExecComputeStoredGenerated(write->result, write->estate, slot, command);
	ExecConstraints(write->result, slot, write->estate);
}

static List *
insert_index_entries(Write *write, TupleTableSlot *slot, bool is_update, bool only_summarizing)
{
	List	   *recheck = NIL;

	if (write->result->ri_IndexRelationDescs == NULL)
		ExecOpenIndices(write->result, false);
	if (write->result->ri_NumIndices > 0)
		recheck = ocq_insert_index_tuples(write->result, slot, write->estate, is_update, only_summarizing);
	ResetPerTupleExprContext(write->estate);
	return recheck;
}

/* --- inserts --------------------------------------------------------------------------- */

static void
fill_slot(const Write *write, TupleTableSlot *slot, const OcqRows *rows, int row)
{
	const OcqTable *table = rows->table;
	int			first = row * table->ncolumns;

	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, sizeof(bool) * slot->tts_tupleDescriptor->natts);
	for (int i = 0; i < table->ncolumns; i++)
	{
		slot->tts_values[table->attnums[i] - 1] = rows->values[first + i];
		slot->tts_isnull[table->attnums[i] - 1] = rows->nulls[first + i];
	}
	if (table->direct.identity != InvalidAttrNumber)
	{
		slot->tts_values[table->direct.identity - 1] = Int64GetDatum(nextval_internal(table->direct.sequence, false));
		slot->tts_isnull[table->direct.identity - 1] = false;
	}
	ExecStoreVirtualTuple(slot);
	slot->tts_tableOid = RelationGetRelid(write->relation);
}

static void
insert_entries(Write *write, TupleTableSlot *slot)
{
	List	   *recheck = insert_index_entries(write, slot, false, false);

	ExecARInsertTriggers(write->estate, write->result, slot, recheck, NULL);
	list_free(recheck);
}

/* A CHECK sees the rows before its own. */
static bool
has_checks(const Write *write)
{
	const TupleConstr *constraints = RelationGetDescr(write->relation)->constr;

	return constraints != NULL && constraints->num_check > 0;
}

static void
insert_each(Write *write, TupleTableSlot **slots, int count, BulkInsertState bulk)
{
	for (int i = 0; i < count; i++)
	{
		check_row(write, slots[i], CMD_INSERT);
		table_tuple_insert(write->relation, slots[i], write->estate->es_output_cid, 0, bulk);
		insert_entries(write, slots[i]);
	}
}

static void
insert_together(Write *write, TupleTableSlot **slots, int count, BulkInsertState bulk)
{
	MemoryContext old;

	for (int i = 0; i < count; i++)
		check_row(write, slots[i], CMD_INSERT);

	/* It leaves copies of the values that it has compressed. */
	old = MemoryContextSwitchTo(GetPerTupleMemoryContext(write->estate));
	table_multi_insert(write->relation, slots, count, write->estate->es_output_cid, 0, bulk);
	MemoryContextSwitchTo(old);
	for (int i = 0; i < count; i++)
		insert_entries(write, slots[i]);
}

/* ocq_direct_insert inserts the rows, or returns false if the statement has to do it. */
bool
ocq_direct_insert(const OcqRows *rows)
{
	TupleTableSlot *slots[MAX_SLOTS];
	int			nslots = Min(rows->count, MAX_SLOTS);
	BulkInsertState bulk;
	Write		write;

	if (!begin_write(&write, rows->table, CMD_INSERT))
		return false;
	bulk = rows->count > MAX_SLOTS ? GetBulkInsertState() : NULL;
	for (int i = 0; i < nslots; i++)
		slots[i] = make_slot(write.relation);
	for (int first = 0; first < rows->count; first += nslots)
	{
		int			count = Min(rows->count - first, nslots);

		for (int i = 0; i < count; i++)
			fill_slot(&write, slots[i], rows, first + i);
		if (count == 1 || has_checks(&write))
			insert_each(&write, slots, count, bulk);
		else
			insert_together(&write, slots, count, bulk);
	}
	for (int i = 0; i < nslots; i++)
		ExecDropSingleTupleTableSlot(slots[i]);
	if (bulk != NULL)
		FreeBulkInsertState(bulk);
	end_write(&write);
	return true;
}

/* --- updates --------------------------------------------------------------------------- */

/* The columns that the statement names (table.c): it sets one of the second kind to itself, where it is NULL. */
static bool
is_named(const OcqRows *row, int column)
{
	OcqColumnRole role = row->table->columns[column].role;

	return role == OCQ_CHANGES || role == OCQ_LASTS_IF_NULL;
}

static bool
is_set(const OcqRows *row, int column)
{
	return is_named(row, column) &&
		!(row->table->columns[column].role == OCQ_LASTS_IF_NULL && row->nulls[column]);
}

static void
name_columns(Write *write, const OcqRows *row)
{
	Bitmapset  *columns = NULL;

	for (int i = 0; i < row->table->ncolumns; i++)
		if (is_named(row, i))
			columns = bms_add_member(columns, row->table->attnums[i] - FirstLowInvalidHeapAttributeNumber);
	ocq_init_range_table(write->estate, write->relation, columns);
}

/* is_version tells whether it is still the row with the key, and of the version. */
static bool
is_version(const OcqRows *row, TupleTableSlot *slot, int32 version)
{
	const OcqTable *table = row->table;
	bool		isnull;

	for (int i = 0; i < table->direct.nkeys; i++)
	{
		int			column = table->direct.key_columns[i];

		if (!ocq_text_equal(DatumGetTextPP(slot_getattr(slot, table->attnums[column], &isnull)),
							DatumGetTextPP(row->values[column])))
			return false;
	}
	return DatumGetInt32(slot_getattr(slot, table->attnums[table->direct.version_column], &isnull)) == version &&
		!isnull;
}

static void
change_row(const Write *write, TupleTableSlot *new, TupleTableSlot *old, const OcqRows *row)
{
	int			natts = old->tts_tupleDescriptor->natts;

	slot_getallattrs(old);
	ExecClearTuple(new);
	memcpy(new->tts_values, old->tts_values, sizeof(Datum) * natts);
	memcpy(new->tts_isnull, old->tts_isnull, sizeof(bool) * natts);
	for (int i = 0; i < row->table->ncolumns; i++)
	{
		if (!is_set(row, i))
			continue;
		new->tts_values[row->table->attnums[i] - 1] = row->values[i];
		new->tts_isnull[row->table->attnums[i] - 1] = row->nulls[i];
	}
	ExecStoreVirtualTuple(new);
	new->tts_tableOid = RelationGetRelid(write->relation);
}

/* lock_latest follows a row that was changed meanwhile, and returns false if it was deleted. */
static bool
lock_latest(Write *write, TupleTableSlot *slot, LockTupleMode mode)
{
	TM_FailureData failure;
	ItemPointerData tid = slot->tts_tid;
	TM_Result	result = table_tuple_lock(write->relation, &tid, GetActiveSnapshot(), slot,
										  write->estate->es_output_cid, mode, LockWaitBlock,
										  TUPLE_LOCK_FLAG_FIND_LAST_VERSION, &failure);

	if (result != TM_Ok && result != TM_Deleted)
		elog(ERROR, "could not lock a row of \"%s\": %d", write->table->name, result);
	return result == TM_Ok;
}

/* update_row returns false if there is no row of that version. */
static bool
update_row(Write *write, const OcqRows *row, int32 version_before, TupleTableSlot *old, TupleTableSlot *new)
{
	TM_Result	result = TM_Deleted;
	TM_FailureData failure;
	LockTupleMode lock_mode;
	OcqIndexUpdate indexes;
	List	   *recheck = NIL;

	if (!find_row(&write->table->direct, write->relation, row->values, old))
		return false;
	do
	{
		if (!is_version(row, old, version_before))
			return false;
		change_row(write, new, old, row);
		check_row(write, new, CMD_UPDATE);
		result = table_tuple_update(write->relation, &old->tts_tid, new, write->estate->es_output_cid,
									GetActiveSnapshot(), InvalidSnapshot, true, &failure, &lock_mode, &indexes);
	} while (result == TM_Updated && lock_latest(write, old, lock_mode));
	if (result == TM_Updated || result == TM_Deleted)
		return false;
	if (result != TM_Ok)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
				 errmsg("a row of \"%s\" was changed by a function that its own change has called", write->table->name),
				 errdetail("Such a function may be called by a CHECK, a generated column or an index."),
				 errhint("Change other rows in an AFTER trigger.")));
	if (ocq_updates_indexes(indexes))
		recheck = insert_index_entries(write, new, true, ocq_updates_summarizing_only(indexes));
	ExecARUpdateTriggers(write->estate, write->result, NULL, NULL, &old->tts_tid, NULL, new, recheck, NULL, false);
	return true;
}

/*
 * ocq_direct_update changes the row that has the key and the version before, and tells whether
 * there is one.  It returns false if the statement has to do it.
 */
bool
ocq_direct_update(const OcqRows *row, int32 version_before, bool *updated)
{
	TupleTableSlot *old;
	TupleTableSlot *new;
	Write		write;

	if (!begin_write(&write, row->table, CMD_UPDATE))
		return false;
	name_columns(&write, row);
	old = make_slot(write.relation);
	new = make_slot(write.relation);
	*updated = update_row(&write, row, version_before, old, new);
	ExecDropSingleTupleTableSlot(new);
	ExecDropSingleTupleTableSlot(old);
	end_write(&write);
	return true;
}
