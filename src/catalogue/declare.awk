# declare.awk: writes the SQL of what commandlist.h names.
#
#   awk -f declare.awk -v part=PART commandlist.h [FRAGMENT...]
#
#   commands        each command as two procedures, with their comments
#   command_grants  who may execute commands and queries
#   api             the schema order_api: each command and each query as a function. The signature and the
#                   comment of a query are those of its CREATE FUNCTION, in one of the fragments.

BEGIN {
	split("TEXTOID text TEXTARRAYOID text[] INT4OID int JSONBOID jsonb UUIDOID uuid NUMERICOID numeric" \
		" TIMESTAMPTZOID timestamptz BOOLOID boolean", words, " ")
	for (i = 1; i in words; i += 2)
		sql_type[words[i]] = words[i + 1]
}

# --- reading commandlist.h -----------------------------------------------------------------------------

FILENAME ~ /commandlist\.h$/ {
	if (row == "" && $0 !~ /^OCQ_[A-Z_]+\(/)
		next
	row = row $0
	if (is_complete(row)) {
		read_row(row)
		row = ""
	}
	next
}

# is_complete tells whether as many parentheses are closed as are open, outside of strings.
function is_complete(row) {
	gsub(/"([^"\\]|\\.)*"/, "", row)
	return gsub(/\(/, "", row) == gsub(/\)/, "", row)
}

function read_row(row,    kind) {
	kind = substr(row, 1, index(row, "(") - 1)
	if (kind == "OCQ_SHARED_ARGUMENT")
		read_parameters("shared", row, "[A-Z]+_[A-Z]+\\([A-Z_]+, ")
	else if (kind ~ /COMMAND$/)
		read_command(row, kind == "OCQ_ORDER_COMMAND")
	else if (kind ~ /^OCQ_QUERY/) {
		queries[++nqueries] = routine_of(row)
		is_query[queries[nqueries]] = 1
	}
}

