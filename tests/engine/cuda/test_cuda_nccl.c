/* Several GPUs without any: what NCCL is asked for and in which order, with functions of the test
 * in its place and memory of the host in that of the devices. */
#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/cuda/cuda.h"
#include "backend/cuda/nccl.h"
#include "fake_nccl.h"
#include "support.h"

enum { RANKS = 3, N = 10, FIRST = 2 };

static const struct fake_nccl_functions *fake;
static _Thread_local int chosen = -1;
static int open_things;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- the runtime that it needs --------------------------------------------------------------- */

static void count(int by)
{
    pthread_mutex_lock(&lock);
    open_things += by;
    pthread_mutex_unlock(&lock);
}

static int choose(int device, struct err *err)
{
    (void)err;
    chosen = device;
    return 0;
}

static int open_any(void **out, size_t bytes, struct err *err)
{
    (void)err;
    assert_true(chosen >= FIRST);
    *out = calloc(1, bytes);
    count(1);
    return 0;
}

static void close_any(void *at)
{
    free(at);
    count(-(at != NULL));
}

static int stream_open(struct CUstream_st **out, struct err *err)
{
    void *stream;
    int rc = open_any(&stream, 1, err);

    *out = stream;
    return rc;
}

static void stream_close(struct CUstream_st *stream)
{
    close_any(stream);
}

static int clear(void *at, size_t bytes, struct CUstream_st *stream, struct err *err)
{
    (void)err;
    (void)stream;
    memset(at, 0, bytes);
    return 0;
}

static int wait(struct CUstream_st *stream, struct err *err)
{
    (void)err;
    fake->wait(stream);
    return 0;
}

static int launch(const struct launch *launch, struct CUstream_st *stream, struct err *err)
{
    return launch->go(launch->work, stream, err);
}

const struct runtime runtime_cuda = {.choose = choose,
                                     .memory_open = open_any,
                                     .memory_close = close_any,
                                     .stream_open = stream_open,
                                     .stream_close = stream_close,
                                     .clear = clear,
                                     .wait = wait,
                                     .launch = launch};

int cuda_enter(const struct cuda_backend *cuda, struct err *err)
{
    return choose(cuda->device, err);
}

void cuda_use(struct launch *launch, const void *at, size_t bytes, bool written)
{
    launch->use[launch->n++] = (struct use){at, bytes, written};
}

/* ---- ranks ----------------------------------------------------------------------------------- */

static struct rank {
    int rank;
    struct communicator *communicator;
    struct cuda_backend cuda;
    struct vector vector;
    float data[N];
    struct exchange exchange;
    int rc;
    struct err err;
    pthread_t thread;
} ranks[RANKS];

static int setup(void **state)
{
    (void)state;
    memset(ranks, 0, sizeof ranks);
    memset(fake->state(), 0, sizeof *fake->state());
    for (int r = 0; r < RANKS; r++) {
        struct rank *rank = &ranks[r];

        rank->rank = r;
        rank->cuda.device = FIRST + r;
        rank->cuda.lanes[0].stream = (struct CUstream_st *)(void *)&rank->cuda;
        rank->vector = (struct vector){.cuda = &rank->cuda, .n = N, .data = rank->data};
        for (int i = 0; i < N; i++)
            rank->data[i] = (float)(100 * r + i);
        rank->exchange = (struct exchange){.vector = &rank->vector, .n = N};
    }
    return 0;
}

static void open_all(void)
{
    struct communicator *communicator;

    assert_ok(communicator_nccl.open(&communicator, NULL, RANKS, FIRST, err));
    for (int r = 0; r < RANKS; r++)
        ranks[r].communicator = communicator;
    assert_int_equal(open_things, 0);
}

static void *exchange(void *argument)
{
    struct rank *rank = argument;

    rank->rc =
        communicator_nccl.exchange(rank->communicator, rank->rank, &rank->exchange, &rank->err);
    if (!rank->rc)
        wait(rank->cuda.lanes[0].stream, NULL);
    return NULL;
}

static void start(int r)
{
    assert_int_equal(pthread_create(&ranks[r].thread, NULL, exchange, &ranks[r]), 0);
}

static void join(int r)
{
    assert_int_equal(pthread_join(ranks[r].thread, NULL), 0);
}

static void exchange_all(void)
{
    for (int r = 0; r < RANKS; r++)
        start(r);
    for (int r = 0; r < RANKS; r++) {
        join(r);
        assert_int_equal(ranks[r].rc, 0);
        assert_true(ranks[r].vector.written > 0);
    }
}

/* ---- cases ----------------------------------------------------------------------------------- */

static void opening_connects_all_devices(void **state)
{
    (void)state;
    open_all();
    for (int r = 0; r < RANKS; r++)
        assert_int_equal(fake->state()->device[r], FIRST + r);
    assert_int_equal(fake->state()->sums, RANKS);
    assert_int_equal(fake->state()->copies, RANKS);
    communicator_nccl.close(ranks[0].communicator);
    assert_int_equal(fake->state()->destroyed, RANKS);
    assert_int_equal(fake->state()->aborted, 0);
}

