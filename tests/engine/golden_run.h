/* A run as PyTorch in float64 makes it, from tests/golden. */
#ifndef TESTS_ENGINE_GOLDEN_RUN_H
#define TESTS_ENGINE_GOLDEN_RUN_H

#include "base/tensor.h"
#include "engine/job.h"
#include "record.h"

#define GOLDEN_PLACES 8

struct golden_update {
    double loss, perturbed_loss; /* NaN: there is none */
};

struct golden_step {
    uint64_t update;
    double lr, sigma;
};

struct golden_epoch {
    double train_loss, train_top1, test_loss, test_top1, test_top5;
};

struct golden_telemetry {
    uint64_t update;
    double value[TELEMETRY_VALUES]; /* NaN: there is none */
};

/* A tensor's fingerprint. */
struct golden_tensor {
    uint64_t update;
    enum tensor_role role;
    char name[TENSOR_NAME_MAX];
    size_t n;
    double sum, squares;
    int n_places;
    size_t at[GOLDEN_PLACES];
    double value[GOLDEN_PLACES];
};

struct golden_run {
    struct engine_job job; /* the run's settings; every other member at its default */
    int n_updates, n_steps, n_epochs, n_telemetry, n_tensors;
    struct golden_update *updates;
    struct golden_step *steps;
    struct golden_epoch *epochs;
    struct golden_telemetry *telemetry;
    struct golden_tensor *tensors;
};

/* Of "sgd", …, "m-arwp": the demonstration; "uneven": a short run with a tail batch; a model's
 * name: ten updates of it. Fails the running cmocka test on any mistake. */
struct golden_run *golden_run_open(const char *name);
void golden_run_close(struct golden_run *run);

/* The enum model_kind of a name. */
int golden_model(const char *name);

/* Reads the rest of a line, "AT VALUE AT VALUE …"; returns how many pairs there are. */
int golden_places(char *line, size_t at[GOLDEN_PLACES], double value[GOLDEN_PLACES]);

/* Trains `job` from its start and stops it, with a checkpoint, after `updates` updates (0: before
 * the first; a run that is shorter ends). The caller frees the record. */
struct record *golden_train(const struct engine_job *job, uint64_t updates);

/* Element i of a tensor, whatever its type. */
double tensor_element(const struct tensor *tensor, size_t i);

#endif
