/* NCCL on the host: a sum or copy is given to a stream and is done as soon as the last rank has
 * given its own; nobody waits for it but who waits for the stream. Where $FAKE_NCCL_WAITS is set
 * everybody waits at once, for devices that do what they are given when they are given it. */
#include "fake_nccl.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN __attribute__((visibility("default")))

enum { RANKS_MAX = 8, OPERATIONS_MAX = 64, SUM = 0, FIRST_SCALED = 5, FLOAT = 7, CUDA_ERROR = 1 };

struct given {
    const float *from;
    float *to;
    size_t n;
    int operation, root; /* root −1: a sum */
    float scale;
};

struct clique {
    int n, left; /* ranks, and those that are not closed */
    bool aborted;
    struct ncclComm *comm[RANKS_MAX];
};

struct ncclComm {
    struct clique *clique;
    struct given given; /* n 0: nothing */
    struct CUstream_st *stream;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct fake_nccl state;
static float scales[OPERATIONS_MAX];
static struct ncclComm *open_comms[4 * RANKS_MAX];
static int n_open;

SHOWN int ncclCommInitAll(struct ncclComm **out, int n, const int *devices);
SHOWN int ncclCommDestroy(struct ncclComm *comm);
SHOWN int ncclCommAbort(struct ncclComm *comm);
SHOWN int ncclGroupStart(void);
SHOWN int ncclGroupEnd(void);
SHOWN int ncclAllReduce(const void *from, void *to, size_t n, int type, int operation,
                        struct ncclComm *comm, struct CUstream_st *stream);
SHOWN int ncclBroadcast(const void *from, void *to, size_t n, int type, int root,
                        struct ncclComm *comm, struct CUstream_st *stream);
SHOWN int ncclRedOpCreatePreMulSum(int *operation, void *scale, int type, int residence,
                                   struct ncclComm *comm);
SHOWN int ncclRedOpDestroy(int operation, struct ncclComm *comm);
SHOWN const char *ncclGetErrorString(int code);
SHOWN const struct fake_nccl_functions *fake_nccl(void);

/* Under `lock`. */
static bool fails(void)
{
    return state.fail > 0 && --state.fail == 0;
}

static void add(struct clique *clique, size_t i)
{
    float sum = clique->comm[0]->given.scale * clique->comm[0]->given.from[i];

    for (int r = 1; r < clique->n; r++)
        sum += clique->comm[r]->given.scale * clique->comm[r]->given.from[i];
    for (int r = 0; r < clique->n; r++)
        clique->comm[r]->given.to[i] = sum;
}

/* All ranks have given the same thing. */
static void do_given(struct clique *clique)
{
    const struct given *first = &clique->comm[0]->given;

    for (size_t i = 0; i < first->n && first->root < 0; i++)
        add(clique, i);
    for (int r = 0; r < clique->n && first->root >= 0; r++)
        if (r != first->root)
            memcpy(clique->comm[r]->given.to, clique->comm[first->root]->given.from,
                   first->n * sizeof(float));
    for (int r = 0; r < clique->n; r++)
        clique->comm[r]->given = (struct given){0};
    pthread_cond_broadcast(&changed);
}

static bool all_given(const struct clique *clique)
{
    const struct given *first = &clique->comm[0]->given;

    for (int r = 0; r < clique->n; r++) {
        const struct given *own = &clique->comm[r]->given;

        if (own->n == 0)
            return false;
        if (own->n != first->n || own->root != first->root)
            abort(); /* ranks that do not agree hang or worse */
    }
    return true;
}

static _Thread_local bool grouped; /* what is given is given by one thread for all */

static int give(struct ncclComm *comm, struct CUstream_st *stream, const struct given *given)
{
    int code;

    pthread_mutex_lock(&lock);
    code = fails() ? CUDA_ERROR : 0;
    while (!code && comm->given.n > 0 && !comm->clique->aborted) /* one place is queue enough */
        pthread_cond_wait(&changed, &lock);
    if (!code) {
        comm->stream = stream;
        comm->given = *given;
        state.sums += given->root < 0;
        state.copies += given->root >= 0;
        if (all_given(comm->clique))
            do_given(comm->clique);
        while (getenv("FAKE_NCCL_WAITS") && !grouped && comm->given.n > 0)
            pthread_cond_wait(&changed, &lock);
    }
    pthread_mutex_unlock(&lock);
    return code;
}

int ncclCommInitAll(struct ncclComm **out, int n, const int *devices)
{
    struct clique *clique;
    int code;

    pthread_mutex_lock(&lock);
    code = fails() ? CUDA_ERROR : 0;
    if (!code) {
        clique = calloc(1, sizeof *clique);
        clique->n = clique->left = n;
        for (int r = 0; r < n; r++) {
            out[r] = clique->comm[r] = calloc(1, sizeof **out);
            out[r]->clique = clique;
            open_comms[n_open++] = out[r];
            state.device[r] = devices[r];
        }
        state.communicators++;
    }
    pthread_mutex_unlock(&lock);
    return code;
}

static void close_comm(struct ncclComm *comm)
{
    for (int i = 0; i < n_open; i++)
        if (open_comms[i] == comm)
            open_comms[i] = open_comms[--n_open];
    if (--comm->clique->left > 0)
        return;
    for (int r = 0; r < comm->clique->n; r++)
        if (comm->clique->comm[r] != comm)
            free(comm->clique->comm[r]);
    free(comm->clique);
    free(comm);
}

int ncclCommDestroy(struct ncclComm *comm)
{
    pthread_mutex_lock(&lock);
    state.destroyed++;
    close_comm(comm);
    pthread_mutex_unlock(&lock);
    return 0;
}

int ncclCommAbort(struct ncclComm *comm)
{
    pthread_mutex_lock(&lock);
    state.aborted++;
    comm->clique->aborted = true;
    comm->given = (struct given){0};
    pthread_cond_broadcast(&changed);
    while (state.graphs > 0)
        pthread_cond_wait(&changed, &lock);
    close_comm(comm);
    pthread_mutex_unlock(&lock);
    return 0;
}

int ncclGroupStart(void)
{
    grouped = true;
    return 0;
}

int ncclGroupEnd(void)
{
    grouped = false;
    return 0;
}

int ncclAllReduce(const void *from, void *to, size_t n, int type, int operation,
                  struct ncclComm *comm, struct CUstream_st *stream)
{
    bool scaled = operation >= FIRST_SCALED;

