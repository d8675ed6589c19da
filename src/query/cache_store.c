/*-------------------------------------------------------------------------
 * cache_store.c
 *	  The cache's memory: answers, each with a key and the stamps that it is good for.
 *
 * It consists of partitions that have nothing to do with each other; the hash of a
 * key says which one it belongs to.  A partition is a table of buckets and a pool
 * of blocks.  An entry is a chain of blocks, and a link of its bucket's chain:
 *
 *	bucket -> first block of an entry -> (bucket_next) first block of another
 *				| (next)
 *			  second block ...
 *
 * The first block begins with an Entry; key and data follow, through all blocks.
 * Blocks refer to each other by number.
 *
 * Room is made by clock: the hand goes round the blocks, and takes the first entry
 * that was not asked for since it last came by, or whose stamps have moved.
 *
 * Locks: each partition has one.  Finding takes it shared and copies; putting takes
 * it exclusive, and raises no error meanwhile, so that the chains are whole whenever
 * it is free.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "port/pg_bitutils.h"
#include "query/cache_store.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/guc.h"

#define TRANCHE "order_cqrs cache"

/* An order with a few items takes two; a page of twenty orders, about a dozen. */
#define BLOCK_SIZE 512

/* A partition has room for some pages, or there are fewer partitions. */
#define MAX_PARTITIONS 64
#define MIN_PARTITION_BLOCKS 512

/* A larger answer than this part of its partition would evict too many others. */
#define MAX_SHARE 8

#define NO_BLOCK (-1)

typedef struct Block
{
	int32		next;			/* of the same entry, or of the free blocks; or NO_BLOCK */
	uint32		is_first;		/* of an entry, if not 0 */
	char		data[BLOCK_SIZE - sizeof(int32) - sizeof(uint32)];
} Block;

#define BLOCK_ROOM sizeof(((Block *) NULL)->data)

/* Written under the exclusive lock, but for was_used. */
typedef struct Entry
{
	OcqStamps	stamps;
	uint64		hash;
	int32		bucket_next;	/* first block of another entry, or NO_BLOCK */
	uint32		key_length;
	uint32		length;			/* of the data */
	pg_atomic_uint32 was_used;	/* set by finding it, cleared by the hand */
} Entry;

StaticAssertDecl(sizeof(Block) == BLOCK_SIZE, "blocks have no padding");
StaticAssertDecl(offsetof(Block, data) % sizeof(uint64) == 0, "an entry is aligned");
StaticAssertDecl(sizeof(Entry) <= BLOCK_ROOM, "the first block has room for what an entry begins with");

/* Members that are not atomic are written under the exclusive lock. */
typedef struct Partition
{
	LWLock	   *lock;			/* written at startup */
	pg_atomic_uint64 hits;		/* these three are counted by each find, after it */
	pg_atomic_uint64 misses;
	pg_atomic_uint64 stale;
	uint64		fills;
	uint64		evictions;
	int32		entries;
	int32		free_count;
	int32		first_free;
	int32		hand;
} Partition;

typedef union PaddedPartition
{
	Partition	partition;
	char		padding[PG_CACHE_LINE_SIZE];
} PaddedPartition;

/* Written at startup.  Behind the partitions come their buckets, and then their blocks. */
typedef struct Store
{
	int32		npartitions;	/* a power of two */
	int32		nbuckets;		/* of a partition, a power of two */
	int32		nblocks;		/* of a partition */
	int32	   *buckets;
	Block	   *blocks;
	PaddedPartition partitions[FLEXIBLE_ARRAY_MEMBER];
} Store;

static Store *store = NULL;

static int	ocq_cache_size;

void
ocq_cache_define_settings(void)
{
	DefineCustomIntVariable("order_cqrs.cache_size",
							"Shared memory for answers of order_get and customer_orders.",
							"It needs order_cqrs in shared_preload_libraries; with 0 there is no cache.",
							&ocq_cache_size, 0, 0, MAX_KILOBYTES,
							process_shared_preload_libraries_in_progress ? PGC_POSTMASTER : PGC_SIGHUP,
							GUC_UNIT_KB, NULL, NULL, NULL);
}

