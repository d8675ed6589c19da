/*-------------------------------------------------------------------------
 * role.h
 *	  Roles that are kept in tables.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_BASE_ROLE_H
#define OCQ_BASE_ROLE_H

extern int64 ocq_role_cluster(void);
extern Oid	ocq_role_find(const char *name, Oid oid, int64 cluster);
extern bool ocq_role_acts_for(Oid role);

#endif							/* OCQ_BASE_ROLE_H */
