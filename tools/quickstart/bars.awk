# A bar a job, drawn over the ones before; a bar a method where the jobs (`by_method`) are more than
# the terminal has lines. Reads quickstart's lines of jobs; variables: by_method, seeds, columns (of the
# terminal), before (lines drawn last time), full and empty (a bar's two characters).
BEGIN {
    FS = "\t"
    name_columns = by_method || seeds == 1 ? 6 : 15
    # Beside the bar: name, percent, accuracy, "epoch 60 of 60, 999 s left", and gaps.
    bar_columns = columns - name_columns - 49
    if (bar_columns > 30) bar_columns = 30
    if (bar_columns < 5) bar_columns = 5
}

{
    key = by_method || seeds == 1 ? $1 : $1 ", seed " $2
    if (!(key in jobs)) order[++n] = key
    jobs[key]++
    progress[key] += $4
    states[key, $3]++
    if ($7 != "-") { accuracy[key] += 100 * $7; tested[key]++ }
    if ($8 != "-" && $8 > left[key]) left[key] = $8
    epoch[key] = "epoch " $5 " of " $6
}

function what(key) {
    if (states[key, "failed"]) return "FAILED"
    if (states[key, "cancelled"]) return "cancelled"
    if (states[key, "succeeded"] == jobs[key]) return "done"
    if (states[key, "paused"]) return "paused"
    if (!states[key, "running"] && progress[key] == 0) return "waiting"
    return (jobs[key] == 1 ? epoch[key] : states[key, "running"] + 0 " running") \
        (left[key] > 0 ? sprintf(", %.0f s left", left[key]) : "")
}

function bar(share,  text, i) {
    for (i = 1; i <= bar_columns; i++) text = text (i <= share * bar_columns + 0.5 ? full : empty)
    return text
}

END {
    if (before > 0) printf "\033[%dA", before
    for (i = 1; i <= n; i++) {
        key = order[i]
        share = progress[key] / jobs[key]
        test = tested[key] ? sprintf("test %.1f%%", accuracy[key] / tested[key]) : ""
        # A line that wrapped would put the next drawing one line too low.
        rest = sprintf(" %3d%%  %-11s %s", 100 * share, test, what(key))
        room = columns - 3 - name_columns - bar_columns - 1
        printf "  %-*s %s%s\033[K\n", name_columns, key, bar(share), substr(rest, 1, room > 0 ? room : 0)
    }
}
