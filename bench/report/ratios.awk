# targets.csv rounds.csv -> ratios.csv. If a target names another contestant, each round's ratio counts, else
# the figure itself. A target without a number is a comparison for information.
BEGIN { FS = OFS = ","; print "work", "clients", "commit", "subject", "against", "median", "least", "greatest", "sign", "target", "verdict" }

FNR == 1 { next }

NR == FNR { target[++targets] = $0; next }

$9 == "yes" {
	series = $1 OFS $2 OFS $3
	if (!(series in highest)) order[++all] = series
	if ($4 > highest[series]) highest[series] = $4
	figure[series, $4, $5] = $7
}

END {
	for (i = 1; i <= all; i++) {
		split(order[i], of)
		for (t = 1; t <= targets; t++) {
			split(target[t], wanted)
			if (of[1] == wanted[1] && (wanted[2] == "*" || wanted[2] == of[2]))
				compare(order[i], wanted[3], wanted[4], wanted[5], wanted[6], i OFS t)
		}
	}
}

function compare(series, subject, against, sign, least_or_most, key,    r) {
	for (r = 1; r <= highest[series]; r++) {
		if (!((series, r, subject) in figure) || (against != "" && !((series, r, against) in figure)))
			continue
		add(key, against == "" ? figure[series, r, subject] : figure[series, r, subject] / figure[series, r, against])
	}
	if (count[key])
		print series, subject, against, median(key), least(key), greatest(key), sign, least_or_most, \
			verdict(median(key), sign, least_or_most)
}

function verdict(value, sign, target) {
	if (sign == "") return ""
	return (sign == ">=" ? value >= target : value <= target) ? "met" : "missed"
}
