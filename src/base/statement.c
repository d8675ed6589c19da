/*-------------------------------------------------------------------------
 * statement.c
 *	  SQL statements that are planned once per session and kept.
 *
 * Plans are generic: each statement is one shape with parameters, and planning
 * it anew for each value would cost more than running it.  PostgreSQL's plan
 * cache revalidates them when a relation changes.
 *
 * They are planned for large tables.  A plan made while a table is small would
 * scan it, or an index of which one column fits, from end to end, and go on doing
 * so when it has grown.  So our statements, and no others that run within them,
 * are planned as if each table had a million rows, without sequential scans.  A
 * table that is scanned all the same then has a cost that would have the statement
 * compiled, so that is off, too.
 *
 * A statement that depends_on_values is parsed once and planned for each
 * execution, like any query of the user's: by its values and the statistics of the
 * day.  One generic plan cannot serve both a rare and a frequent status, and
 * PostgreSQL's own choice between the two kinds of plan settles, after five
 * executions, on the plan that suited those five.
 *
 * All run inside a scope (scope.c).
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/scope.h"
#include "base/statement.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "nodes/parsenodes.h"
#include "optimizer/plancat.h"
#include "optimizer/planner.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/snapmgr.h"

/* The statement that was run last; it may be stale after an error, which does no harm. */
static const OcqStatement *current_statement = NULL;
static planner_hook_type previous_planner_hook = NULL;
static get_relation_info_hook_type previous_get_relation_info_hook = NULL;

static bool plans_for_large_tables = false;

#define LARGE_TUPLES 1000000.0
#define LARGE_PAGES 20000
#define LARGE_INDEX_PAGES 5000

static void
make_large(PlannerInfo *root, Oid relid, bool inhparent, RelOptInfo *rel)
{
	ListCell   *cell;

	if (previous_get_relation_info_hook != NULL)
		previous_get_relation_info_hook(root, relid, inhparent, rel);
	if (!plans_for_large_tables || rel->tuples >= LARGE_TUPLES)
		return;

	rel->tuples = LARGE_TUPLES;
	rel->pages = Max(rel->pages, LARGE_PAGES);
	foreach(cell, rel->indexlist)
	{
		IndexOptInfo *index = lfirst_node(IndexOptInfo, cell);

		index->tuples = LARGE_TUPLES;
		index->pages = Max(index->pages, LARGE_INDEX_PAGES);
	}
}

static PlannedStmt *
plan_query(Query *query, const char *text, int options, ParamListInfo params)
{
	return previous_planner_hook != NULL ?
		previous_planner_hook(query, text, options, params) :
		standard_planner(query, text, options, params);
}

static PlannedStmt *
plan_for_large_tables(Query *query, const char *text, int options, ParamListInfo params)
{
	PlannedStmt *plan = NULL;
	int			level;

	if (current_statement == NULL || text == NULL || strcmp(text, current_statement->sql) != 0)
		return plan_query(query, text, options, params);

	level = NewGUCNestLevel();
	ocq_scope_set("enable_seqscan", "off");
	ocq_scope_set("jit", "off");
	plans_for_large_tables = true;
	PG_TRY();
	{
		plan = plan_query(query, text, options, params);
	}
	PG_FINALLY();
	{
		plans_for_large_tables = false;
	}
	PG_END_TRY();
	AtEOXact_GUC(true, level);
	return plan;
}

void
ocq_statement_init(void)
{
	previous_planner_hook = planner_hook;
	planner_hook = plan_for_large_tables;
	previous_get_relation_info_hook = get_relation_info_hook;
	get_relation_info_hook = make_large;
}

static void
prepare(OcqStatement *statement)
{
	SPIPlanPtr	plan;

	if (statement->plan != NULL)
		return;

	if (statement->sql == NULL)
		statement->sql = MemoryContextStrdup(TopMemoryContext, statement->make(statement));
	plan = SPI_prepare_cursor(statement->sql, statement->nargs, statement->argtypes,
							  statement->depends_on_values ?
							  CURSOR_OPT_CUSTOM_PLAN : CURSOR_OPT_GENERIC_PLAN);
	if (plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s",
			 statement->sql, SPI_result_code_string(SPI_result));
	if (SPI_keepplan(plan) != 0)
		elog(ERROR, "could not keep the plan of \"%s\"", statement->sql);
	statement->plan = plan;
}

static void
begin_statement(OcqStatement *statement)
{
	prepare(statement);
	current_statement = statement->reads_whole_tables || statement->depends_on_values ?
		NULL : statement;
}

static uint64
end_statement(const OcqStatement *statement, const OcqStatement *outer, int result)
{
	current_statement = outer;
	if (result < 0)
		elog(ERROR, "could not run \"%s\": %s",
			 statement->sql, SPI_result_code_string(result));
	return SPI_processed;
}

