# declare.awk: writes the install script. A name in braces in a fragment of it stands for SQL that is written from
# the lists of C:
#
#   awk -f declare.awk commandlist.h order_rows.c criteria.h FRAGMENT...
#
#   {commands}              each command as two procedures, with their comments
#   {command_grants}        who may execute commands and queries
#   {api}                   each command and each query as a function. The signature and the comment of a query are
#                           those of its CREATE FUNCTION, in an earlier fragment.
#   {order_columns}         the columns that tables with a row for each order share
#   {order_comments TABLE}  their comments
#   {order_results}         the same columns as results of a query
#   {criteria}              the criteria as arguments of a search

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

# --- reading lists of columns and criteria --------------------------------------------------------------

/^\t(COLUMN|ROW)\("?[A-Za-z_]+"?, / && FILENAME ~ /\.[ch]$/ {
	match($0, /"[a-z_]+", [A-Z0-9]+,/)
	split(substr($0, RSTART, RLENGTH), fields, /[", ]+/)
	if (!(fields[3] in sql_type))
		fail(fields[2] " is of the unknown type " fields[3])
	declared = fields[2] " " sql_type[fields[3]]
	if (/^\tROW/)
		criteria[++ncriteria] = declared " DEFAULT NULL"
	else {
		names[++ncolumns] = fields[2]
		results[ncolumns] = "OUT " declared
		columns[ncolumns] = declared " " take_string(substr($0, RSTART + RLENGTH))
		sub(/ $/, "", columns[ncolumns])
		column_comments[ncolumns] = take_string(rest)
	}
}

# --- the fragments -------------------------------------------------------------------------------------

FILENAME !~ /\.sql$/ {
	next
}

FNR == 1 {
	path = FILENAME
	sub(/.*src\//, "src/", path)
	printf "\n-- %s\n", path
}

# A part that is alone on its line is printed.
$0 == "{commands}" { write_commands(); next }
$0 == "{command_grants}" { write_grants(); next }
$0 == "{api}" { write_api(); next }
/^{order_comments / { write_order_comments(substr($0, 17, length($0) - 17)); next }

/{order_columns}/ { put_in("order_columns", join(columns, ncolumns, 0)) }
/{order_results}/ { put_in("order_results", join(results, ncolumns, 100)) }
/{criteria}/ { put_in("criteria", join(criteria, ncriteria, 100)) }

{ print }

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

function put_in(name, text) {
	match($0, "{" name "}")
	$0 = substr($0, 1, RSTART - 1) text substr($0, RSTART + RLENGTH)
}

# join returns the elements of a list, in lines of about that width and with the line's indentation.
function join(list, n, width,    text, length_of_line, i) {
	match($0, /^ */)
	for (i = 1; i <= n; i++) {
		text = text list[i] (i == n ? "" : ",")
		length_of_line += length(list[i])
		if (i < n && length_of_line + length(list[i + 1]) > width) {
			text = text "\n" substr($0, 1, RLENGTH)
			length_of_line = 0
		} else if (i < n)
			text = text " "
	}
	return text
}

# --- writing -------------------------------------------------------------------------------------------

function write_commands(    i, name) {
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

function write_order_comments(table,    i) {
	for (i = 1; i <= ncolumns; i++)
		if (column_comments[i] != "")
			printf "COMMENT ON COLUMN %s.%s IS '%s';\n", table, names[i], column_comments[i]
}

function fail(problem) {
	print "declare.awk: " problem >"/dev/stderr"
	exit 1
}
