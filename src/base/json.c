/*-------------------------------------------------------------------------
 * json.c
 *	  Building JSON objects, a key at a time, and telling keys.
 *
 * Nothing is copied until JsonbValueToJsonb: keys and texts must live that long.
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
push_string_or_null(JsonbParseState **state, const char *key, const char *string, int length)
{
	JsonbValue	jb = {.type = jbvNull};

	if (string != NULL)
		jb = make_string(string, length);
	ocq_json_push_key(state, key);
	(void) pushJsonbValue(state, WJB_VALUE, &jb);
}

/* ocq_json_push_text pushes a JSON null for NULL, and so does ocq_json_push_string. */
void
ocq_json_push_text(JsonbParseState **state, const char *key, const text *value)
{
	push_string_or_null(state, key, value == NULL ? NULL : VARDATA_ANY(value),
						value == NULL ? 0 : VARSIZE_ANY_EXHDR(value));
}

void
ocq_json_push_string(JsonbParseState **state, const char *key, const char *value)
{
	push_string_or_null(state, key, value, value == NULL ? 0 : strlen(value));
}

void
ocq_json_push_numeric(JsonbParseState **state, const char *key, Numeric value)
{
	JsonbValue	jb;

	jb.type = jbvNumeric;
	jb.val.numeric = value;
	ocq_json_push_key(state, key);
	(void) pushJsonbValue(state, WJB_VALUE, &jb);
}

void
ocq_json_push_int64(JsonbParseState **state, const char *key, int64 value)
{
	ocq_json_push_numeric(state, key, int64_to_numeric(value));
}
