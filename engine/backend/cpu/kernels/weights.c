/* Weights between PyTorch's order and a convolution's. */
#include "backend/cpu/kernels/lanes.h"

/* The part of a tile of WEIGHT_TILE × WEIGHT_TILE filters that exists. */
struct weight_tile {
    size_t k, k_end, c, c_end;
};

INLINE struct weight_tile weight_tile_at(const struct weights_pack *w, size_t work)
{
    size_t columns = (w->c + WEIGHT_TILE - 1) / WEIGHT_TILE;
    struct weight_tile t = {.k = work / columns * WEIGHT_TILE, .c = work % columns * WEIGHT_TILE};

    t.k_end = t.k + WEIGHT_TILE < w->k ? t.k + WEIGHT_TILE : w->k;
    t.c_end = t.c + WEIGHT_TILE < w->c ? t.c + WEIGHT_TILE : w->c;
    return t;
}

enum way { PACK, UNPACK, ADD };

INLINE void move(const struct weights_pack *w, size_t begin, size_t end, size_t taps, enum way way)
{
    for (size_t work = begin; work < end; work++) {
        struct weight_tile t = weight_tile_at(w, work);

        for (size_t k = t.k; k < t.k_end; k++)
            for (size_t c = t.c; c < t.c_end; c++) {
                size_t dense = (k * w->c + c) * taps, blocked = w->k_at[k] + w->c_at[c];
                for (size_t i = 0; i < taps; i++)
                    if (way == PACK)
                        w->to[blocked + w->tap_at[i]] = w->from[dense + i];
                    else if (way == UNPACK)
                        w->to[dense + i] = w->from[blocked + w->tap_at[i]];
                    else
                        w->to[dense + i] += w->from[blocked + w->tap_at[i]];
            }
    }
}

void KERNEL(weights_pack)(const void *arguments, size_t begin, size_t end)
{
    const struct weights_pack *w = arguments;

    if (w->taps == 9)
        move(w, begin, end, 9, PACK);
    else
        move(w, begin, end, w->taps, PACK);
}

void KERNEL(weights_unpack)(const void *arguments, size_t begin, size_t end)
{
    const struct weights_pack *w = arguments;

    if (w->onto)
        move(w, begin, end, w->taps, ADD);
    else if (w->taps == 9)
        move(w, begin, end, 9, UNPACK);
    else
        move(w, begin, end, w->taps, UNPACK);
}
