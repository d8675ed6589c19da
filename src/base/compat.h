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
#include "catalog/pg_database.h"
#include "catalog/pg_proc.h"
#include "utils/acl.h"

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
