/*-------------------------------------------------------------------------
 * catalog.c
 *	  OIDs and owner of the extension's own relations.
 *
 * The OIDs are looked up once and kept until an invalidation message says that
 * one of the relations changed (DROP EXTENSION and CREATE EXTENSION in one
 * session, ALTER ... OWNER).
 *
 * The same messages serve as a broadcast.  A transaction that changes a row which other
 * sessions keep a copy of (a projection's mode, a customer's name) calls
 * ocq_catalog_announce; once it has committed, and before it lets go of its locks, every
 * other session sees a new generation of that relation as soon as it takes a lock that it
 * did not have.  A session that keeps copies compares generations and reads again.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/catalog.h"
#include "base/errors.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/sinval.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

static const char *const relation_names[OCQ_NUM_RELATIONS] = {
	[OCQ_REL_EVENTS] = "events",
	[OCQ_REL_EVENTS_SEQUENCE] = "events_position_seq",
	[OCQ_REL_CUSTOMERS] = "customers",
	[OCQ_REL_PRODUCTS] = "products",
	[OCQ_REL_INVENTORY] = "inventory",
	[OCQ_REL_PROJECTION_STATE] = "projection_state",
	[OCQ_REL_ORDER_SAGA] = "order_saga",
	[OCQ_REL_BUS_FUTURE] = "bus_future",
};

static Oid	relation_oids[OCQ_NUM_RELATIONS];
static uint64 generations[OCQ_NUM_RELATIONS];
static Oid	owner_oid = InvalidOid;
static bool resolved = false;

/*
 * invalidate_relation only moves counters, as it may be called from anywhere.
 * InvalidOid stands for every relation.
 */
static void
invalidate_relation(Datum arg, Oid relid)
{
	for (int i = 0; i < OCQ_NUM_RELATIONS; i++)
	{
		if (OidIsValid(relid) && relid != relation_oids[i])
			continue;
		generations[i]++;
		resolved = false;
	}
}

void
ocq_catalog_init(void)
{
	CacheRegisterRelcacheCallback(invalidate_relation, (Datum) 0);
}

/*
 * resolve_relations returns whether all of them exist.  If an invalidation arrives
 * while it looks, the OIDs that it has found serve this call, and the next one looks
 * again.
 */
static bool
resolve_relations(void)
{
	Oid			schema;
	HeapTuple	tuple;

	if (resolved)
		return true;

	resolved = true;
	schema = get_namespace_oid(OCQ_SCHEMA, true);
	for (int i = 0; i < OCQ_NUM_RELATIONS; i++)
	{
		relation_oids[i] = OidIsValid(schema) ?
			get_relname_relid(relation_names[i], schema) : InvalidOid;
		if (!OidIsValid(relation_oids[i]))
			return resolved = false;
	}
	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation_oids[OCQ_REL_EVENTS]));
	if (!HeapTupleIsValid(tuple))
		return resolved = false;
	owner_oid = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return true;
}

/*
 * ocq_catalog_hold is how a worker's transaction begins: it returns false if the
 * extension is not there, and else keeps it from being dropped until the transaction
 * ends.  DROP EXTENSION locks the extension before its members, so the second of the two
 * waits without holding a lock.
 */
bool
ocq_catalog_hold(void)
{
	Oid			extension = get_extension_oid(OCQ_EXTENSION, true);

	if (!OidIsValid(extension))
		return false;
	LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
	return get_extension_oid(OCQ_EXTENSION, true) == extension && resolve_relations();
}

static void
require_extension(void)
{
	if (!resolve_relations())
		ereport(ERROR,
				(errcode(OCQ_ERR_EXTENSION_ABSENT),
				 errmsg("extension \"order_cqrs\" is not installed in this database"),
				 errdetail("A relation of schema \"%s\" does not exist.", OCQ_SCHEMA),
				 errhint("Run CREATE EXTENSION order_cqrs CASCADE.")));
}

/* ocq_catalog_owner is the role that the extension's code writes its tables as. */
Oid
ocq_catalog_owner(void)
{
	require_extension();
	return owner_oid;
}

Oid
ocq_catalog_relation(OcqRelation relation)
{
	require_extension();
	return relation_oids[relation];
}

/* ocq_catalog_generation changes whenever copies of the relation's rows may be stale. */
uint64
ocq_catalog_generation(OcqRelation relation)
{
	return generations[relation];
}

/* ocq_catalog_announce gives the relation a new generation in every session, at commit. */
void
ocq_catalog_announce(OcqRelation relation)
{
	CacheInvalidateRelcacheByRelid(ocq_catalog_relation(relation));
}

/*
 * ocq_catalog_announce_now does so at once, for copies that must be gone before the
 * caller's change is visible.  A session that makes a copy in between must itself make
 * sure that it does not keep it.
 */
void
ocq_catalog_announce_now(OcqRelation relation)
{
	SharedInvalidationMessage message = {0};

	message.rc.id = SHAREDINVALRELCACHE_ID;
	message.rc.dbId = MyDatabaseId;
	message.rc.relId = ocq_catalog_relation(relation);
	SendSharedInvalidMessages(&message, 1);
}
