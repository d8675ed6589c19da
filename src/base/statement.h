/*-------------------------------------------------------------------------
 * statement.h
 *	  SQL statements that are planned once per session and kept.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_BASE_STATEMENT_H
#define OCQ_BASE_STATEMENT_H

#include "executor/spi.h"
#include "utils/array.h"

#define OCQ_STATEMENT_MAX_ARGS 64

/* Define one with OCQ_STATEMENT, as a static variable beside its only user. */
typedef struct OcqStatement
{
	const char *sql;			/* NULL before the first use, if it is made then ... */
	char	   *(*make) (struct OcqStatement *statement);	/* ... by this, which may fill in nargs, too, ... */
	const void *subject;		/* ... from what the template is about, ... */
	const char *template;		/* ... and from that */
	int			nargs;
	Oid			argtypes[OCQ_STATEMENT_MAX_ARGS];
	bool		reads_whole_tables;
	bool		depends_on_values;	/* planned for those of each execution */
	bool		shares_snapshot;	/* reads in the active one, as others do before and after it */
	SPIPlanPtr	plan;			/* NULL until the first use in this session */
} OcqStatement;

#define OCQ_STATEMENT(text, ...) \
	{ .sql = (text), .nargs = lengthof(((Oid[]){__VA_ARGS__})), .argtypes = {__VA_ARGS__} }
#define OCQ_STATEMENT_NOARGS(text) { .sql = (text) }
#define OCQ_STATEMENT_ON_ALL(text) { .sql = (text), .reads_whole_tables = true }

extern void ocq_statement_init(void);

extern uint64 ocq_statement_run(OcqStatement *statement, Datum *values, const char *nulls);
extern uint64 ocq_statement_run_latest(OcqStatement *statement, Datum *values, const char *nulls);
extern Portal ocq_statement_open(OcqStatement *statement, Datum *values, const char *nulls);

extern void ocq_check_deferred_constraints(void);
extern void ocq_check_own_deferred_constraints(void);

/* Whether no transaction of this process is a user's; set by the worker room. */
extern bool ocq_process_is_own;

/* Reading the rows of the last statement. */
extern Datum ocq_row_value(uint64 row, int column, bool *isnull);
extern Datum ocq_row_datum(uint64 row, int column);
extern bool ocq_row_is_null(uint64 row, int column);

/* Arrays as arguments. */
extern Datum ocq_array(Datum *elements, const bool *nulls, int count, Oid type);

/* Texts. */
extern bool ocq_text_is(const text *value, const char *string);
extern bool ocq_text_equal(const text *a, const text *b);
extern int	ocq_text_compare(const text *a, const text *b);
extern uint64 ocq_text_hash(const text *value, uint64 seed);
extern text *ocq_text_copy(const text *value);

#endif							/* OCQ_BASE_STATEMENT_H */
