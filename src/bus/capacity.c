/*-------------------------------------------------------------------------
 * capacity.c
 *	  The capacity of the queue of futures, and each user's share of it.
 *
 * A session user may have as many futures waiting as are left free of
 * order_cqrs.queue_capacity: alone half of it, beside another a third, and so on.  So
 * no user leaves the others without room.  About ten together can, each of which fills up
 * the rest that the ones before have left.
 *
 * To count the futures that wait takes 15 ms when there are 200,000.  So shared
 * memory holds, for each database and for each of its session users, an upper bound of
 * that number.  A transaction that makes futures wait, or no longer wait, changes
 * them when it commits.  A sender counts only when the bounds forbid another future, and
 * then mends them.
 *
 * A bound is too great after rows were deleted by hand, or a subtransaction that
 * had sent was rolled back; the next count mends it.  It is too small by the futures
 * of transactions that are under way during a count, and by rows that were written by hand
 * or restored; so the queue may exceed its capacity by those, until the bound reaches the
 * capacity once more.  A transaction that has cancelled futures mends no bound: it does not
 * count those that wait again if it, or a subtransaction, is rolled back.
 *
 * A count does not see the futures of prepared transactions, which may stay for long.  So
 * PREPARE takes a lock for each session user whose tag holds their number, and counts add the
 * tags of such locks: those last exactly as long as the transaction, also over a restart.  It
 * refuses a transaction that has cancelled futures as well, which the others go on to see.
 *
 * A user whose share was found full is refused without another count for twenty times as
 * long as that count took, unless the bounds fall meanwhile.  Thus senders that repeat
 * their call again and again take little time from the workers.
 *
 * Where the library is not preloaded, each sender counts.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/twophase.h"
#include "access/xact.h"
#include "base/errors.h"
#include "base/scope.h"
#include "bus/future.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/lock.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

/*
 * Bounds are looked for in so many places from their hash on.  Pairs of a database and a
 * user that find none there have no bound, and their senders count.
 */
#define NUM_BOUNDS 8192
#define NUM_PROBES 64

/* The first value of a bound: the first sender counts. */
#define UNKNOWN (PG_INT64_MAX / 2)

#define REFUSAL_SHARE 20
#define MAX_REFUSAL USECS_PER_SEC

/* Its tag's other numbers are the session user and the number of futures. */
#define PREPARED_LOCK_CLASS 0x4F44

static int	ocq_queue_capacity;

void
ocq_capacity_define_settings(void)
{
	DefineCustomIntVariable("order_cqrs.queue_capacity",
							"Futures of one database that may wait to be run.",
							"A role may have as many waiting as are left free; sending another is an error.",
							&ocq_queue_capacity, 2000, 1, INT_MAX, PGC_SIGHUP, 0, NULL, NULL, NULL);
}

/* All of it is written by the sessions that send or run futures, without a lock. */
typedef struct Bound
{
	pg_atomic_uint64 key;		/* written once: database and role, which is 0 for all; 0: free */
	pg_atomic_uint64 waiting;	/* an int64, never negative */
	pg_atomic_uint64 full_until;	/* a TimestampTz */
} Bound;

static Bound *bounds = NULL;	/* NULL: the library is not preloaded */

/* The current transaction's change of the number of futures that wait. */
typedef struct Change
{
	Bound	   *bound;
	int64		change;
} Change;

/* Most transactions change two.  More than these are dealt with by change_at_once. */
#define MAX_CHANGES 16

static Change changes[MAX_CHANGES];
static int	change_count = 0;

/* Whether it has made futures wait, perhaps in a subtransaction. */
static bool has_sent = false;

/* Whether it has taken futures from those that wait, perhaps in a subtransaction. */
static bool has_released = false;

/* $1: no further than that.  Those that wait for a lock to be released are in another index. */
#define COUNT(condition) \
	"SELECT (SELECT count(*) FROM (SELECT FROM order_cqrs.bus_future" \
	" WHERE status = 'waiting' AND retry_at IS NULL" condition " LIMIT $1) AS f)" \
	" + (SELECT count(*) FROM (SELECT FROM order_cqrs.bus_future" \
	" WHERE status = 'waiting' AND retry_at IS NOT NULL" condition " LIMIT $1) AS f)"

static OcqStatement count_waiting = OCQ_STATEMENT(COUNT(""), INT8OID);
static OcqStatement count_own = OCQ_STATEMENT(COUNT(" AND session_role = $2"), INT8OID, OIDOID);

static OcqStatement select_waiting =
OCQ_STATEMENT_NOARGS("SELECT session_role, xmin, count(*) FROM order_cqrs.bus_future WHERE status = 'waiting'"
					 " GROUP BY 1, 2 ORDER BY session_role::oid");

/* $1: session user; $2: class of locks.  pid is NULL in the locks of prepared transactions. */
static OcqStatement select_prepared =
OCQ_STATEMENT("SELECT coalesce(sum(objid::bigint), 0)::bigint,"
			  " coalesce(sum(objid::bigint) FILTER (WHERE classid = $1), 0)::bigint"
			  " FROM pg_locks WHERE locktype = 'advisory' AND objsubid = $2 AND pid IS NULL"
			  " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
			  OIDOID, INT2OID);

