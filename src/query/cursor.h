/*-------------------------------------------------------------------------
 * cursor.h
 *	  Cursors: keyset positions in a sorted list of orders, as text.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_QUERY_CURSOR_H
#define OCQ_QUERY_CURSOR_H

/*
 * Where a cursor may be used.  list is the number of a query in one sort, which no other
 * has; outside of the tenant's, or customer's, orders a cursor has no meaning.
 */
typedef struct OcqCursorKind
{
	uint8		list;
	Oid			key_type;		/* timestamptz, int4, numeric or text */
	const text *tenant_id;
	const text *customer_id;	/* or NULL */
} OcqCursorKind;

#define OCQ_LIST_CUSTOMER_ORDERS 1
#define OCQ_LIST_SEARCH 16		/* and the following: one for each sort */

/* A keyset position: the order with this sort key, and this id among those with the same key. */
typedef struct OcqKeyset
{
	Datum		key;
	Datum		order_id;
} OcqKeyset;

extern text *ocq_cursor_encode(const OcqCursorKind *kind, OcqKeyset keyset);
extern OcqKeyset ocq_cursor_decode(const OcqCursorKind *kind, const text *cursor);

#endif							/* OCQ_QUERY_CURSOR_H */