    if (type != FLOAT || (!scaled && operation != SUM))
        abort();
    return give(
        comm, stream,
        &(struct given){
            .from = from, .to = to, .n = n, .root = -1, .scale = scaled ? scales[operation] : 1});
}

int ncclBroadcast(const void *from, void *to, size_t n, int type, int root, struct ncclComm *comm,
                  struct CUstream_st *stream)
{
    if (type != FLOAT)
        abort();
    return give(comm, stream, &(struct given){.from = from, .to = to, .n = n, .root = root});
}

int ncclRedOpCreatePreMulSum(int *operation, void *scale, int type, int residence,
                             struct ncclComm *comm)
{
    int place = FIRST_SCALED;

    (void)comm;
    if (type != FLOAT || residence != 1)
        abort();
    pthread_mutex_lock(&lock);
    while (scales[place] != 0)
        place++;
    scales[place] = *(const float *)scale;
    *operation = place;
    state.operations++;
    pthread_mutex_unlock(&lock);
    return 0;
}

int ncclRedOpDestroy(int operation, struct ncclComm *comm)
{
    (void)comm;
    pthread_mutex_lock(&lock);
    scales[operation] = 0;
    state.operations--;
    pthread_mutex_unlock(&lock);
    return 0;
}

const char *ncclGetErrorString(int code)
{
    return code == CUDA_ERROR ? "unhandled cuda error" : "no error";
}

static struct fake_nccl *get_state(void)
{
    return &state;
}

/* The communicator may be closed meanwhile. */
static bool is_busy(const struct CUstream_st *stream)
{
    for (int i = 0; i < n_open; i++)
        if (open_comms[i]->stream == stream && open_comms[i]->given.n > 0)
            return true;
    return false;
}

static void wait(struct CUstream_st *stream)
{
    pthread_mutex_lock(&lock);
    while (is_busy(stream))
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static void keep_graphs(int n)
{
    pthread_mutex_lock(&lock);
    state.graphs = n;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

const struct fake_nccl_functions *fake_nccl(void)
{
    static const struct fake_nccl_functions functions = {get_state, wait, keep_graphs};

    return &functions;
}
