/*-------------------------------------------------------------------------
 * stock.h
 *	  The stock of products: lines of products and quantities, and claims on the stock.
 *
 * A line is a product with a quantity.  A claim compares the lines that an order wants with
 * the stock, and with the lines that the order holds already; the claim's reserved lines are
 * those that the order holds afterwards.  (An order's items are lines with prices.)
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_STOCK_STOCK_H
#define OCQ_STOCK_STOCK_H

#include "store/event.h"
#include "utils/numeric.h"

/* stock_lines.c */
typedef struct OcqStockLine
{
	text	   *product_id;
	int64		quantity;
} OcqStockLine;

/* Each product once, in the order of their ids. */
typedef struct OcqStockLines
{
	OcqStockLine *lines;
	int			count;
} OcqStockLines;

typedef struct OcqStockItem
{
	OcqStockLine line;
	bool		has_price;
	JsonbValue	unit_price;
	int			sqlstate;		/* if it is not valid */
} OcqStockItem;

extern OcqStockLines ocq_stock_lines_merge(OcqStockLine *lines, int count);
extern int64 ocq_stock_lines_quantity(const OcqStockLines *lines, const text *product_id);
extern bool ocq_stock_lines_equal(const OcqStockLines *a, const OcqStockLines *b);
extern const char *ocq_stock_item_read(const JsonbValue *element, bool in_event, OcqStockItem *item);
extern OcqStockLines ocq_stock_lines_parse(JsonbContainer *container);

/* stock.c */
typedef enum OcqReserveOn
{
	OCQ_RESERVE_ON_CREATE,
	OCQ_RESERVE_ON_SAGA,
	OCQ_RESERVE_OFF
} OcqReserveOn;

/* GUC order_cqrs.reserve_on, an OcqReserveOn */
extern int	ocq_reserve_on;

/* A product of which less is available than a reservation needs. */
typedef struct OcqShortage
{
	text	   *product_id;
	int64		requested;
	int64		available;
} OcqShortage;

typedef struct OcqClaim
{
	OcqStockLines reserved;		/* of the wanted lines, those of stocked products */
	OcqShortage *shortages;
	int			nshortages;
} OcqClaim;

extern void ocq_stock_define_settings(void);
extern OcqClaim ocq_stock_claim(text *tenant_id, const OcqStockLines *wanted,
								const OcqStockLines *held);
extern void ocq_stock_report_shortages(const OcqClaim *claim, const OcqStream *order);
extern void ocq_stock_changed(void);

/* stock_commands.c */
#define OCQ_EVENT_STOCK_RECEIVED "StockReceived"
#define OCQ_EVENT_STOCK_ADJUSTED "StockAdjusted"

/* Sums over a product's stream. */
typedef struct OcqStockTotals
{
	int64		received;
	int64		adjusted;		/* may be less than 0 */
} OcqStockTotals;

extern OcqStockTotals ocq_stock_totals(const OcqEvent *event);

#endif							/* OCQ_STOCK_STOCK_H */
