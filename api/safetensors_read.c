/* A file is eight bytes of length, a JSON header of that length, and the tensors' bytes. It came
 * from outside: nothing in it is believed before it was compared with the file's size. */
#include "safetensors_read.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_scan.h"

#define HEADER_BYTES_MAX (16u << 20)
#define INTEGER_MAX      9007199254740991.0

struct source {
    const unsigned char *data; /* of the tensors */
    size_t bytes;
    struct err *err;
};

static bool read_integer(const cJSON *item, int64_t *out)
{
    double value = cJSON_IsNumber(item) ? item->valuedouble : -1;

    if (!(value >= 0 && value <= INTEGER_MAX) || value != floor(value))
        return false;
    *out = (int64_t)value;
    return true;
}

static int read_type(const struct source *source, const char *name, const cJSON *item,
                     enum tensor_type *out)
{
    static const char *const types[] = {
        [TENSOR_F32] = "F32", [TENSOR_F64] = "F64", [TENSOR_I64] = "I64"};

    for (int i = 0; cJSON_IsString(item) && i < 3; i++)
        if (strcmp(item->valuestring, types[i]) == 0) {
            *out = (enum tensor_type)i;
            return 0;
        }
    if (!cJSON_IsString(item))
        return err_set(source->err, ERR_INVALID, "%s has no dtype", name);
    return err_set(source->err, ERR_UNSUPPORTED, "%s is of type %.16s; F32, F64 and I64 are read",
                   name, item->valuestring);
}

static int read_shape(const struct source *source, const cJSON *item, struct tensor *tensor)
{
    int rank = cJSON_IsArray(item) ? cJSON_GetArraySize(item) : -1;
    int64_t elements = 1;

    if (rank < 0 || rank > TENSOR_RANK_MAX)
        return err_set(source->err, ERR_INVALID, "%s has no shape of at most %d dimensions",
                       tensor->name, TENSOR_RANK_MAX);
    tensor->rank = rank;
    for (int d = 0; d < rank; d++)
        if (!read_integer(cJSON_GetArrayItem(item, d), &tensor->dim[d]) ||
            __builtin_mul_overflow(elements, tensor->dim[d], &elements) ||
            elements > (int64_t)(source->bytes / 4))
            return err_set(source->err, ERR_INVALID, "%s is larger than the file", tensor->name);
    return 0;
}

static int read_place(const struct source *source, const cJSON *item, struct tensor *tensor)
{
    int64_t begin, end;

    if (!cJSON_IsArray(item) || cJSON_GetArraySize(item) != 2 ||
        !read_integer(cJSON_GetArrayItem(item, 0), &begin) ||
        !read_integer(cJSON_GetArrayItem(item, 1), &end) || begin > end ||
        end > (int64_t)source->bytes || (size_t)(end - begin) != tensor_bytes(tensor))
        return err_set(source->err, ERR_INVALID,
                       "the data_offsets of %s do not fit its shape and the file", tensor->name);
    tensor->data = source->data + begin;
    return 0;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);

    return n >= m && strcmp(text + n - m, end) == 0;
}

static int read_tensor(const struct source *source, const cJSON *item, struct tensor *tensor)
{
    int rc;

    *tensor = (struct tensor){.role = TENSOR_PARAMETER};
    if (strlen(item->string) >= sizeof tensor->name || !cJSON_IsObject(item))
        return err_set(source->err, ERR_INVALID,
                       "%.60s… is no tensor with a name of at most %zu "
                       "bytes",
                       item->string, sizeof tensor->name - 1);
    strcpy(tensor->name, item->string);
    if (ends_with(tensor->name, ".running_mean") || ends_with(tensor->name, ".running_var") ||
        ends_with(tensor->name, ".num_batches_tracked"))
        tensor->role = TENSOR_BUFFER;
    rc = read_type(source, tensor->name, cJSON_GetObjectItemCaseSensitive(item, "dtype"),
                   &tensor->type);
    if (!rc)
        rc = read_shape(source, cJSON_GetObjectItemCaseSensitive(item, "shape"), tensor);
    if (!rc)
        rc = read_place(source, cJSON_GetObjectItemCaseSensitive(item, "data_offsets"), tensor);
    return rc;
}

/* What this daemon's own files have beside a model, and the file's own remarks. */
static bool is_left_out(const char *name)
{
    static const char *const prefixes[] = {"momentum.", "squares.", "fisher.", "progress.",
                                           "__metadata__"};

    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return false;
}

static int by_place(const void *a, const void *b)
{
    const struct tensor *x = *(const struct tensor *const *)a;
    const struct tensor *y = *(const struct tensor *const *)b;
    const char *left = x->data, *right = y->data;

    if (left != right)
        return left < right ? -1 : 1;
    return (tensor_bytes(x) > 0) - (tensor_bytes(y) > 0);
}

