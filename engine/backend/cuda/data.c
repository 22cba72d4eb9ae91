/* Datasets in device memory, and host memory that the device reads by itself.
 *
 * A batch is written by one launch, straight into the form in which a program's commands read
 * images, in the place of the command that would bring them there from the host's. Where it
 * stands in the order is told by a turn in device memory, so that a captured pass needs no change.
 * The orders of two passes over the data lie one behind the other, that of an odd pass behind. */
#include <stdlib.h>

#include "backend/cuda/kernels/batch.h"
#include "backend/cuda/pass.h"

#define ALIGN 256

_Static_assert((int)DATA_BATCHES_MAX == UPDATE_BATCHES_MAX, "as many as a turn has");

struct kept_order {
    bool given;
    uint64_t pass;
    struct CUevent_st *sent; /* the host's copy may be written again */
};

struct device_data {
    struct cuda_backend *cuda;
    struct data_samples how; /* without what is in host memory */
    size_t bytes;
    struct room memory; /* of all that follows */
    const uint8_t *pixels;
    const int32_t *labels;
    const float *level;
    int32_t *order;      /* [2,n]; NULL: none */
    int32_t *host_order; /* likewise, on its way to the device */
    struct kept_order kept[2];
};

static size_t aligned(size_t bytes)
{
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

static size_t pixel_bytes(const struct data_samples *s)
{
    return (size_t)s->n * (size_t)s->height * (size_t)s->width * (size_t)s->channels;
}

static size_t label_bytes(const struct data_samples *s)
{
    return (size_t)s->n * sizeof *s->labels;
}

static size_t level_bytes(const struct data_samples *s)
{
    return (size_t)s->channels * 256 * sizeof(float);
}

static size_t order_bytes(const struct data_samples *s)
{
    return s->ordered ? 2 * (size_t)s->n * sizeof(int32_t) : 0;
}

static int check_samples(const struct data_samples *s, struct err *err)
{
    if (s->n < 1 || s->n > INT32_MAX / 2)
        return err_set(err, ERR_INVALID, "data: %lld samples", (long long)s->n);
    for (int64_t i = 0; i < s->n; i++)
        if (s->labels[i] < 0 || s->labels[i] >= s->classes)
            return err_set(err, ERR_INVALID, "data: label %d of sample %lld; %d classes",
                           s->labels[i], (long long)i, s->classes);
    return 0;
}

/* Orders begin as zeros: a launch is given both of them. */
static int fill(struct device_data *data, const struct data_samples *s, struct err *err)
{
    struct CUstream_st *stream = data->cuda->lanes[0].stream;
    size_t labels = aligned(pixel_bytes(s)), levels = labels + aligned(label_bytes(s));
    size_t order = levels + aligned(level_bytes(s));
    char *at = data->memory.data;
    int rc = runtime_cuda.upload(at, s->pixels, pixel_bytes(s), stream, err);

    data->pixels = (const uint8_t *)at;
    data->labels = (const int32_t *)(void *)(at + labels);
    data->level = (const float *)(void *)(at + levels);
    if (!rc)
        rc = runtime_cuda.upload(at + labels, s->labels, label_bytes(s), stream, err);
    if (!rc)
        rc = runtime_cuda.upload(at + levels, s->levels, level_bytes(s), stream, err);
    if (!rc && s->ordered) {
        data->order = (int32_t *)(void *)(at + order);
        rc = runtime_cuda.clear(data->order, order_bytes(s), stream, err);
    }
    return rc ? rc : runtime_cuda.wait(stream, err);
}

static int open_host_order(struct device_data *data, struct err *err)
{
    void *host;
    int rc = runtime_cuda.host_open(&host, order_bytes(&data->how), err);

    if (!rc)
        data->host_order = host;
    for (int i = 0; i < 2 && !rc; i++)
        rc = runtime_cuda.event_open(&data->kept[i].sent, err);
    return rc;
}

int cuda_data_open(struct backend *backend, const struct data_samples *samples,
                   struct device_data **out, struct err *err)
{
    struct cuda_backend *cuda = (struct cuda_backend *)backend;
    struct device_data *data;
    int rc = backend->counts_only ? 0 : check_samples(samples, err);

    if (!rc && !backend->counts_only)
        rc = cuda_enter(cuda, err);
    if (rc)
        return rc;
    data = calloc(1, sizeof *data);
    if (!data)
        return err_no_memory(err);
    data->cuda = cuda;
    data->how = *samples;
    data->how.pixels = NULL;
    data->how.labels = NULL;
    data->how.levels = NULL;
    data->bytes = aligned(pixel_bytes(samples)) + aligned(label_bytes(samples)) +
                  aligned(level_bytes(samples)) + aligned(order_bytes(samples));
    rc = cuda_room_open(cuda, &data->memory, data->bytes, err);
    if (!rc && !backend->counts_only && samples->ordered)
        rc = open_host_order(data, err);
    if (!rc && !backend->counts_only)
        rc = fill(data, samples, err);
    if (rc)
        cuda_data_close(data);
    else
        *out = data;
    return rc;
}

void cuda_data_close(struct device_data *data)
{
    if (!data)
        return;
    if (!data->cuda->base.counts_only) {
        cuda_enter(data->cuda, NULL);
        cuda_settle(data->cuda, NULL);
        cuda_graphs_forget(data->cuda);
        for (int i = 0; i < 2; i++)
            if (data->kept[i].sent)
                runtime_cuda.event_close(data->kept[i].sent);
        runtime_cuda.host_close(data->host_order);
    }
    cuda_room_close(data->cuda, &data->memory);
    free(data);
}

int cuda_data_order(struct device_data *data, uint64_t pass, const int64_t *order, struct err *err)
{
    struct CUstream_st *stream = data->cuda->lanes[0].stream;
    struct kept_order *kept = &data->kept[pass % 2];
    int64_t n = data->how.n, at = (int64_t)(pass % 2) * n;
    int rc = cuda_enter(data->cuda, err);

    if (!data->order)
        return err_set(err, ERR_INVALID, "data: samples that have no order are given one");
    kept->given = false;
    if (!rc)
        rc = runtime_cuda.await(kept->sent, err);
    for (int64_t i = 0; i < n && !rc; i++) {
        if (order[i] < 0 || order[i] >= n)
            rc = err_set(err, ERR_INVALID, "data: sample %lld of %lld in an order",
                         (long long)order[i], (long long)n);
        else
            data->host_order[at + i] = (int32_t)order[i];
    }
    if (!rc)
        rc = runtime_cuda.upload(data->order + at, data->host_order + at,
                                 (size_t)n * sizeof *data->order, stream, err);
    if (!rc)
        rc = runtime_cuda.record(kept->sent, stream, err);
    if (!rc)
        *kept = (struct kept_order){true, pass, kept->sent};
    return rc;
}

/* ---- Passes ---- */

/* The inputs of a graph that are images and their labels; -1: there is none. */
static void find_inputs(const struct graph *graph, int *images, int *labels)
{
    *images = *labels = -1;
    for (int i = 0; i < graph->n_inputs; i++) {
        const struct value *value = &graph->values[graph->inputs[i]];

        if (value->type == VALUE_INDEX && value->shape.rank == 1)
            *labels = i;
        else if (value->type == VALUE_REAL && value->shape.rank == 4)
            *images = i;
    }
}

static bool reads_input(const struct program *p, const struct command *command, int input)
{
    for (int k = 0; k < command->n_in; k++) {
        const struct slot *in = command->in[k] < 0 ? NULL : &p->slots[command->in[k]];

        if (in && in->place == PLACE_INPUT && in->index == input)
            return true;
    }
    return false;
}

/* The command that makes images of the host's form of an input; -1: something else reads that, or
 * nothing does. */
static int find_conversion(const struct program *p, int input)
{
    int found = -1;

    for (int i = 0; i < p->n_commands; i++) {
        const struct command *command = &p->commands[i];

        if (!reads_input(p, command, input))
            continue;
        if (found >= 0 || command->run != cuda_run_from_nchw ||
            p->slots[command->out[0]].order != ORDER_IMAGE)
            return -1;
        found = i;
    }
    return found;
}

void cuda_data_find(struct program *p)
{
    int images, labels, command;

    find_inputs(p->graph, &images, &labels);
    command = find_conversion(p, images);
    p->images = p->labels = -1;
    if (p->graph->n_inputs == 2 && labels >= 0 && command >= 0) {
        p->images = command;
        p->labels = labels;
    }
}

/* Of the images that a program takes. */
static const struct shape *shape_of_images(const struct program *p)
{
    return &p->graph->values[p->slots[p->commands[p->images].out[0]].value].shape;
}

static int check_classes(const struct pass *pass, struct err *err)
{
    const struct graph *graph = pass->program->graph;

    for (int i = 0; i < graph->n_nodes; i++) {
        const struct node *node = &graph->nodes[i];

        if (node->n_inputs == 2 && graph->values[node->input[1]].type == VALUE_INDEX &&
            graph->values[node->input[0]].shape.dim[1] < pass->batch.data->how.classes)
            return err_set(err, ERR_INVALID, "pass: data of %d classes",
                           pass->batch.data->how.classes);
    }
    return 0;
}

int cuda_data_check(const struct pass *pass, struct err *err)
{
    const struct program *p = pass->program;
    const struct data_batch *b = &pass->batch;
    const struct data_samples *how = &b->data->how;
    const struct kept_order *kept = &b->data->kept[b->pass % 2];
    const struct shape *s;

    if (pass->inputs)
        return err_set(err, ERR_INVALID, "pass: inputs beside a batch of the device's");
    if (p->images < 0)
        return err_set(err, ERR_UNSUPPORTED,
                       "the CUDA backend has no batches on the device for such a graph");
    s = shape_of_images(p);
    if (s->dim[1] != how->channels || s->dim[2] != how->height || s->dim[3] != how->width)
        return err_set(err, ERR_INVALID, "pass: the device's images have another shape");
    if (b->number < 0 || b->number >= UPDATE_BATCHES_MAX || b->begin < 0 || b->first < 0 ||
        b->first > how->n || b->begin + s->dim[0] > how->n - b->first)
        return err_set(err, ERR_INVALID, "pass: %lld samples from %lld on of %lld",
                       (long long)s->dim[0], (long long)(b->first + b->begin), (long long)how->n);
    if (b->data->order && !(kept->given && kept->pass == b->pass))
        return err_set(err, ERR_INVALID, "pass: the order of pass %llu over the data is missing",
                       (unsigned long long)b->pass);
    return check_classes(pass, err);
}

void cuda_data_turn(const struct data_batch *batch, struct turn *turn)
{
    int64_t behind = batch->data->order ? (int64_t)(batch->pass % 2) * batch->data->how.n : 0;

    turn->batch[batch->number].first = behind + batch->first;
    turn->batch[batch->number].pass = batch->pass;
}

static int go(const void *work, struct CUstream_st *stream, struct err *err)
{
    return cuda_launched(launch_batch(stream, work), "batch", err);
}

int cuda_data_give(const struct pass *pass, void *images, const struct lane *lane, struct err *err)
{
    const struct program *p = pass->program;
    const struct device_data *data = pass->batch.data;
    const struct data_samples *how = &data->how;
    struct device_batch b = {.pixels = data->pixels,
                             .all_labels = data->labels,
                             .order = data->order,
                             .turn = p->draws,
                             .number = pass->batch.number,
                             .begin = pass->batch.begin,
                             .n = shape_of_images(p)->dim[0],
                             .h = how->height,
                             .w = how->width,
                             .channels = how->channels,
                             .c = stored_channels(how->channels),
                             .level = data->level,
                             .seed = how->seed,
                             .vary = how->flip || how->crop_padding > 0 || how->cutout > 0,
                             .flip = how->flip,
                             .crop_padding = how->crop_padding,
                             .cutout = how->cutout,
                             .cutout_probability = how->cutout_probability,
                             .type = p->type,
                             .images = images,
                             .labels = (void *)((char *)p->own.data + p->input_at[p->labels])};
    struct launch launch = {.what = "batch", .go = go, .work = &b, .work_bytes = sizeof b};

    cuda_use(&launch, data->pixels, pixel_bytes(how), false);
    cuda_use(&launch, data->labels, label_bytes(how), false);
    cuda_use(&launch, data->level, level_bytes(how), false);
    cuda_use(&launch, data->order, order_bytes(how), false);
    cuda_use(&launch, b.turn, sizeof *b.turn, false);
    cuda_use(&launch, images, p->slots[p->commands[p->images].out[0]].bytes, true);
    cuda_use(&launch, b.labels, (size_t)b.n * sizeof *b.labels, true);
    return runtime_cuda.launch(&launch, lane->stream, err);
}

/* ---- Host memory, and what is left on the device ---- */

int cuda_memory_left(struct backend *backend, size_t *out, struct err *err)
{
    int rc = cuda_enter((struct cuda_backend *)backend, err);

    return rc ? rc : runtime_cuda.memory_left(out, err);
}

int cuda_host_open(struct backend *backend, size_t bytes, void **out, struct err *err)
{
    int rc = cuda_enter((struct cuda_backend *)backend, err);

    return rc ? rc : runtime_cuda.host_open(out, bytes, err);
}

void cuda_host_close(struct backend *backend, void *memory)
{
    cuda_enter((struct cuda_backend *)backend, NULL);
    runtime_cuda.host_close(memory);
}
