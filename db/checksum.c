#include "checksum.h"

#include <string.h>

#define MULTIPLIER UINT64_C(0x9e3779b97f4a7c15)

void checksum_start(struct checksum *sum)
{
    *sum = (struct checksum){.lane = {1, 2, 3, 4}};
}

static void add_block(struct checksum *sum, const unsigned char *block)
{
    uint64_t word[4];

    memcpy(word, block, sizeof word);
    for (int i = 0; i < 4; i++) {
        uint64_t mixed = (sum->lane[i] ^ word[i]) * MULTIPLIER;

        sum->lane[i] = mixed ^ mixed >> 32;
    }
}

void checksum_add(struct checksum *sum, const void *bytes, size_t n)
{
    const unsigned char *at = bytes;
    unsigned char last[32] = {0};

    sum->bytes += n;
    for (; n >= sizeof last; n -= sizeof last, at += sizeof last)
        add_block(sum, at);
    if (n == 0)
        return;
    memcpy(last, at, n);
    add_block(sum, last);
}

int64_t checksum_end(const struct checksum *sum)
{
    uint64_t all = sum->bytes;

    for (int i = 0; i < 4; i++) {
        all = (all ^ sum->lane[i]) * MULTIPLIER;
        all ^= all >> 29;
    }
    return (int64_t)all;
}
