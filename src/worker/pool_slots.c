/*-------------------------------------------------------------------------
 * pool_slots.c
 *	  The slots of the pool, and the roles that have them.
 *
 * A pool worker logs in as the role that has sent the futures.  One is started for a role
 * at a time, until there are order_cqrs.bus_workers.  The last slot is for another role
 * than the one that has the others, so that one role's long futures do not hold up all.
 * If a role has no worker and no slot is free, a worker is asked to make room.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker/database.h"

/* A role whose worker has failed before it could look for futures is not served for so long. */
#define PAUSE_MS 5000

#define WARN_EVERY_MS 60000

/* A worker that an earlier runner has started has no handle. */
typedef struct Slot
{
	BackgroundWorkerHandle *handle;
	Oid			role;			/* that a worker was last started for */
	TimestampTz pause_until;	/* of that role */
} Slot;

static Slot slots[OCQ_MAX_BUS_WORKERS];

static bool is_out_of_slots = false;	/* of the server: a worker could not be started */

/* process_of returns the shared memory of a slot's worker, perhaps of the last one. */
static OcqProcessSlot *
process_of(int slot)
{
	return &ocq_database_entered->processes[OCQ_FIRST_POOL + slot];
}

/* ocq_pool_reap tells whether a pool worker has ended since the last call. */
bool
ocq_pool_reap(void)
{
	bool		has_reaped = false;
	pid_t		pid;

	for (int i = 0; i < OCQ_MAX_BUS_WORKERS; i++)
	{
		if (slots[i].handle == NULL ||
			GetBackgroundWorkerPid(slots[i].handle, &pid) != BGWH_STOPPED)
			continue;
		pfree(slots[i].handle);
		slots[i].handle = NULL;
		if (!process_of(i)->is_proven)
			slots[i].pause_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), PAUSE_MS);
		has_reaped = true;
	}
	return has_reaped;
}

static bool
is_free(int slot)
{
	return slots[slot].handle == NULL && process_of(slot)->pid == 0;
}

/* The workers of a role. */
typedef struct Presence
{
	int			count;			/* with the one that is starting */
	bool		is_starting;
	bool		is_paused;
	bool		has_left;		/* a slot that is still free */
} Presence;

static Presence
presence_of(Oid role)
{
	Presence	presence = {0};

	for (int i = 0; i < OCQ_MAX_BUS_WORKERS; i++)
	{
		Oid			logged_in = process_of(i)->role;

		if (!is_free(i) && logged_in == role)
			presence.count++;
		if (i < ocq_bus_workers && is_free(i) && slots[i].role == role)
			presence.has_left = true;
		if (slots[i].handle != NULL && slots[i].role == role && !OidIsValid(logged_in))
		{
			presence.is_starting = true;
			presence.count++;
		}
		if (slots[i].role == role && slots[i].pause_until > GetCurrentTimestamp())
			presence.is_paused = true;
	}
	return presence;
}

/* most_of_one_role leaves a slot to others, if there is more than one. */
static int
most_of_one_role(void)
{
	return Max(ocq_bus_workers - 1, 1);
}

static void
warn_of_slots(void)
{
	static TimestampTz last_warning = 0;

	if (!TimestampDifferenceExceeds(last_warning, GetCurrentTimestamp(), WARN_EVERY_MS))
		return;
	last_warning = GetCurrentTimestamp();
	ereport(WARNING,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("could not start a pool worker of order_cqrs"),
			 errdetail("All background worker slots are in use."),
			 errhint("Increase max_worker_processes.")));
}

/* start_worker returns false if there is no room. */
static bool
start_worker(Oid role)
{
	for (int i = 0; i < ocq_bus_workers; i++)
	{
		OcqProcess	process = {.number = OCQ_FIRST_POOL + i, .role = role};
		MemoryContext old;
		bool		started;

		if (!is_free(i))
			continue;
		process_of(i)->role = InvalidOid;
		process_of(i)->is_proven = false;
		old = MemoryContextSwitchTo(TopMemoryContext);
		started = ocq_process_start(MyDatabaseId, process, &slots[i].handle);
		MemoryContextSwitchTo(old);
		if (started)
			slots[i] = (Slot) {slots[i].handle, role, 0};
		else
		{
			slots[i].handle = NULL;
			is_out_of_slots = true;
			warn_of_slots();
		}
		return started;
	}
	return false;
}

/* start_each returns false as soon as there is no room. */
static bool
start_each(List *roles)
{
	ListCell   *cell;

	foreach(cell, roles)
	{
		if (!start_worker(lfirst_oid(cell)))
			return false;
	}
	return true;
}

/*
 * ocq_pool_serve is handed the roles whose futures wait, the most urgent first.  Roles
 * without a worker go first, and of these last the ones that have just given up a slot to
 * others.  With one idle worker woken, or one started, a role has enough for now: each
 * send wakes, or asks for, the next.
 */
void
ocq_pool_serve(List *roles)
{
	List	   *absent = NIL;
	List	   *returning = NIL;
	List	   *present = NIL;
	bool		has_room;
	ListCell   *cell;

	is_out_of_slots = false;
	foreach(cell, roles)
	{
		Oid			role = lfirst_oid(cell);
		Presence	presence = presence_of(role);

		if (presence.is_starting || presence.is_paused || ocq_pool_wake_idle(role))
			continue;
		if (presence.count >= most_of_one_role())
			continue;
		if (presence.count > 0)
			present = lappend_oid(present, role);
		else if (presence.has_left)
			returning = lappend_oid(returning, role);
		else
			absent = lappend_oid(absent, role);
	}
	has_room = start_each(absent) && start_each(returning);
	ocq_pool_set_short(!has_room && ocq_bus_workers > 0);
	if (has_room)
		(void) start_each(present);
}

/* ocq_pool_is_out_of_slots tells whether a worker could not be started at the last call of ocq_pool_serve. */
bool
ocq_pool_is_out_of_slots(void)
{
	return is_out_of_slots;
}

bool
ocq_pool_has_worker(void)
{
	for (int i = 0; i < OCQ_MAX_BUS_WORKERS; i++)
		if (!is_free(i))
			return true;
	return false;
}
