/*-------------------------------------------------------------------------
 * cache.c
 *	  Answers of queries, kept for all sessions.
 *
 * Answers of order_get and of customer_orders, by page, are kept in shared memory with
 * their question, until a session commits a change of the order, or of an order of the
 * customer.  base/stamps.c argues that no answer is ever stale, under these conditions:
 *
 *	- a question is asked, which reads the stamps, before the statement that answers
 *	  it takes its snapshot (statement.c takes a new one);
 *	- a transaction that has an id may have written, and then sees its own changes: it
 *	  neither takes nor keeps answers.  So it sees these changes, also those by hand,
 *	  and no other session does;
 *	- under REPEATABLE READ and SERIALIZABLE the snapshot is older: the same.
 *
 * The key holds the function's OID, so that an extension that was dropped, or an
 * update's function with other columns, does not get the answers of the one before.
 *
 * A user who writes the read tables by hand calls cache_clear.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "access/xact.h"
#include "base/argument.h"
#include "common/hashfn.h"
#include "executor/tuptable.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "query/cache.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(ocq_cache_counters);
PG_FUNCTION_INFO_V1(ocq_cache_clear);

/* The beginning of a key; the two ids follow. */
typedef struct KeyHead
{
	Oid			database;
	Oid			function;
	int64		offset;
	int32		size;
	int32		tenant_length;
} KeyHead;

StaticAssertDecl(sizeof(KeyHead) + 2 * OCQ_ID_MAX_BYTES <= sizeof(((OcqQuestion *) NULL)->key_data),
				 "a key has room for the longest ids");

static bool
may_use_cache(void)
{
	return ocq_cache_store_exists() && !IsolationUsesXactSnapshot() &&
		!TransactionIdIsValid(GetTopTransactionIdIfAny());
}

static char *
add_id(char *end, const text *id)
{
	memcpy(end, VARDATA_ANY(id), VARSIZE_ANY_EXHDR(id));
	return end + VARSIZE_ANY_EXHDR(id);
}

static void
make_key(OcqQuestion *question, FunctionCallInfo fcinfo, const text *tenant_id, const text *id,
		 int64 offset, int64 size)
{
	KeyHead		head = {
		.database = MyDatabaseId,
		.function = fcinfo->flinfo->fn_oid,
		.offset = offset,
		.size = (int32) size,
		.tenant_length = VARSIZE_ANY_EXHDR(tenant_id)
	};
	char	   *end = question->key_data + sizeof(head);

	memcpy(question->key_data, &head, sizeof(head));
	end = add_id(add_id(end, tenant_id), id);
	question->key.data = question->key_data;
	question->key.length = end - question->key_data;
	question->key.hash = hash_bytes_extended((const unsigned char *) question->key_data,
											 question->key.length, 0);
}

/* ocq_cache_ask_order is the question of order_get. */
void
ocq_cache_ask_order(OcqQuestion *question, FunctionCallInfo fcinfo, const text *tenant_id,
					const text *order_id)
{
	question->is_usable = may_use_cache() &&
		ocq_stamps_read(OCQ_SUBJECT_ORDER, tenant_id, order_id, &question->stamps);
	if (question->is_usable)
		make_key(question, fcinfo, tenant_id, order_id, 0, 0);
}

/* ocq_cache_ask_page is the question of customer_orders, for a page by its number. */
void
ocq_cache_ask_page(OcqQuestion *question, FunctionCallInfo fcinfo, const text *tenant_id,
				   const text *customer_id, const OcqPage *page)
{
	question->is_usable = page->after == NULL && may_use_cache() &&
		ocq_stamps_read(OCQ_SUBJECT_CUSTOMER, tenant_id, customer_id, &question->stamps);
	if (question->is_usable)
		make_key(question, fcinfo, tenant_id, customer_id, page->offset, page->size);
}

/*
 * One row.
 */

/* A row type's number means nothing to other sessions: this is ours. */
static int32
row_typmod(FunctionCallInfo fcinfo)
{
	static Oid	function = InvalidOid;
	static int32 typmod = -1;

	if (function != fcinfo->flinfo->fn_oid)
	{
		TupleDesc	descriptor;

		if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "a row is returned where none is expected");
		typmod = BlessTupleDesc(descriptor)->tdtypmod;
		function = fcinfo->flinfo->fn_oid;
	}
	return typmod;
}