void
ocq_capacity_request_shmem(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(Bound) * NUM_BOUNDS));
}

void
ocq_capacity_startup_shmem(void)
{
	bool		found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	bounds = ShmemInitStruct("order_cqrs waiting futures", sizeof(Bound) * NUM_BOUNDS, &found);
	for (int i = 0; i < NUM_BOUNDS && !found; i++)
	{
		pg_atomic_init_u64(&bounds[i].key, 0);
		pg_atomic_init_u64(&bounds[i].waiting, UNKNOWN);
		pg_atomic_init_u64(&bounds[i].full_until, 0);
	}
	LWLockRelease(AddinShmemInitLock);
}

/* find_bound returns the bound of a session user of the current database, or of all with InvalidOid, or NULL. */
static Bound *
find_bound(Oid role)
{
	uint64		key = ((uint64) MyDatabaseId << 32) | role;
	uint32		start = hash_combine(murmurhash32(MyDatabaseId), murmurhash32(role));

	if (bounds == NULL)
		return NULL;
	for (int i = 0; i < NUM_PROBES; i++)
	{
		Bound	   *bound = &bounds[(start + i) % NUM_BOUNDS];
		uint64		present = pg_atomic_read_u64(&bound->key);

		if (present == 0 && pg_atomic_compare_exchange_u64(&bound->key, &present, key))
			return bound;
		if (present == key)
			return bound;
	}
	return NULL;
}

static int64
read_bound(Bound *bound)
{
	return (int64) pg_atomic_read_u64(&bound->waiting);
}

/* change_bound also keeps the bound between two numbers, and returns the one before. */
static int64
change_bound(Bound *bound, int64 change, int64 least, int64 most)
{
	uint64		old = pg_atomic_read_u64(&bound->waiting);

	while (!pg_atomic_compare_exchange_u64(&bound->waiting, &old,
										   (uint64) Max(Min((int64) old + change, most), least)))
		 /* another process has changed it */ ;
	return (int64) old;
}

static Change *
find_change(const Bound *bound)
{
	for (int i = 0; i < change_count; i++)
		if (changes[i].bound == bound)
			return &changes[i];
	return NULL;
}

static int64
pending(const Bound *bound)
{
	const Change *change = find_change(bound);

	return change == NULL ? 0 : change->change;
}

/* change_at_once errs on the side of a bound that is too great. */
static void
change_at_once(Bound *bound, int64 change)
{
	if (change > 0)
		(void) change_bound(bound, change, 0, PG_INT64_MAX);
}

static void
add_change(Bound *bound, int64 change)
{
	Change	   *present = find_change(bound);

	if (bound == NULL || (present == NULL && change == 0))
		return;
	if (present != NULL)
		present->change += change;
	else if (change_count < MAX_CHANGES)
		changes[change_count++] = (Change) {bound, change};
	else
		change_at_once(bound, change);
}

/*
 * ocq_future_waiting_changed counts futures of the current transaction and a session user
 * that have come to wait, or, if negative, that do not any more.  A decrease that a
 * subtransaction may still take back is left out, as the bound would become too small.
 */
void
ocq_future_waiting_changed(Oid session_role, int64 change)
{
	has_released |= change < 0;
	has_sent |= change > 0;
	if (change < 0 && GetCurrentTransactionNestLevel() != 1)
		return;
	add_change(find_bound(InvalidOid), change);
	add_change(find_bound(session_role), change);
}

/* The number of futures that wait, at most. */
typedef struct Load
{
	int64		all;
	int64		own;			/* of one session user */
} Load;

static bool
is_full(Load load)
{
	return load.own >= ocq_queue_capacity - load.all;
}

/* count_prepared is called before the rows are counted: a transaction that commits in between is counted twice. */
static Load
count_prepared(Oid role)
{
	Datum		values[] = {ObjectIdGetDatum(role), Int16GetDatum(PREPARED_LOCK_CLASS)};

	if (max_prepared_xacts == 0)
		return (Load) {0, 0};
	(void) ocq_statement_run_latest(&select_prepared, values, NULL);
	return (Load) {DatumGetInt64(ocq_row_datum(0, 1)), DatumGetInt64(ocq_row_datum(0, 2))};
}

/* run_count counts no further than it has to. */
static int64
run_count(OcqStatement *statement, Oid role)
{
	Datum		values[] = {Int64GetDatum(ocq_queue_capacity), ObjectIdGetDatum(role)};

	/* All sessions share the bound: an old snapshot will not do. */
	(void) ocq_statement_run_latest(statement, values, NULL);
	return DatumGetInt64(ocq_row_datum(0, 1));
}

/*
 * correct_bound makes a bound no smaller than a count that has ended at the capacity.
 * Otherwise the bound and the pending change together become equal to the count.
 */
static void
correct_bound(Bound *bound, int64 count)
{
	if (bound == NULL)
		return;
	if (count >= ocq_queue_capacity)
		(void) change_bound(bound, 0, count, PG_INT64_MAX);
	else if (!has_released)
		add_change(bound, Max(count - change_bound(bound, 0, 0, count), 0) - pending(bound));
}

