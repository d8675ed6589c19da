/*-------------------------------------------------------------------------
 * json.h
 *	  Building JSON objects, a key at a time.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_BASE_JSON_H
#define OCQ_BASE_JSON_H

#include "utils/jsonb.h"
#include "utils/numeric.h"

/* ocq_json_key_is tells whether a key, or any string, is a name. */
extern bool ocq_json_key_is(const JsonbValue *key, const char *name);

/* Each adds a key and its value to an object under construction. */
extern void ocq_json_push_key(JsonbParseState **state, const char *key);
extern void ocq_json_push_text(JsonbParseState **state, const char *key, const text *value);
extern void ocq_json_push_string(JsonbParseState **state, const char *key, const char *value);
extern void ocq_json_push_numeric(JsonbParseState **state, const char *key, Numeric value);
extern void ocq_json_push_int64(JsonbParseState **state, const char *key, int64 value);

#endif							/* OCQ_BASE_JSON_H */
