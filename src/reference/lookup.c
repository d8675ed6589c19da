/*-------------------------------------------------------------------------
 * lookup.c
 *	  Finds customers and products, from a copy that each session keeps.
 *
 * Every command checks its customer and products, and every write to a read
 * table copies their names.  A session keeps those that it has seen, so that a
 * command need not look them up again.
 *
 * Why no copy outlives a change.  Say T renames a customer.  It locks the table
 * (RowExclusiveLock, held until it ends), writes the new name, and then announces the
 * change to all sessions at once, and once more when it commits.  Sessions hear of
 * announcements when they take a lock that they do not have, or ask.  The second one
 * comes too late for some: T's rows are visible a moment before it, in which others
 * must not use the old name any more.  The first one comes in time, if no session makes
 * a new copy of the old name between the two.  So a session keeps a row that it reads
 * only if, before it took its snapshot, no transaction that was not visible yet held the
 * table's lock.
 *
 * Proof: let a session use an old copy after T is visible, and after it has asked
 * for announcements since then.  It has asked since T's first announcement, so it made
 * the copy after that (or it would have dropped it, or not kept it, as the generation
 * had moved while it read).  So T held the lock before the copy was read, and, as the
 * copy is an old one, was not visible when it was read: it was not kept.
 *
 * Why a name copied to a read table does not stay stale.  Say T has its event at
 * position p, and W writes a row with the old name.  The worker, before it handles p,
 * waits for the horizon, so for T, and then for all appenders.  W drew its position,
 * and with it took a lock, before it looked up the name.  If it did so before T was
 * visible, the worker has waited for W, too, and renews the name in its row when it
 * handles p, as soon as it wakes (synchroniser.c).  If it did so after, W has the new
 * name.  For an async projection W is the worker itself, which handles p with this
 * batch or a later one.
 *
 * Orders that have a row do not wait for the worker.  A transaction that writes names
 * into one locks it first, asks for announcements, and then looks up the names; T, too,
 * locks the rows that it renews.  One of the two comes second and sees the other's change.
 *
 * A lookup that misses the copy reads with the latest snapshot, as the argument
 * also has to hold under REPEATABLE READ.
 *
 * Absence is not kept: a new customer needs no announcement.  A transaction that
 * has changed reference data keeps nothing until it ends.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/argument.h"
#include "base/catalog.h"
#include "base/errors.h"
#include "base/statement.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "reference/reference.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"

/* One session keeps about this much at most; then it starts over. */
#define MAX_KEPT_BYTES (8 * 1024 * 1024)

/* kind, length of the tenant's id, tenant's id, id: unambiguous and without NUL bytes. */
#define KEY_BYTES (2 + 2 * OCQ_ID_MAX_BYTES + 1)

typedef struct KeptReference
{
	char		key[KEY_BYTES];
	text	   *name;
	text	   *attribute;
} KeptReference;

static HTAB *kept = NULL;
static MemoryContext kept_context = NULL;
static uint64 kept_generation = 0;
static bool changed_in_transaction = false;

#define SELECT_REFERENCES(table, id, attribute) \
	OCQ_STATEMENT("SELECT k.number, t.name, t." attribute " FROM unnest($1, $2, $3) AS k (number, tenant_id, id)" \
				  " JOIN order_cqrs." table " t ON t.tenant_id = k.tenant_id AND t." id " = k.id", \
				  INT4ARRAYOID, TEXTARRAYOID, TEXTARRAYOID)

static OcqStatement select_customers = SELECT_REFERENCES("customers", "customer_id", "email");
static OcqStatement select_products = SELECT_REFERENCES("products", "product_id", "category");

/* forget_own_changes runs at the end of each transaction that changed reference data. */
static void
forget_own_changes(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		changed_in_transaction = false;
}

void
ocq_reference_init(void)
{
	RegisterXactCallback(forget_own_changes, NULL);
}

/*
 * ocq_reference_changed is called by the writer of customers and products, after it has
 * written; with announce if it may have changed or removed a row that others keep a
 * copy of.
 */
void
ocq_reference_changed(bool announce)
{
	changed_in_transaction = true;
	if (!announce)
		return;
	ocq_catalog_announce_now(OCQ_REL_CUSTOMERS);
	ocq_catalog_announce(OCQ_REL_CUSTOMERS);
}

