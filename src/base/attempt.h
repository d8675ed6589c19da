/*-------------------------------------------------------------------------
 * attempt.h
 *	  Runs work in a subtransaction, so that its error leaves nothing behind.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_BASE_ATTEMPT_H
#define OCQ_BASE_ATTEMPT_H

typedef struct OcqAttempt
{
	/* The policy, which the caller sets. */
	const char *lock_timeout;	/* of each wait in the attempt; NULL: that in force */
	bool		runs_handler;	/* the work is a user's: errors that it raises itself are failures */
	bool		keeps_nothing;	/* rolled back even when it succeeds, so that it holds no lock */

	/* The outcome. */
	ErrorData  *error;			/* NULL: none; in the caller's memory */
	bool		lost_race;		/* the error is that another transaction was in the way */
} OcqAttempt;

extern bool ocq_attempt(OcqAttempt *attempt, void (*work) (void *argument), void *argument);

#endif							/* OCQ_BASE_ATTEMPT_H */
