/* One sample, from where it is stored to the pixels that a model sees: read, decoded, cropped,
 * varied. */
#ifndef ENGINE_DATA_SAMPLE_H
#define ENGINE_DATA_SAMPLE_H

#include "data/augment.h"
#include "data/dataset.h"

/* The buffers of one thread. */
struct sample_maker;

int sample_maker_open(struct sample_maker **out, const struct dataset *dataset, struct err *err);
void sample_maker_close(struct sample_maker *maker);

/* Writes the pixels [H,W,C] of a sample and where they are to be cut out. Training samples are
 * varied as pass `pass` over the data wants it, by the random numbers of sample `as` (which is
 * another one when this one stands in for it). ERR_CORRUPT: this file cannot be decoded, and the
 * message says why; ERR_IO: it cannot be read. */
int sample_make(struct sample_maker *maker, enum split split, int64_t sample, int64_t as,
                uint64_t pass, uint8_t *pixels, struct window *cutout, struct err *err);

/* Whether making one takes so long that threads of their own are worth their switches. */
bool sample_is_costly(const struct dataset *dataset);

#endif
