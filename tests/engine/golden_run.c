/* Reads a run's golden file, kind of line by kind of line. What a file has too little of, the
 * counts at the end tell. */
#include "golden_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "golden.h"
#include "golden_images.h"
#include "idx_folder.h"
#include "job/tables.h"

static const char *const methods[] = {"sgd", "sam", "rwp", "arwp", "m-rwp", "m-arwp", "asam"};
static const char *const optimizers[] = {"sgd", "adam", "adamw"};
static const char *const schedules[] = {"cosine", "step", "constant"};
static const char *const statistics[] = {"clean", "perturbed", "both"};
static const char *const steps[] = {"update", "epoch"};
static const char *const roles[] = {"parameter", "buffer", "momentum", "fisher", "", "squares"};

static int index_of(const char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return (int)i;
    fail_msg("golden file: unknown name %s", name);
    return -1;
}

/* Room for one more element; returns it zeroed. */
static void *grown(void *array, int *n, size_t size)
{
    void **base = array;
    char *element;

    *base = realloc(*base, (size_t)(*n + 1) * size);
    assert_non_null(*base);
    element = (char *)*base + (size_t)*n * size;
    memset(element, 0, size);
    (*n)++;
    return element;
}

int golden_places(char *line, size_t at[GOLDEN_PLACES], double value[GOLDEN_PLACES])
{
    int n = 0;

    for (; *line; n++) {
        assert_true(n < GOLDEN_PLACES);
        at[n] = golden_integer(&line);
        value[n] = golden_number(&line);
    }
    return n;
}

static void read_setting(struct golden_run *run, char *line)
{
    struct engine_job *job = &run->job;
    const char *name = golden_word(&line);
    double value = golden_number(&line);
    struct {
        const char *name;
        double *real;
        int64_t *whole;
    } settings[] = {
        {"rho", &job->method.rho, NULL},
        {"sigma", &job->method.sigma, NULL},
        {"ramp", &job->method.ramp, NULL},
        {"lambda", &job->method.lambda, NULL},
        {"eta", &job->method.eta, NULL},
        {"beta", &job->method.beta, NULL},
        {"lr", &job->optimizer.lr, NULL},
        {"momentum", &job->optimizer.momentum, NULL},
        {"weight_decay", &job->optimizer.weight_decay, NULL},
        {"beta1", &job->optimizer.beta1, NULL},
        {"beta2", &job->optimizer.beta2, NULL},
        {"eps", &job->optimizer.eps, NULL},
        {"clip_norm", &job->optimizer.clip_norm, NULL},
        {"gamma", &job->schedule.gamma, NULL},
        {"every_epochs", NULL, &job->schedule.every_epochs},
        {"warmup_updates", NULL, &job->schedule.warmup_updates},
        {"warmup_epochs", NULL, &job->schedule.warmup_epochs},
        {"updates", NULL, &job->updates},
        {"label_smoothing", &job->label_smoothing, NULL},
        {"samples", NULL, &job->method.samples},
        {"bn_momentum", &job->batch_norm.momentum, NULL},
        {"telemetry", NULL, &job->telemetry.every_updates},
        {"label_noise", &job->dataset.label_noise, NULL},
        {"batch_size", NULL, &job->batch_size},
        {"epochs", NULL, &job->epochs},
        {"seed", NULL, &job->seed},
        {"train_limit", NULL, &job->dataset.train_limit},
        {"width", NULL, &job->model.width},
        {"depth", NULL, &job->model.depth},
        {"widen", NULL, &job->model.widen},
        {"dropout", &job->model.dropout, NULL},
        {"embedding_dropout", &job->model.embedding_dropout, NULL},
        {"patch", NULL, &job->model.patch},
        {"heads", NULL, &job->model.heads},
        {"mlp", NULL, &job->model.mlp},
    };
    struct {
        const char *name;
        bool *flag;
    } flags[] = {{"nesterov", &job->optimizer.nesterov}};

    if (strcmp(name, "stem") == 0) {
        job->model.stem = (int)value;
        return;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(settings); i++) {
        if (strcmp(settings[i].name, name) != 0)
            continue;
        if (settings[i].real)
            *settings[i].real = value;
        else
            *settings[i].whole = (int64_t)value;
        return;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(flags); i++)
        if (strcmp(flags[i].name, name) == 0) {
            *flags[i].flag = value != 0;
            return;
        }
    fail_msg("golden file: unknown setting %s", name);
}

