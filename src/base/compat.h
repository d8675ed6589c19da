/*-------------------------------------------------------------------------
 * compat.h
 *	  The differences between PostgreSQL 15 and 18, and nothing else.
 *
 * This is the only file that looks at PG_VERSION_NUM.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_BASE_COMPAT_H
#define OCQ_BASE_COMPAT_H

#include "access/genam.h"
#include "access/tableam.h"
#include "catalog/dependency.h"
#include "catalog/pg_database.h"
#include "catalog/pg_proc.h"
#include "executor/executor.h"
#include "parser/parse_relation.h"
#include "utils/acl.h"
#include "utils/rel.h"

#if PG_VERSION_NUM < 150000
#error "order_cqrs needs PostgreSQL 15 or later"
#endif

/* Until 15 it was a part of postgres.h. */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* Until 17 the attribute was spelled differently. */
#ifndef pg_noreturn
#define pg_noreturn pg_attribute_noreturn()
#endif

static inline IndexScanDesc
ocq_index_beginscan(Relation table, Relation index, Snapshot snapshot, int nkeys)
{
#if PG_VERSION_NUM < 180000
	return index_beginscan(table, index, snapshot, nkeys, 0);
#else
	return index_beginscan(table, index, snapshot, NULL, nkeys, 0);
#endif
}

static inline Oid
ocq_identity_sequence(Relation table, AttrNumber attnum)
{
#if PG_VERSION_NUM < 170000
	return getIdentitySequence(RelationGetRelid(table), attnum, false);
#else
	return getIdentitySequence(table, attnum, false);
#endif
}

static inline Oid
ocq_primary_key(Relation table)
{
#if PG_VERSION_NUM < 180000
	return RelationGetPrimaryKeyIndex(table);
#else
	return RelationGetPrimaryKeyIndex(table, false);
#endif
}

/*
 * ocq_init_range_table makes the table the only one, of which an update sets the columns.  The
 * extraUpdatedCols of 15 are unused since 15.2: generated columns follow from these.
 */
static inline void
ocq_init_range_table(EState *estate, Relation table, Bitmapset *columns)
{
	RangeTblEntry *entry = makeNode(RangeTblEntry);

	entry->rtekind = RTE_RELATION;
	entry->relid = RelationGetRelid(table);
	entry->relkind = table->rd_rel->relkind;
	entry->rellockmode = RowExclusiveLock;
#if PG_VERSION_NUM < 160000
	entry->updatedCols = columns;
	ExecInitRangeTable(estate, list_make1(entry));
#else
	{
		List	   *permissions = NIL;

		addRTEPermissionInfo(&permissions, entry)->updatedCols = columns;
#if PG_VERSION_NUM < 180000
		ExecInitRangeTable(estate, list_make1(entry), permissions);
#else
		ExecInitRangeTable(estate, list_make1(entry), permissions, bms_make_singleton(1));
#endif
	}
#endif
}

static inline List *
ocq_insert_index_tuples(ResultRelInfo *result, TupleTableSlot *slot, EState *estate, bool is_update,
						bool only_summarizing)
{
#if PG_VERSION_NUM < 160000
	return ExecInsertIndexTuples(result, slot, estate, is_update, false, NULL, NIL);
#else
	return ExecInsertIndexTuples(result, slot, estate, is_update, false, NULL, NIL, only_summarizing);
#endif
}

/* The indexes that an update has to write. */
#if PG_VERSION_NUM < 160000
typedef bool OcqIndexUpdate;
#else
typedef TU_UpdateIndexes OcqIndexUpdate;
#endif

static inline bool
ocq_updates_indexes(OcqIndexUpdate update)
{
#if PG_VERSION_NUM < 160000
	return update;
#else
	return update != TU_None;
#endif
}

static inline bool
ocq_updates_summarizing_only(OcqIndexUpdate update)
{
#if PG_VERSION_NUM < 160000
	return false;
#else
	return update == TU_Summarizing;
#endif
}

static inline bool
ocq_owns_database(Oid database, Oid role)
{
#if PG_VERSION_NUM < 160000
	return pg_database_ownercheck(database, role);
#else
	return object_ownercheck(DatabaseRelationId, database, role);
#endif
}

static inline bool
ocq_may_connect(Oid database, Oid role)
{
#if PG_VERSION_NUM < 160000
	return pg_database_aclcheck(database, role, ACL_CONNECT) == ACLCHECK_OK;
#else
	return object_aclcheck(DatabaseRelationId, database, role, ACL_CONNECT) == ACLCHECK_OK;
#endif
}

static inline bool
ocq_may_execute(Oid routine, Oid role)
{
#if PG_VERSION_NUM < 160000
	return pg_proc_aclcheck(routine, role, ACL_EXECUTE) == ACLCHECK_OK;
#else
	return object_aclcheck(ProcedureRelationId, routine, role, ACL_EXECUTE) == ACLCHECK_OK;
#endif
}

/* ocq_may_set_role tells whether a session of the user can SET ROLE to the role. */
static inline bool
ocq_may_set_role(Oid user, Oid role)
{
#if PG_VERSION_NUM < 160000
	return is_member_of_role(user, role);
#else
	return member_can_set_role(user, role);
#endif
}

#endif							/* OCQ_BASE_COMPAT_H */
