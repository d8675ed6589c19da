/*-------------------------------------------------------------------------
 * role_ref.h
 *	  The type role_ref: a role by its OID, which a dump holds by its name.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_BASE_ROLE_REF_H
#define OCQ_BASE_ROLE_REF_H

extern char *ocq_role_ref_describe(Oid role);
extern bool ocq_role_ref_acts_for(Oid role);

#endif							/* OCQ_BASE_ROLE_REF_H */
