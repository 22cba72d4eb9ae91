/* Commands of what transformers are made of. */
#include <stdatomic.h>

#include "backend/cpu/program.h"

int cpu_run_patches(const struct program *p, const struct command *c, struct err *err)
{
    struct patches args = c->patches;

    (void)err;
    args.from = cpu_data(p, c->in[0]);
    args.to = cpu_data(p, c->out[0]);
    cpu_run_kernel(p->threads, p->cpu->kernels->patches, &args, c->rows);
    return 0;
}

/* in: what is placed, what comes before it */
int cpu_run_place(const struct program *p, const struct command *c, struct err *err)
{
    struct place_rows args = c->place;

    (void)err;
    args.from = cpu_data(p, c->in[0]);
    args.before = cpu_data(p, c->n_in > 1 ? c->in[1] : -1);
    args.to = cpu_data(p, c->out[0]);
    cpu_run_kernel(p->threads, p->cpu->kernels->place, &args, c->rows);
    return 0;
}

int cpu_run_add_each(const struct program *p, const struct command *c, struct err *err)
{
    struct add_each args = {.size = c->columns,
                            .x = cpu_data(p, c->in[0]),
                            .b = cpu_data(p, c->in[1]),
                            .y = cpu_data(p, c->out[0])};

    (void)err;
    cpu_run_kernel(p->threads, p->cpu->kernels->add_each, &args, c->rows);
    return 0;
}

static void run_heads(const struct program *p, const struct command *c, int whole, const int *parts)
{
    struct heads args = c->heads;

    args.whole = cpu_data(p, whole);
    for (size_t i = 0; i < args.parts; i++)
        args.part[i] = cpu_data(p, parts[i]);
    cpu_run_kernel(p->threads, p->cpu->kernels->heads, &args, c->rows);
}

int cpu_run_split_heads(const struct program *p, const struct command *c, struct err *err)
{
    (void)err;
    run_heads(p, c, c->in[0], c->out);
    return 0;
}

int cpu_run_merge_heads(const struct program *p, const struct command *c, struct err *err)
{
    (void)err;
    run_heads(p, c, c->out[0], c->in);
    return 0;
}

int cpu_run_softmax(const struct program *p, const struct command *c, struct err *err)
{
    struct softmax args = {
        .columns = c->columns, .x = cpu_data(p, c->in[0]), .y = cpu_data(p, c->out[0])};

    (void)err;
    cpu_run_kernel(p->threads, p->cpu->kernels->softmax, &args, c->rows);
    return 0;
}

/* in: dy, y */
int cpu_run_softmax_grad(const struct program *p, const struct command *c, struct err *err)
{
    struct softmax args = {.columns = c->columns,
                           .dy = cpu_data(p, c->in[0]),
                           .x = cpu_data(p, c->in[1]),
                           .y = cpu_data(p, c->out[0])};

    (void)err;
    cpu_run_kernel(p->threads, p->cpu->kernels->softmax_grad, &args, c->rows);
    return 0;
}

/* in: dy, y, Ry */
int cpu_run_softmax_curve(const struct program *p, const struct command *c, struct err *err)
{
    struct softmax args = {.columns = c->columns,
                           .dy = cpu_data(p, c->in[0]),
                           .x = cpu_data(p, c->in[1]),
                           .rx = cpu_data(p, c->in[2]),
                           .y = cpu_data(p, c->out[0])};

    (void)err;
    cpu_run_kernel(p->threads, p->cpu->kernels->softmax_curve, &args, c->rows);
    return 0;
}

/* Products, and the first of oneDNN's complaints about one. */
struct products {
    const struct matrices *m;
    const float *a, *b;
    float *result;
    float keep; /* of what the result holds */
    _Atomic int *status;
};

static size_t place_of(const struct matrix_place *place, size_t i, size_t j)
{
    return place->at + i * place->outer_step + j * place->inner_step;
}

/* One thread does each of them: called by several, oneDNN's product starts none. */
static void multiply_some(const void *arguments, size_t begin, size_t end)
{
    const struct products *p = arguments;
    const struct matrices *m = p->m;

    for (size_t at = begin; at < end; at++) {
        size_t i = at / m->inner, j = at % m->inner;
        dnnl_status_t status = dnnl_sgemm(
            m->a_turned ? 'T' : 'N', m->b_turned ? 'T' : 'N', (dnnl_dim_t)m->rows,
            (dnnl_dim_t)m->columns, (dnnl_dim_t)m->depth, m->scale, p->a + place_of(&m->a, i, j),
            (dnnl_dim_t)m->a.row, p->b + place_of(&m->b, i, j), (dnnl_dim_t)m->b.row, p->keep,
            p->result + place_of(&m->result, i, j), (dnnl_dim_t)m->result.row);

        if (status != dnnl_success)
            atomic_store(p->status, (int)status);
    }
}

int cpu_run_matmul(const struct program *p, const struct command *c, struct err *err)
{
    _Atomic int status = dnnl_success;
    struct products args = {.m = &c->matrices,
                            .a = cpu_data(p, c->in[0]),
                            .b = cpu_data(p, c->in[1]),
                            .result = cpu_data(p, c->out[0]),
                            .keep = c->onto ? 1 : 0,
                            .status = &status};

    cpu_run_kernel(p->threads, multiply_some, &args, c->matrices.outer * c->matrices.inner);
    return cpu_dnnl_error(err, (dnnl_status_t)status, "products of matrices");
}