/* ocq_cache_take_row returns false if there is no answer. */
bool
ocq_cache_take_row(const OcqQuestion *question, FunctionCallInfo fcinfo, Datum *row)
{
	HeapTupleHeader tuple;
	uint32		length;

	if (!question->is_usable)
		return false;
	tuple = ocq_cache_store_find(&question->key, &length);
	if (tuple == NULL)
		return false;
	HeapTupleHeaderSetTypMod(tuple, row_typmod(fcinfo));
	*row = HeapTupleHeaderGetDatum(tuple);
	return true;
}

/* ocq_cache_keep_row keeps the answer.  The row must have all of its data in it. */
void
ocq_cache_keep_row(const OcqQuestion *question, Datum row)
{
	HeapTupleHeader tuple = DatumGetHeapTupleHeader(row);

	if (question->is_usable && !HeapTupleHeaderHasExternal(tuple))
		ocq_cache_store_put(&question->key, &question->stamps, tuple,
							HeapTupleHeaderGetDatumLength(tuple));
}

/*
 * Many rows: minimal tuples, one behind the other.
 */

/* ocq_cache_take_rows puts the answer into the function's result, or returns false. */
bool
ocq_cache_take_rows(const OcqQuestion *question, FunctionCallInfo fcinfo)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	TupleTableSlot *slot;
	char	   *data;
	uint32		length;

	if (!question->is_usable)
		return false;
	data = ocq_cache_store_find(&question->key, &length);
	if (data == NULL)
		return false;
	slot = MakeSingleTupleTableSlot(result->setDesc, &TTSOpsMinimalTuple);
	for (uint32 offset = 0; offset < length;)
	{
		MinimalTuple tuple = (MinimalTuple) (data + offset);

		ExecStoreMinimalTuple(tuple, slot, false);
		tuplestore_puttupleslot(result->setResult, slot);
		offset += MAXALIGN(tuple->t_len);
	}
	ExecDropSingleTupleTableSlot(slot);
	pfree(data);
	return true;
}

/* add_rows returns false if a row has data in a TOAST table. */
static bool
add_rows(StringInfo data, const ReturnSetInfo *result)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(result->setDesc, &TTSOpsMinimalTuple);
	bool		is_whole = true;

	while (is_whole && tuplestore_gettupleslot(result->setResult, true, false, slot))
	{
		bool		should_free;
		MinimalTuple tuple = ExecFetchSlotMinimalTuple(slot, &should_free);

		is_whole = (tuple->t_infomask & HEAP_HASEXTERNAL) == 0;
		appendBinaryStringInfo(data, (char *) tuple, tuple->t_len);
		while (data->len != (int) MAXALIGN(data->len))
			appendStringInfoChar(data, '\0');
	}
	ExecDropSingleTupleTableSlot(slot);
	return is_whole;
}

/* ocq_cache_keep_rows keeps the rows of the function's result. */
void
ocq_cache_keep_rows(const OcqQuestion *question, FunctionCallInfo fcinfo)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	StringInfoData data;

	if (!question->is_usable)
		return;
	initStringInfo(&data);
	if (add_rows(&data, result))
		ocq_cache_store_put(&question->key, &question->stamps, data.data, data.len);
	tuplestore_rescan(result->setResult);
	pfree(data.data);
}

/*
 * For the administrator.
 */

/* cache_counters() returns the columns of the view cache_stats. */
Datum
ocq_cache_counters(PG_FUNCTION_ARGS)
{
	OcqCacheStats stats = ocq_cache_store_stats();
	Datum		values[] = {
		Int64GetDatum(stats.hits), Int64GetDatum(stats.misses), Int64GetDatum(stats.stale),
		Int64GetDatum(stats.fills), Int64GetDatum(stats.evictions), Int64GetDatum(stats.entries),
		Int64GetDatum(stats.bytes), Int64GetDatum(stats.size)
	};
	bool		nulls[lengthof(values)] = {false};
	TupleDesc	descriptor;

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "a row is returned where none is expected");
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls)));
}

/* cache_clear() takes effect when the transaction commits, as the user's changes do. */
Datum
ocq_cache_clear(PG_FUNCTION_ARGS)
{
	ocq_stamps_announce_all();
	PG_RETURN_VOID();
}
