/*-------------------------------------------------------------------------
 * capacity.c
 *	  Whether another future may be sent.
 *
 * To count the futures that wait takes 15 ms when there are 200,000.  So shared
 * memory holds, for each database, a bound: as many as wait at most.  A
 * transaction that makes futures wait, or no longer wait, changes it when it
 * commits.  A sender counts only when the bound has reached the capacity, and then
 * mends the bound.
 *
 * The bound is too great after rows were deleted by hand, or a subtransaction that
 * had sent was rolled back; the next count mends it.  It is too small by the futures
 * of transactions that are under way while somebody counts, and by rows that were
 * written by hand or restored; so the queue may exceed its capacity by those, until
 * the bound reaches the capacity once more.
 *
 * Once the queue was found full, senders are refused without another count for
 * twenty times as long as that one took, unless the bound falls meanwhile.  Thus
 * those who try again and again take little time from those who run futures.
 *
 * Where the library is not preloaded, each sender counts.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/errors.h"
#include "bus/future.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

/* Databases beyond these have no bound; each of their senders counts. */
#define MAX_DATABASES 64

/* What a bound begins with: the first sender counts. */
#define UNKNOWN (PG_INT64_MAX / 2)

#define REFUSAL_SHARE 20

/* Everything is written by whoever sends or runs futures, without a lock. */
typedef struct Bound
{
	pg_atomic_uint32 database;	/* written once; 0: free */
	pg_atomic_uint64 waiting;	/* an int64, never negative */
	pg_atomic_uint64 full_until;	/* a TimestampTz */
} Bound;

static Bound *bounds = NULL;	/* NULL: the library is not preloaded */

/* By how much the current transaction changes the number of those that wait. */
static int64 pending = 0;

static OcqStatement count_waiting =
OCQ_STATEMENT("SELECT count(*) FROM (SELECT FROM order_cqrs.bus_future WHERE status = 'waiting' LIMIT $1) AS f",
			  INT8OID);

void
ocq_capacity_request_shmem(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(Bound) * MAX_DATABASES));
}

void
ocq_capacity_startup_shmem(void)
{
	bool		found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	bounds = ShmemInitStruct("order_cqrs waiting futures", sizeof(Bound) * MAX_DATABASES, &found);
	for (int i = 0; i < MAX_DATABASES && !found; i++)
	{
		pg_atomic_init_u32(&bounds[i].database, InvalidOid);
		pg_atomic_init_u64(&bounds[i].waiting, UNKNOWN);
		pg_atomic_init_u64(&bounds[i].full_until, 0);
	}
	LWLockRelease(AddinShmemInitLock);
}

/* find_bound returns that of the current database, or NULL. */
static Bound *
find_bound(void)
{
	static Bound *own = NULL;

	if (bounds == NULL || own != NULL)
		return own;
	for (int i = 0; i < MAX_DATABASES; i++)
	{
		uint32		database = InvalidOid;

		if (pg_atomic_compare_exchange_u32(&bounds[i].database, &database, MyDatabaseId) ||
			database == MyDatabaseId)
			return own = &bounds[i];
	}
	return NULL;
}

static int64
read_bound(Bound *bound)
{
	return (int64) pg_atomic_read_u64(&bound->waiting);
}

static void
change_bound(Bound *bound, int64 change)
{
	uint64		old = pg_atomic_read_u64(&bound->waiting);

	while (!pg_atomic_compare_exchange_u64(&bound->waiting, &old, (uint64) Max((int64) old + change, 0)))
		 /* somebody else has changed it */ ;
}

/* end_transaction may not touch catalogs nor raise errors. */
static void
end_transaction(XactEvent event, void *arg)
{
	int64		change = pending;
	Bound	   *bound;

	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	pending = 0;
	if (change == 0 || event == XACT_EVENT_ABORT)
		return;

	/* Nobody learns how a prepared transaction ends. */
	if (event == XACT_EVENT_PREPARE)
		change = Max(change, 0);
	bound = find_bound();
	if (bound != NULL)
		change_bound(bound, change);
}

void
ocq_capacity_init(void)
{
	RegisterXactCallback(end_transaction, NULL);
}

/*
 * ocq_future_waiting_changed counts futures of the current transaction that have
 * come to wait, or, if negative, that do not any more.  What a subtransaction may
 * still take back is not subtracted, as the bound would become too small.
 */
void
ocq_future_waiting_changed(int64 change)
{
	if (change > 0 || GetCurrentTransactionNestLevel() == 1)
		pending += change;
}

/* mend_bound sets the bound, with what is pending, to what has been counted. */
static void
mend_bound(Bound *bound, int64 count)
{
	uint64		old = pg_atomic_read_u64(&bound->waiting);

	while ((int64) old > count &&
		   !pg_atomic_compare_exchange_u64(&bound->waiting, &old, (uint64) count))
		 /* somebody else has changed it */ ;
	pending = Max(count - (int64) old, 0);
}

/* count_is_full counts no further than it has to.  The bound may be NULL. */
static bool
count_is_full(Bound *bound, int64 capacity)
{
	TimestampTz start = GetCurrentTimestamp();
	Datum		values[] = {Int64GetDatum(capacity)};
	int64		count;

	if (bound != NULL && start < (TimestampTz) pg_atomic_read_u64(&bound->full_until))
		return true;

	/* The bound is everybody's: an old snapshot will not do. */
	(void) ocq_statement_run_latest(&count_waiting, values, NULL);
	count = DatumGetInt64(ocq_row_datum(0, 1));
	if (bound != NULL && count < capacity)
		mend_bound(bound, count);
	if (bound != NULL && count >= capacity)
	{
		TimestampTz end = GetCurrentTimestamp();

		pg_atomic_write_u64(&bound->full_until, (uint64) (end + (end - start) * REFUSAL_SHARE));
	}
	return count >= capacity;
}

static bool
is_full(int64 capacity)
{
	Bound	   *bound = find_bound();

	if (bound != NULL && read_bound(bound) + pending < capacity)
		return false;
	return count_is_full(bound, capacity);
}

/*
 * ocq_capacity_check raises an error if as many futures wait as may.  Senders do not
 * see each other before they commit, so that they may exceed the capacity by what is
 * under way; a lock that would make it exact would have to be held until they commit.
 */
void
ocq_capacity_check(void)
{
	if (is_full(ocq_queue_capacity))
		ereport(ERROR,
				(errcode(OCQ_ERR_QUEUE_FULL),
				 errmsg("the queue of futures is full"),
				 errdetail("%d futures are waiting, which is order_cqrs.queue_capacity.", ocq_queue_capacity),
				 errhint("Send it again later. If that does not help, see whether workers run: order_cqrs.databases, order_cqrs.bus_workers.")));
}
