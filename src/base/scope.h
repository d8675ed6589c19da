/*-------------------------------------------------------------------------
 * scope.h
 *	  Runs the extension's SQL as its owner, whoever calls.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_BASE_SCOPE_H
#define OCQ_BASE_SCOPE_H

typedef struct OcqScope
{
	Oid			user;
	int			security_context;
	int			settings_level; /* 0: none was changed */
	bool		pushed_snapshot;
} OcqScope;

extern void ocq_scope_enter(OcqScope *scope);
extern void ocq_scope_leave(OcqScope *scope);
extern void ocq_scope_set(const char *setting, const char *value);

#endif							/* OCQ_BASE_SCOPE_H */
