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

#include "base/argument.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/json.h"
#include "order/order.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

#define MAX_ITEMS 1000
#define MAX_PRICE_SCALE 6
#define MAX_PRICE_DIGITS 12		/* before the decimal point */
#define MAX_PRICE_CHARS 64

/* The problems that a price can have, whether it is a number or a string. */
#define PRICE_IS_NEGATIVE "must not be negative"
#define PRICE_IS_TOO_LARGE "is too large"
#define PRICE_IS_TOO_FINE "has too many decimal places"

/* The item that is being read, for messages. */
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
			 errhint("The commands never write such an event; find its origin by its metadata and time.") :
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
	refuse(place, OCQ_ERR_INVALID_QUANTITY, problem,
		   psprintf("Pass a whole number from 1 to %d.", PG_INT32_MAX));
}

pg_noreturn static void
refuse_price(const ItemPlace *place, const char *problem)
{
	refuse(place, OCQ_ERR_INVALID_UNIT_PRICE, psprintf("unit_price %s", problem),
		   psprintf("Pass a number or a decimal string, 0 or more, with at most %d digits before and %d after the decimal point.",
					MAX_PRICE_DIGITS, MAX_PRICE_SCALE));
}

static bool
numeric_less(Numeric a, Numeric b)
{
	return DatumGetBool(DirectFunctionCall2(numeric_lt, NumericGetDatum(a), NumericGetDatum(b)));
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

/*
 * parse_price computes with integers, which have room for all digits that a price may
 * have, at a fraction of the cost of numeric_in and of comparisons of numerics.
 */
static Numeric
parse_price(const JsonbValue *value, const ItemPlace *place)
{
	char		string[MAX_PRICE_CHARS + 1];
	const char *digits = string;
	size_t		whole;
	size_t		scale;
	int64		units = 0;

	if (value->val.string.len > MAX_PRICE_CHARS)
		refuse_price(place, "is too long");
	memcpy(string, value->val.string.val, value->val.string.len);
	string[value->val.string.len] = '\0';
	if (!is_decimal(string))
		refuse_price(place, "must be a decimal number");
	if (*string == '-' && strpbrk(string, "123456789") != NULL)
		refuse_price(place, PRICE_IS_NEGATIVE);

	digits += strspn(string, "+-0");
	whole = strcspn(digits, ".");
	if (whole > MAX_PRICE_DIGITS)
		refuse_price(place, PRICE_IS_TOO_LARGE);
	scale = digits[whole] == '.' ? strlen(digits + whole + 1) : 0;
	if (scale > MAX_PRICE_SCALE)
		refuse_price(place, PRICE_IS_TOO_FINE);
	for (; *digits != '\0'; digits++)
		if (*digits != '.')
			units = units * 10 + (*digits - '0');
	return int64_div_fast_to_numeric(units, (int) scale);
}

/* keep_number returns a number that is made once per session. */
static Numeric
keep_number(Numeric *kept, int64 value)
{
	if (*kept == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		*kept = int64_to_numeric(value);
		MemoryContextSwitchTo(old);
	}
	return *kept;
}

static void
check_price(Numeric price, const ItemPlace *place)
{
	static Numeric zero = NULL;
	static Numeric limit = NULL;

	if (numeric_less(price, keep_number(&zero, 0)))
		refuse_price(place, PRICE_IS_NEGATIVE);
	if (!numeric_less(price, keep_number(&limit, INT64CONST(1000000000000))))
		refuse_price(place, PRICE_IS_TOO_LARGE);
	if (DatumGetInt32(DirectFunctionCall1(numeric_scale, NumericGetDatum(price))) > MAX_PRICE_SCALE)
		refuse_price(place, PRICE_IS_TOO_FINE);
}

static Numeric
read_price(const JsonbValue *value, const ItemPlace *place)
{
	if (value->type == jbvString)
		return parse_price(value, place);
	if (value->type != jbvNumeric)
		refuse_price(place, "must be a number or a decimal string");
	check_price(value->val.numeric, place);
	return value->val.numeric;
}

static OcqOrderItem
read_item(const JsonbValue *element, const ItemPlace *place)
{
	OcqOrderItem item;
	OcqStockItem read;
	const char *problem = ocq_stock_item_read(element, false, &read);

	if (problem != NULL && read.sqlstate == OCQ_ERR_INVALID_QUANTITY)
		refuse_quantity(place, problem);
	if (problem != NULL || !read.has_price)
		refuse_items(place, problem != NULL ? problem : "missing key \"unit_price\"");
	item.product_id = read.line.product_id;
	item.quantity = (int32) read.line.quantity;
	item.quantity_number = int64_to_numeric(item.quantity);
	item.unit_price = read_price(&read.unit_price, place);
	item.total_price = numeric_mul_opt_error(item.quantity_number, item.unit_price, NULL);
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
	iterator = JsonbIteratorInit(container);
	while ((token = JsonbIteratorNext(&iterator, &element, true)) != WJB_DONE)
	{
		OcqOrderItem *item = &result.items[result.count];

		if (token != WJB_ELEM)
			continue;
		place.number = ++result.count;
		*item = read_item(&element, &place);
		result.total_amount = result.count == 1 ? item->total_price :
			numeric_add_opt_error(result.total_amount, item->total_price, NULL);
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

#define ITEM_PAIRS 3

static JsonbValue
item_value(const OcqOrderItem *item, JsonbPair *pairs)
{
	pairs[0] = ocq_json_pair("quantity", ocq_json_numeric(item->quantity_number));
	pairs[1] = ocq_json_pair("product_id", ocq_json_text(item->product_id));
	pairs[2] = ocq_json_pair("unit_price", ocq_json_numeric(item->unit_price));
	return ocq_json_object(pairs, ITEM_PAIRS);
}

/* ocq_order_items_value returns the items as events have them; it points to them. */
JsonbValue
ocq_order_items_value(const OcqOrderItems *items)
{
	JsonbValue *elements = palloc_array(JsonbValue, items->count);
	JsonbPair  *pairs = palloc_array(JsonbPair, ITEM_PAIRS * items->count);

	for (int i = 0; i < items->count; i++)
		elements[i] = item_value(&items->items[i], &pairs[ITEM_PAIRS * i]);
	return ocq_json_array(elements, items->count);
}

/* ocq_order_items_stock returns the lines that the items ask of the stock. */
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