static void read_choice(struct golden_run *run, char *line)
{
    struct engine_job *job = &run->job;
    struct {
        const char *member;
        int *kind;
        const char *const *names;
        size_t n;
    } members[] = {{"optimizer", &job->optimizer.kind, optimizers, ARRAY_LENGTH(optimizers)},
                   {"schedule", &job->schedule.kind, schedules, ARRAY_LENGTH(schedules)},
                   {"step", &job->schedule.step, steps, ARRAY_LENGTH(steps)},
                   {"statistics", &job->method.statistics, statistics, ARRAY_LENGTH(statistics)}};
    const char *member = golden_word(&line);

    for (size_t i = 0; i < ARRAY_LENGTH(members); i++)
        if (strcmp(members[i].member, member) == 0) {
            *members[i].kind = index_of(members[i].names, members[i].n, golden_word(&line));
            return;
        }
    fail_msg("golden file: unknown kind of %s", member);
}

static void read_update(struct golden_run *run, char *line)
{
    struct golden_update *update = grown(&run->updates, &run->n_updates, sizeof *update);

    assert_int_equal(golden_integer(&line), run->n_updates);
    update->loss = golden_number(&line);
    update->perturbed_loss = golden_number(&line);
}

static void read_step(struct golden_run *run, char *line)
{
    struct golden_step *step = grown(&run->steps, &run->n_steps, sizeof *step);

    step->update = golden_integer(&line);
    step->lr = golden_number(&line);
    step->sigma = golden_number(&line);
}

static void read_epoch(struct golden_run *run, char *line)
{
    struct golden_epoch *epoch = grown(&run->epochs, &run->n_epochs, sizeof *epoch);

    assert_int_equal(golden_integer(&line), run->n_epochs);
    epoch->train_loss = golden_number(&line);
    epoch->train_top1 = golden_number(&line);
    epoch->test_loss = golden_number(&line);
    epoch->test_top1 = golden_number(&line);
    epoch->test_top5 = golden_number(&line);
}

static void read_telemetry(struct golden_run *run, char *line)
{
    struct golden_telemetry *telemetry =
        grown(&run->telemetry, &run->n_telemetry, sizeof *telemetry);

    telemetry->update = golden_integer(&line);
    for (int i = 0; i < TELEMETRY_VALUES; i++)
        telemetry->value[i] = golden_number(&line);
}

static void read_tensor(struct golden_run *run, char *line)
{
    struct golden_tensor *tensor = grown(&run->tensors, &run->n_tensors, sizeof *tensor);

    tensor->update = golden_integer(&line);
    tensor->role = (enum tensor_role)index_of(roles, ARRAY_LENGTH(roles), golden_word(&line));
    snprintf(tensor->name, sizeof tensor->name, "%s", golden_word(&line));
    tensor->n = golden_integer(&line);
    tensor->sum = golden_number(&line);
    tensor->squares = golden_number(&line);
    tensor->n_places = golden_places(line, tensor->at, tensor->value);
    assert_true(tensor->n_places > 0);
}

/* What follows `kind` in the file's first line of that kind, a copy in `text`; "" if none. */
static char *first_line(const char *name, const char *kind, char text[100])
{
    FILE *file = golden_open(name);
    const char *line = golden_next(file, kind);

    snprintf(text, 100, "%s", line ? line : "");
    fclose(file);
    return text;
}

int golden_model(const char *name)
{
    for (int kind = 0; kind < MODEL_KINDS; kind++)
        if (strcmp(job_model_kinds[kind].name, name) == 0)
            return kind;
    fail_msg("golden file: unknown model %s", name);
    return -1;
}

