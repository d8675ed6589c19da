/*-------------------------------------------------------------------------
 * wakeup.c
 *	  Waking the processes that follow the log.
 *
 * A commit counts itself and sets the latches of its database's synchroniser and
 * runner.  A latch alone would not do: each wait for a heavyweight lock resets it.  So a
 * process reads the count before it looks at the log, and sleeps only if the count is
 * still the same afterwards.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "worker/database.h"

/*
 * ocq_database_wake is called after a commit in the current database.  With looks_over
 * sync projections may be behind, too.
 */
void
ocq_database_wake(bool looks_over)
{
	OcqDatabaseSlot *slot = ocq_database_own();

	if (slot == NULL)
		return;
	if (looks_over)
		pg_atomic_write_u32(&slot->is_to_look_over, 1);
	(void) pg_atomic_fetch_add_u64(&slot->log_changes, 1);
	ocq_process_wake(&slot->processes[OCQ_SYNCHRONISER]);
	ocq_process_wake(&slot->processes[OCQ_RUNNER]);
}

uint64
ocq_database_log_changes(void)
{
	return pg_atomic_read_u64(&ocq_database_entered->log_changes);
}

/* ocq_database_take_look_over tells whether a commit has asked for it since the last call. */
bool
ocq_database_take_look_over(void)
{
	return pg_atomic_exchange_u32(&ocq_database_entered->is_to_look_over, 0) != 0;
}
