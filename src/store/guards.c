/*-------------------------------------------------------------------------
 * guards.c
 *	  Triggers that fire always, also in replica sessions, and are kept so.
 *
 * ALTER TABLE ... ENABLE TRIGGER ALL, which pg_restore --disable-triggers runs, makes
 * them ordinary ones.  That tells of a restore (restore.c), and leaves events that can be
 * changed, so the worker sets it right.  ENABLE ALWAYS locks the table: the worker waits
 * for that lock for a moment, and comes back.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "base/catalog.h"
#include "base/errors.h"
#include "base/scope.h"
#include "base/statement.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "store/store.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#define WARN_EVERY_MS 600000

/* How long appends may be held up for the sake of events_append_only. */
#define LOCK_TIMEOUT "100ms"

static OcqStatement select_disabled =
OCQ_STATEMENT_NOARGS("SELECT string_agg(format('%I on %s', t.tgname, t.tgrelid::regclass), ', '"
					 " ORDER BY t.tgrelid::regclass::text, t.tgname)"
					 " FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid"
					 " WHERE t.tgenabled = 'D' AND NOT t.tgisinternal"
					 " AND p.pronamespace = 'order_cqrs'::regnamespace");

/* A trigger that fires always, and so guards a table. */
typedef struct Guard
{
	OcqRelation relation;
	const char *name;
	OcqStatement enable;
} Guard;

static Guard guards[] = {
	{
		OCQ_REL_ORDER_SAGA, "saga_restore",
		OCQ_STATEMENT_NOARGS("ALTER TABLE order_cqrs.order_saga ENABLE ALWAYS TRIGGER saga_restore")
	},
	{
		OCQ_REL_BUS_FUTURE, "restore_arrive",
		OCQ_STATEMENT_NOARGS("ALTER TABLE order_cqrs.bus_future ENABLE ALWAYS TRIGGER restore_arrive")
	},
	{
		OCQ_REL_EVENTS, "events_append_only",
		OCQ_STATEMENT_NOARGS("ALTER TABLE order_cqrs.events ENABLE ALWAYS TRIGGER events_append_only")
	}
};

/* guard_state returns how a trigger fires, as pg_trigger has it; one that is not there guards nothing. */
static char
guard_state(const Guard *guard)
{
	Relation	relation = relation_open(ocq_catalog_relation(guard->relation), AccessShareLock);
	TriggerDesc *triggers = relation->trigdesc;
	char		state = TRIGGER_FIRES_ALWAYS;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
		if (strcmp(triggers->triggers[i].tgname, guard->name) == 0)
			state = triggers->triggers[i].tgenabled;
	relation_close(relation, AccessShareLock);
	return state;
}

/* ocq_guards_are_lifted tells whether one of them does not fire always. */
bool
ocq_guards_are_lifted(void)
{
	for (int i = 0; i < (int) lengthof(guards); i++)
		if (guard_state(&guards[i]) != TRIGGER_FIRES_ALWAYS)
			return true;
	return false;
}

/* ocq_guards_are_disabled tells whether one of them does not fire at all. */
bool
ocq_guards_are_disabled(void)
{
	for (int i = 0; i < (int) lengthof(guards); i++)
		if (guard_state(&guards[i]) == TRIGGER_DISABLED)
			return true;
	return false;
}

/* enable_soon returns false if it could not have the lock. */
static bool
enable_soon(Guard *guard)
{
	volatile bool done = true;
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	int			level = NewGUCNestLevel();

	ocq_scope_set("lock_timeout", LOCK_TIMEOUT);
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		(void) ocq_statement_run(&guard->enable, NULL, NULL);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		if (!ocq_is_lost_race(error->sqlerrcode))
			ReThrowError(error);
		done = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	AtEOXact_GUC(true, level);
	return done;
}

/*
 * mend_guards has triggers fire always again.  One that is disabled was disabled by
 * somebody, and is left to him.  events is the last, as each table stays locked until the
 * transaction ends.
 */
static void
mend_guards(void)
{
	for (int i = 0; i < (int) lengthof(guards); i++)
	{
		char		state = guard_state(&guards[i]);

		if (state == TRIGGER_FIRES_ALWAYS || state == TRIGGER_DISABLED || !enable_soon(&guards[i]))
			continue;
		ereport(WARNING,
				(errcode(OCQ_ERR_TRIGGER_DISABLED),
				 errmsg("trigger %s did not fire in replica sessions and has been set right", guards[i].name),
				 errdetail("ALTER TABLE ... ENABLE TRIGGER ALL, which pg_restore --disable-triggers runs, makes it an ordinary one."),
				 errhint("If rows were restored without triggers, call projection_verify for each projection.")));
	}
}

static void
warn_of_disabled_triggers(void)
{
	static TimestampTz last_warned = 0;

	(void) ocq_statement_run(&select_disabled, NULL, NULL);
	if (ocq_row_is_null(0, 1) || !TimestampDifferenceExceeds(last_warned, GetCurrentTimestamp(), WARN_EVERY_MS))
		return;
	last_warned = GetCurrentTimestamp();
	ereport(WARNING,
			(errcode(OCQ_ERR_TRIGGER_DISABLED),
			 errmsg("triggers of order_cqrs are disabled: %s", TextDatumGetCString(ocq_row_datum(0, 1))),
			 errdetail("Projections fall behind the events, or events can be changed."),
			 errhint("Enable them: ALTER TABLE ... ENABLE TRIGGER ....")));
}

/* ocq_guards_look_after is called by the runner, in a scope, while nothing is being restored. */
void
ocq_guards_look_after(void)
{
	mend_guards();
	warn_of_disabled_triggers();
}
