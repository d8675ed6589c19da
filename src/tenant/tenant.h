/*-------------------------------------------------------------------------
 * tenant.h
 *	  The tenant for which a call is made.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_TENANT_TENANT_H
#define OCQ_TENANT_TENANT_H

#include "fmgr.h"

/* GUC order_cqrs.tenant_id */
extern char *ocq_tenant_id;

extern void ocq_tenant_define_settings(void);
extern text *ocq_tenant_of(text *tenant_id);
extern text *ocq_tenant_resolve(FunctionCallInfo fcinfo, int argno);

#endif							/* OCQ_TENANT_TENANT_H */
