/*-------------------------------------------------------------------------
 * prepared.h
 *	  Whether COMMIT PREPARED would commit writes to the extension's tables.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_BASE_PREPARED_H
#define OCQ_BASE_PREPARED_H

extern bool ocq_prepared_writes_ours(const char *gid);

#endif							/* OCQ_BASE_PREPARED_H */
