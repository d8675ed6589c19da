/*-------------------------------------------------------------------------
 * next_id.c
 *	  order_next_id: a time-ordered UUID, version 7 of RFC 9562.
 *
 * 48 bits of milliseconds, then 12 bits of the fraction of the millisecond (the
 * RFC's method 3), then random bits.  Within a session each id is greater than
 * the one before, also when the clock stands still or is set back.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <time.h>

#include "base/errors.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

PG_FUNCTION_INFO_V1(ocq_order_next_id);

#define NS_PER_MS 1000000

/* next_tick returns the time in 1/4096 of a millisecond, always later than the last. */
static uint64
next_tick(void)
{
	static uint64 last_tick = 0;
	struct timespec now;
	uint64		ms;
	uint64		tick;

	clock_gettime(CLOCK_REALTIME, &now);
	ms = (uint64) now.tv_sec * 1000 + now.tv_nsec / NS_PER_MS;
	tick = (ms << 12) | ((uint64) (now.tv_nsec % NS_PER_MS) * 4096 / NS_PER_MS);
	last_tick = Max(tick, last_tick + 1);
	return last_tick;
}

/* order_next_id() returns text */
Datum
ocq_order_next_id(PG_FUNCTION_ARGS)
{
	pg_uuid_t	uuid;
	uint64		tick = next_tick();

	if (!pg_strong_random(&uuid.data[8], UUID_LEN - 8))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	for (int i = 0; i < 6; i++)
		uuid.data[i] = (unsigned char) (tick >> (52 - 8 * i));
	uuid.data[6] = 0x70 | ((tick >> 8) & 0x0F);
	uuid.data[7] = tick & 0xFF;
	uuid.data[8] = 0x80 | (uuid.data[8] & 0x3F);
	PG_RETURN_TEXT_P(cstring_to_text(DatumGetCString(DirectFunctionCall1(uuid_out,
																		 UUIDPGetDatum(&uuid)))));
}
