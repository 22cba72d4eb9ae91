/* One lock protects everything but the contents of slots: a sample of a slot belongs to whoever
 * claimed it until it is counted as done, a slot whose samples are all done to the caller.
 *
 * A stream's slots hold its batches first … end − 1, batch b in slot b mod n_slots. Threads claim
 * samples of the oldest batch first and open the next batch when all are claimed and a slot is
 * free. Only the caller moves `first`. */
#include "data/loader.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/thread.h"
#include "data/broken.h"
#include "data/normalise.h"
#include "data/sample.h"

/* A dataset in which so many files in a row cannot be used is not broken here and there. */
#define STAND_INS_MAX 1000
#define SLOTS_MAX     8
#define NICER         5

struct slot {
    int64_t n, claimed, done;
    uint64_t pass;
    int64_t *sample;       /* [batch_size] */
    uint8_t *pixels;       /* [batch_size, H, W, C] */
    int32_t *labels;       /* [batch_size] */
    struct window *cutout; /* [batch_size] */
};

struct stream {
    enum split split;
    int n_slots;
    struct slot slot[SLOTS_MAX];
    int64_t batch_size;
    uint64_t batches; /* in a pass */
    uint64_t first, end;
};

struct loader {
    const struct dataset *dataset;
    struct sampler *sampler;
    struct stream stream[SPLITS];
    enum split wanted; /* whose batches go before the other's */
    struct normaliser normaliser;

    pthread_mutex_t lock;
    pthread_cond_t work, done; /* for the threads; for the caller */
    bool
        begun; /* nothing is loaded before the first batch is asked for: a run may go on anywhere */
    bool quit;
    struct err err; /* code 0 until something fails */
    struct broken *broken;

    int n_threads;
    pthread_t *thread;
    int n_makers;
    struct sample_maker **maker; /* [n_makers]; the last one is the caller's */
};

struct worker {
    struct loader *loader;
    struct sample_maker *maker;
};

struct claim {
    const struct stream *stream;
    struct slot *slot; /* NULL: nothing to do */
    int64_t i;
};

static struct slot *slot_of(struct stream *stream, uint64_t b)
{
    return &stream->slot[b % (uint64_t)stream->n_slots];
}

/* Opens the stream's next batch in a free slot. */
static void schedule(struct loader *loader, struct stream *stream)
{
    struct slot *slot = slot_of(stream, stream->end);
    uint64_t number = stream->end % stream->batches;
    int64_t first = (int64_t)number * stream->batch_size;
    int64_t left = loader->dataset->split[stream->split].n - first;

    slot->n = left < stream->batch_size ? left : stream->batch_size;
    slot->claimed = slot->done = 0;
    slot->pass = stream->end / stream->batches;
    if (stream->split == SPLIT_TRAIN) {
        const int64_t *sample = sampler_batch(loader->sampler, stream->end);

        for (int64_t i = 0; i < slot->n; i++)
            slot->sample[i] = sample[i];
    } else {
        for (int64_t i = 0; i < slot->n; i++)
            slot->sample[i] = first + i;
    }
    stream->end++;
}

static struct claim claim_in(struct loader *loader, struct stream *stream)
{
    for (uint64_t b = stream->first; b < stream->first + (uint64_t)stream->n_slots; b++) {
        struct slot *slot = slot_of(stream, b);

        if (b == stream->end)
            schedule(loader, stream);
        if (slot->claimed < slot->n)
            return (struct claim){stream, slot, slot->claimed++};
    }
    return (struct claim){0};
}

/* The sample itself or, where that cannot be used, the next one that can. */
static int make(struct loader *loader, struct sample_maker *maker, const struct claim *claim,
                struct err *err)
{
    enum split split = claim->stream->split;
    const struct samples *samples = &loader->dataset->split[split];
    struct slot *slot = claim->slot;
    int64_t wanted = slot->sample[claim->i], tries = 0, sample;
    uint8_t *pixels = slot->pixels + claim->i * dataset_image_bytes(loader->dataset);
    int rc;

    do {
        sample = (wanted + tries) % samples->n;
        rc = sample_make(maker, split, sample, wanted, slot->pass, pixels, &slot->cutout[claim->i],
                         err);
        if (rc == ERR_CORRUPT) {
            pthread_mutex_lock(&loader->lock);
            broken_add(loader->broken, split, samples->item[sample], err->message);
            pthread_mutex_unlock(&loader->lock);
        }
    } while (rc == ERR_CORRUPT && ++tries < samples->n && tries < STAND_INS_MAX);
    slot->labels[claim->i] = samples->labels[sample];
    if (rc == ERR_CORRUPT && tries > 1) {
        struct err last = *err;

        rc = err_set(err, ERR_CORRUPT, "%lld images in a row cannot be decoded; the last is %.380s",
                     (long long)tries, last.message);
    }
    return rc;
}