/*
 * Memory.
 */

static int64
total_blocks(void)
{
	return (int64) ocq_cache_size * 1024 / BLOCK_SIZE;
}

static int32
partition_count(void)
{
	int64		most = total_blocks() / MIN_PARTITION_BLOCKS;

	return most <= 1 ? 1 : Min(MAX_PARTITIONS, pg_prevpower2_32((uint32) Min(most, MAX_PARTITIONS)));
}

static int32
partition_blocks(void)
{
	return (int32) (total_blocks() / partition_count());
}

/* There are hardly more entries than half of the blocks. */
static int32
bucket_count(void)
{
	return pg_nextpower2_32(Max(partition_blocks() / 2, 1));
}

static Size
store_size(void)
{
	Size		size = offsetof(Store, partitions);

	size = MAXALIGN(add_size(size, mul_size(partition_count(), sizeof(PaddedPartition))));
	size = MAXALIGN(add_size(size, mul_size((Size) partition_count() * bucket_count(), sizeof(int32))));
	return add_size(size, mul_size((Size) partition_count() * partition_blocks(), BLOCK_SIZE));
}

void
ocq_cache_request_shmem(void)
{
	if (ocq_cache_size == 0)
		return;
	ocq_stamps_request_shmem();
	RequestAddinShmemSpace(store_size());
	RequestNamedLWLockTranche(TRANCHE, partition_count());
}

static Block *
block_of(int32 partition, int32 block)
{
	return &store->blocks[(Size) partition * store->nblocks + block];
}

static void
init_partition(int32 number)
{
	Partition  *partition = &store->partitions[number].partition;

	memset(partition, 0, sizeof(Partition));
	partition->lock = &GetNamedLWLockTranche(TRANCHE)[number].lock;
	pg_atomic_init_u64(&partition->hits, 0);
	pg_atomic_init_u64(&partition->misses, 0);
	pg_atomic_init_u64(&partition->stale, 0);
	partition->free_count = store->nblocks;
	partition->first_free = 0;
	for (int32 block = 0; block < store->nblocks; block++)
	{
		block_of(number, block)->next = block + 1 < store->nblocks ? block + 1 : NO_BLOCK;
		block_of(number, block)->is_first = 0;
	}
}

static void
init_store(void)
{
	char	   *end;

	store->npartitions = partition_count();
	store->nbuckets = bucket_count();
	store->nblocks = partition_blocks();
	end = (char *) store +
		MAXALIGN(offsetof(Store, partitions) + store->npartitions * sizeof(PaddedPartition));
	store->buckets = (int32 *) end;
	end += MAXALIGN((Size) store->npartitions * store->nbuckets * sizeof(int32));
	store->blocks = (Block *) end;
	for (Size bucket = 0; bucket < (Size) store->npartitions * store->nbuckets; bucket++)
		store->buckets[bucket] = NO_BLOCK;
	for (int32 number = 0; number < store->npartitions; number++)
		init_partition(number);
}

void
ocq_cache_startup_shmem(void)
{
	bool		found;

	if (ocq_cache_size == 0)
		return;
	ocq_stamps_startup_shmem();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	store = ShmemInitStruct("order_cqrs cache", store_size(), &found);
	if (!found)
		init_store();
	LWLockRelease(AddinShmemInitLock);
}

bool
ocq_cache_store_exists(void)
{
	return store != NULL;
}

/*
 * Entries.  The caller holds the partition's lock.
 */

static int32
number_of_partition(uint64 hash)
{
	return (int32) (hash & (store->npartitions - 1));
}

static int32 *
bucket_of(int32 number, uint64 hash)
{
	return &store->buckets[(Size) number * store->nbuckets + ((hash >> 32) & (store->nbuckets - 1))];
}

static Entry *
entry_of(int32 number, int32 block)
{
	return (Entry *) block_of(number, block)->data;
}

/* An offset in the blocks of an entry. */
typedef struct Place
{
	int32		partition;
	int32		block;
	uint32		offset;			/* in the block's data */
} Place;

