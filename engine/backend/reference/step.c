/* One change of the weights, and the Fisher accumulator. */
#include <math.h>

#include "backend/check.h"
#include "backend/reference/reference.h"

/* F ← beta·F + Σ h², h the sum of the gradients that feed it. */
static void feed_fisher(const struct step *s, const struct layout_tensor *t)
{
    size_t each = t->elementwise ? 1 : t->filter_size;

    for (size_t i = 0; i < t->fisher_size; i++) {
        double *fisher = &s->fisher->data[t->fisher_offset + i], sum = 0;
        for (size_t j = 0; j < each; j++) {
            double h = 0;
            for (int k = 0; k < s->n_terms; k++)
                h +=
                    s->terms[k].feeds_fisher * s->terms[k].gradient->data[t->offset + i * each + j];
            sum += h * h;
        }
        *fisher = s->beta * *fisher + sum;
    }
}

static double mixed(const struct step *s, size_t at)
{
    double d = 0;

    for (int k = 0; k < s->n_terms; k++)
        d += s->terms[k].weight * s->terms[k].gradient->data[at];
    return d;
}

/* What clipping leaves of the gradient. Gaps add nothing to the norm. */
static double clip_factor(const struct step *s)
{
    double sum = 0;

    if (s->clip_norm == 0)
        return 1;
    for (size_t i = 0; i < s->layout->size; i++)
        sum += mixed(s, i) * mixed(s, i);
    return step_clip_factor(s->clip_norm, sqrt(sum));
}

static void move_sgd(const struct step *s, double *w, double *m, double d)
{
    d += s->weight_decay * *w;
    *m = s->momentum * *m + d;
    *w -= s->lr * (s->nesterov ? d + s->momentum * *m : *m);
}

static void move_adam(const struct step *s, double *w, double *m, double *v, double d)
{
    double t = (double)s->number;
    double root;

    if (s->rule == STEP_ADAMW)
        *w -= s->lr * s->weight_decay * *w;
    else
        d += s->weight_decay * *w;
    *m = s->beta1 * *m + (1 - s->beta1) * d;
    *v = s->beta2 * *v + (1 - s->beta2) * d * d;
    root = sqrt(*v) / sqrt(1 - pow(s->beta2, t)) + s->eps;
    *w -= s->lr / (1 - pow(s->beta1, t)) * *m / root;
}

static void move(const struct step *s, const struct layout_tensor *t, double factor)
{
    double *w = s->weights->data, *m = s->momentum_vector->data;

    for (size_t i = t->offset; i < t->offset + t->size; i++) {
        double d = factor * mixed(s, i);

        if (s->rule == STEP_SGD)
            move_sgd(s, &w[i], &m[i], d);
        else
            move_adam(s, &w[i], &m[i], &s->squares->data[i], d);
    }
}

int reference_step(struct backend *backend, const struct step *s, struct err *err)
{
    int code = backend_check_step(s, err);
    double factor;

    if (code || backend->counts_only)
        return code;
    factor = clip_factor(s);
    for (int i = 0; i < s->layout->n; i++) {
        const struct layout_tensor *t = &s->layout->tensor[i];
        if (step_feeds_fisher(s))
            feed_fisher(s, t);
        move(s, t, factor);
    }
    return 0;
}
