# declare.awk: writes the install script. A name in braces in a fragment of it stands for SQL that is written from
# the lists of C:
#
#   awk -f declare.awk commandlist.h order_rows.c criteria.h FRAGMENT...
#
#   {commands}          each command as two procedures, with their comments
#   {commands_granted}  their signatures
#   {queries_granted}   the names of the queries
#   {api}               each command and each query as a function. The signature and the comment of a query are
#                       those of its CREATE FUNCTION, in an earlier fragment.
#   {order_columns}     the columns that tables with a row for each order share
#   {order_comments}    their comments, for the last table that was created
#   {order_results}     the same columns as results of a query
#   {criteria}          the criteria as arguments of a search

BEGIN {
	split("TEXTOID text TEXTARRAYOID text[] INT4OID int JSONBOID jsonb UUIDOID uuid NUMERICOID numeric" \
		" TIMESTAMPTZOID timestamptz BOOLOID boolean", words, " ")
	for (i = 1; i in words; i += 2)
		sql_type[words[i]] = words[i + 1]
}

# append puts an item behind a list, which is what its name in braces stands for.
function append(list, item, separator) {
	lists[list] = (lists[list] == "" ? "" : lists[list] separator) item
}

# --- commandlist.h -------------------------------------------------------------------------------------

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
		append("queries_granted", routine_of(row), ",\n    ")
		is_missing[routine_of(row)] = 1
	}
}

function routine_of(row) {
	sub(/^[^(]*\(/, "", row)
	sub(/[,)].*/, "", row)
	return row
}

function read_command(row, is_on_order,    name, answer, comment) {
	name = routine_of(row)
	row = read_parameters(name, row, "[A-Z]+\\(")
	take_string(row)	# the message
	answer = take_string(rest)	# or the verb
	if (is_on_order)
		answer = "the order''s new version"
	comment = take_string(rest)
	append("commands", routine("PROCEDURE", name, 0, "", comment), "\n")
	append("commands", routine("PROCEDURE", name, 1, "", "The same, and answer with " answer), "\n")
	append("commands_granted", signature(name, 0) ",\n    " signature(name, 1), ",\n    ")
	append("api", routine("FUNCTION", "order_api." name, 0, " RETURNS int", comment "; returns " answer), "\n")
}

# read_parameters keeps the parameters that have such a beginning, and returns the row without them.
function read_parameters(name, row, beginning,    text, kind, fields, list) {
	while (match(row, beginning "\"[a-z0-9_]+\", [A-Z0-9]+\\)")) {
		text = substr(row, RSTART, RLENGTH)
		row = substr(row, 1, RSTART - 1) substr(row, RSTART + RLENGTH)
		kind = substr(text, 1, index(text, "(") - 1)
		sub(/^[^"]*/, "", text)
		split(text, fields, /[", )]+/)
		list = name (kind == "NAMED" ? " named" : "")
		append(list, fields[2] " " type_of(fields[3]) (kind ~ /^(ID|REQUIRED)$/ ? "" : " DEFAULT NULL"), ", ")
		append(list " types", sql_type[fields[3]], ", ")
	}
	return row
}

function type_of(oid) {
	if (!(oid in sql_type))
		fail("unknown type " oid)
	return sql_type[oid]
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

# routine returns the declaration and the comment of a command, whose name may have a schema.
function routine(kind, name, with_version, returns, comment,    command, own) {
	command = name
	sub(/.*\./, "", command)
	own = lists[command]
	if (with_version)
		sub(/ text/, " identifier", own)
	return "\nCREATE " kind " " name "(" own ",\n        " lists["shared"] behind(command " named") \
		(with_version ? ", INOUT version int DEFAULT NULL)" : ")") returns "\n    LANGUAGE c AS 'MODULE_PATHNAME', 'ocq_" \
		command "';\nCOMMENT ON " kind " " name substr(signature(command, with_version), length(command) + 1) \
		"\n    IS '" comment "';"
}

function signature(command, with_version,    own) {
	own = lists[command " types"]
	if (with_version)
		sub(/^text/, "identifier", own)
	return command "(" own ", " lists["shared types"] behind(command " named types") (with_version ? ", int)" : ")")
}

function behind(list) {
	return lists[list] == "" ? "" : ", " lists[list]
}

# --- columns and criteria ------------------------------------------------------------------------------

/^\t(COLUMN|ROW)\(/ && FILENAME ~ /\.[ch]$/ {
	match($0, /"[a-z_]+", [A-Z0-9]+,/)
	split(substr($0, RSTART, RLENGTH), fields, /[", ]+/)
	declared = fields[2] " " type_of(fields[3])
	separator = ++nfields[$1 ~ /^ROW/] % 3 == 1 ? ",\n        " : ", "
	if ($1 ~ /^ROW/) {
		append("criteria", declared " DEFAULT NULL", separator)
		next
	}
	constraints = take_string(substr($0, RSTART + RLENGTH))
	comment = take_string(rest)
	append("order_results", "OUT " declared, separator)
	append("order_columns", declared (constraints == "" ? "" : " " constraints), ",\n    ")
	if (comment != "")
		append("order_comments", "COMMENT ON COLUMN {table}." fields[2] " IS '" comment "';", "\n")
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

/^CREATE TABLE / {
	lists["table"] = $3
}

{
	while (match($0, /[{][a-z_]+[}]/)) {
		name = substr($0, RSTART + 1, RLENGTH - 2)
		if (lists[name] == "")
			fail(FILENAME " names the unknown list " name)
		$0 = substr($0, 1, RSTART - 1) lists[name] substr($0, RSTART + RLENGTH)
	}
	print
}

/^(CREATE|COMMENT ON) FUNCTION / {
	name = $1 == "CREATE" ? $3 : $4
	sub(/\(.*/, "", name)
	is_in = name in is_missing
	if (is_in && $1 == "COMMENT")
		is_missing[name] = 0
}

# A client is to be able to call a query in a read-only transaction, which some begin for what is STABLE alone.
is_in {
	text = $0
	sub(/ VOLATILE /, " STABLE ", text)
	if (sub(/^(CREATE|COMMENT ON) FUNCTION /, "&order_api.", text) && $1 == "CREATE")
		text = "\n" text
	append("api", text, "\n")
	if (/;$/)
		is_in = 0
}

END {
	for (name in is_missing)
		if (is_missing[name])
			fail("no fragment declares and comments the query " name)
}

function fail(problem) {
	print "declare.awk: " problem >"/dev/stderr"
	split("", is_missing)
	exit 1
}