/* next_bytes returns the bytes from the position on, at most length, and moves it behind them. */
static char *
next_bytes(Place *place, uint32 *length)
{
	Block	   *block;

	if (place->offset == BLOCK_ROOM)
	{
		place->block = block_of(place->partition, place->block)->next;
		place->offset = 0;
	}
	block = block_of(place->partition, place->block);
	*length = Min(*length, BLOCK_ROOM - place->offset);
	place->offset += *length;
	return block->data + place->offset - *length;
}

static void
write_bytes(Place *place, const char *data, uint32 length)
{
	while (length > 0)
	{
		uint32		count = length;
		char	   *bytes = next_bytes(place, &count);

		memcpy(bytes, data, count);
		data += count;
		length -= count;
	}
}

static void
read_bytes(Place *place, char *data, uint32 length)
{
	while (length > 0)
	{
		uint32		count = length;
		char	   *bytes = next_bytes(place, &count);

		memcpy(data, bytes, count);
		data += count;
		length -= count;
	}
}

static bool
skip_equal_bytes(Place *place, const char *data, uint32 length)
{
	while (length > 0)
	{
		uint32		count = length;
		char	   *bytes = next_bytes(place, &count);

		if (memcmp(bytes, data, count) != 0)
			return false;
		data += count;
		length -= count;
	}
	return true;
}

/* find_entry returns the entry's first block, or NO_BLOCK; data is set to where its data begin. */
static int32
find_entry(int32 number, const OcqCacheKey *key, Place *data)
{
	for (int32 block = *bucket_of(number, key->hash); block != NO_BLOCK;
		 block = entry_of(number, block)->bucket_next)
	{
		Entry	   *entry = entry_of(number, block);

		*data = (Place) {number, block, sizeof(Entry)};
		if (entry->hash == key->hash && entry->key_length == key->length &&
			skip_equal_bytes(data, key->data, key->length))
			return block;
	}
	return NO_BLOCK;
}

static void
free_blocks(int32 number, int32 first)
{
	Partition  *partition = &store->partitions[number].partition;
	Block	   *block = block_of(number, first);

	block->is_first = 0;
	partition->free_count++;
	while (block->next != NO_BLOCK)
	{
		block = block_of(number, block->next);
		partition->free_count++;
	}
	block->next = partition->first_free;
	partition->first_free = first;
}

static void
remove_entry(int32 number, int32 block)
{
	Entry	   *entry = entry_of(number, block);
	int32	   *link = bucket_of(number, entry->hash);

	while (*link != block)
		link = &entry_of(number, *link)->bucket_next;
	*link = entry->bucket_next;
	free_blocks(number, block);
	store->partitions[number].partition.entries--;
}

/* make_room needs no more than two rounds: in the second one no entry has been used. */
static void
make_room(int32 number, int32 count)
{
	Partition  *partition = &store->partitions[number].partition;

	while (partition->free_count < count)
	{
		int32		block = partition->hand;
		Entry	   *entry = entry_of(number, block);

		partition->hand = (block + 1) % store->nblocks;
		if (block_of(number, block)->is_first == 0)
			continue;
		if (pg_atomic_read_u32(&entry->was_used) != 0 && ocq_stamps_are_current(&entry->stamps))
		{
			pg_atomic_write_u32(&entry->was_used, 0);
			continue;
		}
		remove_entry(number, block);
		partition->evictions++;
	}
}

static int32
take_blocks(int32 number, int32 count)
{
	Partition  *partition = &store->partitions[number].partition;
	int32		first = partition->first_free;
	Block	   *last = block_of(number, first);

	for (int32 i = 1; i < count; i++)
		last = block_of(number, last->next);
	partition->first_free = last->next;
	partition->free_count -= count;
	last->next = NO_BLOCK;
	block_of(number, first)->is_first = 1;
	return first;
}

