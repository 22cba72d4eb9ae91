/* A block's threads as fibers. A fiber that comes to a thread's end takes the next thread that has
 * not begun, so kernels without barriers run as a plain loop. */
#include "emulate.h"

/* Jumps between stacks are what glibc's checked longjmp takes for a mistake. */
#undef _FORTIFY_SOURCE
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <mutex>
#include <vector>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

#define STACK_BYTES  (256 * 1024)
#define SHARED_MOST  (48 * 1024) /* what CUDA gives without being asked */
#define THREADS_MOST 1024
#define WARP_LANES   32

struct emulated_index threadIdx, blockIdx, blockDim, gridDim;
char *emulated_row;

/* Those who wait for each other: a block, or a warp. */
struct group {
    unsigned alive, arrived, round;
};

struct fiber {
    ucontext_t context;
    jmp_buf point; /* where it waits, once it has begun */
    bool begun;
    char *stack;
    unsigned thread;
    const struct group *waits_for; /* NULL: it has nothing to run */
    unsigned round;                /* of `waits_for` when it began to wait */
};

/* As many as were ever needed at once. They stay to the end, and are no leak then. */
static std::vector<fiber *> &fibers = *new std::vector<fiber *>;
static fiber *running;
static const std::function<void()> *body;
static fiber *of_thread[THREADS_MOST]; /* NULL: not begun, or ended */
static unsigned begun;
static bool backwards; /* threads begin with the last one */
static struct group block, warps[THREADS_MOST / WARP_LANES];
static double given[2][THREADS_MOST];

/* The sanitizer is told of each change of stacks. */
#ifdef __SANITIZE_ADDRESS__
static ucontext_t scheduler;
static const void *scheduler_stack;
static size_t scheduler_stack_bytes;

static void switch_to_fiber(fiber *f)
{
    void *fake;

    __sanitizer_start_switch_fiber(&fake, f->stack, STACK_BYTES);
    swapcontext(&scheduler, &f->context);
    __sanitizer_finish_switch_fiber(fake, NULL, NULL);
}

static void switch_to_scheduler(fiber *f)
{
    void *fake;

    __sanitizer_start_switch_fiber(&fake, scheduler_stack, scheduler_stack_bytes);
    swapcontext(&f->context, &scheduler);
    __sanitizer_finish_switch_fiber(fake, &scheduler_stack, &scheduler_stack_bytes);
}

static void fiber_begins(void)
{
    __sanitizer_finish_switch_fiber(NULL, &scheduler_stack, &scheduler_stack_bytes);
}
#else
/* A context begins a fiber; from then on jumps, which ask nothing of the system, go to and fro. */
static jmp_buf scheduler_point;

static void switch_to_fiber(fiber *f)
{
    if (_setjmp(scheduler_point))
        return;
    if (f->begun)
        _longjmp(f->point, 1);
    f->begun = true;
    setcontext(&f->context);
}

static void switch_to_scheduler(fiber *f)
{
    if (!_setjmp(f->point))
        _longjmp(scheduler_point, 1);
}

static void fiber_begins(void)
{
}
#endif

static void resume(fiber *f)
{
    running = f;
    threadIdx.x = f->thread;
    switch_to_fiber(f);
}

static void release(struct group *g)
{
    g->arrived = 0;
    g->round++;
}

static void wait_for(struct group *g)
{
    fiber *me = running;

    if (++g->arrived == g->alive) {
        release(g);
        return;
    }
    me->waits_for = g;
    me->round = g->round;
    switch_to_scheduler(me);
}

/* A thread that has ended is not waited for. */
static void leave(struct group *g)
{
    if (--g->alive > 0 && g->arrived == g->alive)
        release(g);
}

static void run_threads(void)
{
    fiber_begins();
    for (;;) {
        fiber *me = running;

        while (begun < blockDim.x) {
            me->thread = backwards ? blockDim.x - 1 - begun : begun;
            threadIdx.x = me->thread;
            of_thread[me->thread] = me;
            begun++;
            (*body)();
            of_thread[me->thread] = NULL;
            leave(&warps[me->thread / WARP_LANES]);
            leave(&block);
        }
        me->waits_for = NULL;
        switch_to_scheduler(me);
    }
}

