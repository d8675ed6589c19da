/*-------------------------------------------------------------------------
 * install.c
 *	  Refuses to be installed into a schema that somebody else controls.
 *
 * CREATE EXTENSION takes a schema order_cqrs that is there already, whoever has made
 * it.  That role could drop every table in it, or plant overloads of commands.  So its
 * owner, and whoever may create in it, must be a role that can do as much anyway: who
 * installs, a superuser, or the database's owner.  A restore creates the schema first,
 * with the owner that it had, and passes.
 *
 * The schema order_api is a member of the extension and made by its script.  CREATE SCHEMA
 * would refuse one that is there already; the check here says why, and does so first.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/catalog.h"
#include "base/compat.h"
#include "base/errors.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(ocq_check_schema);

static bool
is_trusted(Oid role)
{
	return role == GetUserId() || superuser_arg(role) || ocq_owns_database(MyDatabaseId, role);
}

pg_noreturn static void
report_untrusted(Oid role, const char *problem)
{
	ereport(ERROR,
			(errcode(OCQ_ERR_UNTRUSTED_SCHEMA),
			 errmsg("schema \"%s\" is not safe to install into", OCQ_SCHEMA),
			 errdetail("%s %s it, and is neither a superuser nor the owner of the database.",
					   OidIsValid(role) ? psprintf("Role \"%s\"", GetUserNameFromId(role, false)) : "Every role",
					   problem),
			 errhint("Drop the schema, or change its owner and revoke CREATE on it, and look at what is in it.")));
}

/* check_grants looks for roles that may create in the schema. */
static void
check_grants(const Acl *acl)
{
	const AclItem *items = ACL_DAT(acl);

	for (int i = 0; i < ACL_NUM(acl); i++)
		if ((ACLITEM_GET_PRIVS(items[i]) & ACL_CREATE) != 0 &&
			(items[i].ai_grantee == ACL_ID_PUBLIC || !is_trusted(items[i].ai_grantee)))
			report_untrusted(items[i].ai_grantee, "may create in");
}

/* check_api_schema is for any owner: an application's schema of that name is not to be mixed with ours. */
static void
check_api_schema(void)
{
	Oid			schema = get_namespace_oid(OCQ_API_SCHEMA, true);

	if (OidIsValid(schema))
		ereport(ERROR,
				(errcode(OCQ_ERR_UNTRUSTED_SCHEMA),
				 errmsg("schema \"%s\" exists already", OCQ_API_SCHEMA),
				 errdetail("The extension makes it, so that it holds nothing of another role's."),
				 errhint("Rename the schema, or drop it.")));
}

/* check_schema() */
Datum
ocq_check_schema(PG_FUNCTION_ARGS)
{
	Oid			schema = get_namespace_oid(OCQ_SCHEMA, false);
	HeapTuple	tuple = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(schema));
	Oid			owner = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner;
	bool		isnull;
	Datum		acl = SysCacheGetAttr(NAMESPACEOID, tuple, Anum_pg_namespace_nspacl, &isnull);

	if (!is_trusted(owner))
		report_untrusted(owner, "owns");
	if (!isnull)
		check_grants(DatumGetAclP(acl));
	ReleaseSysCache(tuple);
	check_api_schema();
	PG_RETURN_VOID();
}
