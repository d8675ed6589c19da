-- The command bus and the query bus, for callers that cannot CALL.

CREATE FUNCTION command_send(command_type text, payload jsonb, command_id uuid DEFAULT NULL,
        tenant_id text DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ocq_command_send';
COMMENT ON FUNCTION command_send(text, jsonb, uuid, text)
    IS 'Handle a command, such as CreateOrder, with its parameters as the keys of payload; the answer is {"<id>": text, "version": int}, or the result of a registered handler';

CREATE FUNCTION query_send(query_type text, payload jsonb, tenant_id text DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ocq_query_send';
COMMENT ON FUNCTION query_send(text, jsonb, text)
    IS 'Answer a query, such as GetOrder, with its parameters as the keys of payload';
