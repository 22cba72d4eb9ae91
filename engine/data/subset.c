#include "data/subset.h"

#include <stdlib.h>

#include "data/order.h"

static int by_number(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

    return (left > right) - (left < right);
}

int subset_choose(int64_t **chosen, int64_t n, int64_t limit, uint64_t seed, struct err *err)
{
    struct order_item *items = calloc((size_t)n, sizeof *items);
    struct order_item *scratch = calloc((size_t)n, sizeof *scratch);
    int64_t *kept = calloc((size_t)limit, sizeof *kept);
    int rc = items && scratch && kept ? 0 : err_no_memory(err);

    if (!rc) {
        order_draw(items, scratch, n, seed, RANDOM_SUBSET, 0);
        for (int64_t i = 0; i < limit; i++)
            kept[i] = items[i].index;
        qsort(kept, (size_t)limit, sizeof *kept, by_number);
        *chosen = kept;
        kept = NULL;
    }
    free(items);
    free(scratch);
    free(kept);
    return rc;
}