/* The bounds may be NULL. */
static Load
count_load(Oid role, Bound *all, Bound *own)
{
	TimestampTz start = GetCurrentTimestamp();
	Load		load = count_prepared(role);

	load.all += run_count(&count_waiting, role);
	load.own += run_count(&count_own, role);
	correct_bound(all, load.all);
	correct_bound(own, load.own);
	if (own != NULL && is_full(load))
	{
		TimestampTz end = GetCurrentTimestamp();

		/* The count may have waited for a lock. */
		pg_atomic_write_u64(&own->full_until,
							(uint64) (end + Min((end - start) * REFUSAL_SHARE, MAX_REFUSAL)));
	}
	return load;
}

static Load
find_load(Oid role)
{
	Bound	   *all = find_bound(InvalidOid);
	Bound	   *own = find_bound(role);
	Load		load;

	if (all == NULL || own == NULL)
		return count_load(role, all, own);
	load = (Load) {read_bound(all) + pending(all), read_bound(own) + pending(own)};
	if (!is_full(load) || GetCurrentTimestamp() < (TimestampTz) pg_atomic_read_u64(&own->full_until))
		return load;
	return count_load(role, all, own);
}

pg_noreturn static void
report_full(Oid session_role, Load load)
{
	ereport(ERROR,
			(errcode(OCQ_ERR_QUEUE_FULL),
			 load.all >= ocq_queue_capacity ? errmsg("the queue of futures is full") :
			 errmsg("the share of role \"%s\" in the queue of futures is full",
					GetUserNameFromId(session_role, false)),
			 load.all >= ocq_queue_capacity ?
			 errdetail("%d futures are waiting, which is order_cqrs.queue_capacity.", ocq_queue_capacity) :
			 errdetail("%lld of its futures are waiting, and of order_cqrs.queue_capacity, which is %d, no more than that is left free.",
					   (long long) load.own, ocq_queue_capacity),
			 errhint("Send it again later. If that does not help, see whether workers run: order_cqrs.databases, order_cqrs.bus_workers.")));
}

/*
 * ocq_capacity_check raises an error if as many futures of a session user wait as may.
 * Senders do not see each other before they commit, so that they may exceed the capacity by
 * the futures that are under way; an exact check would need a lock until they commit.
 */
void
ocq_capacity_check(Oid session_role)
{
	Load		load = find_load(session_role);

	if (is_full(load))
		report_full(session_role, load);
}

pg_noreturn static void
report_released(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot PREPARE a transaction that has both sent and cancelled futures"),
			 errdetail("Other sessions would count both until the transaction ends."),
			 errhint("Cancel them in a transaction of its own.")));
}

static void
hold_number(Oid role, uint32 number)
{
	LOCKTAG		tag;
	Load		load;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, role, number, PREPARED_LOCK_CLASS);
	(void) LockAcquire(&tag, ShareLock, false, false);

	/* Other transactions may have been prepared since this one has sent. */
	load = count_load(role, NULL, NULL);
	if (load.own + load.all > (int64) ocq_queue_capacity + 1)
		report_full(role, load);
}

/* hold_prepared counts the futures that the transaction would make wait. */
static void
hold_prepared(void)
{
	OcqScope	scope;
	uint64		rows;
	Oid		   *roles;
	uint32	   *numbers;
	int			count = 0;

	ocq_scope_enter(&scope);
	rows = ocq_statement_run_latest(&select_waiting, NULL, NULL);
	roles = palloc_array(Oid, rows);
	numbers = palloc0_array(uint32, rows);
	for (uint64 row = 0; row < rows; row++)
	{
		Oid			role = DatumGetObjectId(ocq_row_datum(row, 1));

		if (!TransactionIdIsCurrentTransactionId(DatumGetTransactionId(ocq_row_datum(row, 2))))
			continue;
		if (count == 0 || roles[count - 1] != role)
			roles[count++] = role;
		numbers[count - 1] += (uint32) DatumGetInt64(ocq_row_datum(row, 3));
	}
	for (int i = 0; i < count; i++)
		hold_number(roles[i], numbers[i]);
	ocq_scope_leave(&scope);
}

/* end_transaction may not touch catalogs nor raise errors, unless the end is still to come. */
static void
end_transaction(XactEvent event, void *arg)
{
	int			count = change_count;

	if (event == XACT_EVENT_PRE_PREPARE && has_sent && has_released)
		report_released();
	if (event == XACT_EVENT_PRE_PREPARE && has_sent)
		hold_prepared();
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	change_count = 0;
	has_sent = false;
	has_released = false;
	for (int i = 0; i < count && event != XACT_EVENT_ABORT; i++)
	{
		/* No process learns how a prepared transaction ends. */
		if (event == XACT_EVENT_PREPARE)
			changes[i].change = Max(changes[i].change, 0);
		if (changes[i].change != 0)
			(void) change_bound(changes[i].bound, changes[i].change, 0, PG_INT64_MAX);
	}
}

void
ocq_capacity_init(void)
{
	RegisterXactCallback(end_transaction, NULL);
}
