/* The file format safetensors: eight bytes with the length of a JSON header, the header, padded
 * with spaces so that the data begins at a multiple of eight, and the tensors without gaps. */
#ifndef API_SAFETENSORS_H
#define API_SAFETENSORS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/tensor.h"
#include "base/text.h"

/* A tensor's place in the file. */
struct safetensors_part {
    int number; /* of the tensor in the checkpoint */
    int64_t begin, bytes;
};

struct safetensors {
    struct text header; /* with its length in front */
    struct safetensors_part *part;
    int n_parts;
    int64_t bytes; /* of the whole file */
};

/* `full`: every role, the ones that are not the model's with a prefix. Tensors of eight-byte
 * numbers come first, so that each begins at a multiple of its own size. */
int safetensors_plan(struct safetensors *out, const struct tensor *tensors, int n, bool full,
                     int64_t job, uint64_t update, struct err *err);
void safetensors_free(struct safetensors *file);

#endif
