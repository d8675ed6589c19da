/*-------------------------------------------------------------------------
 * install.c
 *	  Refuses to be installed into a schema that another role controls.
 *
 * CREATE EXTENSION takes a schema order_cqrs that exists already, of any owner.  That role
 * could drop every table in it, plant overloads of functions, or rename the schema and put
 * another one in its place, whose tables and triggers our statements would use with the
 * rights of the extension's owner.  So the owner, and every role with CREATE on it, must be
 * the installing role or a superuser.  To take the schema over would not do: its former owner
 * may have a transaction under way whose objects are not visible yet.  Objects of other roles
 * in it are refused, at the beginning and at the end of the script.  A restore, which creates
 * the schema first, passes.
 *
 * The schema order_api is a member of the extension and made by its script.  CREATE SCHEMA
 * would refuse an existing one; the check here gives the reason, and comes first.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/catalog.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/statement.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(ocq_check_schema);

#define OBJECTS(catalog, prefix, type) \
	"SELECT oid::" type "::text AS name, " prefix "owner AS owner FROM " catalog " WHERE " prefix "namespace = $1"

/* An object of another role in the schema. */
static OcqStatement select_object =
OCQ_STATEMENT("SELECT o.name FROM (" OBJECTS("pg_proc", "pro", "regprocedure")
			  " UNION ALL " OBJECTS("pg_operator", "opr", "regoperator")
			  " UNION ALL " OBJECTS("pg_type", "typ", "regtype")
			  " UNION ALL " OBJECTS("pg_class", "rel", "regclass")
			  ") AS o JOIN pg_roles AS r ON r.oid = o.owner"
			  " WHERE NOT r.rolsuper AND r.rolname <> current_user LIMIT 1",
			  OIDOID);

static bool
is_trusted(Oid role)
{
	return role == GetUserId() || superuser_arg(role);
}

pg_noreturn static void
report_untrusted(const char *problem)
{
	ereport(ERROR,
			(errcode(OCQ_ERR_UNTRUSTED_SCHEMA),
			 errmsg("schema \"%s\" is not safe to install into", OCQ_SCHEMA),
			 errdetail_internal("%s", problem),
			 errhint("Drop the schema, so that CREATE EXTENSION makes it.")));
}

/* check_grants looks for roles but the owner that may create in the schema. */
static void
check_grants(const Acl *acl, Oid owner)
{
	const AclItem *items = ACL_DAT(acl);

	for (int i = 0; i < ACL_NUM(acl); i++)
		if ((ACLITEM_GET_PRIVS(items[i]) & ACL_CREATE) != 0 && items[i].ai_grantee != owner &&
			(items[i].ai_grantee == ACL_ID_PUBLIC || !is_trusted(items[i].ai_grantee)))
			report_untrusted(items[i].ai_grantee == ACL_ID_PUBLIC ? "Every role may create in it." :
							 psprintf("Role \"%s\" may create in it.", GetUserNameFromId(items[i].ai_grantee, false)));
}

static void
check_objects(Oid schema)
{
	Datum		value = ObjectIdGetDatum(schema);

	if (ocq_statement_run(&select_object, &value, NULL) > 0)
		report_untrusted(psprintf("Another role has made %s in it.", TextDatumGetCString(ocq_row_datum(0, 1))));
}

/* check_api_schema is for any owner: an application's schema of that name is not to be mixed with ours. */
static void
check_api_schema(void)
{
	Oid			schema = get_namespace_oid(OCQ_API_SCHEMA, true);

	if (OidIsValid(schema) && getExtensionOfObject(NamespaceRelationId, schema) != CurrentExtensionObject)
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
		report_untrusted(psprintf("Role \"%s\" owns it, and is no superuser.", GetUserNameFromId(owner, false)));
	if (!isnull)
		check_grants(DatumGetAclP(acl), owner);
	ReleaseSysCache(tuple);
	check_api_schema();
	SPI_connect();
	check_objects(schema);
	SPI_finish();
	PG_RETURN_VOID();
}
