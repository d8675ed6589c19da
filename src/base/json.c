/*-------------------------------------------------------------------------
 * json.c
 *	  Building JSON objects, a key at a time or as a whole, and telling keys.
 *
 * Nothing is copied until JsonbValueToJsonb: keys and texts must live that long.
 *
 * PostgreSQL collects the pairs that are pushed, and sorts the keys.  An object as a
 * whole is an array of pairs that the caller has sorted: for the data of a command's
 * event that takes half the time.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/json.h"

bool
ocq_json_key_is(const JsonbValue *key, const char *name)
{
	return (size_t) key->val.string.len == strlen(name) &&
		memcmp(key->val.string.val, name, key->val.string.len) == 0;
}

static JsonbValue
make_string(const char *string, int length)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = unconstify(char *, string);
	value.val.string.len = length;
	return value;
}

void
ocq_json_push_key(JsonbParseState **state, const char *key)
{
	JsonbValue	value = make_string(key, strlen(key));

	(void) pushJsonbValue(state, WJB_KEY, &value);
}

static void
push(JsonbParseState **state, const char *key, JsonbValue value)
{
	ocq_json_push_key(state, key);
	(void) pushJsonbValue(state, WJB_VALUE, &value);
}

/* ocq_json_push_text pushes a JSON null for NULL, and so does ocq_json_push_string. */
void
ocq_json_push_text(JsonbParseState **state, const char *key, const text *value)
{
	push(state, key, ocq_json_text(value));
}

void
ocq_json_push_string(JsonbParseState **state, const char *key, const char *value)
{
	push(state, key, value == NULL ? (JsonbValue) {.type = jbvNull} : make_string(value, strlen(value)));
}

void
ocq_json_push_numeric(JsonbParseState **state, const char *key, Numeric value)
{
	push(state, key, ocq_json_numeric(value));
}

void
ocq_json_push_int64(JsonbParseState **state, const char *key, int64 value)
{
	ocq_json_push_numeric(state, key, int64_to_numeric(value));
}

/* ocq_json_text makes a JSON null of NULL. */
JsonbValue
ocq_json_text(const text *value)
{
	return value == NULL ? (JsonbValue) {.type = jbvNull} :
		make_string(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}

JsonbValue
ocq_json_numeric(Numeric value)
{
	return (JsonbValue) {.type = jbvNumeric, .val.numeric = value};
}

JsonbValue
ocq_json_array(JsonbValue *elements, int count)
{
	return (JsonbValue) {.type = jbvArray, .val.array = {.nElems = count, .elems = elements}};
}

#ifdef USE_ASSERT_CHECKING
static bool
comes_before(const JsonbValue *a, const JsonbValue *b)
{
	return a->val.string.len != b->val.string.len ? a->val.string.len < b->val.string.len :
		memcmp(a->val.string.val, b->val.string.val, a->val.string.len) < 0;
}
#endif

JsonbValue
ocq_json_object(JsonbPair *pairs, int count)
{
	for (int i = 1; i < count; i++)
		Assert(comes_before(&pairs[i - 1].key, &pairs[i].key));
	return (JsonbValue) {.type = jbvObject, .val.object = {.nPairs = count, .pairs = pairs}};
}

JsonbPair
ocq_json_pair(const char *key, JsonbValue value)
{
	return (JsonbPair) {.key = make_string(key, strlen(key)), .value = value};
}

/* ocq_json_of_container returns a copy of a part of a document as a value of its own. */
Jsonb *
ocq_json_of_container(JsonbContainer *container, int bytes)
{
	JsonbValue	value;

	value.type = jbvBinary;
	value.val.binary.data = container;
	value.val.binary.len = bytes;
	return JsonbValueToJsonb(&value);
}
