#include "data/label_noise.h"

#include <math.h>
#include <stdlib.h>

#include "data/order.h"

static int32_t wrong_label(int32_t label, int classes, int64_t sample, uint64_t seed)
{
    struct philox draw = philox(seed, (uint32_t)sample, random_stream(RANDOM_LABEL_VALUE, 0, 0), 0);
    double unit = (double)(draw.word[0] >> 8) * 0x1p-24;

    return (int32_t)((label + 1 + (int)(unit * (classes - 1))) % classes);
}

int label_noise_apply(int32_t *labels, int64_t n, int classes, double share, uint64_t seed,
                      struct err *err)
{
    int64_t wrong = llround(share * (double)n);
    struct order_item *items, *scratch;

    if (wrong == 0)
        return 0;
    items = calloc((size_t)n, sizeof *items);
    scratch = calloc((size_t)n, sizeof *scratch);
    if (items && scratch) {
        order_draw(items, scratch, n, seed, RANDOM_LABEL_PICK, 0);
        for (int64_t i = 0; i < wrong; i++) {
            int64_t sample = items[i].index;

            labels[sample] = wrong_label(labels[sample], classes, sample, seed);
        }
    }
    free(items);
    free(scratch);
    return items && scratch ? 0 : err_no_memory(err);
}
