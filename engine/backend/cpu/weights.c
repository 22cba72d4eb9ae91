/* Perturbing and changing the weights: the kernels over a layout. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/cpu.h"
#include "random/philox.h"

/* Fewer elements are not worth waking other threads for. */
#define ALONE_BELOW ((size_t)1 << 17)
/* A global norm is summed row by row, rows of so many elements, whatever the threads. */
#define ROW         4096

static int threads_for(int threads, size_t elements)
{
    return elements < ALONE_BELOW ? 1 : threads;
}

int cpu_noise_room_open(struct noise_room *room, const struct layout *layout, struct err *err)
{
    size_t rows = layout->size / ROW + 1;
    size_t n = layout->fisher_size > rows ? layout->fisher_size : rows;

    room->squares = malloc(n * sizeof *room->squares);
    room->scale = malloc((layout->fisher_size + 1) * sizeof *room->scale);
    return room->squares && room->scale ? 0 : err_no_memory(err);
}

void cpu_noise_room_close(struct noise_room *room)
{
    free(room->squares);
    free(room->scale);
    *room = (struct noise_room){0};
}

/* Noise of a tensor is z·scale: one scale a filter, or one an element where a tensor has one
 * dimension. */
static void set_scale(const struct materialise *m, const struct layout_tensor *t)
{
    const struct perturbation *p = m->perturbation;
    struct row_squares args = {.x = m->weights + t->offset,
                               .columns = t->elementwise ? t->size : t->filter_size,
                               .sum = m->room->squares};
    const float *fisher = p->eta != 0 ? p->fisher->data + t->fisher_offset : NULL;

    cpu_run_kernel(threads_for(m->threads, t->size), m->kernels->row_squares, &args,
                   t->elementwise ? 1 : t->filters);
    for (size_t i = 0; i < t->fisher_size; i++) {
        double norm =
            t->elementwise ? sqrt(m->room->squares[0]) + 1e-16 : sqrt(m->room->squares[i]);
        double damping = fisher ? sqrt(1 + p->eta * fisher[i]) : 1;
        m->room->scale[i] = (float)(p->sigma * norm / damping);
    }
}

static void add_noise(const struct materialise *m, int tensor)
{
    const struct layout_tensor *t = &m->layout->tensor[tensor];
    const struct perturbation *p = m->perturbation;
    struct add_noise args = {.w = m->weights + t->offset,
                             .to = m->to + t->offset,
                             .columns = t->elementwise ? 1 : t->filter_size,
                             .scale = m->room->scale,
                             .seed = p->seed,
                             .step = p->update,
                             .stream = random_stream(RANDOM_NOISE, p->term, (uint32_t)tensor)};

    set_scale(m, t);
    cpu_run_kernel(threads_for(m->threads, t->size), m->kernels->add_noise, &args, t->size);
}

static double norm_of(const struct materialise *m, const float *x, size_t n)
{
    size_t rows = n / ROW;
    struct row_squares whole = {.x = x, .columns = ROW, .sum = m->room->squares};
    struct row_squares rest = {
        .x = x + rows * ROW, .columns = n - rows * ROW, .sum = m->room->squares + rows};
    double sum = 0;

    cpu_run_kernel(threads_for(m->threads, n), m->kernels->row_squares, &whole, rows);
    m->kernels->row_squares(&rest, 0, 1);
    for (size_t i = 0; i <= rows; i++)
        sum += m->room->squares[i];
    return sqrt(sum);
}

void cpu_materialise(const struct materialise *m)
{
    const struct perturbation *p = m->perturbation;
    size_t size = m->layout->size;

    if (p->kind == PERTURB_NOISE) {
        for (int i = 0; i < m->layout->n; i++)
            add_noise(m, i);
    } else if (p->kind == PERTURB_DIRECTION) {
        double norm = norm_of(m, p->direction->data, size); /* gaps add nothing */
        struct add_scaled args = {.w = m->weights,
                                  .d = p->direction->data,
                                  .to = m->to,
                                  .factor = (float)(p->rho / (norm + 1e-12))};

        cpu_run_kernel(threads_for(m->threads, size), m->kernels->add_scaled, &args, size);
    } else {
        memcpy(m->to, m->weights, size * sizeof *m->to);
    }
}

static int check(const struct step *s, struct err *err)
{
    size_t size = s->layout->size;
    bool fits = s->weights->n == size && s->momentum_vector->n == size &&
                (!s->fisher || s->fisher->n == s->layout->fisher_size);

    if (s->n_terms > STEP_TERMS_MAX)
        return err_set(err, ERR_UNSUPPORTED, "step: %d terms; the CPU backend adds up to %d",
                       s->n_terms, STEP_TERMS_MAX);
    for (int k = 0; k < s->n_terms; k++) {
        fits = fits && s->terms[k].gradient->n == size;
        if (s->terms[k].feeds_fisher && !s->fisher)
            return err_set(err, ERR_INVALID, "step: term %d feeds an accumulator that is missing",
                           k);
    }
    return fits ? 0 : err_set(err, ERR_INVALID, "step: a vector does not have the layout's size");
}

static void feed_fisher(const struct cpu_backend *cpu, const struct step *s, const float *gradient)
{
    for (int i = 0; i < s->layout->n; i++) {
        const struct layout_tensor *t = &s->layout->tensor[i];
        struct feed_fisher args = {.gradient = gradient + t->offset,
                                   .columns = t->elementwise ? 1 : t->filter_size,
                                   .beta = s->beta,
                                   .fisher = s->fisher->data + t->fisher_offset};

        cpu_run_kernel(threads_for(cpu->step_threads, t->size), cpu->kernels->feed_fisher, &args,
                       t->fisher_size);
    }
}

int cpu_step(struct backend *backend, const struct step *s, struct err *err)
{
    struct cpu_backend *cpu = (struct cpu_backend *)backend;
    struct sgd_step args = {.n_terms = s->n_terms,
                            .w = s->weights->data,
                            .m = s->momentum_vector->data,
                            .lr = (float)s->lr,
                            .momentum = (float)s->momentum,
                            .decay = (float)s->weight_decay};
    int code = check(s, err);

    if (code)
        return code;
    for (int k = 0; k < s->n_terms; k++) {
        args.gradient[k] = s->terms[k].gradient->data;
        args.weight[k] = (float)s->terms[k].weight;
        if (s->terms[k].feeds_fisher)
            feed_fisher(cpu, s, args.gradient[k]);
    }
    cpu_run_kernel(threads_for(cpu->step_threads, s->layout->size), cpu->kernels->sgd_step, &args,
                   s->layout->size);
    if (threads_for(cpu->step_threads, s->layout->size) > 1)
        cpu->workers = true;
    return 0;
}