/* is_being_changed tells whether a transaction that is not visible yet may have written the table. */
static bool
is_being_changed(OcqReferenceKind kind)
{
	LOCKTAG		tag;
	VirtualTransactionId *holders;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId,
						 ocq_catalog_relation(kind == OCQ_REFERENCE_CUSTOMER ?
											  OCQ_REL_CUSTOMERS : OCQ_REL_PRODUCTS));
	holders = GetLockConflicts(&tag, ShareLock, NULL);
	return VirtualTransactionIdIsValid(holders[0]);
}

static void
start_over(void)
{
	HASHCTL		control = {
		.keysize = KEY_BYTES,
		.entrysize = sizeof(KeptReference)
	};

	if (kept_context == NULL)
		kept_context = AllocSetContextCreate(TopMemoryContext, "order_cqrs reference data",
											 ALLOCSET_DEFAULT_SIZES);
	kept = NULL;
	MemoryContextReset(kept_context);
	control.hcxt = kept_context;
	kept = hash_create("order_cqrs reference data", 256, &control,
					   HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	kept_generation = ocq_catalog_generation(OCQ_REL_CUSTOMERS);
}

/*
 * may_exist is false for ids that no command accepts.  An event that came from
 * elsewhere may have one, and a key has no room for it.
 */
static bool
may_exist(const OcqReference *reference)
{
	size_t		tenant_length = VARSIZE_ANY_EXHDR(reference->tenant_id);
	size_t		id_length = VARSIZE_ANY_EXHDR(reference->id);

	return tenant_length >= 1 && tenant_length <= OCQ_ID_MAX_BYTES &&
		id_length >= 1 && id_length <= OCQ_ID_MAX_BYTES;
}

static void
make_key(char *key, OcqReferenceKind kind, const OcqReference *reference)
{
	int			tenant_length = VARSIZE_ANY_EXHDR(reference->tenant_id);
	int			id_length = VARSIZE_ANY_EXHDR(reference->id);

	*key++ = kind == OCQ_REFERENCE_CUSTOMER ? 'c' : 'p';
	*key++ = (char) tenant_length;
	memcpy(key, VARDATA_ANY(reference->tenant_id), tenant_length);
	key += tenant_length;
	memcpy(key, VARDATA_ANY(reference->id), id_length);
	key[id_length] = '\0';
}

static void
look_among_kept(OcqReferenceKind kind, OcqReference *reference)
{
	char		key[KEY_BYTES];
	KeptReference *entry;

	if (!may_exist(reference))
		return;
	make_key(key, kind, reference);
	entry = hash_search(kept, key, HASH_FIND, NULL);
	if (entry == NULL)
		return;
	reference->found = true;
	reference->name = ocq_text_copy(entry->name);
	reference->attribute = ocq_text_copy(entry->attribute);
}

static void
keep(OcqReferenceKind kind, const OcqReference *reference)
{
	char		key[KEY_BYTES];
	KeptReference *entry;
	MemoryContext old;
	text	   *name;
	text	   *attribute;

	make_key(key, kind, reference);
	if (hash_search(kept, key, HASH_FIND, NULL) != NULL)
		return;

	/* Copied first, as an entry must be complete even if a step fails. */
	old = MemoryContextSwitchTo(kept_context);
	name = ocq_text_copy(reference->name);
	attribute = ocq_text_copy(reference->attribute);
	MemoryContextSwitchTo(old);
	entry = hash_search(kept, key, HASH_ENTER, NULL);
	entry->name = name;
	entry->attribute = attribute;
}

/* read_missing reads the references that are not found yet, with one statement. */
static void
read_missing(OcqReferenceKind kind, OcqReference *references, int count)
{
	Datum	   *numbers = palloc_array(Datum, count);
	Datum	   *tenants = palloc_array(Datum, count);
	Datum	   *ids = palloc_array(Datum, count);
	Datum		values[3];
	int			missing = 0;
	uint64		rows;

	for (int i = 0; i < count; i++)
	{
		if (references[i].found)
			continue;
		numbers[missing] = Int32GetDatum(i);
		tenants[missing] = PointerGetDatum(references[i].tenant_id);
		ids[missing] = PointerGetDatum(references[i].id);
		missing++;
	}
	if (missing == 0)
		return;

	values[0] = ocq_array(numbers, NULL, missing, INT4OID);
	values[1] = ocq_array(tenants, NULL, missing, TEXTOID);
	values[2] = ocq_array(ids, NULL, missing, TEXTOID);
	rows = ocq_statement_run_latest(kind == OCQ_REFERENCE_CUSTOMER ?
									&select_customers : &select_products, values, NULL);
	for (uint64 row = 0; row < rows; row++)
	{
		OcqReference *reference = &references[DatumGetInt32(ocq_row_datum(row, 1))];

		reference->found = true;
		reference->name = DatumGetTextPP(ocq_row_datum(row, 2));
		reference->attribute = DatumGetTextPP(ocq_row_datum(row, 3));
	}
}

/*
 * ocq_reference_lookup fills in found, name and attribute of each reference, in
 * the current memory context or SPI's.
 */
void
ocq_reference_lookup(OcqReferenceKind kind, OcqReference *references, int count)
{
	bool		keeping;
	int			old_count;
	uint64		generation;

	if (kept == NULL || changed_in_transaction ||
		kept_generation != ocq_catalog_generation(OCQ_REL_CUSTOMERS) ||
		MemoryContextMemAllocated(kept_context, true) > MAX_KEPT_BYTES)
		start_over();
	generation = kept_generation;

	old_count = 0;
	for (int i = 0; i < count; i++)
	{
		references[i].found = false;
		look_among_kept(kind, &references[i]);
		old_count += references[i].found ? 1 : 0;
	}
	if (old_count == count)
		return;

	keeping = !changed_in_transaction && !is_being_changed(kind);
	read_missing(kind, references, count);

	/* The rows that we read may or may not have a change that was announced meanwhile. */
	AcceptInvalidationMessages();
	if (!keeping || generation != ocq_catalog_generation(OCQ_REL_CUSTOMERS))
		return;
	for (int i = 0; i < count; i++)
		if (references[i].found && may_exist(&references[i]))
			keep(kind, &references[i]);
}

static const char *
place_of(OcqReferenceKind kind, const OcqReference *reference, int number, const text *order_id)
{
	const char *tenant_id = text_to_cstring(reference->tenant_id);

	if (order_id == NULL)
		return psprintf("Tenant \"%s\" has no product with this id.", tenant_id);
	if (kind == OCQ_REFERENCE_CUSTOMER)
		return psprintf("Order \"%s\" of tenant \"%s\" names it.", text_to_cstring(order_id), tenant_id);
	return psprintf("It is item %d of order \"%s\" of tenant \"%s\".", number,
					text_to_cstring(order_id), tenant_id);
}

/*
 * ocq_reference_require looks up the references, those of an order if order_id is not
 * NULL, and raises an error for the first that does not exist.
 */
void
ocq_reference_require(OcqReferenceKind kind, OcqReference *references, int count,
					  const text *order_id)
{
	bool		is_customer = kind == OCQ_REFERENCE_CUSTOMER;
	const char *noun = is_customer ? "customer" : "product";

	ocq_reference_lookup(kind, references, count);
	for (int i = 0; i < count; i++)
		if (!references[i].found)
			ereport(ERROR,
					(errcode(is_customer ? OCQ_ERR_UNKNOWN_CUSTOMER : OCQ_ERR_UNKNOWN_PRODUCT),
					 errmsg("%s \"%s\" does not exist", noun, text_to_cstring(references[i].id)),
					 errdetail_internal("%s", place_of(kind, &references[i], i + 1, order_id)),
					 errhint("Register the %s with %s_put first.", noun, noun)));
}

const char *
ocq_reference_attribute_key(OcqReferenceKind kind)
{
	return kind == OCQ_REFERENCE_CUSTOMER ? "email" : "category";
}

/* ocq_reference_text returns a string from an event's data, empty if it is not there. */
text *
ocq_reference_text(Jsonb *data, const char *key)
{
	JsonbValue	value;

	if (getKeyJsonValueFromContainer(&data->root, key, strlen(key), &value) == NULL ||
		value.type != jbvString)
		return cstring_to_text_with_len("", 0);
	return cstring_to_text_with_len(value.val.string.val, value.val.string.len);
}