function routine_of(row) {
	sub(/^[^(]*\(/, "", row)
	sub(/[,)].*/, "", row)
	return row
}

function read_command(row, is_on_order,    name, answer) {
	name = commands[++ncommands] = routine_of(row)
	row = read_parameters(name, row, "[A-Z]+\\(")
	take_string(row)	# the message
	answer = take_string(rest)	# or the verb
	answers[name] = is_on_order ? "the order''s new version" : answer
	comments[name] = take_string(rest)
}

# read_parameters keeps the parameters that have such a beginning, and returns the row without them.
function read_parameters(name, row, beginning,    text, kind, fields) {
	while (match(row, beginning "\"[a-z0-9_]+\", [A-Z0-9]+\\)")) {
		text = substr(row, RSTART, RLENGTH)
		row = substr(row, 1, RSTART - 1) substr(row, RSTART + RLENGTH)
		kind = substr(text, 1, index(text, "(") - 1)
		sub(/^[^"]*/, "", text)
		split(text, fields, /[", )]+/)
		if (!(fields[3] in sql_type))
			fail(name " has a parameter of the unknown type " fields[3])
		if (kind == "NAMED")
			name = name " named"
		parameters[name, ++nparameters[name]] = fields[2] " " sql_type[fields[3]]
		types[name, nparameters[name]] = sql_type[fields[3]]
		if (kind != "ID" && kind != "REQUIRED")
			parameters[name, nparameters[name]] = parameters[name, nparameters[name]] " DEFAULT NULL"
	}
	return row
}

# take_string returns the first string of a text, for SQL, and leaves in rest what is behind it.
function take_string(text,    string) {
	if (!match(text, /"([^"\\]|\\.)*"/))
		fail("a string is missing in " text)
	string = substr(text, RSTART + 1, RLENGTH - 2)
	rest = substr(text, RSTART + RLENGTH)
	gsub(/\\"/, "\"", string)
	gsub(/'/, "''", string)
	return string
}

# --- reading the fragments -----------------------------------------------------------------------------

/^(CREATE|COMMENT ON) FUNCTION / {
	name = $0
	sub(/^(CREATE|COMMENT ON) FUNCTION /, "", name)
	sub(/[( ].*/, "", name)
	is_in = name in is_query
}

is_in {
	declarations[name] = declarations[name] $0 "\n"
	if (/;$/)
		is_in = 0
}

# --- writing -------------------------------------------------------------------------------------------

END {
	if (failed)
		exit 1
	print "-- Written by src/catalogue/declare.awk, from src/catalogue/commandlist.h."
	if (part == "commands")
		write_commands()
	else if (part == "command_grants")
		write_grants()
	else if (part == "api")
		write_api()
}

function write_commands(    i, name) {
	print "--"
	print "-- PL/pgSQL refuses a CALL that leaves out an INOUT argument. So each command is declared twice:"
	print "-- as a procedure without \"version\", which every call that does not name version finds, and as one"
	print "-- with it. The first parameter of the latter is of the domain identifier, and so a worse match for"
	print "-- text, which settles which is meant."
	for (i = 1; i <= ncommands; i++) {
		name = commands[i]
		printf "\n"
		write_procedure(name, 0)
		write_procedure(name, 1)
		printf "COMMENT ON PROCEDURE %s\n    IS '%s';\n", signature(name, 0), comments[name]
		printf "COMMENT ON PROCEDURE %s\n    IS 'The same, and answer with %s';\n", signature(name, 1), answers[name]
	}
}

function write_procedure(name, with_version) {
	printf "CREATE PROCEDURE %s(%s)\n", name, declaration(name, with_version)
	printf "    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_%s';\n", name
}

# declaration returns the parameters of a command.
function declaration(name, with_version,    list, i) {
	list = parameters[name, 1]
	if (with_version)
		sub(/ text/, " identifier", list)
	for (i = 2; i <= nparameters[name]; i++)
		list = list ", " parameters[name, i]
	for (i = 1; i <= nparameters["shared"]; i++)
		list = list (i == 1 || i == 4 ? ",\n        " : ", ") parameters["shared", i]
	for (i = 1; i <= nparameters[name " named"]; i++)
		list = list ", " parameters[name " named", i]
	return list (with_version ? ", INOUT version int DEFAULT NULL" : "")
}

function signature(name, with_version,    list, i) {
	list = with_version ? "identifier" : types[name, 1]
	for (i = 2; i <= nparameters[name]; i++)
		list = list ", " types[name, i]
	for (i = 1; i <= nparameters["shared"]; i++)
		list = list ", " types["shared", i]
	for (i = 1; i <= nparameters[name " named"]; i++)
		list = list ", " types[name " named", i]
	return name "(" list (with_version ? ", int" : "") ")"
}

function write_grants(    i) {
	printf "\nGRANT EXECUTE ON PROCEDURE\n"
	for (i = 1; i <= ncommands; i++)
		printf "    %s,\n    %s%s\n", signature(commands[i], 0), signature(commands[i], 1), (i < ncommands ? "," : "")
	printf "    TO PUBLIC;\n\nGRANT EXECUTE ON FUNCTION\n"
	for (i = 1; i <= nqueries; i++)
		printf "    %s%s\n", queries[i], (i < nqueries ? "," : "")
	print "    TO PUBLIC;"
}

function write_api(    i) {
	print "--"
	print "-- Commands and queries as functions, for clients that cannot CALL. USAGE on the schema is the one thing to"
	print "-- grant to such a client, as it is on order_cqrs to others."
	printf "\nCREATE SCHEMA order_api;\n"
	print "COMMENT ON SCHEMA order_api IS 'The commands and queries of order_cqrs as functions, for clients that cannot CALL';"
	for (i = 1; i <= ncommands; i++)
		write_command_function(commands[i])
	for (i = 1; i <= nqueries; i++)
		write_query_function(queries[i])
	printf "\nGRANT EXECUTE ON FUNCTION\n"
	for (i = 1; i <= ncommands; i++)
		printf "    order_api.%s,\n", commands[i]
	for (i = 1; i <= nqueries; i++)
		printf "    order_api.%s%s\n", queries[i], (i < nqueries ? "," : "")
	print "    TO PUBLIC;"
}

function write_command_function(name) {
	printf "\nCREATE FUNCTION order_api.%s(%s) RETURNS int\n", name, declaration(name, 0)
	printf "    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ocq_%s';\n", name
	printf "COMMENT ON FUNCTION order_api.%s\n    IS '%s; returns %s';\n", signature(name, 0), comments[name], answers[name]
}

# A client is to be able to call a query in a read-only transaction, which some begin for what is STABLE alone.
function write_query_function(name,    text) {
	text = declarations[name]
	if (gsub(/(CREATE|COMMENT ON) FUNCTION /, "&order_api.", text) != 2 || sub(/ VOLATILE /, " STABLE ", text) != 1)
		fail("no fragment declares and comments the query " name)
	printf "\n%s", text
}

function fail(problem) {
	print "declare.awk: " problem >"/dev/stderr"
	failed = 1
	exit 1
}