static void
add_entry(int32 number, const OcqCacheKey *key, const OcqStamps *stamps,
		  const char *data, uint32 length, int32 nblocks)
{
	int32	   *bucket = bucket_of(number, key->hash);
	int32		block = take_blocks(number, nblocks);
	Entry	   *entry = entry_of(number, block);
	Place		place = {number, block, sizeof(Entry)};

	entry->stamps = *stamps;
	entry->hash = key->hash;
	entry->key_length = key->length;
	entry->length = length;
	pg_atomic_init_u32(&entry->was_used, 0);
	write_bytes(&place, key->data, key->length);
	write_bytes(&place, data, length);
	entry->bucket_next = *bucket;
	*bucket = block;
	store->partitions[number].partition.entries++;
}

/*
 * The interface.
 */

/* copy_data tells the hand that the entry was used.  It writes only if that is news. */
static char *
copy_data(Entry *entry, Place *data, uint32 *length)
{
	char	   *copy = palloc(entry->length);

	*length = entry->length;
	read_bytes(data, copy, entry->length);
	if (pg_atomic_read_u32(&entry->was_used) == 0)
		pg_atomic_write_u32(&entry->was_used, 1);
	return copy;
}

/*
 * ocq_cache_store_find returns a copy of the data, or NULL if there are none or
 * their stamps have moved.
 */
void *
ocq_cache_store_find(const OcqCacheKey *key, uint32 *length)
{
	int32		number = number_of_partition(key->hash);
	Partition  *partition = &store->partitions[number].partition;
	char	   *copy = NULL;
	Place		data;
	int32		block;

	LWLockAcquire(partition->lock, LW_SHARED);
	block = find_entry(number, key, &data);
	if (block != NO_BLOCK && ocq_stamps_are_current(&entry_of(number, block)->stamps))
		copy = copy_data(entry_of(number, block), &data, length);
	LWLockRelease(partition->lock);

	pg_atomic_fetch_add_u64(copy != NULL ? &partition->hits : &partition->misses, 1);
	if (copy == NULL && block != NO_BLOCK)
		pg_atomic_fetch_add_u64(&partition->stale, 1);
	return copy;
}

/* ocq_cache_store_put replaces the key's earlier answer. */
void
ocq_cache_store_put(const OcqCacheKey *key, const OcqStamps *stamps, const void *data, uint32 length)
{
	int32		number = number_of_partition(key->hash);
	Partition  *partition = &store->partitions[number].partition;
	Size		size = sizeof(Entry) + key->length + (Size) length;
	Size		nblocks = (size + BLOCK_ROOM - 1) / BLOCK_ROOM;
	Place		old_data;
	int32		old;

	if (nblocks > (Size) store->nblocks / MAX_SHARE)
		return;

	LWLockAcquire(partition->lock, LW_EXCLUSIVE);
	old = find_entry(number, key, &old_data);
	if (old != NO_BLOCK)
		remove_entry(number, old);
	make_room(number, (int32) nblocks);
	add_entry(number, key, stamps, data, length, (int32) nblocks);
	partition->fills++;
	LWLockRelease(partition->lock);
}

static void
add_stats(OcqCacheStats *stats, Partition *partition)
{
	stats->hits += pg_atomic_read_u64(&partition->hits);
	stats->misses += pg_atomic_read_u64(&partition->misses);
	stats->stale += pg_atomic_read_u64(&partition->stale);
	LWLockAcquire(partition->lock, LW_SHARED);
	stats->fills += partition->fills;
	stats->evictions += partition->evictions;
	stats->entries += partition->entries;
	stats->bytes += (uint64) (store->nblocks - partition->free_count) * BLOCK_SIZE;
	LWLockRelease(partition->lock);
}

/* ocq_cache_store_stats returns zeros if there is no cache. */
OcqCacheStats
ocq_cache_store_stats(void)
{
	OcqCacheStats stats = {0};

	if (store == NULL)
		return stats;
	for (int32 number = 0; number < store->npartitions; number++)
		add_stats(&stats, &store->partitions[number].partition);
	stats.size = (uint64) store->npartitions * store->nblocks * BLOCK_SIZE;
	return stats;
}
