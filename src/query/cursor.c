/*-------------------------------------------------------------------------
 * cursor.c
 *	  Cursors: keyset positions in a sorted list of orders, as text.
 *
 * A cursor is the hexadecimal form, which passes through URLs and JSON as it is, of
 *
 *		format		1 byte
 *		list		1 byte, the query and its sort
 *		check		4 bytes, CRC-32C of all other bytes and of the owners' ids
 *		length		4 bytes, of the order's id
 *		order's id
 *		key			to the end; see put_key
 *
 * in network byte order, so that it means the same on every node.  There is one
 * form for each position; change any character and it is refused.
 *
 * The check finds damage and confusion, not forgery, and need not: a cursor only
 * ends up as parameters of two comparisons, so that a forged one shows no row that
 * its maker could not have asked for.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/errors.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "port/pg_bswap.h"
#include "port/pg_crc32c.h"
#include "query/cursor.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#define FORMAT 1
#define CHECK_OFFSET 2
#define ID_OFFSET 10			/* of the order's id: the least that a cursor has */

/* The digits that a numeric can have. */
#define MAX_WHOLE_DIGITS 131072
#define MAX_FRACTION_DIGITS 16383

pg_noreturn static void
report_invalid(const char *detail)
{
	ereport(ERROR,
			(errcode(OCQ_ERR_INVALID_CURSOR),
			 errmsg("invalid cursor"),
			 errdetail_internal("%s", detail),
			 errhint("Pass the cursor of a row that the same query has returned, or leave after out to begin with the first page.")));
}

/* The length goes first, so that no two pairs of ids are the same bytes. */
static pg_crc32c
add_owner(pg_crc32c crc, const text *owner)
{
	uint32		length = owner == NULL ? PG_UINT32_MAX : pg_hton32(VARSIZE_ANY_EXHDR(owner));

	COMP_CRC32C(crc, &length, sizeof(length));
	if (owner != NULL)
		COMP_CRC32C(crc, VARDATA_ANY(owner), VARSIZE_ANY_EXHDR(owner));
	return crc;
}

static uint32
check_of(const OcqCursorKind *kind, const StringInfoData *bytes)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, bytes->data, CHECK_OFFSET);
	COMP_CRC32C(crc, bytes->data + CHECK_OFFSET + sizeof(uint32),
				bytes->len - CHECK_OFFSET - sizeof(uint32));
	crc = add_owner(crc, kind->tenant_id);
	crc = add_owner(crc, kind->customer_id);
	FIN_CRC32C(crc);
	return crc;
}

