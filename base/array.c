#include "base/array.h"

#include <stdlib.h>
#include <string.h>

void *array_grow(void *items_at, size_t n, size_t item_bytes)
{
    void *items;

    memcpy(&items, items_at, sizeof items);
    if ((n & (n - 1)) == 0) {
        items = realloc(items, (n ? 2 * n : 1) * item_bytes);
        if (!items)
            return NULL;
        memcpy(items_at, &items, sizeof items);
    }
    return memset((char *)items + n * item_bytes, 0, item_bytes);
}
