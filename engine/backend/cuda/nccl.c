/* Ranks of this process on a GPU each. All of NCCL is set up by the thread that opens the
 * communicator, and used once there, so that a GPU that cannot be reached is an error then; after
 * that no call waits on the host for another rank. What waits on a device is ended by `abort`: it
 * may be called while a rank waits for its stream, but never while a rank is within NCCL, which
 * that rank's lock says.
 *
 * ncclCommAbort frees at once what waits on the device, but does not return while a graph lives
 * that was captured with the communicator, and graphs are their ranks' to destroy. So a thread has
 * it for each rank, and closing, which comes after all graphs, waits for these. */
#include "backend/cuda/nccl.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "backend/cuda/cuda.h"
#include "base/thread.h"

struct ncclComm;

/* As NCCL's reference has them. */
static struct calls {
    int (*init)(struct ncclComm **out, int n, const int *devices);
    int (*destroy)(struct ncclComm *comm);
    int (*abort)(struct ncclComm *comm);
    int (*group_start)(void);
    int (*group_end)(void);
    int (*all_reduce)(const void *from, void *to, size_t n, int type, int operation,
                      struct ncclComm *comm, struct CUstream_st *stream);
    int (*broadcast)(const void *from, void *to, size_t n, int type, int root,
                     struct ncclComm *comm, struct CUstream_st *stream);
    int (*scaled_sum_open)(int *operation, void *scale, int type, int residence,
                           struct ncclComm *comm);
    int (*scaled_sum_close)(int operation, struct ncclComm *comm);
    const char *(*error)(int code);
    struct err err; /* why it is not there; code 0: it is */
} nccl;

struct end {
    pthread_mutex_t lock;
    struct ncclComm *comm; /* NULL: not open, or aborted */
    struct ncclComm *aborted;
    pthread_t aborting; /* if so */
    bool is_aborting;
};

/* A device that is lost may never let go of its graphs; the process is to end then. */
enum { ABORT_SECONDS = 20 };

struct nccl {
    struct communicator base;
    int device; /* of rank 0 */
    struct end end[COMMUNICATOR_RANKS_MAX];
};

static void find_nccl(void)
{
    static const struct {
        const char *name;
        void *to;
    } symbols[] = {{"ncclCommInitAll", &nccl.init},
                   {"ncclCommDestroy", &nccl.destroy},
                   {"ncclCommAbort", &nccl.abort},
                   {"ncclGroupStart", &nccl.group_start},
                   {"ncclGroupEnd", &nccl.group_end},
                   {"ncclAllReduce", &nccl.all_reduce},
                   {"ncclBroadcast", &nccl.broadcast},
                   {"ncclRedOpCreatePreMulSum", &nccl.scaled_sum_open},
                   {"ncclRedOpDestroy", &nccl.scaled_sum_close},
                   {"ncclGetErrorString", &nccl.error}};
    const char *path = getenv("RWPD_NCCL");
    void *library = dlopen(path && path[0] ? path : "libnccl.so.2", RTLD_NOW | RTLD_LOCAL);

    if (!library) {
        err_set(&nccl.err, ERR_UNSUPPORTED, "several GPUs need NCCL: %s", dlerror());
        return;
    }
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        void *symbol = dlsym(library, symbols[i].name);

        if (!symbol)
            err_set(&nccl.err, ERR_UNSUPPORTED, "several GPUs need another NCCL: %s", dlerror());
        *(void **)symbols[i].to = symbol;
    }
}

void nccl_prepare(void)
{
    setenv("NCCL_ALGO", "Ring", 0);
    setenv("NCCL_GRAPH_REGISTER", "0", 0);
}

static int failed(int code, const char *what, struct err *err)
{
    return code == NCCL_SUCCESS ? 0
                                : err_set(err, ERR_DEVICE, "NCCL: %s: %s", what, nccl.error(code));
}

/* ---- Opening ---- */

static void *abort_end(void *argument)
{
    nccl.abort(((struct end *)argument)->aborted);
    return NULL;
}

static void start_abort(struct end *end)
{
    end->aborted = end->comm;
    end->comm = NULL;
    end->is_aborting = !thread_start(&end->aborting, abort_end, end);
    if (!end->is_aborting)
        nccl.abort(end->aborted);
}