/* Each tensor is stored by itself: bytes that belong to many would come to more than the file. */
static int check_apart(const struct checkpoint *in, struct err *err)
{
    size_t n = (size_t)in->n_tensors;
    const struct tensor **placed = malloc(n * sizeof *placed);
    int rc = placed ? 0 : err_no_memory(err);

    for (size_t i = 0; i < n && !rc; i++)
        placed[i] = &in->tensors[i];
    if (!rc)
        qsort(placed, n, sizeof *placed, by_place);
    for (size_t i = 1; i < n && !rc; i++)
        if ((const char *)placed[i - 1]->data + tensor_bytes(placed[i - 1]) >
            (const char *)placed[i]->data)
            rc = err_set(err, ERR_INVALID, "the data of %s and of %s overlap", placed[i - 1]->name,
                         placed[i]->name);
    free(placed);
    return rc;
}

/* The format has no byte that is no tensor's. Overlaps have been looked for. */
static int check_whole(const struct source *source, const cJSON *header)
{
    int64_t begin, end, left = (int64_t)source->bytes;
    const cJSON *item;

    cJSON_ArrayForEach(item, header)
    {
        const cJSON *place = cJSON_GetObjectItemCaseSensitive(item, "data_offsets");

        if (strcmp(item->string, "__metadata__") != 0 && cJSON_GetArraySize(place) == 2 &&
            read_integer(cJSON_GetArrayItem(place, 0), &begin) &&
            read_integer(cJSON_GetArrayItem(place, 1), &end) && begin <= end &&
            end <= (int64_t)source->bytes)
            left -= end - begin;
    }
    if (left < 0)
        return err_set(source->err, ERR_INVALID, "the data of two tensors overlap");
    if (left > 0)
        return err_set(source->err, ERR_INVALID, "%lld bytes of the file belong to no tensor",
                       (long long)left);
    return 0;
}

static double number_at(const struct tensor *tensor, size_t i)
{
    const char *at = (const char *)tensor->data + i * tensor_type_bytes(tensor->type);
    double real;
    float single;

    if (tensor->type == TENSOR_F64) {
        memcpy(&real, at, sizeof real);
        return real;
    }
    memcpy(&single, at, sizeof single);
    return (double)single;
}

/* Nothing that is computed with such a number is one. */
static int check_numbers(const struct tensor *tensor, struct err *err)
{
    size_t n = tensor->type == TENSOR_I64 ? 0 : tensor_elements(tensor);

    for (size_t i = 0; i < n; i++) {
        double value = number_at(tensor, i);

        if (!isfinite(value))
            return err_set(err, ERR_INVALID, "%s[%zu] is %s", tensor->name, i,
                           isnan(value) ? "NaN"
                           : value > 0  ? "Infinity"
                                        : "-Infinity");
    }
    return 0;
}

static int read_tensors(const struct source *source, const cJSON *header, struct checkpoint *out)
{
    const cJSON *item;
    int rc = 0;

    out->tensors = calloc((size_t)cJSON_GetArraySize(header) + 1, sizeof *out->tensors);
    if (!out->tensors)
        return err_no_memory(source->err);
    cJSON_ArrayForEach(item, header)
    {
        if (is_left_out(item->string))
            continue;
        rc = read_tensor(source, item, &out->tensors[out->n_tensors]);
        for (int i = 0; i < out->n_tensors && !rc; i++)
            if (strcmp(out->tensors[i].name, item->string) == 0)
                rc = err_set(source->err, ERR_INVALID, "%s is given twice", item->string);
        if (rc)
            return rc;
        out->n_tensors++;
    }
    if (out->n_tensors == 0)
        return err_set(source->err, ERR_INVALID, "there are no tensors in the file");
    rc = check_apart(out, source->err);
    if (!rc)
        rc = check_whole(source, header);
    for (int i = 0; i < out->n_tensors && !rc; i++)
        rc = check_numbers(&out->tensors[i], source->err);
    return rc;
}

static int find_header(const unsigned char *file, size_t n, uint64_t *length, struct err *err)
{
    *length = 0;
    for (int i = 0; n >= 8 && i < 8; i++)
        *length |= (uint64_t)file[i] << 8 * i;
    if (n < 8 || *length > n - 8 || *length > HEADER_BYTES_MAX)
        return err_set(err, ERR_INVALID,
                       "this is no safetensors file: its header does not fit into it");
    return 0;
}

int safetensors_read(const void *bytes, size_t n, struct checkpoint *out, struct err *err)
{
    const unsigned char *file = bytes;
    struct source source = {.err = err};
    const char *json = (const char *)file + 8;
    uint64_t length;
    cJSON *header;
    int rc = find_header(file, n, &length, err);

    *out = (struct checkpoint){0};
    if (!rc)
        rc = json_scan(json, length, err);
    if (rc)
        return rc;
    header = cJSON_ParseWithLength(json, length);
    if (!header)
        return err_no_memory(err);
    source.data = file + 8 + length;
    source.bytes = n - 8 - length;
    rc = cJSON_IsObject(header) ? read_tensors(&source, header, out)
                                : err_set(err, ERR_INVALID, "the header is no JSON object");
    cJSON_Delete(header);
    if (rc) {
        free(out->tensors);
        *out = (struct checkpoint){0};
    }
    return rc;
}
