/*-------------------------------------------------------------------------
 * errors.h
 *	  The SQLSTATEs of order_cqrs, class "OC".
 *
 * OC0xx  the arguments are wrong: the caller mends them
 * OC1xx  something that was named does not exist, or exists already
 * OC2xx  the state of a stream forbids the command
 * OC3xx  the store refuses or has been damaged
 * OC4xx  projections
 * OC5xx  the buses: futures and handlers
 * OC6xx  the saga
 *
 * doc/reference.md lists them for users; keep the two in step.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_BASE_ERRORS_H
#define OCQ_BASE_ERRORS_H

#define OCQ_SQLSTATE(a, b, c)	MAKE_SQLSTATE('O', 'C', a, b, c)

#define OCQ_ERR_INVALID_ID				OCQ_SQLSTATE('0', '0', '1')
#define OCQ_ERR_INVALID_TENANT			OCQ_SQLSTATE('0', '0', '2')
#define OCQ_ERR_INVALID_ITEMS			OCQ_SQLSTATE('0', '0', '3')
#define OCQ_ERR_INVALID_QUANTITY		OCQ_SQLSTATE('0', '0', '4')
#define OCQ_ERR_INVALID_UNIT_PRICE		OCQ_SQLSTATE('0', '0', '5')
#define OCQ_ERR_INVALID_METADATA		OCQ_SQLSTATE('0', '0', '6')
#define OCQ_ERR_INVALID_EVENTS			OCQ_SQLSTATE('0', '0', '7')
#define OCQ_ERR_INVALID_ARGUMENT		OCQ_SQLSTATE('0', '0', '8')
#define OCQ_ERR_RESERVED_AGGREGATE_TYPE OCQ_SQLSTATE('0', '0', '9')
#define OCQ_ERR_INVALID_PAYLOAD			OCQ_SQLSTATE('0', '1', '0')
#define OCQ_ERR_INVALID_CURSOR			OCQ_SQLSTATE('0', '1', '1')
#define OCQ_ERR_UNKNOWN_SORT			OCQ_SQLSTATE('0', '1', '2')

#define OCQ_ERR_ORDER_NOT_FOUND			OCQ_SQLSTATE('1', '0', '1')
#define OCQ_ERR_ORDER_EXISTS			OCQ_SQLSTATE('1', '0', '2')
#define OCQ_ERR_UNKNOWN_CUSTOMER		OCQ_SQLSTATE('1', '0', '3')
#define OCQ_ERR_UNKNOWN_PRODUCT			OCQ_SQLSTATE('1', '0', '4')
#define OCQ_ERR_FUTURE_NOT_FOUND		OCQ_SQLSTATE('1', '0', '5')
#define OCQ_ERR_NO_COMMAND_HANDLER		OCQ_SQLSTATE('1', '0', '6')
#define OCQ_ERR_NO_QUERY_HANDLER		OCQ_SQLSTATE('1', '0', '7')
#define OCQ_ERR_UNKNOWN_SAGA			OCQ_SQLSTATE('1', '0', '8')
#define OCQ_ERR_UNTRUSTED_SCHEMA		OCQ_SQLSTATE('1', '0', '9')

#define OCQ_ERR_ORDER_STATE				OCQ_SQLSTATE('2', '0', '1')
#define OCQ_ERR_EXPECTED_VERSION		OCQ_SQLSTATE('2', '0', '2')
#define OCQ_ERR_COMMAND_ID_REUSED		OCQ_SQLSTATE('2', '0', '3')
#define OCQ_ERR_INSUFFICIENT_INVENTORY	OCQ_SQLSTATE('2', '0', '4')
#define OCQ_ERR_PAYMENT_STATE			OCQ_SQLSTATE('2', '0', '5')
#define OCQ_ERR_ORDER_SHIPPED			OCQ_SQLSTATE('2', '0', '6')
#define OCQ_ERR_PAYMENT_AMOUNT			OCQ_SQLSTATE('2', '0', '7')
#define OCQ_ERR_STOCK_RESERVED			OCQ_SQLSTATE('2', '0', '8')

#define OCQ_ERR_APPEND_ONLY				OCQ_SQLSTATE('3', '0', '1')
#define OCQ_ERR_APPEND_LOST				OCQ_SQLSTATE('3', '0', '2')
#define OCQ_ERR_MALFORMED_EVENT			OCQ_SQLSTATE('3', '0', '3')
#define OCQ_ERR_EXTENSION_ABSENT		OCQ_SQLSTATE('3', '0', '4')
#define OCQ_ERR_HORIZON_ON_STANDBY		OCQ_SQLSTATE('3', '0', '5')
#define OCQ_ERR_POSITION_BEYOND_LOG		OCQ_SQLSTATE('3', '0', '6')
#define OCQ_ERR_POSITIONS_BEHIND		OCQ_SQLSTATE('3', '0', '7')
#define OCQ_ERR_STREAM_FULL				OCQ_SQLSTATE('3', '0', '8')
#define OCQ_ERR_INCOMPLETE_STREAM		OCQ_SQLSTATE('3', '0', '9')
#define OCQ_ERR_READ_ONLY_SERVER		OCQ_SQLSTATE('3', '1', '0')
#define OCQ_ERR_SUBSCRIBED_LOG			OCQ_SQLSTATE('3', '1', '1')
#define OCQ_ERR_RESTORE_UNDER_WAY		OCQ_SQLSTATE('3', '1', '2')
#define OCQ_ERR_TRIGGER_DISABLED		OCQ_SQLSTATE('3', '1', '3')
#define OCQ_ERR_EVENT_TOO_LARGE			OCQ_SQLSTATE('3', '1', '4')

#define OCQ_ERR_UNKNOWN_PROJECTION		OCQ_SQLSTATE('4', '0', '1')
#define OCQ_ERR_PROJECTION_MODE			OCQ_SQLSTATE('4', '0', '2')
#define OCQ_ERR_PROJECTION_STATUS		OCQ_SQLSTATE('4', '0', '3')
#define OCQ_ERR_PROJECTION_ISOLATION	OCQ_SQLSTATE('4', '0', '4')
#define OCQ_ERR_APPENDS_UNDER_WAY		OCQ_SQLSTATE('4', '0', '5')
#define OCQ_ERR_CHECKPOINT_BEYOND_LOG	OCQ_SQLSTATE('4', '0', '7')
#define OCQ_ERR_PROJECTION_MISCOUNT		OCQ_SQLSTATE('4', '0', '6')

#define OCQ_ERR_QUEUE_FULL				OCQ_SQLSTATE('5', '0', '1')
#define OCQ_ERR_FUTURE_TIMED_OUT		OCQ_SQLSTATE('5', '0', '2')
#define OCQ_ERR_FUTURE_CANCELLED		OCQ_SQLSTATE('5', '0', '3')
#define OCQ_ERR_HANDLER_REFUSED			OCQ_SQLSTATE('5', '0', '4')
#define OCQ_ERR_CANNOT_WAIT				OCQ_SQLSTATE('5', '0', '5')
#define OCQ_ERR_FUTURE_SENDER_GONE		OCQ_SQLSTATE('5', '0', '6')
#define OCQ_ERR_HANDLER_OWNER			OCQ_SQLSTATE('5', '0', '7')

#define OCQ_ERR_SAGA_FAILED				OCQ_SQLSTATE('6', '0', '1')
#define OCQ_ERR_SAGA_ISOLATION			OCQ_SQLSTATE('6', '0', '2')
#define OCQ_ERR_SAGA_MISSED				OCQ_SQLSTATE('6', '0', '3')

/* ocq_is_lost_race tells whether a worker that gives way and comes back will do better. */
static inline bool
ocq_is_lost_race(int sqlstate)
{
	return sqlstate == ERRCODE_T_R_DEADLOCK_DETECTED ||
		sqlstate == ERRCODE_T_R_SERIALIZATION_FAILURE ||
		sqlstate == ERRCODE_LOCK_NOT_AVAILABLE;
}

/*
 * ocq_is_server_trouble tells whether an error says nothing about the work at hand:
 * resources are short, positions have come to their end, an administrator has intervened,
 * or the machine has failed.
 */
static inline bool
ocq_is_server_trouble(int sqlstate)
{
	int			category = ERRCODE_TO_CATEGORY(sqlstate);

	return sqlstate == ERRCODE_SEQUENCE_GENERATOR_LIMIT_EXCEEDED ||
		category == ERRCODE_INSUFFICIENT_RESOURCES ||
		category == ERRCODE_OPERATOR_INTERVENTION ||
		category == ERRCODE_SYSTEM_ERROR;
}

#endif							/* OCQ_BASE_ERRORS_H */
