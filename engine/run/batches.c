/* Where batches come from: data in the device's memory, where the device can make them and has the
 * room, else the loader, through host memory. The numbers in them are the same.
 *
 * Of host memory there are two rooms a batch where a device reads it by itself, so that the next
 * batch is loaded into one while the device may still read the other. */
#include <stdlib.h>

#include "data/normalise.h"
#include "run/state.h"

/* Data may take a quarter of what the device has left. */
#define DEVICE_SHARE 4

/* ---- Data on the device ---- */

/* Whether the device can make a split's batches: RandAugment and files are the loader's. */
static bool is_made_there(const struct engine_run *run, enum split split)
{
    const struct job_dataset *job = &run->job.dataset;

    return run->class->data_open && run->purpose != RUN_TRIAL &&
           job->kind != DATASET_IMAGE_FOLDER &&
           (split == SPLIT_TEST || job->augment.randaugment == 0);
}

/* Pixels, a label, and its places in two orders. */
static size_t data_bytes(const struct engine_run *run, enum split split)
{
    return (size_t)run->dataset->split[split].n *
           ((size_t)dataset_image_bytes(run->dataset) + 3 * sizeof(int32_t));
}

/* What the device has left for data and all that comes after it. Passes that run side by side may
 * come to take what is held by now once more. */
static int find_left(struct engine_run *run, size_t *out, struct err *err)
{
    size_t all = (size_t)(run->place.memory_bytes - run->place.reserve_bytes),
           held = run->backend->held;
    size_t later = recipe_rank_width(&run->recipe, run->rank) > 1 ? held : 0, left;
    int rc = 0;

    left = all > held ? all - held : 0;
    if (run->purpose == RUN_TRAIN && run->class->memory_left)
        rc = run->class->memory_left(run->backend, &left, err);
    *out = !rc && left > later ? left - later : 0;
    return rc;
}

static int open_data(struct engine_run *run, enum split split, struct err *err)
{
    const struct dataset *dataset = run->dataset;
    const struct job_augment *augment = &run->job.dataset.augment;
    struct normaliser normaliser;
    struct data_samples samples = {.n = dataset->split[split].n,
                                   .height = dataset->height,
                                   .width = dataset->width,
                                   .channels = dataset->channels,
                                   .classes = dataset->classes,
                                   .pixels = dataset->split[split].pixels,
                                   .labels = dataset->split[split].labels,
                                   .levels = normaliser.f32[0],
                                   .ordered = split == SPLIT_TRAIN,
                                   .seed = dataset->seed};

    normaliser_make(&normaliser, dataset);
    if (split == SPLIT_TRAIN) {
        samples.flip = augment->flip;
        samples.crop_padding = (int)augment->crop_padding;
        samples.cutout = (int)augment->cutout;
        samples.cutout_probability = augment->cutout_probability;
    }
    return run->class->data_open(run->backend, &samples, &run->data[split], err);
}

/* The other ranks have what the first one has to train with. */
static int open_other(struct engine_run *run, const void *context, struct err *err)
{
    (void)context;
    return run->rank.rank > 0 ? open_data(run, SPLIT_TRAIN, err) : 0;
}

static int open_all_data(struct engine_run *run, struct err *err)
{
    size_t wanted = 0, left = 0;
    int rc = 0;

    for (int s = 0; s < SPLITS; s++)
        if (is_made_there(run, (enum split)s))
            wanted += data_bytes(run, (enum split)s);
    if (wanted > 0)
        rc = find_left(run, &left, err);
    if (rc || wanted > left / DEVICE_SHARE)
        return rc;
    for (int s = 0; s < SPLITS && !rc; s++)
        if (is_made_there(run, (enum split)s))
            rc = open_data(run, (enum split)s, err);
    return rc || !run->data[SPLIT_TRAIN] ? rc : run_each(run, open_other, NULL, err);
}

/* The order of a pass over the data. */
struct given_order {
    uint64_t pass;
    const int64_t *samples;
};

static int take_order(struct engine_run *run, const void *context, struct err *err)
{
    const struct given_order *order = context;

    return run->class->data_order(run->data[SPLIT_TRAIN], order->pass, order->samples, err);
}

/* An update's batches may lie in two passes over the data, one after the other. */
static int give_order(struct engine_run *run, uint64_t pass, struct err *err)
{
    uint64_t *given = &run->order_given[pass % 2];
    struct given_order order = {.pass = pass};
    int rc;

    if (*given == pass + 1)
        return 0;
    order.samples = sampler_order(run->sampler, pass);
    rc = run_each(run, take_order, &order, err);
    *given = rc ? 0 : pass + 1;
    return rc;
}

/* Of the pass of batch b and, from the middle of it, of the next one, so that this is drawn while
 * the device is busy. By then no batch of the pass before is of the same update. */
static int give_orders(struct engine_run *run, uint64_t b, uint64_t batches, struct err *err)
{
    int rc = give_order(run, b / batches, err);

    if (rc || batches < 2 || b % batches != (batches + 1) / 2)
        return rc;
    return give_order(run, b / batches + 1, err);
}

static int take_there(struct engine_run *run, enum split split, uint64_t b, struct run_batch *batch,
                      struct err *err)
{
    int64_t all = run->dataset->split[split].n;
    int64_t size = split == SPLIT_TRAIN ? run->job.batch_size : run->evaluation_batch, left;
    uint64_t batches = (uint64_t)((all + size - 1) / size);

