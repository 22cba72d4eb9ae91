/* Commands of a network's end: the linear layer, the loss, the count of right answers. */
#include <math.h>

#include "backend/cpu/program.h"

static struct linear sizes(const struct command *c)
{
    return (struct linear){.n = c->rows, .in = c->inner, .out = c->columns, .onto = c->onto};
}

/* From so many multiply-adds on, oneDNN's product of matrices is faster than our loops. */
#define LARGE ((size_t)1 << 21)

static bool is_large(const struct linear *l)
{
    return l->n * l->in * l->out >= LARGE;
}

/* y = x·wᵀ [+ b] */
static int large_linear(const struct program *p, const struct linear *l, struct err *err)
{
    struct place_rows rows = {.size = l->out, .to_step = l->out, .from = l->b, .to = l->result};
    struct add_each more = {.size = l->out, .x = l->result, .b = l->b, .y = l->result};

    if (l->b && l->onto)
        cpu_run_kernel(p->threads, p->cpu->kernels->add_each, &more, l->n);
    else if (l->b)
        cpu_run_kernel(p->threads, p->cpu->kernels->place, &rows, l->n);
    return cpu_multiply(&(struct product){.rows = l->n,
                                          .columns = l->out,
                                          .inner = l->in,
                                          .a = l->x,
                                          .b = l->w,
                                          .b_turned = true,
                                          .result = l->result,
                                          .keep = l->b || l->onto ? 1 : 0},
                        err);
}

/* dx = dy·w */
static int large_grad_x(const struct linear *l, struct err *err)
{
    return cpu_multiply(&(struct product){.rows = l->n,
                                          .columns = l->in,
                                          .inner = l->out,
                                          .a = l->dy,
                                          .b = l->w,
                                          .result = l->result,
                                          .keep = l->onto ? 1 : 0},
                        err);
}

/* dw = dyᵀ·x */
static int large_grad_w(const struct linear *l, struct err *err)
{
    return cpu_multiply(&(struct product){.rows = l->out,
                                          .columns = l->in,
                                          .inner = l->n,
                                          .a = l->dy,
                                          .a_turned = true,
                                          .b = l->x,
                                          .result = l->result,
                                          .keep = l->onto ? 1 : 0},
                        err);
}

int cpu_run_linear(const struct program *p, const struct command *c, struct err *err)
{
    struct linear args = sizes(c);

    args.x = cpu_data(p, c->in[0]);
    args.w = cpu_data(p, c->in[1]);
    args.b = cpu_data(p, c->bias ? c->in[2] : -1);
    args.result = cpu_data(p, c->out[0]);
    if (is_large(&args))
        return large_linear(p, &args, err);
    cpu_run_kernel(p->threads, p->cpu->kernels->linear, &args, args.n);
    return 0;
}

int cpu_run_linear_grad_x(const struct program *p, const struct command *c, struct err *err)
{
    struct linear args = sizes(c);

    args.dy = cpu_data(p, c->in[0]);
    args.w = cpu_data(p, c->in[1]);
    args.result = cpu_data(p, c->out[0]);
    if (is_large(&args))
        return large_grad_x(&args, err);
    cpu_run_kernel(p->threads, p->cpu->kernels->linear_grad_x, &args, args.n);
    return 0;
}

int cpu_run_linear_grad_w(const struct program *p, const struct command *c, struct err *err)
{
    struct linear args = sizes(c);

    args.x = cpu_data(p, c->in[0]);
    args.dy = cpu_data(p, c->in[1]);
    args.result = cpu_data(p, c->out[0]);
    if (is_large(&args))
        return large_grad_w(&args, err);
    cpu_run_kernel(p->threads, p->cpu->kernels->linear_grad_w, &args, args.out);
    return 0;
}

int cpu_run_sum_rows(const struct program *p, const struct command *c, struct err *err)
{
    struct sum_rows args = {.n = c->rows,
                            .out = c->columns,
                            .step = c->columns,
                            .dy = cpu_data(p, c->in[0]),
                            .result = cpu_data(p, c->out[0])};

    (void)err;
    cpu_run_kernel(p->threads, p->cpu->kernels->sum_rows, &args,
                   (args.out + SUM_COLUMNS - 1) / SUM_COLUMNS);
    return 0;
}

