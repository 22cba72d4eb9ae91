#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "bench.h"
#include "job/tables.h"

enum word_type { WORD_NAME, WORD_NUMBER, WORD_REAL };

static const struct word {
    const char *name;
    enum word_type type;
    size_t offset;
} known[] = {{"model", WORD_NAME, offsetof(struct bench_words, model)},
             {"method", WORD_NAME, offsetof(struct bench_words, method)},
             {"precision", WORD_NAME, offsetof(struct bench_words, precision)},
             {"batch", WORD_NUMBER, offsetof(struct bench_words, batch)},
             {"side", WORD_NUMBER, offsetof(struct bench_words, side)},
             {"classes", WORD_NUMBER, offsetof(struct bench_words, classes)},
             {"updates", WORD_NUMBER, offsetof(struct bench_words, updates)},
             {"augment", WORD_NUMBER, offsetof(struct bench_words, augment)},
             {"width", WORD_NUMBER, offsetof(struct bench_words, width)},
             {"depth", WORD_NUMBER, offsetof(struct bench_words, depth)},
             {"widen", WORD_NUMBER, offsetof(struct bench_words, widen)},
             {"patch", WORD_NUMBER, offsetof(struct bench_words, patch)},
             {"heads", WORD_NUMBER, offsetof(struct bench_words, heads)},
             {"mlp", WORD_NUMBER, offsetof(struct bench_words, mlp)},
             {"tflops", WORD_REAL, offsetof(struct bench_words, tflops)},
             {"gbps", WORD_REAL, offsetof(struct bench_words, gbps)}};

static int set(struct bench_words *out, const struct word *word, const char *value, struct err *err)
{
    void *at = (char *)out + word->offset;
    char *end;

    if (word->type == WORD_NAME) {
        if (snprintf(at, sizeof out->model, "%s", value) < (int)sizeof out->model)
            return 0;
    } else {
        double x = strtod(value, &end);

        if (end != value && !*end && x >= 0 && x <= 1e9) {
            if (word->type == WORD_NUMBER)
                *(int64_t *)at = (int64_t)x;
            else
                *(double *)at = x;
            return 0;
        }
    }
    return err_set(err, ERR_INVALID, "%s=%s makes no sense", word->name, value);
}

static int read_word(struct bench_words *out, char *text, struct err *err)
{
    char *value = strchr(text, '=');

    if (value)
        *value++ = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(known) && value; i++)
        if (!strcmp(known[i].name, text))
            return set(out, &known[i], value, err);
    return err_set(err, ERR_INVALID, "there is no word %s", text);
}

int bench_words_read(struct bench_words *out, char *line, struct err *err)
{
    char *rest;
    int rc = 0;

    *out = (struct bench_words){.model = "resnet18",
                                .method = "sgd",
                                .precision = "bf16",
                                .batch = 256,
                                .side = 32,
                                .classes = 10,
                                .updates = 50};
    for (char *text = strtok_r(line, " \n", &rest); text && !rc;
         text = strtok_r(NULL, " \n", &rest))
        rc = read_word(out, text, err);
    return rc;
}

static int number_of(const struct spec_object *kinds, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(kinds[i].name, name))
            return i;
    return -1;
}

static int precision_of(const char *name)
{
    return !strcmp(name, "bf16")   ? PRECISION_BF16
           : !strcmp(name, "tf32") ? PRECISION_TF32
           : !strcmp(name, "fp32") ? PRECISION_FP32
                                   : -1;
}

static void shape_model(struct job_model *model, const struct bench_words *words)
{
    const struct {
        int64_t *to, value;
    } members[] = {{&model->width, words->width}, {&model->depth, words->depth},
                   {&model->widen, words->widen}, {&model->patch, words->patch},
                   {&model->heads, words->heads}, {&model->mlp, words->mlp}};

    for (size_t i = 0; i < ARRAY_LENGTH(members); i++)
        if (members[i].value)
            *members[i].to = members[i].value;
}

/* It trains as long as it is let, at a rate at which no model diverges, and writes nothing. */
int bench_words_job(const struct bench_words *words, struct engine_job *out, struct err *err)
{
    int model = number_of(job_model_kinds, MODEL_KINDS, words->model);
    int method = number_of(job_methods, METHOD_KINDS, words->method);
    int precision = precision_of(words->precision);

    if (model < 0 || method < 0 || precision < 0)
        return err_set(err, ERR_INVALID, "no model %s, method %s or precision %s", words->model,
                       words->method, words->precision);
    engine_job_defaults(out, model, DATASET_CIFAR10, method);
    shape_model(&out->model, words);
    if (!words->augment)
        out->dataset.augment = (struct job_augment){0};
    strcpy(out->dataset.path, "random");
    out->batch_size = words->batch;
    out->epochs = 1000000;
    out->optimizer.lr = 1e-3;
    out->schedule.kind = SCHEDULE_CONSTANT;
    out->device = DEVICE_CUDA;
    out->precision = precision;
    out->checkpoint = (struct job_checkpoint){.keep = 1};
    out->evaluate.every_epochs = 1000000;
    return 0;
}
