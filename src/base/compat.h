/*-------------------------------------------------------------------------
 * compat.h
 *	  What differs between PostgreSQL 15 and 18, and nothing else.
 *
 * This is the only file that looks at PG_VERSION_NUM.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_BASE_COMPAT_H
#define OCQ_BASE_COMPAT_H

#include "catalog/namespace.h"
#include "catalog/pg_database.h"
#include "utils/acl.h"
#include "utils/guc.h"

#if PG_VERSION_NUM < 150000
#error "order_cqrs needs PostgreSQL 15 or later"
#endif

/* Until 17 the attribute was spelled differently. */
#ifndef pg_noreturn
#define pg_noreturn pg_attribute_noreturn()
#endif

/*
 * ocq_search_path_pin lets names resolve in pg_catalog alone until the
 * matching ocq_search_path_unpin.  An error in between undoes it with the
 * (sub)transaction.
 *
 * Up to 16 there is a stack of overrides, which costs next to nothing.  Since
 * 17 the GUC is set for the time being; looking the path up again is cached.
 */
static inline int
ocq_search_path_pin(void)
{
#if PG_VERSION_NUM < 170000
	OverrideSearchPath path = {.schemas = NIL, .addCatalog = true, .addTemp = false};

	PushOverrideSearchPath(&path);
	return 0;
#else
	int			level = NewGUCNestLevel();

	RestrictSearchPath();
	return level;
#endif
}

static inline void
ocq_search_path_unpin(int level)
{
#if PG_VERSION_NUM < 170000
	(void) level;
	PopOverrideSearchPath();
#else
	AtEOXact_GUC(false, level);
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

#endif							/* OCQ_BASE_COMPAT_H */