static void read_images(struct golden_run *run, char *line)
{
    struct golden_images images;

    images.size = golden_integer(&line);
    images.n[0] = golden_integer(&line);
    images.n[1] = golden_integer(&line);
    golden_images_make(&run->job.dataset, &images);
}

/* The lines that decide which job's defaults are the rest's. */
static void read_kind(struct golden_run *run, const char *name)
{
    char text[100], *line = first_line(name, "model", text);
    int model = *line ? golden_model(golden_word(&line)) : MODEL_RESNET;
    struct spec_int_list blocks = {0};

    line = first_line(name, "method", text);
    engine_job_defaults(&run->job, model, DATASET_DIGITS,
                        index_of(methods, ARRAY_LENGTH(methods), golden_word(&line)));
    line = first_line(name, "blocks", text);
    while (*line)
        blocks.item[blocks.n++] = (int64_t)golden_integer(&line);
    run->job.model.blocks = blocks;
    line = first_line(name, "images", text);
    if (*line)
        read_images(run, line);
    run->job.schedule = (struct job_schedule){.kind = SCHEDULE_COSINE, .step = SCHEDULE_PER_UPDATE};
    run->job.evaluate.every_epochs = 1;
    /* Of every optimizer at once: what a job of one kind does not have, it does not read. */
    run->job.optimizer.beta1 = 0.9;
    run->job.optimizer.beta2 = 0.999;
    run->job.optimizer.eps = 1e-8;
}

static void check_counts(const struct golden_run *run)
{
    const struct engine_job *job = &run->job;
    int64_t batches = (job->dataset.train_limit + job->batch_size - 1) / job->batch_size;
    int64_t updates = job->updates ? job->updates : job->epochs * batches;

    assert_int_equal(run->n_epochs, (updates + batches - 1) / batches);
    assert_int_equal(run->n_updates, updates);
    if (job->telemetry.every_updates)
        assert_int_equal(run->n_telemetry, updates / job->telemetry.every_updates);
    assert_int_equal(run->n_steps, (run->n_updates + 9) / 10);
    assert_true(run->n_tensors > 0);
}

struct golden_run *golden_run_open(const char *name)
{
    static const struct {
        const char *kind;
        void (*read)(struct golden_run *run, char *line);
    } kinds[] = {{"kind", read_choice},  {"setting", read_setting}, {"update", read_update},
                 {"step", read_step},    {"epoch", read_epoch},     {"telemetry", read_telemetry},
                 {"tensor", read_tensor}};
    struct golden_run *run = calloc(1, sizeof *run);
    char path[32];

    assert_non_null(run);
    snprintf(path, sizeof path, "%s.txt", name);
    read_kind(run, path);
    for (size_t k = 0; k < ARRAY_LENGTH(kinds); k++) {
        FILE *file = golden_open(path);
        char *line;

        while ((line = golden_next(file, kinds[k].kind)))
            kinds[k].read(run, line);
        fclose(file);
    }
    check_counts(run);
    return run;
}

void golden_run_close(struct golden_run *run)
{
    if (!run)
        return;
    if (run->job.dataset.kind == DATASET_IDX)
        idx_folder_remove(&run->job.dataset);
    free(run->updates);
    free(run->steps);
    free(run->epochs);
    free(run->telemetry);
    free(run->tensors);
    free(run);
}

struct record *golden_train(const struct engine_job *job, uint64_t updates)
{
    struct record *record = record_new();

    record->ask_at = updates;
    record->ask = ENGINE_STOP;
    if (updates == 0)
        atomic_store(&record->request, ENGINE_STOP);
    assert_int_not_equal(record_run_well(record, job, NULL), ENGINE_ABANDONED);
    assert_int_equal(record->checkpoint.update, record->n_updates);
    return record;
}

double tensor_element(const struct tensor *tensor, size_t i)
{
    switch (tensor->type) {
    case TENSOR_F32:
        return (double)((const float *)tensor->data)[i];
    case TENSOR_F64:
        return ((const double *)tensor->data)[i];
    default:
        return (double)((const int64_t *)tensor->data)[i];
    }
}
