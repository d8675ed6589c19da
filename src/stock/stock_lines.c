/*-------------------------------------------------------------------------
 * stock_lines.c
 *	  Products and quantities, from JSON: of a command, a query, an order or a reservation.
 *
 * An item is {"product_id": text, "quantity": integer}.  It may have a unit_price, which
 * only an order's items need.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/argument.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/json.h"
#include "base/statement.h"
#include "stock/stock.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#define MAX_LINES 1000

static const char *
read_product(const JsonbValue *value, bool in_event, text **product_id)
{
	int			length = value->type == jbvString ? value->val.string.len : 0;

	if (value->type != jbvString)
		return "product_id must be a string";
	if (!in_event && (length < 1 || length > OCQ_ID_MAX_BYTES))
		return "product_id must have 1 to 255 bytes";
	*product_id = cstring_to_text_with_len(value->val.string.val, length);
	return NULL;
}

/* read_quantity takes any number of an event: the quantity of a reservation may be a sum. */
static const char *
read_quantity(const JsonbValue *value, bool in_event, int64 *quantity)
{
	bool		out_of_range = false;
	Datum		number;

	if (value->type != jbvNumeric)
		return "quantity must be a number";
	number = NumericGetDatum(value->val.numeric);
	if (in_event)
	{
		*quantity = DatumGetInt64(DirectFunctionCall1(numeric_int8, number));
		return NULL;
	}
	*quantity = numeric_int4_opt_error(value->val.numeric, &out_of_range);
	if (out_of_range)
		return DatumGetBool(DirectFunctionCall2(numeric_lt, number,
												NumericGetDatum(int64_to_numeric(0)))) ?
			"quantity must be greater than 0" : "quantity is too large";
	if (DatumGetInt32(DirectFunctionCall1(numeric_scale, number)) > 0 &&
		!DatumGetBool(DirectFunctionCall2(numeric_eq, number,
										  NumericGetDatum(int64_to_numeric(*quantity)))))
		return "quantity must be a whole number";
	return *quantity <= 0 ? "quantity must be greater than 0" : NULL;
}

static bool
find(JsonbContainer *object, const char *key, JsonbValue *value)
{
	return getKeyJsonValueFromContainer(object, key, strlen(key), value) != NULL;
}

/* key_problem names a key that is unknown or, if there is none, missing. */
static const char *
key_problem(JsonbContainer *object)
{
	JsonbIterator *iterator = JsonbIteratorInit(object);
	JsonbIteratorToken token;
	JsonbValue	key;

	while ((token = JsonbIteratorNext(&iterator, &key, true)) != WJB_DONE)
		if (token == WJB_KEY && !ocq_json_key_is(&key, "product_id") &&
			!ocq_json_key_is(&key, "quantity") && !ocq_json_key_is(&key, "unit_price"))
			return psprintf("unknown key \"%s\"",
							ocq_argument_clip(key.val.string.val, key.val.string.len));
	return find(object, "product_id", &key) ?
		"missing key \"quantity\"" : "missing key \"product_id\"";
}

/*
 * ocq_stock_item_read reads the product and the quantity of one item, and finds its price,
 * or returns a description of the problem.  Keys of an event that are unknown are passed over.
 */
const char *
ocq_stock_item_read(const JsonbValue *element, bool in_event, OcqStockItem *item)
{
	JsonbContainer *object = element->val.binary.data;
	JsonbValue	product_id;
	JsonbValue	quantity;
	const char *problem;

	item->sqlstate = OCQ_ERR_INVALID_ITEMS;
	if (element->type != jbvBinary || !JsonContainerIsObject(object))
		return "an item must be a JSON object";
	item->has_price = find(object, "unit_price", &item->unit_price);
	if (!find(object, "product_id", &product_id) || !find(object, "quantity", &quantity) ||
		(!in_event && JsonContainerSize(object) != (item->has_price ? 3 : 2)))
		return key_problem(object);
	problem = read_product(&product_id, in_event, &item->line.product_id);
	if (problem != NULL)
		return problem;
	item->sqlstate = OCQ_ERR_INVALID_QUANTITY;
	return read_quantity(&quantity, in_event, &item->line.quantity);
}

pg_noreturn static void
refuse(int sqlstate, int number, const char *problem)
{
	ereport(ERROR,
			(errcode(sqlstate),
			 errmsg("%s", problem),
			 number == 0 ? errdetail("items is an array of products and quantities.") :
			 errdetail("It is item %d.", number),
			 errhint("Pass 1 to %d items as [{\"product_id\": text, \"quantity\": integer}, ...].",
					 MAX_LINES)));
}

/*
 * ocq_stock_lines_parse reads the products and quantities of a command or query,
 * or raises an error that names the item.
 */
OcqStockLines
ocq_stock_lines_parse(JsonbContainer *container)
{
	OcqStockLine *lines;
	uint32		count = JsonContainerSize(container);

	if (!JsonContainerIsArray(container) || JsonContainerIsScalar(container))
		refuse(OCQ_ERR_INVALID_ITEMS, 0, "items must be a JSON array");
	if (count == 0)
		refuse(OCQ_ERR_INVALID_ITEMS, 0, "items must not be empty");
	if (count > MAX_LINES)
		refuse(OCQ_ERR_INVALID_ITEMS, 0,
			   psprintf("there are at most %d items, not %u", MAX_LINES, count));

	lines = palloc_array(OcqStockLine, count);
	for (uint32 i = 0; i < count; i++)
	{
		OcqStockItem item;
		const char *problem = ocq_stock_item_read(getIthJsonbValueFromContainer(container, i),
												  false, &item);

		if (problem != NULL)
			refuse(item.sqlstate, i + 1, problem);
		lines[i] = item.line;
	}
	return ocq_stock_lines_merge(lines, count);
}

static int
compare_products(const void *a, const void *b)
{
	return ocq_text_compare(((const OcqStockLine *) a)->product_id,
							((const OcqStockLine *) b)->product_id);
}

/* ocq_stock_lines_merge sorts the lines in place and adds up those of one product. */
OcqStockLines
ocq_stock_lines_merge(OcqStockLine *lines, int count)
{
	OcqStockLines merged = {.lines = lines};

	qsort(lines, count, sizeof(OcqStockLine), compare_products);
	for (int i = 0; i < count; i++)
	{
		if (merged.count > 0 &&
			ocq_text_equal(lines[merged.count - 1].product_id, lines[i].product_id))
			lines[merged.count - 1].quantity += lines[i].quantity;
		else
			lines[merged.count++] = lines[i];
	}
	return merged;
}

/* ocq_stock_lines_quantity returns 0 for a product that is not among the lines. */
int64
ocq_stock_lines_quantity(const OcqStockLines *lines, const text *product_id)
{
	OcqStockLine key = {.product_id = unconstify(text *, product_id)};
	OcqStockLine *line = lines->count == 0 ? NULL :
		bsearch(&key, lines->lines, lines->count, sizeof(OcqStockLine), compare_products);

	return line == NULL ? 0 : line->quantity;
}

bool
ocq_stock_lines_equal(const OcqStockLines *a, const OcqStockLines *b)
{
	if (a->count != b->count)
		return false;
	for (int i = 0; i < a->count; i++)
		if (a->lines[i].quantity != b->lines[i].quantity ||
			!ocq_text_equal(a->lines[i].product_id, b->lines[i].product_id))
			return false;
	return true;
}
