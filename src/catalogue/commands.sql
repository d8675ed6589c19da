-- PL/pgSQL refuses a CALL that leaves out an INOUT argument. So each command is declared twice:
-- as a procedure without "version", which every call that does not name version finds, and as one
-- with it. The first parameter of the latter is of the domain identifier, and so a worse match for
-- text, which settles which is meant.
{commands}
