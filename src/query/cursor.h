/*-------------------------------------------------------------------------
 * cursor.h
 *	  Cursors: places in a sorted list of orders, as text.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_QUERY_CURSOR_H
#define OCQ_QUERY_CURSOR_H

/*
 * Where a cursor may be used.  list is the number of a query in one sort, which
 * no other has; the owners are what a place has no meaning outside of.
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

/* A place: the order with this sort key, and this id among those with the same key. */
typedef struct OcqPlace
{
	Datum		key;
	Datum		order_id;
} OcqPlace;

extern text *ocq_cursor_encode(const OcqCursorKind *kind, OcqPlace place);
extern OcqPlace ocq_cursor_decode(const OcqCursorKind *kind, const text *cursor);

#endif							/* OCQ_QUERY_CURSOR_H */
