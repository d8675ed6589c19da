/*-------------------------------------------------------------------------
 * role.c
 *	  Roles that are kept in tables.
 *
 * A name alone does not tell who is meant: after DROP ROLE another role may be given
 * it, and after ALTER ROLE ... RENAME the same role has another one.  An OID alone
 * means nothing in a cluster that a dump is restored into.  So a row keeps both, and
 * the cluster that the OID is of.  There the OID decides, and elsewhere the name:
 * whoever restores a dump says by this that his roles are the ones that it names.
 * pg_upgrade makes a new cluster, with the same names.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "base/catalog.h"
#include "base/role.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/syscache.h"

/* ocq_role_cluster identifies this cluster, and its physical copies. */
int64
ocq_role_cluster(void)
{
	return (int64) GetSystemIdentifier();
}

/* ocq_role_find returns InvalidOid if the role does not exist any more. */
Oid
ocq_role_find(const char *name, Oid oid, int64 cluster)
{
	if (cluster != ocq_role_cluster())
		return get_role_oid(name, true);
	return SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(oid)) ? oid : InvalidOid;
}

/* ocq_role_acts_for tells whether the current user has the rights of a role, or of the extension's owner. */
bool
ocq_role_acts_for(Oid role)
{
	return (OidIsValid(role) && has_privs_of_role(GetUserId(), role)) ||
		has_privs_of_role(GetUserId(), ocq_catalog_owner());
}
