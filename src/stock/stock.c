/*-------------------------------------------------------------------------
 * stock.c
 *	  The stock of products, and claiming it for orders.
 *
 * Claiming locks the rows of "inventory" of all its products, in the order of their ids,
 * and keeps them locked until the transaction ends.  So orders that share products queue
 * up and never deadlock; stock that is counted as available stays so until the
 * reservation is written; and under REPEATABLE READ and SERIALIZABLE a row that has
 * changed since the snapshot ends in SQLSTATE 40001.  (A row that was inserted since
 * does not: for that snapshot the product is unlimited, the order reserves nothing, and
 * comes before the stock.)  Rows change by the projection "inventory" alone, in the
 * transaction that appends the event.
 *
 * A product of which no stock was ever received has no row, and no limit.  A session
 * remembers the tenants that have no rows at all, so that tenants without inventory do
 * not pay for it; the writer of "inventory" announces (catalog.h) when that may have
 * changed.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "base/argument.h"
#include "base/catalog.h"
#include "base/errors.h"
#include "base/statement.h"
#include "catalog/pg_type.h"
#include "stock/stock.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

int			ocq_reserve_on = OCQ_RESERVE_ON_CREATE;

static const struct config_enum_entry reserve_on_options[] = {
	{"create", OCQ_RESERVE_ON_CREATE, false},
	{"saga", OCQ_RESERVE_ON_SAGA, false},
	{"off", OCQ_RESERVE_OFF, false},
	{NULL, 0, false}
};

static OcqStatement lock_stock =
OCQ_STATEMENT("SELECT product_id, available FROM order_cqrs.inventory"
			  " WHERE tenant_id = $1 AND product_id = ANY ($2)"
			  " ORDER BY product_id FOR NO KEY UPDATE",
			  TEXTOID, TEXTARRAYOID);

static OcqStatement select_any_stock =
OCQ_STATEMENT("SELECT 1 FROM order_cqrs.inventory WHERE tenant_id = $1 LIMIT 1", TEXTOID);

/* The tenants that are known to have no stock, as long as the generation lasts. */
static HTAB *unstocked = NULL;
static uint64 unstocked_generation = 0;

#define MAX_UNSTOCKED 10000

void
ocq_stock_define_settings(void)
{
	DefineCustomEnumVariable("order_cqrs.reserve_on",
							 "When the stock of an order is reserved.",
							 "With create by order_create, in its transaction; with saga by the saga, after it; with off by hand.",
							 &ocq_reserve_on, OCQ_RESERVE_ON_CREATE, reserve_on_options,
							 PGC_SUSET, 0, NULL, NULL, NULL);
}

static void
start_over(void)
{
	HASHCTL		control = {
		.keysize = OCQ_ID_MAX_BYTES + 1,
		.entrysize = OCQ_ID_MAX_BYTES + 1,
		.hcxt = TopMemoryContext
	};

	if (unstocked != NULL)
		hash_destroy(unstocked);
	unstocked = NULL;
	unstocked = hash_create("order_cqrs tenants without stock", 16, &control,
							HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	unstocked_generation = ocq_catalog_generation(OCQ_REL_INVENTORY);
}

/*
 * has_stock tells whether the tenant may have rows in "inventory".  Once
 * stock_receive has answered its caller, no session says no.
 */
static bool
has_stock(text *tenant_id)
{
	char	   *key = text_to_cstring(tenant_id);
	Datum		values[] = {PointerGetDatum(tenant_id)};
	uint64		generation;

	AcceptInvalidationMessages();
	generation = ocq_catalog_generation(OCQ_REL_INVENTORY);
	if (unstocked == NULL || unstocked_generation != generation ||
		hash_get_num_entries(unstocked) > MAX_UNSTOCKED)
		start_over();
	if (hash_search(unstocked, key, HASH_FIND, NULL) != NULL)
		return false;
	if (ocq_statement_run_latest(&select_any_stock, values, NULL) > 0)
		return true;

	/* The answer may lack a change that was announced during the read. */
	if (generation == ocq_catalog_generation(OCQ_REL_INVENTORY))
		(void) hash_search(unstocked, key, HASH_ENTER, NULL);
	return false;
}

/* ocq_stock_changed is called by the writer of "inventory" when a product has got its first row. */
void
ocq_stock_changed(void)
{
	ocq_catalog_announce(OCQ_REL_INVENTORY);
}

/*
 * check_snapshot raises an error if the table was rewritten since the transaction took its
 * snapshot, which then shows no row of it: the stock would seem to be unlimited.  A rewrite
 * leaves a new row in pg_class.  has_stock has locked the table.
 */
static void
check_snapshot(void)
{
	HeapTuple	tuple;
	TransactionId changed_by;

	if (!IsolationUsesXactSnapshot())
		return;
	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(ocq_catalog_relation(OCQ_REL_INVENTORY)));
	changed_by = HeapTupleHeaderGetXmin(tuple->t_data);
	ReleaseSysCache(tuple);
	if (TransactionIdIsNormal(changed_by) && !TransactionIdIsCurrentTransactionId(changed_by) &&
		XidInMVCCSnapshot(changed_by, GetTransactionSnapshot()))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access to the stock of the order's products"),
				 errdetail("The table inventory was altered since the transaction took its snapshot."),
				 errhint("Repeat the transaction.")));
}

