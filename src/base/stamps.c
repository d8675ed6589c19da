/*-------------------------------------------------------------------------
 * stamps.c
 *	  Stamps tell whether an answer is still the one that a new reader would find.
 *
 * A subject is an order, or a customer with the list of its orders.  A transaction that
 * writes read tables, the writer, announces the subjects that it changes.  A reader reads
 * the subject's stamp before it reads the tables, keeps the answer with it, and gives the
 * answer out as long as the stamp is the same.
 *
 * Subjects share stamps, as they are spread over a fixed number of stripes by a
 * hash.  One more stamp is that of all subjects at once.  The low bits of a stamp
 * count the writers, transactions that may become visible at any time; the rest is
 * its generation.
 *
 *	a writer, before it commits (PRE_COMMIT)	adds 1 to its stamps
 *	it becomes visible
 *	the same writer (COMMIT or ABORT)			subtracts 1, adds a generation
 *	its client has the answer
 *
 *	a reader									reads the stamp: no writers, or no use
 *												takes a snapshot, reads the tables
 *												keeps the answer with the stamp
 *	another one									compares the stamp, takes the answer
 *
 * Claim: an answer that is given out is the one of a snapshot taken at the moment of the
 * comparison.  So no session gets an answer older than a state that any session has seen
 * before it asked.  Nor is it older than an acknowledged commit, as the acknowledgement
 * comes later than visibility.
 *
 * Proof: let W be a writer that is visible at the comparison, but was not in the
 * snapshot of the answer.  Then W became visible after that snapshot was taken, and
 * therefore subtracted itself after the stamp was read.  If it had added itself
 * before the stamp was read, the stamp had a writer and was of no use.  So it added
 * itself between the reading and the comparison, and as stamps only grow (a
 * generation is more than all writers there can be) the two differ.
 *
 *	- An invalidation cannot be lost between a reader's snapshot and its filling of
 *	  the cache: the answer carries the stamp from before, and is dead.
 *	- An abort, and a commit that fails after PRE_COMMIT, move the stamp for nothing.
 *	- The announcements of a rolled back savepoint stay: for nothing, too.
 *	- A transaction that has written may see more than the claim speaks of, namely
 *	  itself: it must neither take nor keep answers, nor may one whose snapshot is
 *	  older than the statement (REPEATABLE READ).  The cache sees to that.
 *	- PREPARE TRANSACTION forgets the announcements; another session will commit the
 *	  transaction, after a restart perhaps.  So COMMIT PREPARED of a transaction that
 *	  has written the extension's tables (prepared.c) is a writer of all subjects, and
 *	  so is a transaction of a subscription's worker that has no id: it may have
 *	  committed one.
 *	- Before a process with shared memory can disappear without its ABORT, the
 *	  postmaster restarts them all with new memory: nothing is kept any more.
 *	- On a standby the writers are on another server; there are no stamps.
 *
 * Memory order: adding is a full barrier, and so is taking a snapshot, as it takes
 * ProcArrayLock; ocq_stamps_read has one of its own behind the reading all the same.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/twophase.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "base/compat.h"
#include "base/stamps.h"
#include "base/statement.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "postmaster/postmaster.h"
#include "replication/logicalworker.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"

#define NSTRIPES (PG_UINT16_MAX + 1)

/* More writers than there can be processes. */
#define GENERATION (UINT64CONST(1) << 20)
#define WRITERS(stamp) ((stamp) & (GENERATION - 1))

StaticAssertDecl(MAX_BACKENDS < GENERATION, "a stamp has room for all writers");

/* Written by each session that commits, without a lock. */
typedef struct SharedStamps
{
	pg_atomic_uint64 all;
	pg_atomic_uint64 stripes[NSTRIPES];
} SharedStamps;

static SharedStamps *shared = NULL;

/*
 * The announcements of this transaction: stripes, each once, or all subjects if they are
 * too many.  The first nmarked have this transaction among their writers.  It is all
 * static, as callbacks at commit must not fail for lack of memory.
 */
#define MAX_ANNOUNCED 1024

static uint16 announced[MAX_ANNOUNCED];
static int	nannounced = 0;
static int	nmarked = 0;
static uint64 is_announced[NSTRIPES / 64];
static bool all_announced = false;
static bool all_marked = false;
static bool is_committing = false;

void
ocq_stamps_request_shmem(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(SharedStamps)));
}

