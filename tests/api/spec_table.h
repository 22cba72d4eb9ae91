/* A small table of every type, for the tests. */
#ifndef TESTS_SPEC_TABLE_H
#define TESTS_SPEC_TABLE_H

#include "base/spec.h"

struct sample_model {
    int kind;
    int64_t width;
    struct spec_int_list blocks;
};
struct sample_dataset {
    int kind;
    char path[33];
};
struct sample_method {
    int kind;
    double sigma, lambda;
};
struct sample_keep {
    int64_t every, keep;
};
struct sample_probe {
    int kind;
    int64_t update, steps, every;
    double rho;
};
struct sample_probes {
    int n;
    struct sample_probe item[2];
};
struct sample_job {
    char name[17];
    struct sample_model model;
    struct sample_dataset dataset;
    struct sample_method method;
    int64_t epochs, seed;
    double lr;
    bool loud;
    int device;
    struct sample_keep checkpoint;
    struct sample_probes probes;
};

extern const struct spec_object sample_spec;

/* A probe that is asked for by itself. */
extern const struct spec_field sample_probe_field;

#endif
