/*-------------------------------------------------------------------------
 * lines.c
 *	  Products and quantities, from JSON.
 *
 * The items of an order will do: a unit_price is passed over.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/argument.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/json.h"
#include "fulfilment/fulfilment.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#define MAX_LINES 1000

/* ocq_quantity_parse returns what is wrong with a quantity, or NULL. */
const char *
ocq_quantity_parse(const JsonbValue *value, int32 *quantity)
{
	bool		out_of_range = false;
	Datum		number;

	if (value->type != jbvNumeric)
		return "must be a number";
	number = NumericGetDatum(value->val.numeric);
	*quantity = numeric_int4_opt_error(value->val.numeric, &out_of_range);
	if (out_of_range)
		return DatumGetBool(DirectFunctionCall2(numeric_lt, number,
												NumericGetDatum(int64_to_numeric(0)))) ?
			"must be greater than 0" : "is too large";
	if (DatumGetInt32(DirectFunctionCall1(numeric_scale, number)) > 0 &&
		!DatumGetBool(DirectFunctionCall2(numeric_eq, number,
										  NumericGetDatum(int64_to_numeric(*quantity)))))
		return "must be a whole number";
	return *quantity <= 0 ? "must be greater than 0" : NULL;
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

static text *
read_product(const JsonbValue *value, int number)
{
	if (value->type != jbvString || value->val.string.len < 1 ||
		value->val.string.len > OCQ_ID_MAX_BYTES)
		refuse(OCQ_ERR_INVALID_ITEMS, number, "product_id must be a string of 1 to 255 bytes");
	return cstring_to_text_with_len(value->val.string.val, value->val.string.len);
}

static OcqStockLine
read_line(JsonbContainer *object, int number)
{
	OcqStockLine line = {0};
	JsonbIterator *iterator = JsonbIteratorInit(object);
	JsonbIteratorToken token;
	JsonbValue	key;
	JsonbValue	value;

	while ((token = JsonbIteratorNext(&iterator, &key, true)) != WJB_DONE)
	{
		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&iterator, &value, true);
		if (ocq_json_key_is(&key, "product_id"))
			line.product_id = read_product(&value, number);
		else if (ocq_json_key_is(&key, "quantity"))
		{
			int32		quantity;
			const char *problem = ocq_quantity_parse(&value, &quantity);

			if (problem != NULL)
				refuse(OCQ_ERR_INVALID_QUANTITY, number, psprintf("quantity %s", problem));
			line.quantity = quantity;
		}
		else if (!ocq_json_key_is(&key, "unit_price"))
			refuse(OCQ_ERR_INVALID_ITEMS, number,
				   psprintf("unknown key \"%s\"",
							ocq_argument_clip(key.val.string.val, key.val.string.len)));
	}
	if (line.product_id == NULL)
		refuse(OCQ_ERR_INVALID_ITEMS, number, "missing key \"product_id\"");
	if (line.quantity == 0)
		refuse(OCQ_ERR_INVALID_ITEMS, number, "missing key \"quantity\"");
	return line;
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
		JsonbValue *element = getIthJsonbValueFromContainer(container, i);

		if (element->type != jbvBinary || !JsonContainerIsObject(element->val.binary.data))
			refuse(OCQ_ERR_INVALID_ITEMS, i + 1, "an item must be a JSON object");
		lines[i] = read_line(element->val.binary.data, i + 1);
	}
	return ocq_stock_lines_merge(lines, count);
}