/*
 * ocq_statement_run runs the statement with a new snapshot, or with the
 * transaction's under REPEATABLE READ and SERIALIZABLE, unless it shares_snapshot,
 * and returns the number of rows.  nulls is a string of ' ' and 'n', as SPI has it, or NULL.
 */
uint64
ocq_statement_run(OcqStatement *statement, Datum *values, const char *nulls)
{
	const OcqStatement *outer = current_statement;

	begin_statement(statement);
	return end_statement(statement, outer,
						 SPI_execute_plan(statement->plan, values, nulls, statement->shares_snapshot, 0));
}

/*
 * ocq_statement_run_latest sees all that has been committed by now, also under
 * REPEATABLE READ and SERIALIZABLE.  For reading the log up to the
 * horizon, and for copies kept under a generation.
 *
 * The tables are locked before the snapshot is taken.  A transaction that rewrites one, and
 * that the lock has waited for, leaves no row that an older snapshot shows.
 */
uint64
ocq_statement_run_latest(OcqStatement *statement, Datum *values, const char *nulls)
{
	const OcqStatement *outer = current_statement;
	CachedPlan *locked;
	int			result;

	begin_statement(statement);
	Assert(!statement->depends_on_values);
	locked = SPI_plan_get_cached_plan(statement->plan);
	Assert(locked != NULL);
	result = SPI_execute_snapshot(statement->plan, values, nulls, GetLatestSnapshot(), InvalidSnapshot,
								  false, true, 0);
	ReleaseCachedPlan(locked, CurrentResourceOwner);
	return end_statement(statement, outer, result);
}

/*
 * ocq_statement_open returns a cursor on the statement, which must be a SELECT,
 * in the snapshot of the statement that called us.  For reading whole tables, and
 * for looking at a plan: it is planned like any query.
 */
Portal
ocq_statement_open(OcqStatement *statement, Datum *values, const char *nulls)
{
	prepare(statement);
	return SPI_cursor_open(NULL, statement->plan, values, nulls, true);
}

/*
 * ocq_check_deferred_constraints has deferred constraints and triggers fire now,
 * where their failure can be dealt with, and not at commit.  They fire as the current
 * user, so never call it in a scope while triggers of a session's user are queued.
 */
void
ocq_check_deferred_constraints(void)
{
	AfterTriggerSetState(makeNode(ConstraintsSetStmt));
}

bool		ocq_process_is_own = false;

/*
 * ocq_check_own_deferred_constraints is for work that a process of our own or a session
 * does in a scope.  A session's are left to its commit, also in a pool worker: among
 * them may be its user's own, which would run as the owner here, and foreign keys that
 * the user has deferred because they do not hold yet.
 */
void
ocq_check_own_deferred_constraints(void)
{
	if (ocq_process_is_own)
		ocq_check_deferred_constraints();
}

/* Columns are numbered from 1. */
Datum
ocq_row_value(uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, isnull);
}

Datum
ocq_row_datum(uint64 row, int column)
{
	bool		isnull;

	return ocq_row_value(row, column, &isnull);
}

bool
ocq_row_is_null(uint64 row, int column)
{
	bool		isnull;

	(void) ocq_row_value(row, column, &isnull);
	return isnull;
}

/* ocq_array makes a one-dimensional array; nulls may be NULL. */
Datum
ocq_array(Datum *elements, const bool *nulls, int count, Oid type)
{
	int16		typlen;
	bool		typbyval;
	char		typalign;
	int			lower_bound = 1;

	get_typlenbyvalalign(type, &typlen, &typbyval, &typalign);
	return PointerGetDatum(construct_md_array(elements, (bool *) nulls, 1,
											  &count, &lower_bound,
											  type, typlen, typbyval, typalign));
}

bool
ocq_text_is(const text *value, const char *string)
{
	size_t		length = strlen(string);

	return VARSIZE_ANY_EXHDR(value) == length &&
		memcmp(VARDATA_ANY(value), string, length) == 0;
}

bool
ocq_text_equal(const text *a, const text *b)
{
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

/* ocq_text_compare orders by bytes, as COLLATE "C" does. */
int
ocq_text_compare(const text *a, const text *b)
{
	int			length_a = VARSIZE_ANY_EXHDR(a);
	int			length_b = VARSIZE_ANY_EXHDR(b);
	int			order = memcmp(VARDATA_ANY(a), VARDATA_ANY(b), Min(length_a, length_b));

	return order != 0 ? order : length_a - length_b;
}

uint64
ocq_text_hash(const text *value, uint64 seed)
{
	return hash_bytes_extended((const unsigned char *) VARDATA_ANY(value),
							   VARSIZE_ANY_EXHDR(value), seed);
}

text *
ocq_text_copy(const text *value)
{
	return cstring_to_text_with_len(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}
