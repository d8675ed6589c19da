/*-------------------------------------------------------------------------
 * json.h
 *	  Building JSON objects, a key at a time or as a whole.
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

/*
 * Values that are put together by the caller, for JsonbValueToJsonb.  Pairs come in the
 * order in which jsonb keeps keys: short ones first, those of one length by their bytes.
 */
extern JsonbValue ocq_json_text(const text *value);
extern JsonbValue ocq_json_numeric(Numeric value);
extern JsonbValue ocq_json_array(JsonbValue *elements, int count);
extern JsonbValue ocq_json_object(JsonbPair *pairs, int count);
extern JsonbPair ocq_json_pair(const char *key, JsonbValue value);
extern Jsonb *ocq_json_of_container(JsonbContainer *container, int bytes);

#endif							/* OCQ_BASE_JSON_H */
