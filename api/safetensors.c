/* The header is written, and the place of each tensor planned, without reading a tensor's data. */
#include "safetensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_write.h"

static bool wanted(const struct tensor *tensor, bool full)
{
    return full || tensor->role == TENSOR_PARAMETER || tensor->role == TENSOR_BUFFER;
}

static void put_tensor(struct text *out, const struct tensor *tensor, int64_t begin, int64_t bytes)
{
    static const char *const prefixes[] = {
        [TENSOR_PARAMETER] = "",         [TENSOR_BUFFER] = "",
        [TENSOR_MOMENTUM] = "momentum.", [TENSOR_FISHER] = "fisher.",
        [TENSOR_PROGRESS] = "progress.", [TENSOR_SQUARES] = "squares."};
    static const char *const types[] = {
        [TENSOR_F32] = "F32", [TENSOR_F64] = "F64", [TENSOR_I64] = "I64"};
    char name[TENSOR_NAME_MAX + 16];

    snprintf(name, sizeof name, "%s%s", prefixes[tensor->role], tensor->name);
    json_key(out, name);
    json_open(out, '{');
    json_put_string(out, "dtype", types[tensor->type]);
    json_key(out, "shape");
    json_open(out, '[');
    for (int i = 0; i < tensor->rank; i++)
        json_int(out, tensor->dim[i]);
    json_close(out, ']');
    json_key(out, "data_offsets");
    json_open(out, '[');
    json_int(out, begin);
    json_int(out, begin + bytes);
    json_close(out, ']');
    json_close(out, '}');
}

static void put_metadata(struct text *out, int64_t job, uint64_t update)
{
    json_key(out, "__metadata__");
    json_open(out, '{');
    json_key(out, "format");
    json_string(out, "pt");
    json_key(out, "job");
    text_append(out, "\"%" PRId64 "\"", job);
    json_key(out, "update");
    text_append(out, "\"%" PRIu64 "\"", update);
    json_close(out, '}');
}

/* The JSON of the header; fills the parts, whose places count from the end of the header. */
static void plan(struct safetensors *file, struct text *json, const struct tensor *tensors, int n,
                 bool full)
{
    int64_t at = 0;

    for (size_t size = 8; size >= 4; size -= 4)
        for (int i = 0; i < n; i++) {
            int64_t bytes = (int64_t)tensor_bytes(&tensors[i]);

            if (!wanted(&tensors[i], full) || tensor_type_bytes(tensors[i].type) != size)
                continue;
            put_tensor(json, &tensors[i], at, bytes);
            file->part[file->n_parts++] = (struct safetensors_part){i, at, bytes};
            at += bytes;
        }
    file->bytes = at;
}

int safetensors_plan(struct safetensors *out, const struct tensor *tensors, int n, bool full,
                     int64_t job, uint64_t update, struct err *err)
{
    struct text json = {0};
    uint8_t length[8];

    *out = (struct safetensors){.part = calloc((size_t)n + 1, sizeof *out->part)};
    if (!out->part)
        return err_no_memory(err);
    json_open(&json, '{');
    put_metadata(&json, job, update);
    plan(out, &json, tensors, n, full);
    json_close(&json, '}');
    text_append_bytes(&json, "       ", (8 - json.length % 8) % 8);
    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)((uint64_t)json.length >> (8 * i));
    text_append_bytes(&out->header, length, 8);
    text_append_bytes(&out->header, json.data, json.length);
    for (int i = 0; i < out->n_parts; i++)
        out->part[i].begin += (int64_t)out->header.length;
    out->bytes += (int64_t)out->header.length;
    out->header.failed = out->header.failed || json.failed;
    text_free(&json);
    if (!out->header.failed)
        return 0;
    safetensors_free(out);
    return err_no_memory(err);
}

void safetensors_free(struct safetensors *file)
{
    text_free(&file->header);
    free(file->part);
    *file = (struct safetensors){0};
}
