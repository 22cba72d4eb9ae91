# What came out: a line a method, means over the seeds with the sample's standard deviation. Reads
# quickstart's lines of jobs.
BEGIN { FS = "\t" }

function add(what, value) {
    sum[$1, what] += value
    squares[$1, what] += value * value
}

$3 != "succeeded" {
    failed = failed sprintf("  %s, seed %s: %s (%s)\n", $1, $2, $3, $12)
    next
}

{
    if (!($1 in n)) order[++methods] = $1
    n[$1]++
    add("accuracy", 100 * $7)
    add("loss", $9)
    add("seconds", $10)
    add("gradients", $11)
}

function mean(method, what) { return sum[method, what] / n[method] }

function deviation(method, what,  spread) {
    spread = squares[method, what] - n[method] * mean(method, what) ^ 2
    return spread > 0 ? sqrt(spread / (n[method] - 1)) : 0
}

# Right-aligned. "±" is two bytes and one column, and awks differ in which of the two they count.
function cell(method, what, format, width,  text, plain) {
    text = plain = sprintf(format, mean(method, what))
    if (n[method] > 1) {
        plain = text " + " sprintf(format, deviation(method, what))
        text = text " ± " sprintf(format, deviation(method, what))
    }
    return sprintf("%" (width - length(plain)) "s%s", "", text)
}

END {
    print ""
    if (methods) printf "  %-7s %15s %9s %16s %14s %10s\n", "method", "test accuracy %", "over SGD",
        "training loss", "seconds", "gradients"
    for (i = 1; i <= methods; i++) {
        m = order[i]
        over = ""
        if (m != "sgd" && "sgd" in n)
            over = sprintf("%+.1f", mean(m, "accuracy") - mean("sgd", "accuracy"))
        printf "  %-7s %s %9s %s %s %10d\n", m, cell(m, "accuracy", "%.1f", 15), over,
            cell(m, "loss", "%.3f", 16), cell(m, "seconds", "%.1f", 14), mean(m, "gradients")
    }
    if (failed) printf "\nDid not succeed:\n%s", failed
}
