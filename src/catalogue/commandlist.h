/*-------------------------------------------------------------------------
 * commandlist.h
 *	  The catalogue: each command, each event of an order and each query, once.
 *
 * The file has no include guard.  An includer defines the macros that it needs; the
 * others expand to nothing.  declare.awk reads the same lines, and writes the SQL that
 * declares and grants the routines that they name.
 *
 * OCQ_SHARED_ARGUMENT(symbol, name, type)
 *		An optional argument of every command, behind the command's own.
 *
 * OCQ_COMMAND(routine, message, answer, comment, parameters)
 *		A command: ocq_<routine> is its C function, message its type on the bus, answer
 *		the version that it returns.
 *
 * OCQ_ORDER_COMMAND(routine, message, symbol, event, verb, comment, parameters)
 *		A command on an order: OCQ_ORDER_<symbol>, which leads to event first.  verb is
 *		for messages, "cannot be <verb>".
 *
 * OCQ_ORDER_EVENT(symbol, name)
 *		An event of an order: OCQ_ORDER_EVENT_<symbol>.
 *
 * OCQ_QUERY(routine, message, result, parameters)
 *		A query that is a type on the bus: a function that returns a ROW, or ROWS.  An
 *		OBJECT in the payload holds parameters of its own (bus/queries.c).
 *
 * OCQ_QUERY_FUNCTION(routine)
 *		A query that is a function and nothing else.
 *
 * Parameters stand side by side without commas: ID is the one that names the aggregate;
 * REQUIRED; OPTIONAL, with the default NULL; last NAMED, an optional one that stands
 * behind the shared ones and so is passed by name.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_SHARED_ARGUMENT
#define OCQ_SHARED_ARGUMENT(symbol, name, type)
#endif
#ifndef OCQ_COMMAND
#define OCQ_COMMAND(routine, message, answer, comment, ...)
#endif
#ifndef OCQ_ORDER_COMMAND
#define OCQ_ORDER_COMMAND(routine, message, symbol, event, verb, comment, ...) \
	OCQ_COMMAND(routine, message, "the order's new version", comment, __VA_ARGS__)
#endif
#ifndef OCQ_ORDER_EVENT
#define OCQ_ORDER_EVENT(symbol, name)
#endif
#ifndef OCQ_QUERY
#define OCQ_QUERY(routine, message, result, ...)
#endif
#ifndef OCQ_QUERY_FUNCTION
#define OCQ_QUERY_FUNCTION(routine)
#endif

OCQ_SHARED_ARGUMENT(COMMAND_ID, "command_id", UUIDOID)
OCQ_SHARED_ARGUMENT(EXPECTED_VERSION, "expected_version", INT4OID)
OCQ_SHARED_ARGUMENT(METADATA, "metadata", JSONBOID)
OCQ_SHARED_ARGUMENT(TENANT_ID, "tenant_id", TEXTOID)

OCQ_ORDER_COMMAND(order_create, "CreateOrder", CREATE, CREATED, "created",
				  "Create an order of 1 to 1000 items [{\"product_id\": text, \"quantity\": integer, \"unit_price\": number or decimal string}, ...]",
				  ID("order_id", TEXTOID) REQUIRED("customer_id", TEXTOID) REQUIRED("items", JSONBOID))
OCQ_ORDER_COMMAND(order_update, "UpdateOrder", UPDATE, UPDATED, "updated",
				  "Replace the items of a PENDING order",
				  ID("order_id", TEXTOID) REQUIRED("items", JSONBOID) OPTIONAL("reason", TEXTOID))
OCQ_ORDER_COMMAND(order_cancel, "CancelOrder", CANCEL, CANCELLED, "cancelled",
				  "Cancel an order that is PENDING, or COMPLETED and not yet shipped",
				  ID("order_id", TEXTOID) OPTIONAL("reason", TEXTOID))
OCQ_ORDER_COMMAND(order_complete, "CompleteOrder", COMPLETE, COMPLETED, "completed",
				  "Complete a PENDING order",
				  ID("order_id", TEXTOID))
OCQ_COMMAND(stock_receive, "ReceiveStock", "the new version of the product's Inventory stream",
			"Add to the stock of a product; from the first call on the product is limited to its stock",
			ID("product_id", TEXTOID) REQUIRED("quantity", INT4OID))
OCQ_COMMAND(stock_adjust, "AdjustStock", "the new version of the product's Inventory stream",
			"Correct the stock of a product that is stocked, as after stocktaking, breakage or a return: by more or less than 0, and to no less than orders hold",
			ID("product_id", TEXTOID) REQUIRED("quantity", INT4OID) REQUIRED("reason", TEXTOID))
OCQ_ORDER_COMMAND(inventory_reserve, "ReserveInventory", RESERVE_INVENTORY, INVENTORY_RESERVED, "given a reservation",
				  "Reserve the stock that a live order needs; reserving twice reserves once",
				  ID("order_id", TEXTOID))
OCQ_ORDER_COMMAND(reservation_change, "ChangeReservation", CHANGE_RESERVATION, RESERVATION_CHANGED, "given another reservation",
				  "Make the reservation of an order hold other products and quantities, [{\"product_id\": text, \"quantity\": integer}, ...]",
				  ID("order_id", TEXTOID) REQUIRED("items", JSONBOID))
OCQ_ORDER_COMMAND(inventory_release, "ReleaseInventory", RELEASE_INVENTORY, INVENTORY_RELEASED, "released",
				  "Give back the stock that an order holds; nothing happens if it holds none",
				  ID("order_id", TEXTOID))
OCQ_ORDER_COMMAND(payment_process, "ProcessPayment", REQUEST_PAYMENT, PAYMENT_REQUESTED, "requested",
				  "Request the payment of an order: it then waits in payment_requests",
				  ID("order_id", TEXTOID))
OCQ_ORDER_COMMAND(payment_complete, "CompletePayment", COMPLETE_PAYMENT, PAYMENT_COMPLETED, "completed",
				  "Report that the requested payment of an order was made; reference is the provider's, and another amount than requested is refused",
				  ID("order_id", TEXTOID) OPTIONAL("reference", TEXTOID) NAMED("amount", NUMERICOID))
OCQ_ORDER_COMMAND(payment_fail, "FailPayment", FAIL_PAYMENT, PAYMENT_FAILED, "failed",
				  "Report that the requested payment of an order has failed; another amount than requested is refused",
				  ID("order_id", TEXTOID) OPTIONAL("reason", TEXTOID) NAMED("amount", NUMERICOID))
OCQ_ORDER_COMMAND(payment_refund, "RefundPayment", REFUND_PAYMENT, PAYMENT_REFUNDED, "refunded",
				  "Refund the completed payment of an order as a whole; another amount is refused",
				  ID("order_id", TEXTOID) NAMED("amount", NUMERICOID))
OCQ_ORDER_COMMAND(shipping_start, "StartShipping", START_SHIPPING, SHIPPING_STARTED, "shipped",
				  "Ship a COMPLETED order: the products that it holds leave the stock, and it can no longer be cancelled",
				  ID("order_id", TEXTOID))
OCQ_COMMAND(customer_put, "PutCustomer", "the customer's new version",
			"Register a customer, or change the name and email that the read tables show",
			ID("customer_id", TEXTOID) REQUIRED("name", TEXTOID) REQUIRED("email", TEXTOID))
OCQ_COMMAND(product_put, "PutProduct", "the product's new version",
			"Register a product, or change the name and category that the read tables show",
			ID("product_id", TEXTOID) REQUIRED("name", TEXTOID) REQUIRED("category", TEXTOID))
OCQ_COMMAND(event_append, "AppendEvents", "the stream's new version",
			"Append events [{\"type\": text, \"data\": object}, ...] to a stream of an aggregate type of the application's own",
			REQUIRED("aggregate_type", TEXTOID) ID("aggregate_id", TEXTOID) REQUIRED("events", JSONBOID))

/* The names are macros, too, for lists in SQL. */
#define OCQ_EVENT_ORDER_CREATED "OrderCreated"
#define OCQ_EVENT_ORDER_UPDATED "OrderUpdated"
#define OCQ_EVENT_ORDER_CANCELLED "OrderCancelled"
#define OCQ_EVENT_ORDER_COMPLETED "OrderCompleted"
#define OCQ_EVENT_INVENTORY_RESERVED "InventoryReserved"
#define OCQ_EVENT_RESERVATION_CHANGED "ReservationChanged"
#define OCQ_EVENT_INVENTORY_RELEASED "InventoryReleased"
#define OCQ_EVENT_PAYMENT_REQUESTED "PaymentRequested"
#define OCQ_EVENT_PAYMENT_COMPLETED "PaymentCompleted"
#define OCQ_EVENT_PAYMENT_FAILED "PaymentFailed"
#define OCQ_EVENT_PAYMENT_REFUNDED "PaymentRefunded"
#define OCQ_EVENT_SHIPPING_STARTED "ShippingStarted"