static fiber *new_fiber(void)
{
    fiber *f = new fiber();

    f->stack = (char *)malloc(STACK_BYTES);
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = f->stack;
    f->context.uc_stack.ss_size = STACK_BYTES;
    makecontext(&f->context, run_threads, 0);
    fibers.push_back(f);
    return f;
}

/* One that may go on; NULL: there is none. A warp goes on alone as far as it can, so that it meets
 * what others have not done yet. */
static fiber *next_waiting(void)
{
    unsigned first = running ? running->thread / WARP_LANES * WARP_LANES : 0;

    for (unsigned i = 0; i < blockDim.x; i++) {
        unsigned thread = first + i < blockDim.x ? first + i : first + i - blockDim.x;
        fiber *f = of_thread[thread];

        if (f && f->waits_for && f->waits_for->round != f->round)
            return f;
    }
    return NULL;
}

/* One to begin the next thread with. */
static fiber *idle_fiber(void)
{
    for (fiber *f : fibers)
        if (!f->waits_for)
            return f;
    return new_fiber();
}

static fiber *next_fiber(void)
{
    fiber *f = next_waiting();

    if (!f && begun < blockDim.x)
        return idle_fiber();
    if (!f && block.alive > 0) {
        fprintf(stderr, "emulated block %u: threads wait for others that never come\n", blockIdx.x);
        abort();
    }
    return f;
}

static void run_block(unsigned threads)
{
    fiber *f;

    begun = 0;
    running = NULL;
    block = {threads, 0, 0};
    for (unsigned i = 0; i * WARP_LANES < threads; i++)
        warps[i] = {threads - i * WARP_LANES < WARP_LANES ? threads - i * WARP_LANES : WARP_LANES,
                    0, 0};
    while ((f = next_fiber()))
        resume(f);
}

void __syncthreads(void)
{
    wait_for(&block);
}

/* Two places by turns: nobody can be two exchanges ahead of another lane. */
double emulated_exchange(double x, unsigned mask)
{
    unsigned me = threadIdx.x;
    struct group *warp = &warps[me / WARP_LANES];
    double *place = given[warp->round % 2];

    place[me] = x;
    wait_for(warp);
    return place[me ^ mask];
}

void __syncwarp(void)
{
    wait_for(&warps[threadIdx.x / WARP_LANES]);
}

struct fetched {
    const void *from;
    void *to;
};

static std::vector<fetched> &fetched_of(unsigned thread)
{
    static std::vector<fetched> *all = new std::vector<fetched>[THREADS_MOST];

    return all[thread];
}

static void check_aligned(const void *at, const char *what)
{
    if ((uintptr_t)at % 16 == 0)
        return;
    fprintf(stderr, "emulated block %u: %s at %p\n", blockIdx.x, what, at);
    abort();
}

void emulated_fetch(const void *from, void *to)
{
    check_aligned(from, "fetched from what is");
    check_aligned(to, "fetched to what is");
    memset(to, 0xff, 16);
    fetched_of(threadIdx.x).push_back({from, to});
}

void emulated_wait_for_fetched(void)
{
    for (const struct fetched &f : fetched_of(threadIdx.x))
        memcpy(f.to, f.from, 16);
    fetched_of(threadIdx.x).clear();
}

/* Row r of matrix m is what lane 8·m + r points to. */
void emulated_matrices(bool turned, const void *row, uint32_t to[4])
{
    static const void *rows[2][THREADS_MOST];
    unsigned me = threadIdx.x, lane = me % WARP_LANES;
    struct group *warp = &warps[me / WARP_LANES];
    const void **place = rows[warp->round % 2];

    check_aligned(row, "a matrix");
    place[me] = row;
    wait_for(warp);
    for (unsigned m = 0; m < 4; m++) {
        uint16_t pair[2];

        for (unsigned i = 0; i < 2; i++) {
            unsigned along = lane / 4, across = lane % 4 * 2 + i;
            unsigned r = turned ? across : along, c = turned ? along : across;

            pair[i] = ((const uint16_t *)place[me - lane + 8 * m + r])[c];
        }
        to[m] = pair[0] | (uint32_t)pair[1] << 16;
    }
}

