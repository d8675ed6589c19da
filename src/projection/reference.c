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

#define CHANGE(field) OCQ_FIELD(0, OcqReferenceChange, field)

#define COLUMNS(id, attribute_of_it) \
	{ \
		{"tenant_id", TEXTOID, OCQ_KEY, CHANGE(stream.tenant_id)}, \
		{id, TEXTOID, OCQ_KEY, CHANGE(stream.aggregate_id)}, \
		{"name", TEXTOID, CHANGE(name)}, \
		{attribute_of_it, TEXTOID, CHANGE(attribute)}, \
		{"version", INT4OID, CHANGE(version)}, \
		{"position", INT8OID, CHANGE(position)}, \
	}

static const OcqColumn customer_columns[] = COLUMNS("customer_id", "email");
static const OcqColumn product_columns[] = COLUMNS("product_id", "category");

static OcqTable customers = OCQ_TABLE("customers", customer_columns);
static OcqTable products = OCQ_TABLE("products", product_columns);
static int64
upsert(OcqTable *table, const OcqBatch *batch, OcqReferenceKind kind)
{
	OcqRows		rows = ocq_rows_make(table, batch->nchanges);

	for (int i = 0; i < batch->nchanges; i++)
		if (batch->changes[i].kind == kind)
			ocq_rows_add(&rows, OCQ_SOURCES(&batch->changes[i]));
	return rows.count == 0 ? 0 : ocq_rows_upsert(&rows);
}

/*
 * A first version adds a row of which no session has a copy.  Anything else may change
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
	int64		changed = upsert(&customers, batch, OCQ_REFERENCE_CUSTOMER) +
		upsert(&products, batch, OCQ_REFERENCE_PRODUCT);

	if (changed > 0)
		ocq_reference_changed(may_change_rows(batch));
	return changed;
}

static const OcqReadTable tables[] = {
	{.table = &customers, .aggregate_type = OCQ_AGGREGATE_CUSTOMER}, {.table = &products, .aggregate_type = OCQ_AGGREGATE_PRODUCT}, {NULL}
};

static void
forget(const OcqStreams *streams)
{
	ocq_read_tables_forget(tables, streams);
	ocq_reference_changed(true);
}

static const char *const aggregate_types[] = {OCQ_AGGREGATE_CUSTOMER, OCQ_AGGREGATE_PRODUCT, NULL};

const OcqProjection ocq_projection_reference = {
	.name = "reference",
	.aggregate_types = aggregate_types,
	.always_sync = true,
	.tables = tables,
	.handle = handle,
	.forget = forget,
};
