/* One change of the weights, and the Fisher accumulator. */
#include "backend/reference/reference.h"

/* F ← beta·F + Σ g² */
static void feed_fisher(const struct layout_tensor *t, const double *g, double beta, double *fisher)
{
    size_t each = t->elementwise ? 1 : t->filter_size;

    for (size_t i = 0; i < t->fisher_size; i++) {
        double sum = 0;
        for (size_t j = 0; j < each; j++)
            sum += g[i * each + j] * g[i * each + j];
        fisher[i] = beta * fisher[i] + sum;
    }
}

static void move(const struct step *s, const struct layout_tensor *t)
{
    double *w = s->weights->data + t->offset, *m = s->momentum_vector->data + t->offset;

    for (size_t i = 0; i < t->size; i++) {
        double d = 0;
        for (int k = 0; k < s->n_terms; k++)
            d += s->terms[k].weight * s->terms[k].gradient->data[t->offset + i];
        d += s->weight_decay * w[i];
        m[i] = s->momentum * m[i] + d;
        w[i] -= s->lr * m[i];
    }
}

static int check(const struct step *s, struct err *err)
{
    size_t size = s->layout->size;
    bool fits = s->weights->n == size && s->momentum_vector->n == size &&
                (!s->fisher || s->fisher->n == s->layout->fisher_size);

    for (int k = 0; k < s->n_terms; k++) {
        fits = fits && s->terms[k].gradient->n == size;
        if (s->terms[k].feeds_fisher && !s->fisher)
            return err_set(err, ERR_INVALID, "step: term %d feeds an accumulator that is missing",
                           k);
    }
    return fits ? 0 : err_set(err, ERR_INVALID, "step: a vector does not have the layout's size");
}

int reference_step(struct backend *backend, const struct step *s, struct err *err)
{
    int code = check(s, err);

    (void)backend;
    if (code)
        return code;
    for (int i = 0; i < s->layout->n; i++) {
        const struct layout_tensor *t = &s->layout->tensor[i];
        for (int k = 0; k < s->n_terms; k++)
            if (s->terms[k].feeds_fisher)
                feed_fisher(t, s->terms[k].gradient->data + t->offset, s->beta,
                            s->fisher->data + t->fisher_offset);
        move(s, t);
    }
    return 0;
}
