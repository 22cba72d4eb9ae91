/* What this machine does at most with so many threads: a large product of matrices by oneDNN, and
 * copying. One JSON line; what others reach is told as a share of it. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/cpu.h"
#include "base/clock.h"

#define ROUNDS      8
#define SIDE        2048
#define COPY_FLOATS ((size_t)64 << 20)

static double fastest(double (*seconds)(void *context), void *context)
{
    double best = seconds(context);

    for (int i = 1; i < ROUNDS; i++) {
        double next = seconds(context);

        best = next < best ? next : best;
    }
    return best;
}

static double product_seconds(void *context)
{
    double start = clock_seconds();

    cpu_multiply(context, NULL);
    return clock_seconds() - start;
}

struct copy {
    float *from, *to;
    int threads;
};

static double copy_seconds(void *context)
{
    const struct copy *c = context;
    double start = clock_seconds();

#pragma omp parallel num_threads(c->threads)
    {
        size_t n = (size_t)omp_get_num_threads(), i = (size_t)omp_get_thread_num();
        size_t begin = COPY_FLOATS * i / n, end = COPY_FLOATS * (i + 1) / n;

        memcpy(c->to + begin, c->from + begin, (end - begin) * sizeof(float));
    }
    return clock_seconds() - start;
}

static float *floats(size_t n)
{
    float *x = malloc(n * sizeof *x);

    for (size_t i = 0; x && i < n; i++)
        x[i] = (float)(i % 7) - 3;
    return x;
}

int main(int argc, char **argv)
{
    int threads = argc > 1 ? atoi(argv[1]) : omp_get_max_threads();
    struct copy copy = {floats(COPY_FLOATS), floats(COPY_FLOATS), threads};
    float *result = floats((size_t)SIDE * SIDE);
    struct product product = {.rows = SIDE,
                              .columns = SIDE,
                              .inner = SIDE,
                              .a = copy.from,
                              .b = copy.to,
                              .result = result};

    if (threads < 1 || !copy.from || !copy.to || !result) {
        fprintf(stderr, "usage: bench_peak [threads]\n");
        return 2;
    }
    omp_set_num_threads(threads);
    printf("{\"threads\":%d,\"product_gflops\":%.1f,\"copy_gbytes\":%.1f}\n", threads,
           2.0 * SIDE * SIDE * SIDE / fastest(product_seconds, &product) * 1e-9,
           2.0 * COPY_FLOATS * sizeof(float) / fastest(copy_seconds, &copy) * 1e-9);
    free(copy.from);
    free(copy.to);
    free(result);
    return 0;
}
