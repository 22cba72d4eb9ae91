/* Dividing a kernel's work among threads. The division never shows in the results. */
#include <omp.h>

#include "backend/cpu/cpu.h"

void cpu_run_kernel(int threads, kernel *run, const void *arguments, size_t work)
{
    if (threads == 1 || work <= 1) {
        run(arguments, 0, work);
        return;
    }
#pragma omp parallel num_threads(threads)
    {
        size_t n = (size_t)omp_get_num_threads(), i = (size_t)omp_get_thread_num();
        size_t begin = work * i / n, end = work * (i + 1) / n;

        if (begin < end)
            run(arguments, begin, end);
    }
}

void cpu_dismiss_workers(struct cpu_backend *cpu)
{
    if (cpu->workers)
        omp_pause_resource_all(omp_pause_soft); /* if it cannot, they are merely in the way */
    cpu->workers = false;
}
