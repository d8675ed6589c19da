-- The limit: the row of events without anything around it. LIKE takes the columns, the identity and all the
-- indexes, so that the two stay the same when events changes; triggers are not copied.
CREATE TABLE bare_events (LIKE order_cqrs.events INCLUDING ALL);