static void
put_text(StringInfo bytes, const text *value)
{
	appendBinaryStringInfo(bytes, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}

/* The forms of keys do not depend on any setting of the session. */
static void
put_key(StringInfo bytes, Oid type, Datum key)
{
	switch (type)
	{
		case TIMESTAMPTZOID:
			pq_sendint64(bytes, DatumGetTimestampTz(key));
			break;
		case INT4OID:
			pq_sendint32(bytes, DatumGetInt32(key));
			break;
		case NUMERICOID:
			appendStringInfoString(bytes, DatumGetCString(DirectFunctionCall1(numeric_out, key)));
			break;
		case TEXTOID:
			put_text(bytes, DatumGetTextPP(key));
			break;
		default:
			elog(ERROR, "a sort key cannot be of type %u", type);
	}
}

static text *
get_text(StringInfo bytes, int length)
{
	const char *data = pq_getmsgbytes(bytes, length);

	if (!pg_verifymbstr(data, length, true))
		report_invalid("It is no text of this database's encoding.");
	return cstring_to_text_with_len(data, length);
}

static void
require_length(int length, int expected)
{
	if (length != expected)
		report_invalid("Its sort key has a wrong length.");
}

/* is_number tells whether numeric_in takes the string: it answers others with errors of its own. */
static bool
is_number(const char *string)
{
	static const char digits[] = "0123456789";
	size_t		count;

	string += *string == '-' ? 1 : 0;
	count = strspn(string, digits);
	if (count == 0 || count > MAX_WHOLE_DIGITS)
		return false;
	string += count;
	if (*string == '.')
	{
		count = strspn(++string, digits);
		if (count == 0 || count > MAX_FRACTION_DIGITS)
			return false;
		string += count;
	}
	return *string == '\0';
}

static Datum
get_number(const char *string)
{
	if (!is_number(string))
		report_invalid("Its sort key is no number.");
	return DirectFunctionCall3(numeric_in, CStringGetDatum(string),
							   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
}

static Datum
get_key(StringInfo bytes, Oid type)
{
	int			length = bytes->len - bytes->cursor;

	switch (type)
	{
		case TIMESTAMPTZOID:
			require_length(length, sizeof(int64));
			return TimestampTzGetDatum(pq_getmsgint64(bytes));
		case INT4OID:
			require_length(length, sizeof(int32));
			return Int32GetDatum((int32) pq_getmsgint(bytes, sizeof(int32)));
		case NUMERICOID:
			return get_number(text_to_cstring(get_text(bytes, length)));
		case TEXTOID:
			return PointerGetDatum(get_text(bytes, length));
		default:
			elog(ERROR, "a sort key cannot be of type %u", type);
	}
}

static text *
text_of_bytes(const StringInfoData *bytes)
{
	text	   *result = palloc(VARHDRSZ + 2 * (Size) bytes->len);

	SET_VARSIZE(result, VARHDRSZ + 2 * (Size) bytes->len);
	(void) hex_encode(bytes->data, bytes->len, VARDATA(result));
	return result;
}

/* hex_decode takes more than one form of the same bytes, and raises errors of its own. */
static StringInfoData
bytes_of_text(const text *cursor)
{
	char	   *digits = text_to_cstring(cursor);
	size_t		length = strlen(digits);
	StringInfoData bytes;

	if (length % 2 != 0 || strspn(digits, "0123456789abcdef") != length)
		report_invalid("A cursor consists of pairs of hexadecimal digits.");
	if (length / 2 < ID_OFFSET)
		report_invalid("It is too short.");

	initStringInfo(&bytes);
	enlargeStringInfo(&bytes, length / 2);
	bytes.len = hex_decode(digits, length, bytes.data);
	bytes.data[bytes.len] = '\0';
	return bytes;
}

text *
ocq_cursor_encode(const OcqCursorKind *kind, OcqKeyset keyset)
{
	const text *order_id = DatumGetTextPP(keyset.order_id);
	StringInfoData bytes;
	uint32		check;

	initStringInfo(&bytes);
	pq_sendint8(&bytes, FORMAT);
	pq_sendint8(&bytes, kind->list);
	pq_sendint32(&bytes, 0);
	pq_sendint32(&bytes, VARSIZE_ANY_EXHDR(order_id));
	put_text(&bytes, order_id);
	put_key(&bytes, kind->key_type, keyset.key);

	check = pg_hton32(check_of(kind, &bytes));
	memcpy(bytes.data + CHECK_OFFSET, &check, sizeof(check));
	return text_of_bytes(&bytes);
}

/* ocq_cursor_decode returns the position of a cursor of that kind; any other text is an error. */
OcqKeyset
ocq_cursor_decode(const OcqCursorKind *kind, const text *cursor)
{
	StringInfoData bytes = bytes_of_text(cursor);
	OcqKeyset	keyset;
	uint32		length;

	if (pq_getmsgbyte(&bytes) != FORMAT)
		report_invalid("It is no cursor of this version of order_cqrs.");
	if (pq_getmsgbyte(&bytes) != kind->list)
		report_invalid("It belongs to another function or another sort.");
	if (pq_getmsgint(&bytes, sizeof(uint32)) != check_of(kind, &bytes))
		report_invalid("It is damaged, or belongs to another tenant or customer.");

	length = pq_getmsgint(&bytes, sizeof(uint32));
	if (length > (uint32) (bytes.len - bytes.cursor))
		report_invalid("It is too short.");
	keyset.order_id = PointerGetDatum(get_text(&bytes, length));
	keyset.key = get_key(&bytes, kind->key_type);
	return keyset;
}
