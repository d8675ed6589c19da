/*-------------------------------------------------------------------------
 * items.c
 *	  The items of an order: from JSON, and to JSON.
 *
 * Callers may give unit_price as a number or as a string, as many JSON libraries
 * turn numbers into binary floating point.  Events hold numbers, which jsonb
 * keeps as exact decimals.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/json.h"
#include "order/order.h"
#include "tenant/tenant.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#define MAX_ITEMS 1000
#define MAX_PRICE_SCALE 6
#define MAX_PRICE_DIGITS 12		/* before the decimal point */
#define MAX_PRICE_CHARS 64

/* Where in the items we are, for messages. */
typedef struct ItemPlace
{
	const text *order_id;
	int			number;			/* counted from 1; 0 is the array itself */
	bool		in_event;		/* they come from the log, not from a caller */
} ItemPlace;

static const char *
place_detail(const ItemPlace *place)
{
	char	   *order_id = text_to_cstring(place->order_id);

	return place->number == 0 ?
		psprintf("The order is \"%s\".", order_id) :
		psprintf("It is item %d of order \"%s\".", place->number, order_id);
}

pg_noreturn static void
refuse(const ItemPlace *place, int sqlstate, const char *problem, const char *hint)
{
	ereport(ERROR,
			(errcode(place->in_event ? OCQ_ERR_MALFORMED_EVENT : sqlstate),
			 place->in_event ? errmsg("malformed items in an event: %s", problem) :
			 errmsg("%s", problem),
			 errdetail("%s", place_detail(place)),
			 place->in_event ?
			 errhint("The commands never write such an event; find out what did.") :
			 errhint("%s", hint)));
}

pg_noreturn static void
refuse_items(const ItemPlace *place, const char *problem)
{
	refuse(place, OCQ_ERR_INVALID_ITEMS, problem,
		   psprintf("Pass 1 to %d items as [{\"product_id\": text, \"quantity\": integer, \"unit_price\": number or decimal string}, ...].",
					MAX_ITEMS));
}

pg_noreturn static void
refuse_quantity(const ItemPlace *place, const char *problem)
{
	refuse(place, OCQ_ERR_INVALID_QUANTITY, psprintf("quantity %s", problem),
		   psprintf("Pass a whole number from 1 to %d.", PG_INT32_MAX));
}

pg_noreturn static void
refuse_price(const ItemPlace *place, const char *problem)
{
	refuse(place, OCQ_ERR_INVALID_UNIT_PRICE, psprintf("unit_price %s", problem),
		   psprintf("Pass a number or a decimal string, 0 or more, with at most %d digits before and %d after the decimal point.",
					MAX_PRICE_DIGITS, MAX_PRICE_SCALE));
}

static text *
read_product_id(const JsonbValue *value, const ItemPlace *place)
{
	if (value->type != jbvString)
		refuse_items(place, "product_id must be a string");
	if (value->val.string.len < 1 || value->val.string.len > OCQ_ID_MAX_BYTES)
		refuse_items(place, "product_id must have 1 to 255 bytes");
	return cstring_to_text_with_len(value->val.string.val, value->val.string.len);
}

static bool
numeric_less(Numeric a, Numeric b)
{
	return DatumGetBool(DirectFunctionCall2(numeric_lt, NumericGetDatum(a), NumericGetDatum(b)));
}

static int32
read_quantity(const JsonbValue *value, const ItemPlace *place)
{
	int32		quantity;
	const char *problem = ocq_quantity_parse(value, &quantity);

	if (problem != NULL)
		refuse_quantity(place, problem);
	return quantity;
}

/* is_decimal tells whether the string is digits, with or without a sign and a fraction. */
static bool
is_decimal(const char *string)
{
	static const char digits[] = "0123456789";
	size_t		whole;

	if (*string == '-' || *string == '+')
		string++;
	whole = strspn(string, digits);
	string += whole;
	if (*string == '.')
	{
		size_t		fraction = strspn(++string, digits);

		if (fraction == 0)
			return false;
		string += fraction;
	}
	return whole > 0 && *string == '\0';
}

