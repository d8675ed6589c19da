/*-------------------------------------------------------------------------
 * reference.c
 *	  The projection reference: tables customers and products.
 *
 * Commands check their customer and products against these tables, so this
 * projection is always sync and never paused.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "projection/projection.h"

/* $1 to $6: tenants, ids, names, attributes, versions, positions. */
#define UPSERT(table, id, attribute) \
	OCQ_STATEMENT("INSERT INTO order_cqrs." table " AS t" \
				  " (tenant_id, " id ", name, " attribute ", version, position)" \
				  " SELECT * FROM unnest($1, $2, $3, $4, $5, $6)" \
				  " ON CONFLICT (tenant_id, " id ") DO UPDATE SET name = excluded.name, " \
				  attribute " = excluded." attribute ", version = excluded.version," \
				  " position = excluded.position WHERE t.version < excluded.version", \
				  TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, INT4ARRAYOID, INT8ARRAYOID)

#define DELETE_ROWS(table, id) \
	OCQ_STATEMENT("DELETE FROM order_cqrs." table " t USING unnest($1, $2) AS k (tenant_id, id)" \
				  " WHERE t.tenant_id = k.tenant_id AND t." id " = k.id", \
				  TEXTARRAYOID, TEXTARRAYOID)

#define BEHIND(type, table, id) \
	"SELECT e.tenant_id, e.aggregate_type, e.aggregate_id, min(e.position)" \
	" FROM order_cqrs.events e LEFT JOIN order_cqrs." table " t" \
	" ON t.tenant_id = e.tenant_id AND t." id " = e.aggregate_id" \
	" WHERE e.aggregate_type = '" type "' AND e.position > $1 AND e.position <= $2" \
	" AND (t.version IS NULL OR t.version < e.version) GROUP BY 1, 2, 3"

static OcqStatement upsert_customers = UPSERT("customers", "customer_id", "email");
static OcqStatement upsert_products = UPSERT("products", "product_id", "category");
static OcqStatement delete_customers = DELETE_ROWS("customers", "customer_id");
static OcqStatement delete_products = DELETE_ROWS("products", "product_id");

static OcqStatement behind =
OCQ_STATEMENT(BEHIND("Customer", "customers", "customer_id") " UNION ALL "
			  BEHIND("Product", "products", "product_id") " ORDER BY 4",
			  INT8OID, INT8OID, TEXTARRAYOID);

static OcqDifferences differences = OCQ_DIFFERENCES("reference");

static int64
upsert(OcqStatement *statement, const OcqBatch *batch, OcqReferenceKind kind)
{
	static const Oid types[] = {TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT4OID, INT8OID};
	Datum	   *columns[lengthof(types)];
	Datum		values[lengthof(types)];
	int			count = 0;

	for (int column = 0; column < (int) lengthof(types); column++)
		columns[column] = palloc_array(Datum, batch->nchanges);
	for (int i = 0; i < batch->nchanges; i++)
	{
		const OcqReferenceChange *change = &batch->changes[i];

		if (change->kind != kind)
			continue;
		columns[0][count] = PointerGetDatum(change->stream.tenant_id);
		columns[1][count] = PointerGetDatum(change->stream.aggregate_id);
		columns[2][count] = PointerGetDatum(change->name);
		columns[3][count] = PointerGetDatum(change->attribute);
		columns[4][count] = Int32GetDatum(change->version);
		columns[5][count] = Int64GetDatum(change->position);
		count++;
	}
	if (count == 0)
		return 0;
	for (int column = 0; column < (int) lengthof(types); column++)
		values[column] = ocq_array(columns[column], NULL, count, types[column]);
	return ocq_statement_run(statement, values, NULL);
}

/*
 * A first version adds a row that nobody has a copy of.  Anything else may change
 * one, which every session has to hear of.
 */
static bool
may_change_rows(const OcqBatch *batch)
{
	for (int i = 0; i < batch->nchanges; i++)
		if (batch->changes[i].version > 1)
			return true;
	return false;
}

static int64
handle(const OcqBatch *batch)
{
	int64		changed = upsert(&upsert_customers, batch, OCQ_REFERENCE_CUSTOMER) +
		upsert(&upsert_products, batch, OCQ_REFERENCE_PRODUCT);

	if (changed > 0)
		ocq_reference_changed(may_change_rows(batch));
	return changed;
}

static void
forget(const OcqStreams *streams)
{
	ocq_rows_forget(&delete_customers, streams, OCQ_AGGREGATE_CUSTOMER);
	ocq_rows_forget(&delete_products, streams, OCQ_AGGREGATE_PRODUCT);
	ocq_reference_changed(true);
}

static const char *const aggregate_types[] = {OCQ_AGGREGATE_CUSTOMER, OCQ_AGGREGATE_PRODUCT, NULL};

const OcqProjection ocq_projection_reference = {
	.name = "reference",
	.aggregate_types = aggregate_types,
	.always_sync = true,
	.handle = handle,
	.forget = forget,
	.behind = &behind,
	.differences = &differences,
};
