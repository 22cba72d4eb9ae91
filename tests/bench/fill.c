/* What is measured needs numbers: weights as models start, random images and labels. */
#include <stdlib.h>

#include "bench.h"
#include "random/philox.h"

/* Element e of tensor i. */
static double start_of(const struct init *init, int i, size_t e)
{
    struct philox draw = philox(1, (uint32_t)e, random_stream(RANDOM_INIT, 0, (uint32_t)i), 0);
    double four[4];

    if (init->kind == INIT_UNIFORM)
        return random_symmetric(draw.word[0]) * init->bound;
    if (init->kind != INIT_NORMAL)
        return init->kind == INIT_ONE;
    random_normal4_f64(draw, four);
    return four[0] * init->deviation;
}

int bench_fill_vector(const struct backend_class *class, struct vector *to,
                      const struct graph_tensor *tensors, const struct layout *layout,
                      struct err *err)
{
    int rc = 0;

    for (int i = 0; i < layout->n && !rc; i++) {
        const struct layout_tensor *t = &layout->tensor[i];
        const struct init *init = &tensors[i].init;
        void *room = calloc(t->size, real_bytes(class->real));

        if (!room)
            return err_no_memory(err);
        for (size_t e = 0; e < t->size; e++) {
            double value = start_of(init, i, e);

            if (class->real == REAL_F32)
                ((float *)room)[e] = (float)value;
            else
                ((double *)room)[e] = value;
        }
        rc = class->vector_write(to, t->offset, t->size, room, err);
        free(room);
    }
    return rc;
}

int bench_fill_batch(void **images, int32_t **labels, const struct bench_options *options,
                     int batch, struct err *err)
{
    const struct model_input *in = &options->input;
    size_t n = (size_t)(in->batch * in->channels * in->height * in->width);
    bool narrow = options->class->real == REAL_F32;

    *images = calloc(n, real_bytes(options->class->real));
    *labels = calloc((size_t)in->batch, sizeof **labels);
    if (!*images || !*labels)
        return err_no_memory(err);
    for (size_t i = 0; i < n; i += 4) {
        double four[4];

        random_normal4_f64(philox(2, (uint32_t)(i / 4), (uint32_t)batch, 0), four);
        for (size_t k = 0; k < 4 && i + k < n; k++)
            if (narrow)
                ((float *)*images)[i + k] = (float)four[k];
            else
                ((double *)*images)[i + k] = four[k];
    }
    for (int64_t i = 0; i < in->batch; i++)
        (*labels)[i] =
            (int32_t)(philox(3, (uint32_t)i, (uint32_t)batch, 0).word[0] % (uint32_t)in->classes);
    return 0;
}