/* lock_products locks the products of both lists, as stock that is given back is written, too. */
static uint64
lock_products(text *tenant_id, const OcqStockLines *wanted, const OcqStockLines *held)
{
	Datum	   *products = palloc_array(Datum, wanted->count + held->count);
	Datum		values[2];
	int			count = 0;

	for (int i = 0; i < wanted->count; i++)
		products[count++] = PointerGetDatum(wanted->lines[i].product_id);
	for (int i = 0; i < held->count; i++)
		products[count++] = PointerGetDatum(held->lines[i].product_id);
	values[0] = PointerGetDatum(tenant_id);
	values[1] = ocq_array(products, NULL, count, TEXTOID);
	check_snapshot();
	return ocq_statement_run(&lock_stock, values, NULL);
}

/*
 * ocq_stock_claim locks the stock of the wanted products and returns the lines that can
 * be reserved, or the shortages.  Stock that the order holds already counts as available
 * to it.  The caller appends the event that makes the claim true.
 */
OcqClaim
ocq_stock_claim(text *tenant_id, const OcqStockLines *wanted, const OcqStockLines *held)
{
	OcqClaim	claim = {0};
	uint64		rows;

	if (wanted->count + held->count == 0 || !has_stock(tenant_id))
		return claim;

	rows = lock_products(tenant_id, wanted, held);
	claim.reserved.lines = palloc_array(OcqStockLine, rows);
	claim.shortages = palloc_array(OcqShortage, rows);
	for (uint64 row = 0; row < rows; row++)
	{
		text	   *product_id = DatumGetTextPP(ocq_row_datum(row, 1));
		int64		available = DatumGetInt64(ocq_row_datum(row, 2)) +
			ocq_stock_lines_quantity(held, product_id);
		int64		requested = ocq_stock_lines_quantity(wanted, product_id);

		if (requested == 0)
			continue;
		if (requested > available)
			claim.shortages[claim.nshortages++] = (OcqShortage) {
			product_id, requested, available
		};
		claim.reserved.lines[claim.reserved.count++] = (OcqStockLine) {
			product_id, requested
		};
	}
	return claim;
}

/* ocq_stock_report_shortages raises an error that names each product that is short. */
void
ocq_stock_report_shortages(const OcqClaim *claim, const OcqStream *order)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < claim->nshortages; i++)
		appendStringInfo(&list, "%sproduct \"%s\": " INT64_FORMAT " requested, " INT64_FORMAT " available",
						 i == 0 ? "" : "; ", text_to_cstring(claim->shortages[i].product_id),
						 claim->shortages[i].requested, claim->shortages[i].available);
	ereport(ERROR,
			(errcode(OCQ_ERR_INSUFFICIENT_INVENTORY),
			 errmsg("insufficient inventory for order \"%s\"", text_to_cstring(order->aggregate_id)),
			 errdetail("Tenant \"%s\", %s.", text_to_cstring(order->tenant_id), list.data),
			 errhint("Order less, or call stock_receive when new stock has arrived.")));
}
