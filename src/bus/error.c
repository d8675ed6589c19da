/*-------------------------------------------------------------------------
 * error.c
 *	  The error of a future, as it is kept and raised again.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/json.h"
#include "bus/future.h"
#include "utils/builtins.h"

/* ocq_future_error_make builds {"sqlstate", "message", "detail", "hint", "context"}. */
Jsonb *
ocq_future_error_make(const ErrorData *error)
{
	JsonbParseState *state = NULL;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	ocq_json_push_string(&state, "sqlstate", unpack_sql_state(error->sqlerrcode));
	ocq_json_push_string(&state, "message", error->message == NULL ? "" : error->message);
	ocq_json_push_string(&state, "detail", error->detail);
	ocq_json_push_string(&state, "hint", error->hint);
	ocq_json_push_string(&state, "context", error->context);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

static char *
field(Jsonb *error, const char *key)
{
	JsonbValue	value;

	if (getKeyJsonValueFromContainer(&error->root, key, strlen(key), &value) == NULL ||
		value.type != jbvString)
		return NULL;
	return pnstrdup(value.val.string.val, value.val.string.len);
}

/* ocq_future_error_raise raises the error as the handler did.  (errcontext is no expression.) */
void
ocq_future_error_raise(Jsonb *error)
{
	char	   *sqlstate = field(error, "sqlstate");
	char	   *detail = field(error, "detail");
	char	   *hint = field(error, "hint");
	char	   *context = field(error, "context");
	bool		is_known = sqlstate != NULL && strlen(sqlstate) == 5;

	ereport(ERROR,
			(errcode(is_known ? MAKE_SQLSTATE(sqlstate[0], sqlstate[1], sqlstate[2], sqlstate[3], sqlstate[4]) :
					 ERRCODE_INTERNAL_ERROR),
			 errmsg_internal("%s", field(error, "message")),
			 detail == NULL ? 0 : errdetail_internal("%s", detail),
			 hint == NULL ? 0 : errhint("%s", hint),
			 context == NULL ? 0 : errcontext_msg("%s", context)));
}
