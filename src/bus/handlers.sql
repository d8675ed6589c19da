-- Handlers of the users' own.

CREATE TABLE bus_registration (
    kind text NOT NULL CHECK (kind IN ('command', 'query')),
    type text COLLATE "C" NOT NULL,
    handler text NOT NULL,
    owner role_ref NOT NULL,
    registered_by text NOT NULL,
    registered_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (kind, type)
);
COMMENT ON TABLE bus_registration IS 'Handlers that have been registered; changed by command_handler_register and its like';
COMMENT ON COLUMN bus_registration.kind IS 'command or query';
COMMENT ON COLUMN bus_registration.type IS 'Name of the command or query';
COMMENT ON COLUMN bus_registration.handler IS 'Function with its schema and argument types, as regprocedure reads it';
COMMENT ON COLUMN bus_registration.owner IS 'Role that owned the function then; the bus does not call a function that belongs to another role';
COMMENT ON COLUMN bus_registration.registered_by IS 'Session user that registered it';
COMMENT ON COLUMN bus_registration.registered_at IS 'When it was registered';

SELECT pg_catalog.pg_extension_config_dump('bus_registration', '');

CREATE FUNCTION command_handler_register(command_type text, handler regprocedure) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ocq_command_handler_register';
COMMENT ON FUNCTION command_handler_register(text, regprocedure)
    IS 'Have commands of a type of one''s own handled by a function (payload jsonb, context jsonb) RETURNS jsonb, which runs as each caller';

CREATE FUNCTION command_handler_unregister(command_type text) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ocq_command_handler_unregister';
COMMENT ON FUNCTION command_handler_unregister(text) IS 'Undo command_handler_register';

CREATE FUNCTION query_handler_register(query_type text, handler regprocedure) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ocq_query_handler_register';
COMMENT ON FUNCTION query_handler_register(text, regprocedure)
    IS 'Have queries of a type of one''s own answered by a function (payload jsonb, context jsonb) RETURNS jsonb, which runs as each caller';

CREATE FUNCTION query_handler_unregister(query_type text) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ocq_query_handler_unregister';
COMMENT ON FUNCTION query_handler_unregister(text) IS 'Undo query_handler_register';

CREATE FUNCTION bus_builtin_handlers(OUT kind text, OUT type text, OUT handler text, OUT parameters text[])
    RETURNS SETOF record
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ocq_bus_builtin_handlers';
COMMENT ON FUNCTION bus_builtin_handlers() IS 'The commands and queries that the extension itself handles';

CREATE VIEW bus_handlers AS
    SELECT b.kind, b.type, 'order_cqrs.' || b.handler AS handler, true AS is_builtin, b.parameters
      FROM order_cqrs.bus_builtin_handlers() b
    UNION ALL
    SELECT r.kind, r.type, r.handler, false, NULL
      FROM order_cqrs.bus_registration r
     ORDER BY 1, 4 DESC, 2;
COMMENT ON VIEW bus_handlers IS 'Commands and queries that can be sent over the buses, and their handlers';
COMMENT ON COLUMN bus_handlers.kind IS 'command or query';
COMMENT ON COLUMN bus_handlers.type IS 'Name to pass as command_type or query_type';
COMMENT ON COLUMN bus_handlers.handler IS 'Procedure or function that handles it; for a registered one, the function that is called';
COMMENT ON COLUMN bus_handlers.is_builtin IS 'Whether the extension itself handles it';
COMMENT ON COLUMN bus_handlers.parameters IS 'Keys of the payload; NULL for a registered one, whose handler reads the payload itself';