static Numeric
parse_price(const JsonbValue *value, const ItemPlace *place)
{
	char	   *string;

	if (value->val.string.len > MAX_PRICE_CHARS)
		refuse_price(place, "is too long");
	string = pnstrdup(value->val.string.val, value->val.string.len);
	if (!is_decimal(string))
		refuse_price(place, "must be a decimal number");
	return DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(string),
											   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

static Numeric
read_price(const JsonbValue *value, const ItemPlace *place)
{
	Numeric		price;

	if (value->type == jbvNumeric)
		price = value->val.numeric;
	else if (value->type == jbvString)
		price = parse_price(value, place);
	else
		refuse_price(place, "must be a number or a decimal string");

	if (numeric_less(price, int64_to_numeric(0)))
		refuse_price(place, "must not be negative");
	if (!numeric_less(price, int64_to_numeric(INT64CONST(1000000000000))))
		refuse_price(place, "is too large");
	if (DatumGetInt32(DirectFunctionCall1(numeric_scale, NumericGetDatum(price))) > MAX_PRICE_SCALE)
		refuse_price(place, "has too many decimal places");
	return price;
}

static OcqOrderItem
read_item(JsonbContainer *object, const ItemPlace *place)
{
	OcqOrderItem item = {0};
	bool		has_quantity = false;
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
			item.product_id = read_product_id(&value, place);
		else if (ocq_json_key_is(&key, "quantity"))
		{
			item.quantity = read_quantity(&value, place);
			has_quantity = true;
		}
		else if (ocq_json_key_is(&key, "unit_price"))
			item.unit_price = read_price(&value, place);
		else
			refuse_items(place, psprintf("unknown key \"%s\"",
										 ocq_tenant_clip(key.val.string.val,
														 key.val.string.len)));
	}
	if (item.product_id == NULL)
		refuse_items(place, "missing key \"product_id\"");
	if (!has_quantity)
		refuse_items(place, "missing key \"quantity\"");
	if (item.unit_price == NULL)
		refuse_items(place, "missing key \"unit_price\"");

	item.total_price = numeric_mul_opt_error(int64_to_numeric(item.quantity), item.unit_price, NULL);
	return item;
}

static OcqOrderItems
parse_items(JsonbContainer *container, ItemPlace place)
{
	OcqOrderItems result = {0};
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	element;

	if (!JsonContainerIsArray(container) || JsonContainerIsScalar(container))
		refuse_items(&place, "items must be a JSON array");
	if (JsonContainerSize(container) == 0)
		refuse_items(&place, "items must not be empty");
	if (JsonContainerSize(container) > MAX_ITEMS)
		refuse_items(&place, psprintf("an order has at most %d items, not %u",
									  MAX_ITEMS, JsonContainerSize(container)));

	result.items = palloc_array(OcqOrderItem, JsonContainerSize(container));
	result.total_amount = int64_to_numeric(0);
	iterator = JsonbIteratorInit(container);
	while ((token = JsonbIteratorNext(&iterator, &element, true)) != WJB_DONE)
	{
		OcqOrderItem *item = &result.items[result.count];

		if (token != WJB_ELEM)
			continue;
		place.number = ++result.count;
		if (element.type != jbvBinary || !JsonContainerIsObject(element.val.binary.data))
			refuse_items(&place, "an item must be a JSON object");
		*item = read_item(element.val.binary.data, &place);
		result.total_amount = numeric_add_opt_error(result.total_amount, item->total_price, NULL);
	}
	return result;
}

/*
 * ocq_order_items_parse reads the items of a command, in the current memory
 * context, or raises an error that names the item.
 */
OcqOrderItems
ocq_order_items_parse(JsonbContainer *container, const text *order_id)
{
	return parse_items(container, (ItemPlace) {.order_id = order_id});
}

/* ocq_order_items_of_state reads the items that an order's events have set. */
OcqOrderItems
ocq_order_items_of_state(const OcqOrderState *state)
{
	if (state->parsed_items != NULL)
		return *state->parsed_items;
	return parse_items(state->items, (ItemPlace) {.order_id = state->order_id, .in_event = true});
}

/* Keys come in the order that jsonb keeps them in, which saves sorting. */
static void
push_item(JsonbParseState **state, const OcqOrderItem *item)
{
	(void) pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	ocq_json_push_int64(state, "quantity", item->quantity);
	ocq_json_push_text(state, "product_id", item->product_id);
	ocq_json_push_numeric(state, "unit_price", item->unit_price);
	(void) pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

/* ocq_order_items_push adds the keys items and total_amount to an object under construction. */
void
ocq_order_items_push(JsonbParseState **state, const OcqOrderItems *items)
{
	ocq_json_push_key(state, "items");
	(void) pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < items->count; i++)
		push_item(state, &items->items[i]);
	(void) pushJsonbValue(state, WJB_END_ARRAY, NULL);
	ocq_json_push_numeric(state, "total_amount", items->total_amount);
}

/* ocq_order_items_stock returns what the items ask of the stock. */
OcqStockLines
ocq_order_items_stock(const OcqOrderItems *items)
{
	OcqStockLine *lines = palloc_array(OcqStockLine, items->count);

	for (int i = 0; i < items->count; i++)
		lines[i] = (OcqStockLine) {
		items->items[i].product_id, items->items[i].quantity
	};
	return ocq_stock_lines_merge(lines, items->count);
}
