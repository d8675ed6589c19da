BEGIN{print "<svg/>"}
