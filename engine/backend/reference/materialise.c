/* The weights that a pass computes with: w ⊕ perturbation. Gaps of the layout stay zero, since the
 * result is written tensor by tensor into memory that was zero. */
#include <math.h>
#include <string.h>

#include "backend/reference/reference.h"
#include "random/philox.h"

static double norm(const double *x, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    return sqrt(sum);
}

/* z[n]: the standard normal numbers of one tensor. */
static void draw_normals(const struct perturbation *p, uint32_t tensor, double *z, size_t n)
{
    uint32_t stream = random_stream(RANDOM_NOISE, p->term, tensor);

    for (size_t first = 0; first < n; first += 4) {
        double four[4];
        random_normal4_f64(philox(p->seed, (uint32_t)(first / 4), stream, p->update), four);
        for (size_t i = first; i < n && i < first + 4; i++)
            z[i] = four[i - first];
    }
}

/* The factor by which one number of the Fisher accumulator damps the noise. */
static double damping(const struct perturbation *p, size_t fisher_index)
{
    return p->eta == 0 ? 1 : sqrt(1 + p->eta * p->fisher->data[fisher_index]);
}

static void add_noise(const struct layout_tensor *t, uint32_t number, const double *w,
                      const struct perturbation *p, double *out)
{
    draw_normals(p, number, out, t->size);
    if (t->elementwise) {
        double strength = p->sigma * (norm(w, t->size) + 1e-16);
        for (size_t j = 0; j < t->size; j++)
            out[j] = w[j] + out[j] * strength / damping(p, t->fisher_offset + j);
        return;
    }
    for (size_t i = 0; i < t->filters; i++) {
        const double *filter = w + i * t->filter_size;
        double *to = out + i * t->filter_size;
        double strength =
            p->sigma * norm(filter, t->filter_size) / damping(p, t->fisher_offset + i);
        for (size_t j = 0; j < t->filter_size; j++)
            to[j] = filter[j] + to[j] * strength;
    }
}

static double scale_of(const struct layout_tensor *t, const struct perturbation *p, double w)
{
    return t->weight ? fabs(w) + p->eta : 1;
}

static void add_scaled_direction(const struct layout *layout, const double *w,
                                 const struct perturbation *p, double *out)
{
    const double *d = p->direction->data;
    double sum = 0;

    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < layout->n; i++) {
            const struct layout_tensor *t = &layout->tensor[i];
            for (size_t j = t->offset; j < t->offset + t->size; j++) {
                double scale = scale_of(t, p, w[j]), part = scale * d[j];
                if (pass == 0)
                    sum += part * part;
                else
                    out[j] = w[j] + p->rho / (sqrt(sum) + 1e-16) * scale * part;
            }
        }
}

void reference_materialise(const struct layout *layout, const struct vector *weights,
                           const struct perturbation *p, double *out)
{
    const double *w = weights->data;

    if (p->kind == PERTURB_NOISE) {
        for (int i = 0; i < layout->n; i++) {
            const struct layout_tensor *t = &layout->tensor[i];
            add_noise(t, (uint32_t)i, w + t->offset, p, out + t->offset);
        }
    } else if (p->kind == PERTURB_SCALED_DIRECTION) {
        add_scaled_direction(layout, w, p, out);
    } else if (p->kind == PERTURB_DIRECTION) {
        const double *d = p->direction->data;
        double scale = p->rho / (norm(d, layout->size) + 1e-12); /* gaps add nothing */
        for (size_t i = 0; i < layout->size; i++)
            out[i] = w[i] + scale * d[i];
    } else {
        memcpy(out, w, layout->size * sizeof *out);
    }
}
