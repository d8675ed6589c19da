# summary.csv ratios.csv -> a chart as SVG: a panel for each work with synchronous_commit off, a bar for each
# contestant and number of clients; beside the panel's title, how the targets were met.
BEGIN {
	FS = ","
	width = 860; left = 250; right = 130; bar = 13; gap = 8
	split("#9ecae1 #4292c6 #08519c #08306b", shade, " ")
}

FNR == 1 { files++; next }
$3 != "off" { next }

# Figures that are no rate of work, such as memory or lag, have no place in a chart of rates.
files == 1 && $5 ~ /\/s$/ {
	if (!($1 in rows)) works[++all] = $1
	if (!(($1, $4) in row)) { row[$1, $4] = ++rows[$1]; title[$1, rows[$1]] = $4 }
	value[$1, $4, ++bars[$1, $4]] = $7
	clients[$1, $4, bars[$1, $4]] = $2
	unit[$1] = $5
	if ($7 > most[$1]) most[$1] = $7
}

files == 2 && $10 != "" && $5 != "" {
	note[$1] = note[$1] sprintf("%s%s / %s, %s cl.: %.2f x (%s %s)", note[$1] == "" ? "" : "|", $4, $5, $2, $6, \
		$9 == ">=" ? "≥" : "≤", $10)
	met[$1] = met[$1] (met[$1] == "" ? "" : "|") $11
}

END {
	y = 50
	for (w = 1; w <= all; w++) draw_panel(works[w])
	printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"12\">\n", width, y
	printf "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
	text(16, 28, "order_cqrs and its peers", "font-size=\"16\" font-weight=\"bold\"")
	text(250, 28, "median rates with synchronous_commit = off; in brackets the number of clients", "")
	printf "%s%s</svg>\n", head, body
}

function draw_panel(work,    r, b, who, length_of, notes, colours, n, i) {
	body = body element(16, y + 4, work ", " unit[work], "font-size=\"14\" font-weight=\"bold\"")
	y += 14
	for (r = 1; r <= rows[work]; r++) {
		who = title[work, r]
		body = body element(left - 8, y + bar * bars[work, who] / 2 + 4, who, "text-anchor=\"end\"")
		for (b = 1; b <= bars[work, who]; b++) {
			length_of = (width - left - right) * value[work, who, b] / most[work]
			body = body sprintf("<rect x=\"%d\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" fill=\"%s\"/>\n", \
				left, y, length_of, bar - 2, shade[b])
			body = body element(left + length_of + 5, y + 10, rounded(value[work, who, b]) \
				(bars[work, who] > 1 ? "  (" clients[work, who, b] ")" : ""), "font-size=\"10\" fill=\"#444\"")
			y += bar
		}
		y += gap
	}
	n = split(note[work], notes, "|")
	split(met[work], colours, "|")
	for (i = 1; i <= n; i++) {
		body = body element(left, y + 8, notes[i] ": " colours[i], "font-size=\"11\" fill=\"" \
			(colours[i] == "met" ? "#238b45" : "#cb181d") "\"")
		y += 15
	}
	y += 24
}

function element(x, y, words, attributes) {
	gsub(/&/, "\\&amp;", words)
	return sprintf("<text x=\"%.1f\" y=\"%.1f\" %s>%s</text>\n", x, y, attributes, words)
}

function text(x, y, words, attributes) { head = head element(x, y, words, attributes) }
function rounded(value) { return value >= 100 ? sprintf("%.0f", value) : sprintf("%.1f", value) }