OCQ_ORDER_EVENT(CREATED, OCQ_EVENT_ORDER_CREATED)
OCQ_ORDER_EVENT(UPDATED, OCQ_EVENT_ORDER_UPDATED)
OCQ_ORDER_EVENT(CANCELLED, OCQ_EVENT_ORDER_CANCELLED)
OCQ_ORDER_EVENT(COMPLETED, OCQ_EVENT_ORDER_COMPLETED)
OCQ_ORDER_EVENT(INVENTORY_RESERVED, OCQ_EVENT_INVENTORY_RESERVED)
OCQ_ORDER_EVENT(RESERVATION_CHANGED, OCQ_EVENT_RESERVATION_CHANGED)
OCQ_ORDER_EVENT(INVENTORY_RELEASED, OCQ_EVENT_INVENTORY_RELEASED)
OCQ_ORDER_EVENT(PAYMENT_REQUESTED, OCQ_EVENT_PAYMENT_REQUESTED)
OCQ_ORDER_EVENT(PAYMENT_COMPLETED, OCQ_EVENT_PAYMENT_COMPLETED)
OCQ_ORDER_EVENT(PAYMENT_FAILED, OCQ_EVENT_PAYMENT_FAILED)
OCQ_ORDER_EVENT(PAYMENT_REFUNDED, OCQ_EVENT_PAYMENT_REFUNDED)
OCQ_ORDER_EVENT(SHIPPING_STARTED, OCQ_EVENT_SHIPPING_STARTED)