static void nccl_abort(struct communicator *communicator)
{
    struct nccl *own = (struct nccl *)communicator;

    for (int r = 0; r < own->base.ranks; r++) {
        pthread_mutex_lock(&own->end[r].lock);
        if (own->end[r].comm)
            start_abort(&own->end[r]);
        pthread_mutex_unlock(&own->end[r].lock);
    }
}

/* Whether all of it is over. */
static bool end_abort(struct nccl *own)
{
    struct timespec until;
    bool over = true;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ABORT_SECONDS;
    for (int r = 0; r < own->base.ranks; r++) {
        struct end *end = &own->end[r];

        if (!end->is_aborting || !pthread_timedjoin_np(end->aborting, NULL, &until))
            continue;
        pthread_detach(end->aborting);
        over = false;
    }
    return over;
}

/* What a rank has for its first exchanges. */
struct first {
    struct CUstream_st *stream;
    void *data;
};

static int first_open(struct first *first, int device, struct err *err)
{
    int rc = runtime_cuda.choose(device, err);

    if (!rc)
        rc = runtime_cuda.stream_open(&first->stream, err);
    if (!rc)
        rc = runtime_cuda.memory_open(&first->data, sizeof(float), err);
    return rc ? rc : runtime_cuda.clear(first->data, sizeof(float), first->stream, err);
}

static int first_close(struct first *first, int device, struct err *err)
{
    int rc = 0;

    if (!first->stream)
        return 0;
    rc = runtime_cuda.choose(device, err);
    if (!rc)
        rc = runtime_cuda.wait(first->stream, err);
    runtime_cuda.memory_close(first->data);
    runtime_cuda.stream_close(first->stream);
    return rc;
}

/* One sum and one copy on all ranks, as one call each. */
static int exchange_first(struct nccl *own, const struct first *firsts, struct err *err)
{
    int code = NCCL_SUCCESS;

    for (int kind = 0; kind < 2 && !code; kind++) {
        int end;

        code = nccl.group_start();
        for (int r = 0; r < own->base.ranks && !code; r++) {
            void *data = firsts[r].data;

            code = kind == 0 ? nccl.all_reduce(data, data, 1, NCCL_FLOAT, NCCL_SUM,
                                               own->end[r].comm, firsts[r].stream)
                             : nccl.broadcast(data, data, 1, NCCL_FLOAT, 0, own->end[r].comm,
                                              firsts[r].stream);
        }
        end = nccl.group_end();
        code = code ? code : end;
    }
    return failed(code, "the first exchange", err);
}

static int connect_ranks(struct nccl *own, struct err *err)
{
    struct first firsts[COMMUNICATOR_RANKS_MAX] = {{0}};
    int rc = 0;

    for (int r = 0; r < own->base.ranks && !rc; r++)
        rc = first_open(&firsts[r], own->device + r, err);
    if (!rc)
        rc = exchange_first(own, firsts, err);
    if (rc)
        nccl_abort(&own->base); /* a stream may wait for a rank that was given nothing */
    for (int r = 0; r < own->base.ranks; r++) {
        int close = first_close(&firsts[r], own->device + r, rc ? NULL : err);

        rc = rc ? rc : close;
    }
    return rc;
}

static void nccl_close(struct communicator *communicator)
{
    struct nccl *own = (struct nccl *)communicator;

    if (!own || !end_abort(own))
        return; /* a thread that is not over has what is not freed then */
    for (int r = 0; r < own->base.ranks; r++) {
        if (own->end[r].comm)
            nccl.destroy(own->end[r].comm);
        pthread_mutex_destroy(&own->end[r].lock);
    }
    free(own);
}

static int open_ends(struct nccl *own, struct err *err)
{
    struct ncclComm *comms[COMMUNICATOR_RANKS_MAX] = {NULL};
    int devices[COMMUNICATOR_RANKS_MAX], rc;

    for (int r = 0; r < own->base.ranks; r++)
        devices[r] = own->device + r;
    rc = failed(nccl.init(comms, own->base.ranks, devices), "connecting GPUs", err);
    if (rc)
        return rc;
    for (int r = 0; r < own->base.ranks; r++)
        own->end[r].comm = comms[r];
    return connect_ranks(own, err);
}

