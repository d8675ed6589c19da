-- Managing projections.

CREATE PROCEDURE projection_sync(projection_name text DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_projection_sync';
COMMENT ON PROCEDURE projection_sync(text)
    IS 'Take one projection, or all, to the horizon by hand, as the worker does';

CREATE PROCEDURE projection_rebuild(projection_name text)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_projection_rebuild';
COMMENT ON PROCEDURE projection_rebuild(text)
    IS 'Write the rows that differ from the events anew, a few at a time, while readers and commands go on';

CREATE PROCEDURE projection_pause(projection_name text)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_projection_pause';
COMMENT ON PROCEDURE projection_pause(text) IS 'Stop a projection: its read tables stay as they are';

CREATE PROCEDURE projection_resume(projection_name text)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_projection_resume';
COMMENT ON PROCEDURE projection_resume(text)
    IS 'Let a paused or failed projection run: a sync one is up to date when this returns, an async one is left to the worker';

CREATE PROCEDURE projection_set_mode(projection_name text, mode text)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_projection_set_mode';
COMMENT ON PROCEDURE projection_set_mode(text, text)
    IS 'Make a projection sync or async; exact at the switch, while commands run';

CREATE FUNCTION projection_verify(projection_name text,
        OUT tenant_id text, OUT key text, OUT expected jsonb, OUT actual jsonb) RETURNS SETOF record
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ocq_projection_verify';
COMMENT ON FUNCTION projection_verify(text)
    IS 'Fold the events and compare: a row for each difference, none if the read tables are true';

CREATE FUNCTION projection_aggregate_types(projection_name text) RETURNS text[]
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'ocq_projection_aggregate_types';
COMMENT ON FUNCTION projection_aggregate_types(text)
    IS 'Types of the aggregates whose events a projection handles; NULL if there is no such projection';

CREATE VIEW projection_status AS
    SELECT s.projection_name, s.mode, s.status, s.last_position,
           CASE WHEN p.is_checked THEN 0 ELSE l.events END AS lag_events,
           CASE WHEN p.is_checked THEN 0 ELSE coalesce(pg_catalog.round(l.seconds, 3), 0) END AS lag_seconds,
           CASE WHEN p.is_checked THEN l.events ELSE 0 END AS unchecked_events,
           s.last_processed_time, s.last_event_count, s.events_total, s.repaired_total, s.renewed_total,
           s.last_error, s.failed_position, s.attempts,
           least(s.last_position, s.counted_after,
                 (SELECT pg_catalog.min(r.after_position) FROM order_cqrs.projection_ledger r
                   WHERE r.projection_name = s.projection_name AND r.verified_at IS NULL)) AS audited_position,
           (SELECT pg_catalog.format('events is filled by a subscription (%s): read tables are not made from it',
                       pg_catalog.string_agg(b.subname, ', ' ORDER BY b.subname))
              FROM pg_catalog.pg_subscription_rel r JOIN pg_catalog.pg_subscription b ON b.oid = r.srsubid
             WHERE r.srrelid = 'order_cqrs.events'::regclass::oid HAVING pg_catalog.count(*) > 0) AS problem
      FROM order_cqrs.projection_state s,
           LATERAL (SELECT s.mode = 'sync' AND s.status = 'running' AS is_checked) AS p,
           LATERAL (SELECT pg_catalog.count(*) AS events,
                           EXTRACT(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.min(e.occurred_at)) AS seconds
                      FROM order_cqrs.events e
                     WHERE e.position > s.last_position
                       AND e.aggregate_type = ANY (order_cqrs.projection_aggregate_types(s.projection_name))) AS l
     ORDER BY s.projection_name;
COMMENT ON VIEW projection_status IS 'How the projections are doing';
COMMENT ON COLUMN projection_status.lag_events IS 'Committed events that are not in the read tables yet; a sync projection has them at once, unless it is paused or has failed';
COMMENT ON COLUMN projection_status.lag_seconds IS 'Age of the oldest of these events, in seconds; 0 if there is none';
COMMENT ON COLUMN projection_status.unchecked_events IS 'Events that a sync projection has handled with their commands, and that the worker has not looked over yet';
COMMENT ON COLUMN projection_status.audited_position IS 'Position up to which no range that it has handled while async is still to be compared with the log, or repaired';
COMMENT ON COLUMN projection_status.problem IS 'Why the projection cannot do its work on this server; NULL if all is well';
COMMENT ON COLUMN projection_status.repaired_total IS 'Rows that were found behind while it was sync, or that the audit found wrong, and that were written: more than 0 means that there was a fault';
COMMENT ON COLUMN projection_status.renewed_total IS 'Rows of a sync projection that were written as a name in them had changed, or after a pause';
COMMENT ON COLUMN projection_status.last_error IS 'SQLSTATE and message of the failure, NULL if there is none';