/* ln Σ exp of a row. With a NaN or +∞ in the row: NaN. */
static double log_sum_exp(const float *row, size_t n, double *largest)
{
    double top = row[0], sum = 0;

    for (size_t i = 1; i < n; i++)
        top = row[i] > top ? row[i] : top;
    for (size_t i = 0; i < n; i++)
        sum += exp(row[i] - top);
    *largest = top;
    return top + log(sum);
}

static const int32_t *labels_of(const struct program *p, const struct command *c)
{
    return (const int32_t *)(const void *)cpu_data(p, c->in[1]);
}

int cpu_run_cross_entropy(const struct program *p, const struct command *c, struct err *err)
{
    const float *logits = cpu_data(p, c->in[0]);
    const int32_t *labels = labels_of(p, c);
    double spread = c->smoothing / (double)c->columns, sum = 0, top;

    (void)err;
    for (size_t n = 0; n < c->rows; n++, logits += c->columns) {
        sum += log_sum_exp(logits, c->columns, &top) - (1 - c->smoothing) * logits[labels[n]];
        for (size_t i = 0; i < c->columns && spread != 0; i++)
            sum -= spread * logits[i];
    }
    cpu_data(p, c->out[0])[0] = (float)(sum / (double)c->rows);
    return 0;
}

int cpu_run_cross_entropy_grad(const struct program *p, const struct command *c, struct err *err)
{
    const float *logits = cpu_data(p, c->in[0]);
    const int32_t *labels = labels_of(p, c);
    float *d = cpu_data(p, c->out[0]);
    double target[2] = {c->smoothing / (double)c->columns};

    (void)err;
    target[1] = target[0] + (1 - c->smoothing); /* of the label */
    for (size_t n = 0; n < c->rows; n++, logits += c->columns, d += c->columns) {
        double top, log_sum = log_sum_exp(logits, c->columns, &top);

        for (size_t i = 0; i < c->columns; i++)
            d[i] = (float)((exp(logits[i] - log_sum) - target[i == (size_t)labels[n]]) /
                           (double)c->rows);
    }
    return 0;
}

/* in: logits, Rlogits */
int cpu_run_cross_entropy_curve(const struct program *p, const struct command *c, struct err *err)
{
    const float *logits = cpu_data(p, c->in[0]), *moved = cpu_data(p, c->in[1]);
    float *to = cpu_data(p, c->out[0]);

    (void)err;
    for (size_t n = 0; n < c->rows; n++) {
        double top, log_sum = log_sum_exp(logits, c->columns, &top), mean = 0;

        for (size_t i = 0; i < c->columns; i++)
            mean += exp(logits[i] - log_sum) * moved[i];
        for (size_t i = 0; i < c->columns; i++)
            to[i] = (float)(exp(logits[i] - log_sum) * (moved[i] - mean) / (double)c->rows);
        logits += c->columns;
        moved += c->columns;
        to += c->columns;
    }
    return 0;
}

/* How many classes come before the label: those of higher logits, of equal ones the lower classes,
 * and NaN before all. A label whose logit is NaN comes after any number of them. */
static size_t rank_of_label(const float *row, size_t n, size_t label)
{
    size_t before = 0;

    if (isnan(row[label]))
        return SIZE_MAX;
    for (size_t i = 0; i < n; i++)
        before += !(row[i] < row[label]) && !(i >= label && row[i] == row[label]);
    return before;
}

int cpu_run_correct(const struct program *p, const struct command *c, struct err *err)
{
    const float *logits = cpu_data(p, c->in[0]);
    const int32_t *labels = labels_of(p, c);
    size_t count = 0;

    (void)err;
    for (size_t n = 0; n < c->rows; n++)
        count += rank_of_label(logits + n * c->columns, c->columns, (size_t)labels[n]) < c->k;
    cpu_data(p, c->out[0])[0] = (float)count;
    return 0;
}
