/*-------------------------------------------------------------------------
 * attempt.c
 *	  Runs work in a subtransaction, so that its error leaves nothing behind.
 *
 * It is the only place in which an error is caught and the transaction goes on.  User,
 * settings, SPI and snapshots are restored by the abort of the subtransaction, memory and
 * resource owner by the attempt.  In a process of ours the work's deferred constraints are
 * checked within the attempt, where their failure concerns nothing else.
 *
 * A lost race is an error that comes from other transactions: a deadlock, a serialization
 * failure, a lock that was not to be had in time.  The work may do better later.  A user's
 * handler can raise such errors itself, by NOWAIT or a lock_timeout of its own: from a
 * handler a lock's error is a lost race only if the limit of the attempt has brought it
 * about.
 *
 * A session can cancel its own call, so its cancel is raised again.  In a background worker
 * a cancel is meant for the work at hand.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/attempt.h"
#include "base/errors.h"
#include "base/scope.h"
#include "base/statement.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

/*
 * is_of_limit tells whether a wait for a lock has ended at the limit.  The timer tells the
 * limit of that wait, which the handler may have changed and put back meanwhile.
 */
static bool
is_of_limit(const ErrorData *error, int limit)
{
	TimestampTz end = TimestampTzPlusMilliseconds(get_timeout_start_time(LOCK_TIMEOUT), limit);

	return limit > 0 && get_timeout_finish_time(LOCK_TIMEOUT) == end && error->message_id != NULL &&
		strcmp(error->message_id, "canceling statement due to lock timeout") == 0;
}

static bool
lost_race(const OcqAttempt *attempt, const ErrorData *error, int limit)
{
	if (attempt->runs_handler && error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE)
		return is_of_limit(error, limit);
	return ocq_is_lost_race(error->sqlerrcode);
}

static bool
was_cancelled_by_session(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_QUERY_CANCELED && MyBackendType != B_BG_WORKER;
}

/* ocq_attempt returns whether the work has succeeded. */
bool
ocq_attempt(OcqAttempt *attempt, void (*work) (void *argument), void *argument)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile int limit = 0;

	attempt->error = NULL;
	attempt->lost_race = false;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		int			level = NewGUCNestLevel();

		ocq_scope_set("lock_timeout", attempt->lock_timeout);
		limit = attempt->lock_timeout == NULL ? 0 : LockTimeout;
		work(argument);
		ocq_check_own_deferred_constraints();
		AtEOXact_GUC(true, level);
		if (attempt->keeps_nothing)
			RollbackAndReleaseCurrentSubTransaction();
		else
			ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		attempt->error = CopyErrorData();
		attempt->lost_race = lost_race(attempt, attempt->error, limit);
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	if (attempt->error != NULL && was_cancelled_by_session(attempt->error))
		ReThrowError(attempt->error);
	return attempt->error == NULL;
}
