/*-------------------------------------------------------------------------
 * shape.c
 *	  Statements that are put together at run time, kept by their shape.
 *
 * A query with optional criteria has more shapes than could be written down as
 * static statements, and an application uses few of them.  Those are kept for the
 * session, each parsed once; when there is no room for another one, the least recently
 * used statement is evicted.  The one in use is the newest, so it is never evicted.
 *
 * A shape is a number that its user makes of all that the text depends on: equal
 * shapes have equal texts.  Only search_text.c has any so far.
 *
 * Where the best plan depends on the parameters, a statement is planned for the values
 * of each execution (statement.c).
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "query/shape.h"
#include "utils/memutils.h"

/* A kept statement takes 20 kB.  So few are found as fast without a hash table. */
#define MAX_SHAPES 96

typedef struct Slot
{
	uint64		shape;
	uint64		last_use;		/* 0: the slot is free */
	OcqStatement statement;
} Slot;

static Slot slots[MAX_SHAPES];
static uint64 uses = 0;
static MemoryContext texts = NULL;

/* ocq_shape_find returns the statement of a shape, or NULL if it is not kept. */
OcqStatement *
ocq_shape_find(uint64 shape)
{
	for (int i = 0; i < MAX_SHAPES; i++)
	{
		if (slots[i].last_use == 0 || slots[i].shape != shape)
			continue;
		slots[i].last_use = ++uses;
		return &slots[i].statement;
	}
	return NULL;
}

static Slot *
oldest_slot(void)
{
	Slot	   *oldest = &slots[0];

	for (int i = 1; i < MAX_SHAPES; i++)
		if (slots[i].last_use < oldest->last_use)
			oldest = &slots[i];
	return oldest;
}

static void
clear(Slot *slot)
{
	if (slot->statement.plan != NULL)
		(void) SPI_freeplan(slot->statement.plan);
	if (slot->statement.sql != NULL)
		pfree(unconstify(char *, slot->statement.sql));
	memset(slot, 0, sizeof(Slot));
}

/*
 * ocq_shape_keep makes the statement of a shape that is not kept yet.  It copies
 * the text.  The statement is good until the next call.
 */
OcqStatement *
ocq_shape_keep(uint64 shape, const char *sql, const Oid *argtypes, int nargs,
			   bool depends_on_values)
{
	Slot	   *slot = oldest_slot();
	char	   *copy;

	if (texts == NULL)
		texts = AllocSetContextCreate(TopMemoryContext, "order_cqrs shapes", ALLOCSET_SMALL_SIZES);
	copy = MemoryContextStrdup(texts, sql);

	Assert(nargs <= OCQ_STATEMENT_MAX_ARGS);
	clear(slot);
	slot->shape = shape;
	slot->last_use = ++uses;
	slot->statement.sql = copy;
	slot->statement.nargs = nargs;
	slot->statement.depends_on_values = depends_on_values;
	slot->statement.shares_snapshot = true;
	memcpy(slot->statement.argtypes, argtypes, nargs * sizeof(Oid));
	return &slot->statement;
}
