-- A role in a row that is dumped: an OID that is written, and read, as the role's name.

CREATE TYPE role_ref;

CREATE FUNCTION role_ref_in(cstring) RETURNS role_ref
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'ocq_role_ref_in';
COMMENT ON FUNCTION role_ref_in(cstring) IS 'Input function of role_ref';

CREATE FUNCTION role_ref_out(role_ref) RETURNS cstring
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'ocq_role_ref_out';
COMMENT ON FUNCTION role_ref_out(role_ref) IS 'Output function of role_ref';

CREATE TYPE role_ref (INPUT = role_ref_in, OUTPUT = role_ref_out, LIKE = oid);
COMMENT ON TYPE role_ref
    IS 'Role, kept by its OID and shown by its name; "-" if it does not exist any more, or did not where the row was restored';

CREATE CAST (role_ref AS oid) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (oid AS role_ref) WITHOUT FUNCTION AS ASSIGNMENT;