static float bf16_of(uint32_t pair, unsigned which)
{
    uint32_t bits = which ? pair & 0xffff0000u : pair << 16;
    float x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Where the manual says that A's element lies: its columns from 8 on in the later registers, its
 * rows from 8 on in the odd ones; B's likewise by its rows. */
static float left_at(const uint32_t (*warp)[6], unsigned row, unsigned k)
{
    return bf16_of(warp[row % 8 * 4 + k % 8 / 2][k / 8 * 2 + row / 8], k % 2);
}

static float right_at(const uint32_t (*warp)[6], unsigned k, unsigned column)
{
    return bf16_of(warp[column * 4 + k % 8 / 2][4 + k / 8], k % 2);
}

/* What all lanes of the warp gave, lane by lane: four registers of A, two of B. */
static const uint32_t (*operands_of_warp(const uint32_t a[4], const uint32_t b[2]))[6]
{
    static uint32_t registers[2][THREADS_MOST][6];
    unsigned me = threadIdx.x;
    struct group *warp = &warps[me / WARP_LANES];
    uint32_t(*place)[6] = registers[warp->round % 2];

    memcpy(place[me], a, 4 * sizeof *a);
    memcpy(place[me] + 4, b, 2 * sizeof *b);
    wait_for(warp);
    return place + (me - me % WARP_LANES);
}

void emulated_multiply_add(float acc[4], const uint32_t a[4], const uint32_t b[2])
{
    const uint32_t(*warp)[6] = operands_of_warp(a, b);
    unsigned lane = threadIdx.x % WARP_LANES;

    for (unsigned i = 0; i < 4; i++)
        for (unsigned k = 0; k < 16; k++)
            acc[i] +=
                left_at(warp, lane / 4 + i / 2 * 8, k) * right_at(warp, k, lane % 4 * 2 + i % 2);
}

/* A number a register: A's columns and B's rows from 4 on in the later ones, A's rows from 8 on in
 * the odd ones. Bits that TF32 does not have are not looked at. */
static float tf32_of(uint32_t bits)
{
    float x;

    bits &= 0xffffe000u;
    memcpy(&x, &bits, sizeof x);
    return x;
}

void emulated_multiply_add_tf32(float acc[4], const uint32_t a[4], const uint32_t b[2])
{
    const uint32_t(*warp)[6] = operands_of_warp(a, b);
    unsigned lane = threadIdx.x % WARP_LANES;

    for (unsigned i = 0; i < 4; i++)
        for (unsigned k = 0; k < 8; k++) {
            unsigned row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;

            acc[i] += tf32_of(warp[row % 8 * 4 + k % 4][k / 4 * 2 + row / 8]) *
                      tf32_of(warp[column * 4 + k % 4][4 + k / 4]);
        }
}

static struct fiber_room {
    ~fiber_room()
    {
        for (fiber *f : fibers) {
            free(f->stack);
            delete f;
        }
    }
} fiber_room;

/* Forwards and backwards, so that whoever lacks a barrier is seen to in one of them. Not simply by
 * turns, since an operation's launches often come in pairs. */
static bool next_direction(void)
{
    static unsigned launches;

    return __builtin_parity(launches++);
}

/* One launch at a time, whichever thread it comes from. */
static std::mutex launching;

int emulate(unsigned blocks, unsigned threads, size_t shared_bytes,
            const std::function<void()> &thread)
{
    std::lock_guard<std::mutex> alone(launching);
    char *row = (char *)malloc(shared_bytes ? shared_bytes : 1);

    if (blocks == 0 || threads == 0 || threads > THREADS_MOST || shared_bytes > SHARED_MOST) {
        free(row);
        return 9; /* cudaErrorInvalidConfiguration */
    }
    emulated_row = row;
    body = &thread;
    backwards = next_direction();
    blockDim = {threads, 1, 1};
    gridDim = {blocks, 1, 1};
    for (unsigned i = 0; i < blocks; i++) {
        blockIdx.x = i;
        memset(row, 0xff, shared_bytes); /* NaN */
        run_block(threads);
    }
    free(row);
    return 0;
}
