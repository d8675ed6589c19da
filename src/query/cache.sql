-- The cache of answers.

CREATE FUNCTION cache_counters(OUT hits bigint, OUT misses bigint, OUT stale bigint, OUT fills bigint,
        OUT evictions bigint, OUT entries bigint, OUT bytes bigint, OUT size_bytes bigint)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ocq_cache_counters';
COMMENT ON FUNCTION cache_counters() IS 'Counters that cache_stats shows';

CREATE VIEW cache_stats AS
    SELECT hits, misses, stale, fills, evictions, entries, bytes, size_bytes FROM order_cqrs.cache_counters();
COMMENT ON VIEW cache_stats IS 'Counters of the cache of answers since the server started, for all databases; zeros if it is off';
COMMENT ON COLUMN cache_stats.hits IS 'Answers taken from the cache';
COMMENT ON COLUMN cache_stats.misses IS 'Questions that the cache had no valid answer to';
COMMENT ON COLUMN cache_stats.stale IS 'Those of the misses for which there was an answer from before a change';
COMMENT ON COLUMN cache_stats.fills IS 'Answers put into the cache';
COMMENT ON COLUMN cache_stats.evictions IS 'Answers that had to make room for others';
COMMENT ON COLUMN cache_stats.entries IS 'Answers in the cache, also those that a change has made invalid';
COMMENT ON COLUMN cache_stats.bytes IS 'Memory that they take';
COMMENT ON COLUMN cache_stats.size_bytes IS 'Memory that answers may take: order_cqrs.cache_size';

CREATE PROCEDURE cache_clear()
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_cache_clear';
COMMENT ON PROCEDURE cache_clear() IS 'Make all cached answers invalid when the transaction commits; for an administrator who has written read tables by hand';
