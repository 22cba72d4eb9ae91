/* gpu_check --report FILE [--device N] [--quick] [--speed]: what the CUDA backend computes on a
 * GPU, held against the reference backend; with --speed how fast. Ends with 1 where a case failed,
 * with 77 where there is no GPU. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "harness.h"

enum { NO_GPU = 77 };

int main(int argc, char **argv)
{
    static const struct option options[] = {{"report", required_argument, NULL, 'r'},
                                            {"device", required_argument, NULL, 'd'},
                                            {"quick", no_argument, NULL, 'q'},
                                            {"speed", no_argument, NULL, 's'},
                                            {0}};
    const char *report = NULL;
    bool quick = false, speed = false;
    struct err err = {0};
    int option, device = 0;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
        if (option == 'r')
            report = optarg;
        else if (option == 'd')
            device = atoi(optarg);
        else if (option == 'q')
            quick = true;
        else if (option == 's')
            speed = true;
        else
            return 2;
    if (!report) {
        fputs("usage: gpu_check --report FILE [--device N] [--quick] [--speed]\n", stderr);
        return 2;
    }
    if (harness_open(report, device, &err)) {
        fprintf(stderr, "gpu_check: %s\n", err.message);
        return NO_GPU;
    }
    check_graphs();
    check_operations(quick);
    check_runs(quick);
    if (speed)
        measure_speed();
    return harness_close() ? 1 : 0;
}
