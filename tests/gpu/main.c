/* gpu_check --report FILE [--part NAME]… [--device N] [--quick]: what the CUDA backend computes on
 * a GPU, held against the reference backend and against itself. Without parts all of them. Ends
 * with 1 where a case failed, with 77 where there is no GPU. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "harness.h"

enum { NO_GPU = 77 };

static const struct part {
    const char *name;
    void (*check)(bool quick);
} parts[] = {{"graphs", check_graphs},
             {"operations", check_operations},
             {"derivatives", check_derivatives},
             {"nets", check_nets},
             {"products", check_products},
             {"updates", check_updates},
             {"runs", check_runs},
             {"twice", check_twice},
             {"captured", check_captured},
             {"streams", check_streams},
             {"sizes", check_sizes}};

static const char usage[] =
    "usage: gpu_check --report FILE [--part NAME]... [--device N] [--quick]\n"
    "parts: graphs operations derivatives nets products updates runs twice captured streams "
    "sizes\n";

static bool choose(bool wanted[], const char *name)
{
    for (size_t i = 0; i < ARRAY_LENGTH(parts); i++)
        if (!strcmp(parts[i].name, name))
            return wanted[i] = true;
    return false;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"report", required_argument, NULL, 'r'},
                                            {"part", required_argument, NULL, 'p'},
                                            {"device", required_argument, NULL, 'd'},
                                            {"quick", no_argument, NULL, 'q'},
                                            {0}};
    bool wanted[ARRAY_LENGTH(parts)] = {false}, some = false, quick = false, good = true;
    const char *report = NULL;
    struct err err = {0};
    int option, device = 0;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
        if (option == 'r')
            report = optarg;
        else if (option == 'p')
            some = good = good && choose(wanted, optarg);
        else if (option == 'd')
            device = atoi(optarg);
        else if (option == 'q')
            quick = true;
        else
            good = false;
    if (!report || !good) {
        fputs(usage, stderr);
        return 2;
    }
    if (harness_open(report, device, &err)) {
        fprintf(stderr, "gpu_check: %s\n", err.message);
        return NO_GPU;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(parts); i++)
        if (wanted[i] || !some)
            parts[i].check(quick);
    return harness_close() ? 1 : 0;
}
