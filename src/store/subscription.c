/*-------------------------------------------------------------------------
 * subscription.c
 *	  Whether events is filled by a subscription of logical replication.
 *
 * Then the log is another server's: its rows arrive without firing the row trigger, and
 * the sequence of positions stays where it is, so that the horizon never reaches them.
 * Read tables are not made from such a log, which must be said.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "base/catalog.h"
#include "base/errors.h"
#include "catalog/pg_subscription_rel.h"
#include "store/store.h"
#include "utils/fmgroids.h"
#include "utils/timestamp.h"

#define WARNING_INTERVAL_MS (10 * 60 * 1000)

/* ocq_log_is_subscribed tells whether a subscription, enabled or not, has the table events. */
bool
ocq_log_is_subscribed(void)
{
	Relation	subscription_rel = table_open(SubscriptionRelRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	bool		found;

	ScanKeyInit(&key, Anum_pg_subscription_rel_srrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(ocq_catalog_relation(OCQ_REL_EVENTS)));
	scan = systable_beginscan(subscription_rel, SubscriptionRelSrrelidSrsubidIndexId, true,
							  NULL, 1, &key);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(subscription_rel, AccessShareLock);
	return found;
}

/* ocq_log_warn_if_subscribed warns at most once in ten minutes. */
void
ocq_log_warn_if_subscribed(void)
{
	static TimestampTz last_warning = 0;
	TimestampTz now = GetCurrentTimestamp();

	if (!ocq_log_is_subscribed())
	{
		last_warning = 0;
		return;
	}
	if (last_warning != 0 && !TimestampDifferenceExceeds(last_warning, now, WARNING_INTERVAL_MS))
		return;
	last_warning = now;
	ereport(WARNING,
			(errcode(OCQ_ERR_SUBSCRIBED_LOG),
			 errmsg("order_cqrs.events is filled by a subscription, and no read table is made from it"),
			 errdetail("Replicated events do not move the horizon of this server."),
			 errhint("Read the read tables on the publisher. See the column problem of order_cqrs.projection_status.")));
}
