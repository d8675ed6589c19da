/*-------------------------------------------------------------------------
 * cache_store.h
 *	  The cache's memory: answers, each with a key and the stamps that it is good for.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_QUERY_CACHE_STORE_H
#define OCQ_QUERY_CACHE_STORE_H

#include "base/stamps.h"

typedef struct OcqCacheKey
{
	const char *data;
	uint32		length;
	uint64		hash;
} OcqCacheKey;

typedef struct OcqCacheStats
{
	uint64		hits;
	uint64		misses;			/* stale answers included */
	uint64		stale;
	uint64		fills;
	uint64		evictions;
	uint64		entries;
	uint64		bytes;
	uint64		size;
} OcqCacheStats;

extern void ocq_cache_define_settings(void);
extern void ocq_cache_request_shmem(void);
extern void ocq_cache_startup_shmem(void);

extern bool ocq_cache_store_exists(void);
extern void *ocq_cache_store_find(const OcqCacheKey *key, uint32 *length);
extern void ocq_cache_store_put(const OcqCacheKey *key, const OcqStamps *stamps,
								const void *data, uint32 length);
extern OcqCacheStats ocq_cache_store_stats(void);

#endif							/* OCQ_QUERY_CACHE_STORE_H */
