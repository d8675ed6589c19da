/*-------------------------------------------------------------------------
 * inventory_check.c
 *	  inventory_check: could these products be reserved now?
 *
 * It locks nothing: the answer may be old when it arrives.  Reserving decides.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/argument.h"
#include "base/errors.h"
#include "base/scope.h"
#include "base/statement.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "stock/stock.h"
#include "funcapi.h"
#include "tenant/tenant.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(ocq_inventory_check);

static OcqStatement select_stock =
OCQ_STATEMENT("SELECT k.product_id, k.requested, i.available + coalesce(o.quantity, 0),"
			  " i.product_id IS NULL OR k.requested <= i.available + coalesce(o.quantity, 0)"
			  " FROM unnest($2, $3) WITH ORDINALITY AS k (product_id, requested, number)"
			  " LEFT JOIN order_cqrs.inventory i ON i.tenant_id = $1 AND i.product_id = k.product_id"
			  " LEFT JOIN (SELECT x.product_id, x.quantity FROM order_cqrs.reservations r,"
			  " jsonb_to_recordset(r.items) AS x (product_id text, quantity bigint)"
			  " WHERE r.tenant_id = $1 AND r.order_id = nullif($4, '') AND r.status = 'HELD') o"
			  " ON o.product_id = k.product_id"
			  " ORDER BY k.number",
			  TEXTOID, TEXTARRAYOID, INT8ARRAYOID, TEXTOID);

static void
put_stock(text *tenant_id, Datum products, Datum quantities, text *order_id, ReturnSetInfo *result)
{
	Datum		values[] = {
		PointerGetDatum(tenant_id), products, quantities, PointerGetDatum(order_id)
	};
	uint64		rows = ocq_statement_run(&select_stock, values, NULL);

	for (uint64 row = 0; row < rows; row++)
		tuplestore_puttuple(result->setResult, SPI_tuptable->vals[row]);
}

/* inventory_check(items jsonb, order_id text, tenant_id text) */
Datum
ocq_inventory_check(PG_FUNCTION_ARGS)
{
	JsonbContainer *items = ocq_argument_items(fcinfo, 0, NULL, "They are what is asked for.",
											   "Pass a JSON array such as [{\"product_id\": \"p-1\", \"quantity\": 2}].");
	OcqStockLines lines = ocq_stock_lines_parse(items);
	Datum	   *products = palloc_array(Datum, lines.count);
	Datum	   *quantities = palloc_array(Datum, lines.count);
	text	   *tenant_id = ocq_tenant_resolve(fcinfo, 2);
	text	   *order_id = PG_ARGISNULL(1) ? cstring_to_text("") : ocq_argument_id(fcinfo, 1, "order_id");
	OcqScope	scope;

	for (int i = 0; i < lines.count; i++)
	{
		products[i] = PointerGetDatum(lines.lines[i].product_id);
		quantities[i] = Int64GetDatum(lines.lines[i].quantity);
	}
	InitMaterializedSRF(fcinfo, 0);
	ocq_scope_enter(&scope);
	put_stock(tenant_id, ocq_array(products, NULL, lines.count, TEXTOID),
			  ocq_array(quantities, NULL, lines.count, INT8OID), order_id, (ReturnSetInfo *) fcinfo->resultinfo);
	ocq_scope_leave(&scope);
	return (Datum) 0;
}
