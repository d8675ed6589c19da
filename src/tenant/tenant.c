/*-------------------------------------------------------------------------
 * tenant.c
 *	  The tenant for which a call is made.
 *
 * The tenant is the call's argument, else the setting order_cqrs.tenant_id.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/argument.h"
#include "base/errors.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "tenant/tenant.h"
#include "utils/builtins.h"
#include "utils/guc.h"

char	   *ocq_tenant_id = NULL;

/*
 * A value that was set before the library was loaded is checked while the setting is
 * defined.  A refusal there would put the default in its place with only a warning; so
 * the value is accepted there, and refused when it is used.
 */
static bool is_being_defined = false;

static bool
check_tenant_id(char **newval, void **extra, GucSource source)
{
	size_t		length = strlen(*newval);

	if (is_being_defined || (length >= 1 && length <= OCQ_ID_MAX_BYTES))
		return true;

	GUC_check_errcode(OCQ_ERR_INVALID_TENANT);
	GUC_check_errdetail("A tenant's id has 1 to %d bytes, not %zu.", OCQ_ID_MAX_BYTES, length);
	GUC_check_errhint("Set it to the tenant's id, or RESET it to use \"default\".");
	return false;
}

void
ocq_tenant_define_settings(void)
{
	is_being_defined = true;
	DefineCustomStringVariable("order_cqrs.tenant_id",
							   "The tenant for which commands and queries are made.",
							   "It counts where a call does not name a tenant_id of its own.",
							   &ocq_tenant_id,
							   "default",
							   PGC_USERSET,
							   0,
							   check_tenant_id, NULL, NULL);
	is_being_defined = false;
}

/* setting_to_text verifies the encoding: PostgreSQL does not for the options of a connection. */
static text *
setting_to_text(const char *value)
{
	(void) pg_verifymbstr(value, strlen(value), false);
	return cstring_to_text(value);
}

/*
 * ocq_tenant_of returns the tenant of a call that names tenant_id, which may be
 * NULL, in the caller's memory.
 */
text *
ocq_tenant_of(text *tenant_id)
{
	text	   *tenant = tenant_id == NULL ? setting_to_text(ocq_tenant_id) : tenant_id;
	size_t		length = VARSIZE_ANY_EXHDR(tenant);

	if (length < 1 || length > OCQ_ID_MAX_BYTES)
		ereport(ERROR,
				(errcode(OCQ_ERR_INVALID_TENANT),
				 errmsg("invalid tenant_id"),
				 errdetail("A tenant's id has 1 to %d bytes, not %zu.", OCQ_ID_MAX_BYTES, length),
				 errhint("Pass the tenant's id, or leave tenant_id out to use the setting order_cqrs.tenant_id.")));
	return tenant;
}

/* ocq_tenant_resolve does the same for a call whose tenant_id is argument argno. */
text *
ocq_tenant_resolve(FunctionCallInfo fcinfo, int argno)
{
	return ocq_tenant_of(PG_ARGISNULL(argno) ? NULL : PG_GETARG_TEXT_PP(argno));
}
