# summary.csv ratios.csv -> a table for people: a block for each work and synchronous_commit, a column for each
# number of clients.
BEGIN { FS = "," }

FNR == 1 { files++; next }

{
	block = $1 SUBSEP $3
	if (!(block in lines)) { blocks[++all] = block; lines[block] = 0 }
	if (!((block, $2) in column)) {
		column[block, $2] = ++columns[block]
		clients[block, columns[block]] = $2
	}
}

files == 1 {
	unit[block] = $5
	put(block, $4, column[block, $2], figure($7) " (" percent($9 - $8, $7) ")")
}

files == 2 {
	put(block, $5 == "" ? "  target" : "  " $4 " / " $5, column[block, $2],
		($5 == "" ? figure($6) : sprintf("%.2f x", $6)) ($11 == "" ? "" : sprintf(" %s %s %s", $11, $9 == ">=" ? "≥" : "≤", $10)))
}

function put(block, label, where, text) {
	if (!((block, label) in line)) {
		line[block, label] = ++lines[block]
		name[block, lines[block]] = label
	}
	cell[block, line[block, label], where] = text
}

function figure(value) { return value >= 100 ? grouped(sprintf("%.0f", value)) : sprintf("%.2f", value) }
function percent(part, whole) { return whole ? sprintf("%.0f %%", 100 * part / whole) : "-" }

function grouped(digits,    text) {
	while (length(digits) > 3) {
		text = "," substr(digits, length(digits) - 2) text
		digits = substr(digits, 1, length(digits) - 3)
	}
	return digits text
}

END {
	for (b = 1; b <= all; b++) {
		block = blocks[b]
		split(block, of, SUBSEP)
		printf "\n%-44s", of[1] ", " unit[block] ", commit " of[2]
		for (c = 1; c <= columns[block]; c++)
			printf " %22s", clients[block, c] (clients[block, c] == 1 ? " client" : " clients")
		print ""
		for (l = 1; l <= lines[block]; l++) {
			printf "%-44s", name[block, l]
			for (c = 1; c <= columns[block]; c++) printf " %22s", cell[block, l, c]
			print ""
		}
	}
}
