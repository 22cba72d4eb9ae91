/* The ranks of a run: for each but the first, which is the run itself, a thread that does what the
 * first one does, at the same time, on a backend of its own. It shares all that is only read. Only
 * the first loads data, talks to the sink, evaluates and writes checkpoints. Where batches are made
 * on GPUs, each rank has the training data in its own memory (batches.c). */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/thread.h"
#include "run/state.h"

struct member {
    struct run_ranks *ranks;
    struct engine_run *run;
    pthread_t thread;
    bool started;
};

struct run_ranks {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    run_work work;
    const void *context;
    unsigned given; /* so many works; the last one is under way while `busy` */
    int busy;       /* members that have not done it yet */
    bool stopping;
    struct err err; /* of the first that went wrong, whose code `failed` is */
    int failed;
    struct member member[RECIPE_RANKS_MAX]; /* 0: the run itself, without a thread */
};

struct engine_run *run_rank(struct engine_run *run, int rank)
{
    return run->ranks ? run->ranks->member[rank].run : run;
}

/* The first failure is the run's; it ends what others wait for. */
static void do_work(struct run_ranks *ranks, struct engine_run *run)
{
    struct err err = {0};
    int rc = ranks->work(run, ranks->context, &err);

    if (!rc)
        return;
    pthread_mutex_lock(&ranks->lock);
    if (!ranks->failed) {
        ranks->failed = rc;
        ranks->err = err;
    }
    pthread_mutex_unlock(&ranks->lock);
    if (run->communicator)
        run->communicator->class->abort(run->communicator);
}

static void *serve(void *argument)
{
    struct member *member = argument;
    struct run_ranks *ranks = member->ranks;
    unsigned done = 0;

    pthread_mutex_lock(&ranks->lock);
    for (;;) {
        while (ranks->given == done && !ranks->stopping)
            pthread_cond_wait(&ranks->changed, &ranks->lock);
        if (ranks->given == done)
            break;
        pthread_mutex_unlock(&ranks->lock);
        do_work(ranks, member->run);
        done++;
        pthread_mutex_lock(&ranks->lock);
        ranks->busy--;
        pthread_cond_broadcast(&ranks->changed);
    }
    pthread_mutex_unlock(&ranks->lock);
    run_device_close(member->run);
    return NULL;
}

/* The update under way, of which a member has data of its own on its device. */
static void follow(struct engine_run *other, const struct engine_run *run)
{
    other->update = run->update;
    memcpy(other->batch, run->batch, sizeof other->batch);
    for (int b = 0; b < run->recipe.n_batches; b++)
        if (run->batch[b].there.data)
            other->batch[b].there.data = other->data[SPLIT_TRAIN];
}

int run_each(struct engine_run *run, run_work work, const void *context, struct err *err)
{
    struct run_ranks *ranks = run->ranks;

    if (!ranks)
        return work(run, context, err);
    for (int r = 1; r < run->rank.ranks; r++)
        follow(ranks->member[r].run, run);
    pthread_mutex_lock(&ranks->lock);
    ranks->work = work;
    ranks->context = context;
    ranks->busy = run->rank.ranks - 1;
    ranks->given++;
    pthread_cond_broadcast(&ranks->changed);
    pthread_mutex_unlock(&ranks->lock);
    do_work(ranks, run);
    pthread_mutex_lock(&ranks->lock);
    while (ranks->busy > 0)
        pthread_cond_wait(&ranks->changed, &ranks->lock);
    pthread_mutex_unlock(&ranks->lock);
    if (ranks->failed && err)
        *err = ranks->err;
    return ranks->failed;
}

static int start_thread(struct member *member, struct err *err)
{
    int code = thread_start(&member->thread, serve, member);

    member->started = code == 0;
    return code ? err_set(err, ERR_IO, "cannot start a thread: %s", strerror(code)) : 0;
}

/* A member begins as a copy of the run before that has a device. */
static int start_member(struct engine_run *run, int rank, struct err *err)
{
    struct member *member = &run->ranks->member[rank];

    member->ranks = run->ranks;
    member->run = calloc(1, sizeof *member->run);
    if (!member->run)
        return err_no_memory(err);
    *member->run = *run;
    member->run->rank.rank = rank;
    return start_thread(member, err);
}

int run_ranks_open(struct engine_run *run, struct err *err)
{
    const struct communicator_class *communicator = run->class->communicator;
    int rc = 0;

    if (run->rank.ranks == 1)
        return 0;
    if (!communicator)
        return err_set(err, ERR_UNSUPPORTED, "the device %s has no ranks", run->class->name);
    if (run->purpose != RUN_COUNT)
        rc = communicator->open(&run->communicator, run->class, run->rank.ranks, run->place.device,
                                err);
    if (rc)
        return rc;
    run->ranks = calloc(1, sizeof *run->ranks);
    if (!run->ranks)
        return err_no_memory(err);
    pthread_mutex_init(&run->ranks->lock, NULL);
    pthread_cond_init(&run->ranks->changed, NULL);
    run->ranks->member[0].run = run;
    for (int rank = 1; rank < run->rank.ranks && !rc; rank++)
        rc = start_member(run, rank, err);
    return rc;
}

void run_ranks_close(struct engine_run *run)
{
    struct run_ranks *ranks = run->ranks;

    if (!ranks)
        return;
    pthread_mutex_lock(&ranks->lock);
    ranks->stopping = true;
    pthread_cond_broadcast(&ranks->changed);
    pthread_mutex_unlock(&ranks->lock);
    for (int r = 1; r < run->rank.ranks; r++) {
        if (ranks->member[r].started)
            pthread_join(ranks->member[r].thread, NULL);
        free(ranks->member[r].run);
    }
    pthread_cond_destroy(&ranks->changed);
    pthread_mutex_destroy(&ranks->lock);
    free(ranks);
    run->ranks = NULL;
}

int run_rank_threads(const struct engine_run *run)
{
    int ranks = run->rank.ranks, threads = (run->threads + ranks - 1 - run->rank.rank) / ranks;

    return threads > 0 ? threads : 1;
}

size_t run_device_bytes(const struct engine_run *run)
{
    bool shared = run->class->vector_data; /* all ranks take of the host's memory */
    size_t sum = 0, most = 0;

    for (int r = 0; r < run->rank.ranks; r++) {
        size_t bytes = (r == 0 ? run : run->ranks->member[r].run)->backend->peak;

        sum += bytes;
        most = bytes > most ? bytes : most;
    }
    return shared ? sum : most;
}

/* ---- What the ranks begin with ---- */

static int share_vector(struct engine_run *run, struct vector *vector, size_t n, struct err *err)
{
    const struct exchange exchange = {.vector = vector, .n = n};

    return vector && n ? run->communicator->class->exchange(run->communicator, run->rank.rank,
                                                            &exchange, err)
                       : 0;
}

static int share_state(struct engine_run *run, const void *context, struct err *err)
{
    size_t size = run->params->size;
    int rc = share_vector(run, run->weights, size, err);

    (void)context;
    if (!rc)
        rc = share_vector(run, run->momentum, size, err);
    if (!rc)
        rc = share_vector(run, run->squares, size, err);
    if (!rc)
        rc = share_vector(run, run->fisher, run->params->fisher_size, err);
    return rc ? rc : share_vector(run, run->states, run->states_layout->size, err);
}

int run_share_state(struct engine_run *run, struct err *err)
{
    return run->ranks ? run_each(run, share_state, NULL, err) : 0;
}
