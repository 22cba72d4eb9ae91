/* Combinations of values that make no sense. Each value alone is within its range already: that
 * is the tables' business. */
#include <stdarg.h>
#include <stdio.h>

#include "base/err.h"
#include "job/resolve.h"
#include "method/recipe.h"

/* A loss is recorded for each update. */
#define UPDATES_MAX 1000000000

struct check {
    const struct engine_job *job;
    void (*problem)(void *context, const char *pointer, const char *message);
    void *context;
    int n;
};

__attribute__((format(printf, 3, 4))) static void report(struct check *check, const char *pointer,
                                                         const char *format, ...)
{
    char message[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    check->problem(check->context, pointer, message);
    check->n++;
}

static void check_device(struct check *check)
{
    static const char *const lacks[] = {
        [DEVICE_CPU] = "the device cpu computes in fp32 only; fp64 is the reference's",
        [DEVICE_REFERENCE] = "the device reference computes in fp64 only",
    };

    if (!job_backend(check->job))
        report(check, "/precision", "%s", lacks[check->job->device]);
}

static void check_dataset(struct check *check, const struct dataset_info *info)
{
    const struct job_dataset *dataset = &check->job->dataset;
    int side = info->height < info->width ? info->height : info->width;

    if (dataset->train_limit > info->n[SPLIT_TRAIN])
        report(check, "/dataset/train_limit", "there are only %lld training samples",
               (long long)info->n[SPLIT_TRAIN]);
    if (dataset->augment.crop_padding >= side)
        report(check, "/dataset/augment/crop_padding",
               "must be below the images' side of %d: a crop could be all padding", side);
    if (dataset->kind == DATASET_IMAGE_FOLDER && dataset->resize < dataset->size)
        report(check, "/dataset/resize", "must be at least size, %lld", (long long)dataset->size);
}

static void check_length(struct check *check, int64_t samples)
{
    const struct engine_job *job = check->job;
    int64_t per_epoch = (samples + job->batch_size - 1) / job->batch_size;

    if (job->batch_size > samples)
        report(check, "/batch_size", "there are only %lld training samples", (long long)samples);
    if (job->epochs > UPDATES_MAX / per_epoch)
        report(check, "/epochs", "%lld epochs of %lld updates; a job may have %d updates",
               (long long)job->epochs, (long long)per_epoch, UPDATES_MAX);
}

/* Whether batch norm has something to average in a last batch of one sample. */
static bool check_single(struct check *check, const struct dataset_info *info)
{
    struct model_input input = job_model_input(info, 1);
    struct graph *graph;
    struct err err;

    if (model_forward_graph(&graph, &check->job->model, &input, true, &err)) {
        report(check, "/batch_size",
               "the last batch of a pass has one sample, which the last stage sees at 1×1: "
               "batch norm cannot normalise a single value");
        return false;
    }
    graph_free(graph);
    return true;
}

/* Whether the model can be built for these images. */
static bool check_model(struct check *check, const struct dataset_info *info, int64_t samples)
{
    const struct engine_job *job = check->job;
    int64_t tail = samples % job->batch_size ? samples % job->batch_size : job->batch_size;
    struct model_input input = job_model_input(info, 1);
    struct model_problem problem;

    if (!model_fits(&job->model, &input, &problem)) {
        report(check, problem.pointer, "%s", problem.message);
        return false;
    }
    return tail > 1 || check_single(check, info);
}

/* What training holds at the very least: weights, momentum and a gradient a term, and for each
 * term that runs at the same time the results of convolutions, linear layers and other products,
 * which its way back needs. */
static double least_memory(const struct engine_job *job, const struct graph *graph, double real)
{
    struct recipe recipe;
    double activations = 0;

    recipe_of(&recipe, &job->method);
    for (int i = 0; i < graph->n_nodes; i++) {
        enum op op = graph->nodes[i].op;

        if (op == OP_CONV || op == OP_LINEAR || op == OP_MATMUL)
            activations += (double)shape_elements(&graph->values[graph->nodes[i].output[0]].shape);
    }
    return real * ((double)model_parameters(graph) * (2 + recipe.n_terms) +
                   activations * recipe_width(&recipe));
}

static void check_memory(struct check *check, const struct dataset_info *info, int64_t samples)
{
    const struct engine_job *job = check->job;
    const struct backend_class *class = job_backend(job);
    struct model_input input =
        job_model_input(info, job->batch_size < samples ? job->batch_size : samples);
    struct graph *graph;
    struct err err;
    double needed, present;
    int n;

    if (!class)
        return;
    if (model_forward_graph(&graph, &job->model, &input, true, &err)) {
        report(check, "/model", "%s", err.message);
        return;
    }
    needed = least_memory(job, graph, (double)real_bytes(class->real));
    present = (double)engine_devices(&n)[0].memory_bytes;
    graph_free(graph);
    if (needed > present)
        report(check, "/model",
               "needs more than %.1f GiB of memory with this batch size; "
               "there are %.1f",
               needed / 0x1p30, present / 0x1p30);
}

int job_check_with(const struct engine_job *job, const struct dataset_info *info,
                   void (*problem)(void *context, const char *pointer, const char *message),
                   void *context)
{
    struct check check = {job, problem, context, 0};
    int64_t samples = job_train_samples(job, info);

    check_dataset(&check, info);
    check_length(&check, samples);
    check_device(&check);
    if (check_model(&check, info, samples))
        check_memory(&check, info, samples);
    return check.n;
}

int engine_job_check(const struct engine_job *job,
                     void (*problem)(void *context, const char *pointer, const char *message),
                     void *context)
{
    struct check check = {job, problem, context, 0};
    bool has_path = job->dataset.kind != DATASET_DIGITS;
    struct dataset_info info;
    struct err err;

    if (has_path && job->dataset.path[0] != '/')
        report(&check, "/dataset/path", "must be an absolute path");
    else if (dataset_describe(&info, &job->dataset, &err))
        report(&check,
               err.code == ERR_UNSUPPORTED ? "/dataset/kind"
               : has_path                  ? "/dataset/path"
                                           : "/dataset",
               "%s", err.message);
    if (!check.n)
        return job_check_with(job, &info, problem, context);
    check_device(&check);
    return check.n;
}