OCQ_QUERY(order_get, "GetOrder", ROW, REQUIRED("order_id", TEXTOID))
OCQ_QUERY(customer_orders, "GetCustomerOrders", ROWS,
		  REQUIRED("customer_id", TEXTOID) OPTIONAL("from", TIMESTAMPTZOID) OPTIONAL("to", TIMESTAMPTZOID)
		  OBJECT("pageable", page_members))
OCQ_QUERY(order_search, "SearchOrders", ROWS,
		  OBJECT("criteria", criteria_members) OBJECT("pageable", sorted_page_members))
OCQ_QUERY(inventory_check, "CheckInventory", ROWS, REQUIRED("items", JSONBOID) OPTIONAL("order_id", TEXTOID))
OCQ_QUERY_FUNCTION(order_history)
OCQ_QUERY_FUNCTION(order_as_of)
OCQ_QUERY_FUNCTION(order_search_count)
OCQ_QUERY_FUNCTION(stream_read)

#undef OCQ_SHARED_ARGUMENT
#undef OCQ_COMMAND
#undef OCQ_ORDER_COMMAND
#undef OCQ_ORDER_EVENT
#undef OCQ_QUERY
#undef OCQ_QUERY_FUNCTION
#undef ID
#undef REQUIRED
#undef OPTIONAL
#undef NAMED
