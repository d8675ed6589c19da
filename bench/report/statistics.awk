# Statistics of a list of numbers: values[key, 1 .. count[key]]. Plain awk has no sort.

function add(key, value,    i) {
	i = ++count[key]
	while (i > 1 && values[key, i - 1] + 0 > value + 0) {
		values[key, i] = values[key, i - 1]
		i--
	}
	values[key, i] = value
}

function median(key,    n) {
	n = count[key]
	return n % 2 ? values[key, (n + 1) / 2] + 0 : (values[key, n / 2] + values[key, n / 2 + 1]) / 2
}

function least(key) { return values[key, 1] + 0 }
function greatest(key) { return values[key, count[key]] + 0 }
