# rounds.csv -> summary.csv: one line for each work, number of clients, synchronous_commit and contestant.
BEGIN { FS = OFS = ","; print "work", "clients", "commit", "contestant", "unit", "rounds", "median", "least", "greatest" }

FNR > 1 && $9 == "yes" {
	key = $1 OFS $2 OFS $3 OFS $5 OFS $6
	if (!(key in count)) order[++keys] = key
	add(key, $7)
}

END {
	for (i = 1; i <= keys; i++) {
		key = order[i]
		print key, count[key], median(key), least(key), greatest(key)
	}
}