static int nccl_find(struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, find_nccl);
    if (nccl.err.code && err)
        *err = nccl.err;
    return nccl.err.code;
}

static int nccl_open(struct communicator **out, const struct backend_class *class, int ranks,
                     int device, struct err *err)
{
    struct nccl *own;
    int rc = nccl_find(err);

    (void)class;
    if (rc)
        return rc;
    if (ranks < 1 || ranks > COMMUNICATOR_RANKS_MAX)
        return err_set(err, ERR_UNSUPPORTED, "%d ranks", ranks);
    own = calloc(1, sizeof *own);
    if (!own)
        return err_no_memory(err);
    own->base = (struct communicator){&communicator_nccl, ranks};
    own->device = device;
    for (int r = 0; r < ranks; r++)
        pthread_mutex_init(&own->end[r].lock, NULL);
    rc = open_ends(own, err);
    if (rc)
        nccl_close(&own->base);
    else
        *out = &own->base;
    return rc;
}

/* ---- Exchanging ---- */

int nccl_enter(struct communicator *communicator, int rank, struct err *err)
{
    struct end *end = &((struct nccl *)communicator)->end[rank];

    pthread_mutex_lock(&end->lock);
    if (end->comm)
        return 0;
    pthread_mutex_unlock(&end->lock);
    return err_set(err, ERR_DEVICE, "another rank failed");
}

void nccl_leave(struct communicator *communicator, int rank)
{
    pthread_mutex_unlock(&((struct nccl *)communicator)->end[rank].lock);
}

struct work {
    struct communicator *communicator;
    int rank, from;
    float *data;
    size_t n;
    float share;
};

/* What counts for nothing is cleared first: zero times NaN would not be zero. */
static int sum(const struct work *work, struct ncclComm *comm, struct CUstream_st *stream,
               struct err *err)
{
    float scale = work->share == 0 ? 1 : work->share;
    int operation, code, rc = 0;

    if (work->share == 0)
        rc = runtime_cuda.clear(work->data, work->n * sizeof *work->data, stream, err);
    if (rc)
        return rc;
    code = nccl.scaled_sum_open(&operation, &scale, NCCL_FLOAT, NCCL_HOST_IMMEDIATE, comm);
    if (!code) {
        code =
            nccl.all_reduce(work->data, work->data, work->n, NCCL_FLOAT, operation, comm, stream);
        nccl.scaled_sum_close(operation, comm);
    }
    return failed(code, "a sum over GPUs", err);
}

static int go(const void *context, struct CUstream_st *stream, struct err *err)
{
    const struct work *work = context;
    struct end *end = &((struct nccl *)work->communicator)->end[work->rank];

    if (work->from < 0)
        return sum(work, end->comm, stream, err);
    return failed(
        nccl.broadcast(work->data, work->data, work->n, NCCL_FLOAT, work->from, end->comm, stream),
        "a copy between GPUs", err);
}

static int nccl_exchange(struct communicator *communicator, int rank,
                         const struct exchange *exchange, struct err *err)
{
    struct vector *vector = exchange->vector;
    struct work work = {.communicator = communicator,
                        .rank = rank,
                        .from = exchange->from,
                        .data = vector->data,
                        .n = exchange->n,
                        .share = (float)exchange->share};
    struct launch launch = {.what = exchange->from < 0 ? "all_reduce" : "broadcast",
                            .go = go,
                            .work = &work,
                            .work_bytes = sizeof work};
    int rc = cuda_enter(vector->cuda, err);

    if (!rc)
        rc = nccl_enter(communicator, rank, err);
    if (rc)
        return rc;
    cuda_use(&launch, vector->data, exchange->n * sizeof *vector->data, false);
    cuda_use(&launch, vector->data, exchange->n * sizeof *vector->data, true);
    rc = runtime_cuda.launch(&launch, vector->cuda->lanes[0].stream, err);
    cuda_written(vector);
    nccl_leave(communicator, rank);
    return rc;
}

const struct communicator_class communicator_nccl = {.find = nccl_find,
                                                     .open = nccl_open,
                                                     .close = nccl_close,
                                                     .exchange = nccl_exchange,
                                                     .abort = nccl_abort};
