/*-------------------------------------------------------------------------
 * tenant.h
 *	  For which tenant a call is made, and what an identifier may look like.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_TENANT_TENANT_H
#define OCQ_TENANT_TENANT_H

#define OCQ_ID_MAX_BYTES 255

/* GUC order_cqrs.tenant_id */
extern char *ocq_tenant_id;

extern void ocq_tenant_define_settings(void);
extern text *ocq_tenant_of(text *tenant_id);
extern text *ocq_tenant_resolve(FunctionCallInfo fcinfo, int argno);
extern text *ocq_tenant_id_argument(FunctionCallInfo fcinfo, int argno, const char *name);

extern char *ocq_tenant_clip(const char *string, int length);

#endif							/* OCQ_TENANT_TENANT_H */