static void sums_count_by_share(void **state)
{
    static const double shares[RANKS] = {0.5, 0.25, 0};

    (void)state;
    open_all();
    for (int r = 0; r < RANKS; r++) {
        ranks[r].exchange.from = -1;
        ranks[r].exchange.share = shares[r];
    }
    ranks[2].data[4] = (float)(0.0 / 0.0); /* what does not count may be anything */
    exchange_all();
    for (int r = 0; r < RANKS; r++)
        for (int i = 0; i < N; i++)
            assert_true(ranks[r].data[i] == 0.5f * (float)i + 0.25f * (float)(100 + i));
    assert_int_equal(fake->state()->operations, 0);
    communicator_nccl.close(ranks[0].communicator);
}

static void copies_come_from_one(void **state)
{
    (void)state;
    open_all();
    for (int r = 0; r < RANKS; r++)
        ranks[r].exchange.from = 1;
    exchange_all();
    for (int r = 0; r < RANKS; r++)
        for (int i = 0; i < N; i++)
            assert_true(ranks[r].data[i] == (float)(100 + i));
    communicator_nccl.close(ranks[0].communicator);
}

/* Two ranks wait for one that never comes. */
static void aborting_frees_who_waits(void **state)
{
    (void)state;
    open_all();
    start(0);
    start(1);
    communicator_nccl.abort(ranks[0].communicator);
    communicator_nccl.abort(ranks[0].communicator);
    join(0);
    join(1);
    exchange(&ranks[2]);
    assert_int_equal(ranks[2].rc, ERR_DEVICE);
    assert_string_equal(ranks[2].err.message, "another rank failed");
    assert_refused(nccl_enter(ranks[0].communicator, 0, err), ERR_DEVICE, "another rank");
    communicator_nccl.close(ranks[0].communicator);
    assert_int_equal(fake->state()->aborted, RANKS);
    assert_int_equal(fake->state()->destroyed, 0);
}

/* The rank that aborts has captured graphs itself, which it destroys afterwards. */
static void aborting_waits_for_no_graph(void **state)
{
    (void)state;
    open_all();
    fake->keep_graphs(RANKS);
    start(0);
    start(1);
    communicator_nccl.abort(ranks[2].communicator);
    join(0);
    join(1);
    fake->keep_graphs(0);
    communicator_nccl.close(ranks[0].communicator);
    assert_int_equal(fake->state()->aborted, RANKS);
    assert_int_equal(fake->state()->destroyed, 0);
}

/* Connecting, and each of the first exchanges. */
static void what_fails_in_opening_leaves_nothing(void **state)
{
    (void)state;
    for (int call = 1; call <= 1 + 2 * RANKS; call++) {
        struct communicator *communicator;

        setup(NULL);
        fake->state()->fail = call;
        assert_refused(communicator_nccl.open(&communicator, NULL, RANKS, FIRST, err), ERR_DEVICE,
                       "unhandled cuda error");
        assert_int_equal(fake->state()->aborted, call == 1 ? 0 : RANKS);
        assert_int_equal(fake->state()->destroyed, 0);
        assert_int_equal(open_things, 0);
    }
}

static void a_sum_that_fails_is_an_error(void **state)
{
    (void)state;
    open_all();
    fake->state()->fail = 1;
    ranks[0].exchange.from = -1;
    ranks[0].exchange.share = 1;
    exchange(&ranks[0]);
    assert_int_equal(ranks[0].rc, ERR_DEVICE);
    assert_non_null(strstr(ranks[0].err.message, "a sum over GPUs"));
    assert_int_equal(fake->state()->operations, 0);
    communicator_nccl.abort(ranks[0].communicator);
    communicator_nccl.close(ranks[0].communicator);
}

static void without_nccl(void **state)
{
    struct communicator *communicator;

    (void)state;
    assert_refused(communicator_nccl.find(err), ERR_UNSUPPORTED, "several GPUs need NCCL");
    assert_refused(communicator_nccl.open(&communicator, NULL, RANKS, FIRST, err), ERR_UNSUPPORTED,
                   "several GPUs need NCCL");
}

/* NCCL itself, which needs no device to be loaded. */
static void with_nccl(void **state)
{
    (void)state;
    assert_ok(communicator_nccl.find(err));
}

static int run_one(const struct CMUnitTest *test)
{
    const struct CMUnitTest tests[] = {*test};

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(opening_connects_all_devices, setup),
        cmocka_unit_test_setup(sums_count_by_share, setup),
        cmocka_unit_test_setup(copies_come_from_one, setup),
        cmocka_unit_test_setup(aborting_frees_who_waits, setup),
        cmocka_unit_test_setup(aborting_waits_for_no_graph, setup),
        cmocka_unit_test(what_fails_in_opening_leaves_nothing),
        cmocka_unit_test_setup(a_sum_that_fails_is_an_error, setup),
    };
    union {
        void *symbol;
        const struct fake_nccl_functions *(*function)(void);
    } u = {NULL};
    void *library = dlopen(getenv("RWPD_NCCL"), RTLD_NOW);

    if (!library)
        return run_one(&(const struct CMUnitTest)cmocka_unit_test(without_nccl));
    u.symbol = dlsym(library, "fake_nccl");
    if (!u.symbol)
        return run_one(&(const struct CMUnitTest)cmocka_unit_test(with_nccl));
    fake = u.function();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
