/*-------------------------------------------------------------------------
 * runner.c
 *	  The process that runs the saga of a database and starts its pool workers.
 *
 * Its rounds alternate: the pool's (pool_round.c), which starts workers for futures, and
 * the saga's (saga_round.c), which it runs itself.  It is woken by commits, by pool
 * workers that end, and by the postmaster when it has reaped one.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/wait_event.h"
#include "worker/worker.h"

void
ocq_runner_main(Datum arg)
{
	(void) ocq_process_begin(DatumGetObjectId(arg));
	ocq_process_use_own_settings();
	for (;;)
	{
		uint64		log_changes = ocq_database_log_changes();
		long		wait_ms = OCQ_UPKEEP_MS;
		bool		has_more;

		/* A commit during the work causes another round, though waits reset the latch (wakeup.c). */
		ResetLatch(MyLatch);
		ocq_process_reload_if_asked();

		ocq_pool_round_run();
		has_more = ocq_saga_round_run(&wait_ms);
		wait_ms = Min(wait_ms, ocq_pool_round_milliseconds());
		if (has_more || log_changes != ocq_database_log_changes())
			continue;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 wait_ms, PG_WAIT_EXTENSION);
	}
}