    batch->there = (struct data_batch){.data = run->data[split],
                                       .number = (int)(batch - run->batch),
                                       .first = (int64_t)(b % batches) * size,
                                       .pass = b / batches};
    left = all - batch->there.first;
    batch->n = left < size ? left : size;
    return split == SPLIT_TRAIN ? give_orders(run, b, batches, err) : 0;
}

/* ---- Host memory ---- */

static bool is_loaded(const struct engine_run *run)
{
    return !run->data[SPLIT_TRAIN] || !run->data[SPLIT_TEST];
}

/* Samples that batch `b` of an update has in host memory at most; [0] also evaluates. */
static int64_t host_samples(const struct engine_run *run, int b)
{
    int64_t n = run->data[SPLIT_TRAIN] ? 0 : run->job.batch_size;

    if (b == 0 && !run->data[SPLIT_TEST] && n < run->evaluation_batch)
        n = run->evaluation_batch;
    return n;
}

static size_t room_bytes(const struct engine_run *run, int b)
{
    return (size_t)host_samples(run, b) * (run->image_bytes + sizeof(int32_t));
}

static int rooms(const struct engine_run *run)
{
    return run->class->host_open ? RUN_ROOMS : 1;
}

/* A backend that only counts has no device to read it. */
static bool is_read_there(const struct engine_run *run)
{
    return run->class->host_open && run->purpose != RUN_COUNT;
}

static int open_room(struct engine_run *run, int b, int room, struct err *err)
{
    size_t bytes = room_bytes(run, b);

    if (bytes == 0)
        return 0;
    if (is_read_there(run))
        return run->class->host_open(run->backend, bytes, &run->batch[b].room[room], err);
    run->batch[b].room[room] = calloc(1, bytes);
    return run->batch[b].room[room] ? 0 : err_no_memory(err);
}

static void enter_room(const struct engine_run *run, struct run_batch *batch, int room)
{
    char *images = batch->room[room];
    size_t bytes = (size_t)host_samples(run, (int)(batch - run->batch)) * run->image_bytes;

    batch->in = room;
    batch->images = images;
    batch->labels = images ? (int32_t *)(void *)(images + bytes) : NULL;
}

static int take_loaded(struct engine_run *run, enum split split, uint64_t b,
                       struct run_batch *batch, struct err *err)
{
    int64_t n;

    batch->there = (struct data_batch){0};
    enter_room(run, batch, (batch->in + 1) % rooms(run));
    n = run->class->real == REAL_F32
            ? loader_take_f32(run->loader, split, b, batch->images, batch->labels, err)
            : loader_take_f64(run->loader, split, b, batch->images, batch->labels, err);
    loader_report(run->loader, false, run->sink.message, run->sink.context);
    batch->n = n;
    return n < 0 ? (int)n : 0;
}

/* ---- Both ---- */

static struct loader_options loader_options(const struct engine_run *run)
{
    return (struct loader_options){.dataset = run->dataset,
                                   .sampler = run->sampler,
                                   .batch_size = run->job.batch_size,
                                   .test_batch_size = run->evaluation_batch,
                                   .batches_an_update = run->recipe.n_batches,
                                   .threads = run->threads};
}

int run_batches_open(struct engine_run *run, struct err *err)
{
    struct loader_options options = loader_options(run);
    int rc = open_all_data(run, err);

    for (int b = 0; b < run->recipe.n_batches && !rc; b++) {
        for (int room = 0; room < rooms(run) && !rc; room++)
            rc = open_room(run, b, room, err);
        enter_room(run, &run->batch[b], 0);
    }
    if (rc || run->purpose != RUN_TRAIN || !is_loaded(run))
        return rc;
    return loader_open(&run->loader, &options, err);
}

void run_batches_close(struct engine_run *run)
{
    loader_close(run->loader);
    for (int b = 0; b < RECIPE_TERMS_MAX; b++)
        for (int room = 0; room < RUN_ROOMS; room++)
            if (run->batch[b].room[room] && is_read_there(run))
                run->class->host_close(run->backend, run->batch[b].room[room]);
            else
                free(run->batch[b].room[room]);
}

size_t run_batches_bytes(const struct engine_run *run)
{
    struct loader_options loader = loader_options(run);
    size_t bytes = is_loaded(run) ? loader_bytes(&loader) : 0;

    for (int b = 0; b < run->recipe.n_batches; b++)
        bytes += (size_t)rooms(run) * room_bytes(run, b);
    if (run->data[SPLIT_TRAIN]) /* orders on their way */
        bytes += 2 * sizeof(int32_t) * (size_t)run->dataset->split[SPLIT_TRAIN].n;
    return bytes;
}

int run_load(struct engine_run *run, enum split split, uint64_t b, struct run_batch *batch,
             struct err *err)
{
    if (run->data[split])
        return take_there(run, split, b, batch, err);
    if (run->loader)
        return take_loaded(run, split, b, batch, err);
    batch->n = split == SPLIT_TRAIN ? run->job.batch_size : run->evaluation_batch;
    return 0;
}

void run_name_batch(const struct engine_run *run, const struct run_batch *batch, int64_t begin,
                    const void *inputs[MODEL_INPUTS], struct pass *pass)
{
    pass->batch = batch->there;
    pass->batch.begin = begin;
    if (batch->there.data || !batch->images) /* nor is it read where memory is only counted */
        return;
    inputs[MODEL_INPUT_IMAGES] = (const char *)batch->images + (size_t)begin * run->image_bytes;
    inputs[MODEL_INPUT_LABELS] = batch->labels + begin;
    pass->inputs = inputs;
}
