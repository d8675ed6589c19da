/*-------------------------------------------------------------------------
 * argument.c
 *	  The arguments of a call: ids, texts, items, and the row of a trigger.
 *
 * Each function returns a valid argument, or raises an error that names it.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/argument.h"
#include "base/compat.h"
#include "base/errors.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#define CLIPPED_BYTES 60

/* ocq_argument_clip returns the beginning of a string, for a message. */
char *
ocq_argument_clip(const char *string, int length)
{
	return pnstrdup(string, pg_mbcliplen(string, length, CLIPPED_BYTES));
}

/* ocq_argument_id returns an identifier, which is not NULL, not empty and not too long. */
text *
ocq_argument_id(FunctionCallInfo fcinfo, int argno, const char *name)
{
	text	   *id = PG_ARGISNULL(argno) ? NULL : PG_GETARG_TEXT_PP(argno);
	int			length = id == NULL ? 0 : VARSIZE_ANY_EXHDR(id);

	if (length == 0)
		ereport(ERROR,
				(errcode(OCQ_ERR_INVALID_ID),
				 errmsg("%s must not be %s", name, id == NULL ? "null" : "empty"),
				 errdetail("An identifier has 1 to %d bytes.", OCQ_ID_MAX_BYTES),
				 errhint("Pass a value for %s.", name)));
	if (length > OCQ_ID_MAX_BYTES)
		ereport(ERROR,
				(errcode(OCQ_ERR_INVALID_ID),
				 errmsg("%s is too long", name),
				 errdetail("It begins with \"%s\" and has %d bytes; an identifier has at most %d.",
						   ocq_argument_clip(VARDATA_ANY(id), length),
						   length, OCQ_ID_MAX_BYTES),
				 errhint("Use a shorter identifier, such as a UUID.")));
	return id;
}

/* ocq_argument_text returns a text for people, which is not too long, or NULL. */
text *
ocq_argument_text(FunctionCallInfo fcinfo, int argno, const char *name)
{
	text	   *value = PG_ARGISNULL(argno) ? NULL : PG_GETARG_TEXT_PP(argno);

	if (value != NULL && VARSIZE_ANY_EXHDR(value) > OCQ_TEXT_MAX_BYTES)
		ereport(ERROR,
				(errcode(OCQ_ERR_INVALID_ARGUMENT),
				 errmsg("%s is too long", name),
				 errdetail("It has %zu bytes.", (size_t) VARSIZE_ANY_EXHDR(value)),
				 errhint("Pass at most %d bytes.", OCQ_TEXT_MAX_BYTES)));
	return value;
}

/* ocq_argument_items returns items, which are not NULL: those of an order, or for a purpose. */
JsonbContainer *
ocq_argument_items(FunctionCallInfo fcinfo, int argno, const text *order_id, const char *purpose,
				   const char *hint)
{
	if (PG_ARGISNULL(argno))
		ereport(ERROR,
				(errcode(OCQ_ERR_INVALID_ITEMS),
				 errmsg("items must not be null"),
				 order_id == NULL ? errdetail_internal("%s", purpose) :
				 errdetail("The order is \"%s\".", text_to_cstring(order_id)),
				 errhint("%s", hint)));
	return &PG_GETARG_JSONB_P(argno)->root;
}

/* ocq_argument_trigger returns the call of an INSERT row trigger; timing is TRIGGER_EVENT_BEFORE or _AFTER. */
TriggerData *
ocq_argument_trigger(FunctionCallInfo fcinfo, const char *name, TriggerEvent timing)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		(trigger->tg_event & TRIGGER_EVENT_TIMINGMASK) != timing ||
		!TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("%s() must be called as %s INSERT row trigger", name,
						timing == TRIGGER_EVENT_BEFORE ? "a BEFORE" : "an AFTER")));
	return trigger;
}

/* ocq_argument_run runs a statement whose parameters are these columns of a trigger's row. */
uint64
ocq_argument_run(const TriggerData *trigger, OcqStatement *statement, const char *const *names)
{
	TupleDesc	descriptor = RelationGetDescr(trigger->tg_relation);
	Datum		values[OCQ_STATEMENT_MAX_ARGS];
	char		nulls[OCQ_STATEMENT_MAX_ARGS];

	for (int i = 0; i < statement->nargs; i++)
	{
		bool		isnull;

		values[i] = SPI_getbinval(trigger->tg_trigtuple, descriptor, SPI_fnumber(descriptor, names[i]), &isnull);
		nulls[i] = isnull ? 'n' : ' ';
	}
	return ocq_statement_run(statement, values, nulls);
}