/* Fills a claimed sample; called and left with the lock held. */
static void work_on(struct loader *loader, struct sample_maker *maker, const struct claim *claim)
{
    struct err err = {0};
    int rc;

    pthread_mutex_unlock(&loader->lock);
    rc = make(loader, maker, claim, &err);
    pthread_mutex_lock(&loader->lock);
    claim->slot->done++;
    if (rc && !loader->err.code)
        loader->err = err;
    if (rc || claim->slot->done == claim->slot->n)
        pthread_cond_signal(&loader->done);
}

/* These threads take what computing leaves: the caller helps as soon as it has to wait. */
static void *run_worker(void *argument)
{
    struct worker *worker = argument;
    struct loader *loader = worker->loader;
    struct sample_maker *maker = worker->maker;

    free(worker);
    /* Of this thread alone, on Linux: below those that compute. */
    setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + NICER);
    pthread_mutex_lock(&loader->lock);
    while (!loader->quit) {
        bool able = loader->begun && !loader->err.code;
        struct claim claim = {0};

        if (able)
            claim = claim_in(loader, &loader->stream[loader->wanted]);
        if (able && !claim.slot)
            claim = claim_in(loader, &loader->stream[!loader->wanted]);
        if (claim.slot)
            work_on(loader, maker, &claim);
        else
            pthread_cond_wait(&loader->work, &loader->lock);
    }
    pthread_mutex_unlock(&loader->lock);
    return NULL;
}

/* Forgets what was loaded ahead and goes on at batch b. */
static void rewind_to(struct loader *loader, struct stream *stream, uint64_t b)
{
    for (uint64_t old = stream->first; old < stream->end; old++) {
        struct slot *slot = slot_of(stream, old);

        slot->done += slot->n - slot->claimed;
        slot->claimed = slot->n;
        while (slot->done < slot->n)
            pthread_cond_wait(&loader->done, &loader->lock);
    }
    stream->first = stream->end = b;
}

/* The slot of batch b with all its samples; the caller's until `give_back`. */
static struct slot *take(struct loader *loader, enum split split, uint64_t b, struct err *err)
{
    struct stream *stream = &loader->stream[split];
    struct sample_maker *maker = loader->maker[loader->n_makers - 1];
    struct slot *slot;

    pthread_mutex_lock(&loader->lock);
    loader->wanted = split;
    loader->begun = true;
    if (split == SPLIT_TRAIN ? stream->first != b : stream->first % stream->batches != b)
        rewind_to(loader, stream, b);
    if (stream->first == stream->end)
        schedule(loader, stream);
    if (loader->n_threads)
        pthread_cond_broadcast(&loader->work);
    slot = slot_of(stream, stream->first);
    while (slot->done < slot->n && !loader->err.code) {
        if (slot->claimed < slot->n)
            work_on(loader, maker, &(struct claim){stream, slot, slot->claimed++});
        else
            pthread_cond_wait(&loader->done, &loader->lock);
    }
    if (loader->err.code) {
        if (err)
            *err = loader->err;
        slot = NULL;
    }
    pthread_mutex_unlock(&loader->lock);
    return slot;
}

static void give_back(struct loader *loader, enum split split)
{
    pthread_mutex_lock(&loader->lock);
    loader->stream[split].first++;
    if (loader->n_threads)
        pthread_cond_broadcast(&loader->work);
    pthread_mutex_unlock(&loader->lock);
}

#define TAKE(type, real)                                                                           \
    int64_t loader_take_##type(struct loader *loader, enum split split, uint64_t b, real *images,  \
                               int32_t *labels, struct err *err)                                   \
    {                                                                                              \
        int64_t size = dataset_image_bytes(loader->dataset), n;                                    \
        struct slot *slot = take(loader, split, b, err);                                           \
                                                                                                   \
        if (!slot)                                                                                 \
            return loader->err.code;                                                               \
        n = slot->n;                                                                               \
        for (int64_t i = 0; i < n; i++) {                                                          \
            normalise_##type(&loader->normaliser, slot->pixels + i * size, &slot->cutout[i],       \
                             images + i * size);                                                   \
            labels[i] = slot->labels[i];                                                           \
        }                                                                                          \
        give_back(loader, split);                                                                  \
        return n;                                                                                  \
    }

TAKE(f32, float)
TAKE(f64, double)

void loader_report(struct loader *loader, bool total,
                   void (*message)(void *context, const char *text), void *context)
{
    char text[BROKEN_TEXT_BYTES];

    while (loader) {
        bool told;

        pthread_mutex_lock(&loader->lock);
        told = broken_tell(loader->broken, total, text);
        pthread_mutex_unlock(&loader->lock);
        if (!told)
            return;
        if (message)
            message(context, text);
    }
}

static int open_slot(struct slot *slot, int64_t batch, int64_t image, struct err *err)
{
    slot->sample = calloc((size_t)batch, sizeof *slot->sample);
    slot->pixels = calloc((size_t)batch, (size_t)image);
    slot->labels = calloc((size_t)batch, sizeof *slot->labels);
    slot->cutout = calloc((size_t)batch, sizeof *slot->cutout);
    if (!slot->sample || !slot->pixels || !slot->labels || !slot->cutout)
        return err_no_memory(err);
    return 0;
}

