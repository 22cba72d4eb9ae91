/* A 64-bit checksum of bytes, to notice damage on disk (not malice): each eight bytes are mixed in
 * by exclusive or and a multiplication with an odd constant, which is invertible, so that any
 * change of one word changes the result. */
#ifndef DB_CHECKSUM_H
#define DB_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* Four lanes, so that the multiplications overlap. */
struct checksum {
    uint64_t lane[4];
    uint64_t bytes;
};

void checksum_start(struct checksum *sum);
/* Any number of times; all but the last with a multiple of 32 bytes. */
void checksum_add(struct checksum *sum, const void *bytes, size_t n);
int64_t checksum_end(const struct checksum *sum);

#endif
