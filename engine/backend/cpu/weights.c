/* Perturbing and changing the weights: the kernels over a layout. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/check.h"
#include "backend/cpu/cpu.h"
#include "base/cleanup.h"
#include "random/philox.h"

/* Fewer elements are not worth waking other threads for. */
#define ALONE_BELOW ((size_t)1 << 17)
/* A global norm is summed row by row, rows of so many elements, whatever the threads. */
#define ROW         4096

static int threads_for(int threads, size_t elements)
{
    return elements < ALONE_BELOW ? 1 : threads;
}

int cpu_noise_room_open(struct cpu_backend *cpu, struct noise_room *room,
                        const struct layout *layout, struct err *err)
{
    size_t rows = layout->size / ROW + 1;
    size_t n = layout->fisher_size > rows ? layout->fisher_size : rows;
    int rc = cpu_memory_open(
        cpu, &room->memory,
        n * sizeof *room->squares + (layout->fisher_size + 1) * sizeof *room->scale, err);

    if (rc || !room->memory.data)
        return rc;
    room->squares = room->memory.data;
    room->scale = (float *)(void *)(room->squares + n);
    return 0;
}

void cpu_noise_room_close(struct cpu_backend *cpu, struct noise_room *room)
{
    cpu_memory_close(cpu, &room->memory);
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

/* ‖T·d‖², tensor by tensor. */
static double adaptive_square(const struct materialise *m, const struct layout_tensor *t)
{
    const float *w = m->weights + t->offset, *d = m->perturbation->direction->data + t->offset;
    size_t rows = (t->size + ROW - 1) / ROW;
    struct adaptive_squares args = {.w = w,
                                    .d = d,
                                    .size = t->size,
                                    .columns = ROW,
                                    .eta = (float)m->perturbation->eta,
                                    .sum = m->room->squares};
    double sum = 0, norm;

    if (!t->weight) {
        norm = norm_of(m, d, t->size);
        return norm * norm;
    }
    cpu_run_kernel(threads_for(m->threads, t->size), m->kernels->adaptive_squares, &args, rows);
    for (size_t i = 0; i < rows; i++)
        sum += args.sum[i];
    return sum;
}

static void add_scaled_direction(const struct materialise *m)
{
    const struct perturbation *p = m->perturbation;
    double sum = 0;
    float factor;

    for (int i = 0; i < m->layout->n; i++)
        sum += adaptive_square(m, &m->layout->tensor[i]);
    factor = (float)(p->rho / (sqrt(sum) + 1e-16));
    for (int i = 0; i < m->layout->n; i++) {
        const struct layout_tensor *t = &m->layout->tensor[i];
        struct add_adaptive scaled = {.w = m->weights + t->offset,
                                      .d = p->direction->data + t->offset,
                                      .to = m->to + t->offset,
                                      .eta = (float)p->eta,
                                      .factor = factor};
        struct add_scaled plain = {.w = scaled.w, .d = scaled.d, .to = scaled.to, .factor = factor};

        if (t->weight)
            cpu_run_kernel(threads_for(m->threads, t->size), m->kernels->add_adaptive, &scaled,
                           t->size);
        else
            cpu_run_kernel(threads_for(m->threads, t->size), m->kernels->add_scaled, &plain,
                           t->size);
    }
}

void cpu_materialise(const struct materialise *m)
{
    const struct perturbation *p = m->perturbation;
    size_t size = m->layout->size;

    if (p->kind == PERTURB_NOISE) {
        for (int i = 0; i < m->layout->n; i++)
            add_noise(m, i);
    } else if (p->kind == PERTURB_SCALED_DIRECTION) {
        add_scaled_direction(m);
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

/* The lane whose room for noise fits already; else the first one's is opened. */
static int find_noise_room(struct cpu_backend *cpu, const struct layout *layout,
                           const struct noise_room **out, struct err *err)
{
    struct lane *lane = &cpu->lane[0];

    for (size_t i = 0; i < ARRAY_LENGTH(cpu->lane); i++)
        if (cpu->lane[i].layout == layout && cpu->lane[i].noise.memory.bytes)
            lane = &cpu->lane[i];
    cpu_lane_use(cpu, lane, layout);
    *out = &lane->noise;
    return lane->noise.memory.bytes ? 0 : cpu_noise_room_open(cpu, &lane->noise, layout, err);
}

int cpu_materialise_vector(struct backend *backend, const struct layout *layout,
                           const struct vector *weights, const struct perturbation *perturbation,
                           struct vector *to, struct err *err)
{
    struct cpu_backend *cpu = (struct cpu_backend *)backend;
    const struct noise_room *room;
    int rc = backend_check_materialise(layout, weights, to, err);

    if (!rc)
        rc = find_noise_room(cpu, layout, &room, err);
    if (rc || backend->counts_only)
        return rc;
    cpu_materialise(&(struct materialise){.kernels = cpu->kernels,
                                          .threads = cpu->step_threads,
                                          .layout = layout,
                                          .weights = weights->data,
                                          .perturbation = perturbation,
                                          .room = room,
                                          .to = to->data});
    if (threads_for(cpu->step_threads, layout->size) > 1)
        cpu->workers = true;
    return 0;
}

static int check(const struct step *s, struct err *err)
{
    if (s->n_terms > STEP_TERMS_MAX)
        return err_set(err, ERR_UNSUPPORTED, "step: %d terms; the CPU backend adds up to %d",
                       s->n_terms, STEP_TERMS_MAX);
    return backend_check_step(s, err);
}

static void feed_fisher(const struct cpu_backend *cpu, const struct step *s)
{
    for (int i = 0; i < s->layout->n; i++) {
        const struct layout_tensor *t = &s->layout->tensor[i];
        struct feed_fisher args = {.columns = t->elementwise ? 1 : t->filter_size,
                                   .beta = s->beta,
                                   .fisher = s->fisher->data + t->fisher_offset};

        for (int k = 0; k < s->n_terms; k++) {
            if (s->terms[k].feeds_fisher == 0)
                continue;
            args.mix.gradient[args.mix.n_terms] = s->terms[k].gradient->data + t->offset;
            args.mix.weight[args.mix.n_terms++] = (float)s->terms[k].feeds_fisher;
        }
        cpu_run_kernel(threads_for(cpu->step_threads, t->size), cpu->kernels->feed_fisher, &args,
                       t->fisher_size);
    }
}

/* Makes the weights of the mix those of the clipped gradient. */
static int clip(struct cpu_backend *cpu, const struct step *s, struct mix *mix, struct err *err)
{
    size_t size = s->layout->size, rows = (size + ROW - 1) / ROW;
    struct mix_squares args = {.mix = *mix, .size = size, .columns = ROW};
    double sum = 0, factor;
    int rc = cpu_memory_grow(cpu, &cpu->squares, rows * sizeof *args.sum, err);

    if (rc || cpu->base.counts_only)
        return rc;
    args.sum = cpu->squares.data;
    cpu_run_kernel(threads_for(cpu->step_threads, size), cpu->kernels->mix_squares, &args, rows);
    for (size_t i = 0; i < rows; i++)
        sum += args.sum[i];
    factor = step_clip_factor(s->clip_norm, sqrt(sum));
    for (int k = 0; k < s->n_terms; k++)
        mix->weight[k] = (float)(s->terms[k].weight * factor);
    return 0;
}

static void move_sgd(const struct cpu_backend *cpu, const struct step *s, const struct mix *mix)
{
    struct sgd_step args = {.mix = *mix,
                            .w = s->weights->data,
                            .m = s->momentum_vector->data,
                            .lr = (float)s->lr,
                            .momentum = (float)s->momentum,
                            .decay = (float)s->weight_decay,
                            .nesterov = s->nesterov};

    cpu_run_kernel(threads_for(cpu->step_threads, s->layout->size), cpu->kernels->sgd_step, &args,
                   s->layout->size);
}

static void move_adam(const struct cpu_backend *cpu, const struct step *s, const struct mix *mix)
{
    double t = (double)s->number;
    bool decoupled = s->rule == STEP_ADAMW;
    struct adam_step args = {.mix = *mix,
                             .w = s->weights->data,
                             .m = s->momentum_vector->data,
                             .v = s->squares->data,
                             .kept = decoupled ? (float)(1 - s->lr * s->weight_decay) : 1,
                             .decay = decoupled ? 0 : (float)s->weight_decay,
                             .beta1 = (float)s->beta1,
                             .rest1 = (float)(1 - s->beta1),
                             .beta2 = (float)s->beta2,
                             .rest2 = (float)(1 - s->beta2),
                             .rate = (float)(s->lr / (1 - pow(s->beta1, t))),
                             .scale = (float)(1 / sqrt(1 - pow(s->beta2, t))),
                             .eps = (float)s->eps};

    cpu_run_kernel(threads_for(cpu->step_threads, s->layout->size), cpu->kernels->adam_step, &args,
                   s->layout->size);
}

int cpu_step(struct backend *backend, const struct step *s, struct err *err)
{
    struct cpu_backend *cpu = (struct cpu_backend *)backend;
    struct mix mix = {.n_terms = s->n_terms};
    int code = check(s, err);

    if (code)
        return code;
    for (int k = 0; k < s->n_terms; k++) {
        mix.gradient[k] = s->terms[k].gradient->data;
        mix.weight[k] = (float)s->terms[k].weight;
    }
    if (step_feeds_fisher(s) && !backend->counts_only)
        feed_fisher(cpu, s);
    if (s->clip_norm > 0)
        code = clip(cpu, s, &mix, err);
    if (code || backend->counts_only)
        return code;
    if (s->rule == STEP_SGD)
        move_sgd(cpu, s, &mix);
    else
        move_adam(cpu, s, &mix);
    if (threads_for(cpu->step_threads, s->layout->size) > 1)
        cpu->workers = true;
    return 0;
}