static int open_stream(struct loader *loader, enum split split, int64_t batch, int n_slots,
                       struct err *err)
{
    struct stream *stream = &loader->stream[split];
    int64_t n = loader->dataset->split[split].n, image = dataset_image_bytes(loader->dataset);
    int rc = 0;

    stream->split = split;
    stream->batch_size = batch;
    stream->batches = (uint64_t)((n + batch - 1) / batch);
    stream->n_slots = n_slots;
    for (int i = 0; i < n_slots && !rc; i++)
        rc = open_slot(&stream->slot[i], batch, image, err);
    return rc;
}

static void close_stream(struct stream *stream)
{
    for (int i = 0; i < SLOTS_MAX; i++) {
        free(stream->slot[i].sample);
        free(stream->slot[i].pixels);
        free(stream->slot[i].labels);
        free(stream->slot[i].cutout);
    }
}

static int start_thread(struct loader *loader, struct sample_maker *maker, struct err *err)
{
    struct worker *worker = malloc(sizeof *worker);

    if (!worker)
        return err_no_memory(err);
    *worker = (struct worker){loader, maker};
    if (thread_start(&loader->thread[loader->n_threads], run_worker, worker)) {
        free(worker);
        return err_set(err, ERR_NO_MEMORY, "cannot start a thread that loads images");
    }
    return 0;
}

static int start_threads(struct loader *loader, int n, struct err *err)
{
    int rc = 0;

    loader->thread = calloc((size_t)n + 1, sizeof *loader->thread);
    loader->maker = calloc((size_t)n + 1, sizeof *loader->maker);
    if (!loader->thread || !loader->maker)
        return err_no_memory(err);
    for (; loader->n_makers <= n && !rc; loader->n_makers += rc == 0)
        rc = sample_maker_open(&loader->maker[loader->n_makers], loader->dataset, err);
    pthread_mutex_lock(&loader->lock);
    for (int i = 0; i < n && !rc; i++) {
        rc = start_thread(loader, loader->maker[i], err);
        loader->n_threads += rc == 0;
    }
    pthread_mutex_unlock(&loader->lock);
    return rc;
}

/* Beside the caller's. */
static int loading_threads(const struct loader_options *options)
{
    return sample_is_costly(options->dataset) ? options->threads - 1 : 0;
}

/* Batches that a stream holds. */
static int slots_of(const struct loader_options *options, enum split split)
{
    if (loading_threads(options) == 0)
        return 1;
    return split == SPLIT_TRAIN ? options->batches_an_update + 1 : 2;
}

size_t loader_bytes(const struct loader_options *options)
{
    const struct slot *slot = NULL;
    size_t image = (size_t)dataset_image_bytes(options->dataset);
    size_t sample = sizeof *slot->sample + image + sizeof *slot->labels + sizeof *slot->cutout;
    int64_t samples = options->batch_size * slots_of(options, SPLIT_TRAIN) +
                      options->test_batch_size * slots_of(options, SPLIT_TEST);

    return (size_t)samples * sample + (size_t)(loading_threads(options) + 1) * image;
}

int loader_open(struct loader **out, const struct loader_options *options, struct err *err)
{
    struct loader *loader = calloc(1, sizeof *loader);
    int threads = loading_threads(options), rc;

    if (!loader)
        return err_no_memory(err);
    pthread_mutex_init(&loader->lock, NULL);
    pthread_cond_init(&loader->work, NULL);
    pthread_cond_init(&loader->done, NULL);
    loader->dataset = options->dataset;
    loader->sampler = options->sampler;
    normaliser_make(&loader->normaliser, loader->dataset);
    rc = open_stream(loader, SPLIT_TRAIN, options->batch_size, slots_of(options, SPLIT_TRAIN), err);
    if (!rc)
        rc = open_stream(loader, SPLIT_TEST, options->test_batch_size,
                         slots_of(options, SPLIT_TEST), err);
    if (!rc)
        rc = broken_open(&loader->broken, loader->dataset, err);
    if (!rc)
        rc = start_threads(loader, threads, err);
    if (rc) {
        loader_close(loader);
        return rc;
    }
    *out = loader;
    return 0;
}

void loader_close(struct loader *loader)
{
    if (!loader)
        return;
    pthread_mutex_lock(&loader->lock);
    loader->quit = true;
    pthread_cond_broadcast(&loader->work);
    pthread_mutex_unlock(&loader->lock);
    for (int i = 0; i < loader->n_threads; i++)
        pthread_join(loader->thread[i], NULL);
    for (int s = 0; s < SPLITS; s++)
        close_stream(&loader->stream[s]);
    for (int i = 0; i < loader->n_makers; i++)
        sample_maker_close(loader->maker[i]);
    broken_close(loader->broken);
    pthread_mutex_destroy(&loader->lock);
    pthread_cond_destroy(&loader->work);
    pthread_cond_destroy(&loader->done);
    free(loader->thread);
    free(loader->maker);
    free(loader);
}
