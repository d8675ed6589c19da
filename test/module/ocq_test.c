/*-------------------------------------------------------------------------
 * ocq_test.c
 *	  Functions for the tests: a sequence whose tuple is torn, and a reader of it; and a
 *	  count of the statements that write the extension's tables.
 *
 * nextval() writes the value of its WAL record, up to 32 ahead of what was drawn, into
 * the sequence's tuple, inserts the record, and writes the true value.  All the while it
 * holds the buffer's content lock exclusively.  A reader that has no lock on the buffer
 * while it takes the value from the tuple can see the value of the record.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "commands/sequence.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(ocq_test_tear);
PG_FUNCTION_INFO_V1(ocq_test_overshoot);
PG_FUNCTION_INFO_V1(ocq_test_writes);

extern void _PG_init(void);

/* What nextval() logs ahead: SEQ_LOG_VALS in sequence.c. */
#define VALUES_AHEAD 32

/* The torn value stays for so many turns of an empty loop, some microseconds. */
#define TORN_TURNS 2000

static Form_pg_sequence_data
sequence_data(Buffer buffer)
{
	Page		page = BufferGetPage(buffer);
	ItemId		item = PageGetItemId(page, FirstOffsetNumber);

	return (Form_pg_sequence_data) ((char *) PageGetItem(page, item) +
									((HeapTupleHeader) PageGetItem(page, item))->t_hoff);
}

/*
 * tear_once holds a torn value in the tuple.  It takes the lock without queueing up, so
 * that it has it the instant that a reader has let go of it, which is when a reader
 * that takes the value too late takes it.
 */
static void
tear_once(Buffer buffer)
{
	volatile FormData_pg_sequence_data *data;

	while (!ConditionalLockBuffer(buffer))
		CHECK_FOR_INTERRUPTS();
	data = sequence_data(buffer);
	data->last_value += VALUES_AHEAD;
	for (volatile int turn = 0; turn < TORN_TURNS; turn++)
		;
	data->last_value -= VALUES_AHEAD;
	UnlockReleaseBuffer(buffer);
}

/*
 * ocq_test_tear(sequence regclass, milliseconds int) returns bigint
 *
 * It tears the value again and again, and returns how often.  Nobody may draw from the
 * sequence meanwhile, or a checkpoint write it.
 */
Datum
ocq_test_tear(PG_FUNCTION_ARGS)
{
	Relation	sequence = relation_open(PG_GETARG_OID(0), AccessShareLock);
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), PG_GETARG_INT32(1));
	int64		times = 0;

	while (GetCurrentTimestamp() < end)
	{
		tear_once(ReadBuffer(sequence, 0));
		times++;
		CHECK_FOR_INTERRUPTS();
	}
	relation_close(sequence, AccessShareLock);
	PG_RETURN_INT64(times);
}

/* last_drawn reads the true value. */
static int64
last_drawn(Relation sequence)
{
	Buffer		buffer = ReadBuffer(sequence, 0);
	int64		value;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	value = sequence_data(buffer)->is_called ? sequence_data(buffer)->last_value : 0;
	UnlockReleaseBuffer(buffer);
	return value;
}

/*
 * ocq_test_overshoot(reader regprocedure, sequence regclass, milliseconds int) returns text
 *
 * It calls the reader, such as event_horizon(), again and again.  It returns "exact" if no
 * answer was ahead of what was drawn after it, and else how many were, and how far.
 */
Datum
ocq_test_overshoot(PG_FUNCTION_ARGS)
{
	Oid			reader = PG_GETARG_OID(0);
	Relation	sequence = relation_open(PG_GETARG_OID(1), AccessShareLock);
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), PG_GETARG_INT32(2));
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "ocq_test reader",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext outer = MemoryContextSwitchTo(context);
	int64		reads = 0;
	int64		wrong = 0;
	int64		furthest = 0;

	while (GetCurrentTimestamp() < end)
	{
		int64		answer = DatumGetInt64(OidFunctionCall0(reader));
		int64		ahead = answer - last_drawn(sequence);

		reads++;
		if (ahead > 0)
			wrong++;
		furthest = Max(furthest, ahead);
		MemoryContextReset(context);
		CHECK_FOR_INTERRUPTS();
	}
	MemoryContextSwitchTo(outer);
	relation_close(sequence, AccessShareLock);
	elog(LOG, "ocq_test: %lld of %lld reads were ahead", (long long) wrong, (long long) reads);
	if (wrong == 0)
		PG_RETURN_TEXT_P(cstring_to_text("exact"));
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("%lld of %lld reads were ahead, by up to %lld",
											  (long long) wrong, (long long) reads, (long long) furthest)));
}

static ExecutorRun_hook_type previous_hook = NULL;
static int32 writes = 0;

#if PG_VERSION_NUM < 180000
#define EXECUTE_ONCE_PARAMETER , bool execute_once
#define EXECUTE_ONCE , execute_once
#else
#define EXECUTE_ONCE_PARAMETER
#define EXECUTE_ONCE
#endif

static void
count_writes(QueryDesc *query, ScanDirection direction, uint64 count EXECUTE_ONCE_PARAMETER)
{
	if (query->operation != CMD_SELECT &&
		(strstr(query->sourceText, "INSERT INTO order_cqrs.") != NULL ||
		 strstr(query->sourceText, "UPDATE order_cqrs.") != NULL))
		writes++;
	if (previous_hook != NULL)
		previous_hook(query, direction, count EXECUTE_ONCE);
	else
		standard_ExecutorRun(query, direction, count EXECUTE_ONCE);
}

void
_PG_init(void)
{
	previous_hook = ExecutorRun_hook;
	ExecutorRun_hook = count_writes;
}

/*
 * ocq_test_writes() returns int
 *
 * The number of statements of this session that have written the extension's tables since the
 * last call.
 */
Datum
ocq_test_writes(PG_FUNCTION_ARGS)
{
	int32		result = writes;

	writes = 0;
	PG_RETURN_INT32(result);
}
