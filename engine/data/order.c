/* A radix sort: it needs no memory of its own, and being stable it breaks ties by index. */
#include "data/order.h"

#define DIGIT_BITS 8
#define DIGITS     (1 << DIGIT_BITS)

static void draw_keys(struct order_item *items, int64_t n, uint64_t seed,
                      enum random_purpose purpose, uint64_t step)
{
    uint32_t stream = random_stream(purpose, 0, 0);

    for (int64_t i = 0; i < n; i++) {
        struct philox draw = philox(seed, (uint32_t)i, stream, step);

        items[i].key = (uint64_t)draw.word[0] << 32 | draw.word[1];
        items[i].index = i;
    }
}

static void sort_by_digit(const struct order_item *from, struct order_item *to, int64_t n,
                          int shift)
{
    int64_t start[DIGITS + 1] = {0};

    for (int64_t i = 0; i < n; i++)
        start[(from[i].key >> shift) % DIGITS + 1]++;
    for (int digit = 0; digit < DIGITS; digit++)
        start[digit + 1] += start[digit];
    for (int64_t i = 0; i < n; i++)
        to[start[(from[i].key >> shift) % DIGITS]++] = from[i];
}

void order_draw(struct order_item *items, struct order_item *scratch, int64_t n, uint64_t seed,
                enum random_purpose purpose, uint64_t step)
{
    draw_keys(items, n, seed, purpose, step);
    /* An even number of digits: the last pass ends in `items`. */
    for (int shift = 0; shift < 64; shift += 2 * DIGIT_BITS) {
        sort_by_digit(items, scratch, n, shift);
        sort_by_digit(scratch, items, n, shift + DIGIT_BITS);
    }
}