void
ocq_stamps_startup_shmem(void)
{
	bool		found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("order_cqrs stamps", sizeof(SharedStamps), &found);
	if (!found)
	{
		pg_atomic_init_u64(&shared->all, 0);
		for (int i = 0; i < NSTRIPES; i++)
			pg_atomic_init_u64(&shared->stripes[i], 0);
	}
	LWLockRelease(AddinShmemInitLock);
}

static uint16
stripe_of(OcqSubject subject, const text *tenant_id, const text *id)
{
	uint64		seed = ((uint64) MyDatabaseId << 8) + subject;

	return (uint16) ocq_text_hash(id, ocq_text_hash(tenant_id, seed));
}

/*
 * Writers.
 */

/* mark makes this transaction a writer of the subjects that it has announced. */
static void
mark(void)
{
	if (all_announced && !all_marked)
	{
		pg_atomic_fetch_add_u64(&shared->all, 1);
		all_marked = true;
	}
	while (!all_announced && nmarked < nannounced)
		pg_atomic_fetch_add_u64(&shared->stripes[announced[nmarked++]], 1);
}

/* unmark is its counterpart, once the transaction is over. */
static void
unmark(void)
{
	if (all_marked)
		pg_atomic_fetch_add_u64(&shared->all, GENERATION - 1);
	while (nmarked > 0)
		pg_atomic_fetch_add_u64(&shared->stripes[announced[--nmarked]], GENERATION - 1);
	all_marked = false;
}

static void
forget_announcements(void)
{
	while (nannounced > 0)
		is_announced[announced[--nannounced] / 64] = 0;
	all_announced = false;
	is_committing = false;
}

/* For the worker of a subscription with prepared transactions; see above. */
static bool
may_have_committed_another(void)
{
	return max_prepared_xacts > 0 && IsLogicalWorker() &&
		!TransactionIdIsValid(GetTopTransactionIdIfAny());
}

/* end_transaction may not touch catalogs nor raise errors. */
static void
end_transaction(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			if (shared != NULL && may_have_committed_another())
				all_announced = true;
			is_committing = true;
			mark();
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			unmark();
			forget_announcements();
			break;
		default:
			break;
	}
}

void
ocq_stamps_init(void)
{
	RegisterXactCallback(end_transaction, NULL);
}

/* ocq_stamps_announce says that this transaction changes the answers about the subject. */
void
ocq_stamps_announce(OcqSubject subject, const text *tenant_id, const text *id)
{
	uint16		stripe;
	uint64		bit;

	if (shared == NULL || all_announced)
		return;
	stripe = stripe_of(subject, tenant_id, id);
	bit = UINT64CONST(1) << (stripe % 64);
	if (is_announced[stripe / 64] & bit)
		return;
	if (nannounced == MAX_ANNOUNCED)
	{
		ocq_stamps_announce_all();
		return;
	}
	is_announced[stripe / 64] |= bit;
	announced[nannounced++] = stripe;
	if (is_committing)
		mark();
}

/* ocq_stamps_announce_all says so of all subjects, of all databases. */
void
ocq_stamps_announce_all(void)
{
	if (shared == NULL)
		return;
	all_announced = true;
	if (is_committing)
		mark();
}

/* ocq_stamps_mark_all is for changes that become visible before this transaction ends. */
void
ocq_stamps_mark_all(void)
{
	if (shared == NULL)
		return;
	all_announced = true;
	mark();
}

/*
 * Readers.
 */

/*
 * ocq_stamps_read returns false if there are no stamps, or the subject has a writer
 * right now.  An answer read with a snapshot taken later is current as long as the stamps
 * are.
 */
bool
ocq_stamps_read(OcqSubject subject, const text *tenant_id, const text *id, OcqStamps *stamps)
{
	if (shared == NULL || RecoveryInProgress())
		return false;
	stamps->stripe = stripe_of(subject, tenant_id, id);
	stamps->own = pg_atomic_read_u64(&shared->stripes[stamps->stripe]);
	stamps->all = pg_atomic_read_u64(&shared->all);
	pg_memory_barrier();
	return WRITERS(stamps->own) == 0 && WRITERS(stamps->all) == 0;
}

/*
 * ocq_stamps_are_current compares with stamps that had no writers, so that there are none
 * now if they are equal.
 */
bool
ocq_stamps_are_current(const OcqStamps *stamps)
{
	return pg_atomic_read_u64(&shared->stripes[stamps->stripe]) == stamps->own &&
		pg_atomic_read_u64(&shared->all) == stamps->all;
}
