/*-------------------------------------------------------------------------
 * prepared.c
 *	  Whether COMMIT PREPARED would commit writes to the extension's tables.
 *
 * A prepared transaction keeps its locks.  If it has written tables of the
 * extension, it holds a lock for writing on them, and such a lock takes the right to
 * write.  So the question costs a look at the lock table, and a role without rights on
 * the extension cannot make its own prepared transactions look like ours.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/catalog.h"
#include "base/prepared.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

/*
 * Its locks are found by the lock on its transaction id: the others are listed
 * differently after a restart of the server.  The statement runs as the caller, with the
 * caller's search_path: every name in it has its schema.
 */
static const char *const select_prepared =
"WITH locks AS MATERIALIZED (SELECT * FROM pg_catalog.pg_lock_status() WHERE pid IS NULL)"
" SELECT (p.ownerid OPERATOR(pg_catalog.=) $2 OR $3) AND p.dbid OPERATOR(pg_catalog.=) $5 AND EXISTS"
" (SELECT FROM locks AS l JOIN locks AS own ON own.virtualtransaction OPERATOR(pg_catalog.=) l.virtualtransaction"
" JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) l.relation"
" WHERE own.transactionid OPERATOR(pg_catalog.=) p.transaction"
" AND l.database OPERATOR(pg_catalog.=) p.dbid AND c.relnamespace OPERATOR(pg_catalog.=) $4"
" AND l.mode OPERATOR(pg_catalog.<>) ALL ('{AccessShareLock,RowShareLock}'::pg_catalog.text[]))"
" FROM pg_catalog.pg_prepared_xact() AS p"
" WHERE p.gid OPERATOR(pg_catalog.=) $1";

static bool
select_writes_ours(const char *gid, Oid schema, bool *found)
{
	Oid			types[] = {TEXTOID, OIDOID, BOOLOID, OIDOID, OIDOID};
	Datum		values[] = {
		CStringGetTextDatum(gid), ObjectIdGetDatum(GetUserId()), BoolGetDatum(superuser()),
		ObjectIdGetDatum(schema), ObjectIdGetDatum(MyDatabaseId)
	};
	bool		isnull;
	bool		writes;

	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (SPI_execute_with_args(select_prepared, lengthof(types), types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look for the prepared transaction \"%s\"", gid);
	*found = SPI_processed > 0;
	writes = *found &&
		DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	PopActiveSnapshot();
	SPI_finish();
	return writes;
}

/*
 * ocq_prepared_writes_ours tells whether the caller may commit that transaction, and
 * whether it has written tables of the extension.  A transaction that does not exist
 * is refused here, as COMMIT PREPARED would: it could come to exist before that
 * looks for it, and would be committed without having been asked about.
 */
bool
ocq_prepared_writes_ours(const char *gid)
{
	Oid			schema = get_namespace_oid(OCQ_SCHEMA, true);
	bool		found;
	bool		writes;

	if (!OidIsValid(schema))
		return false;
	writes = select_writes_ours(gid, schema, &found);
	if (!found)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("prepared transaction with identifier \"%s\" does not exist", gid),
				 errdetail("No transaction is prepared under this name."),
				 errhint("Look at pg_prepared_xacts.")));
	return writes;
}
