# A line for each job whose state is not what it was. Reads quickstart's lines of jobs of last time
# (FILENAME ends in "before"), then those of now.
BEGIN { FS = "\t" }

FILENAME ~ /before$/ { state[$1, $2] = $3; next }

$3 != state[$1, $2] {
    text = "  " $1 ", seed " $2 ": " $3
    if ($3 == "succeeded") text = text sprintf(", test accuracy %.1f%% after %.1f s", 100 * $7, $10)
    if ($12 != "-") text = text " (" $12 ")"
    print text
}
