/*-------------------------------------------------------------------------
 * role_ref.c
 *	  The type role_ref: a role by its OID, which a dump holds by its name.
 *
 * A name alone may come to mean another role, after DROP ROLE and CREATE ROLE or a
 * rename; an OID alone means another role, or none, in another cluster.  The type
 * stores the OID, and its text is the name: so a dump holds the names of its time, and
 * the restore, on whose behalf a superuser vouches for them, binds them to the roles
 * of the new cluster.
 *
 * It differs from regrole in two points.  A role that does not exist is no error of the
 * input, which would fail the COPY of a whole table, but OID 0.  And a role that was
 * dropped has no number as its text, which might be another role's OID elsewhere.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/catalog.h"
#include "base/role_ref.h"
#include "catalog/pg_authid.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

PG_FUNCTION_INFO_V1(ocq_role_ref_in);
PG_FUNCTION_INFO_V1(ocq_role_ref_out);

/* The text of OID 0, and of a role that does not exist.  (A role of that name is quoted.) */
#define NO_ROLE "-"

/* role_ref_in(cstring) */
Datum
ocq_role_ref_in(PG_FUNCTION_ARGS)
{
	char	   *string = PG_GETARG_CSTRING(0);
	List	   *names;

	if (strcmp(string, NO_ROLE) == 0)
		PG_RETURN_OID(InvalidOid);
	if (!SplitIdentifierString(pstrdup(string), '.', &names) || list_length(names) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("invalid name of a role: \"%s\"", string),
				 errdetail("It is one identifier."),
				 errhint("Put a name with capitals or other signs in double quotes.")));
	PG_RETURN_OID(get_role_oid(linitial(names), true));
}

/* role_ref_out(role_ref) */
Datum
ocq_role_ref_out(PG_FUNCTION_ARGS)
{
	HeapTuple	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(PG_GETARG_OID(0)));
	const char *name = NO_ROLE;

	if (HeapTupleIsValid(tuple))
	{
		name = quote_identifier(pstrdup(NameStr(((Form_pg_authid) GETSTRUCT(tuple))->rolname)));
		ReleaseSysCache(tuple);
	}
	PG_RETURN_CSTRING(pstrdup(name));
}

/* ocq_role_ref_describe names a role in a message. */
char *
ocq_role_ref_describe(Oid role)
{
	char	   *name = GetUserNameFromId(role, true);

	return name == NULL ? "a role that does not exist" : psprintf("role \"%s\"", name);
}

/* ocq_role_ref_acts_for tells whether the current user has the rights of a role, or of the extension's owner. */
bool
ocq_role_ref_acts_for(Oid role)
{
	return (SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role)) && has_privs_of_role(GetUserId(), role)) ||
		has_privs_of_role(GetUserId(), ocq_catalog_owner());
}
