/* Combinations of values that make no sense. Each value alone is within its range already: that
 * is the tables' business. */

#include "backend/cuda/module.h"
#include "base/err.h"
#include "job/resolve.h"
#include "job/silent.h"
#include "method/recipe.h"

/* A loss is recorded for each update. */
#define UPDATES_MAX 1000000000

struct check {
    const struct engine_job *job;
    struct problems *problems;
    bool unlimited; /* how long the run is, is not known */
};

/* A GPU that is asked for and is not there; nothing else is wrong with the job then. */
static void check_gpu(struct check *check)
{
    const struct cuda_device *devices;
    struct err err;
    int n = cuda_devices(&devices, &err), wanted = job_gpu(check->job);

    if (n == 0)
        problems_add(check->problems, "/device", "there is no GPU here: %s", err.message);
    else if (wanted >= n)
        problems_add(check->problems, "/device", "there is no GPU %d here, but %d, counted from 0",
                     wanted, n);
    else
        problems_add(check->problems, "/precision",
                     "GPUs compute in tf32, bf16 and fp32; fp64 is the reference's");
}

static void check_device(struct check *check)
{
    static const char *const lacks[] = {
        [DEVICE_AUTO] = "tf32 and bf16 are for GPUs, and there is none here",
        [DEVICE_CPU] = "the device cpu computes in fp32 only; fp64 is the reference's, tf32 and "
                       "bf16 are for GPUs",
        [DEVICE_REFERENCE] = "the device reference computes in fp64 only",
    };

    if (job_backend(check->job))
        return;
    if (check->job->device >= DEVICE_CUDA)
        check_gpu(check);
    else if (check->job->device == DEVICE_CPU && !backend_of_cpu())
        problems_add(check->problems, "/device", "this build has no CPU backend");
    else
        problems_add(check->problems, "/precision", "%s", lacks[check->job->device]);
}

static void check_optimizer(struct check *check)
{
    const struct job_optimizer *optimizer = &check->job->optimizer;

    if (optimizer->nesterov && optimizer->momentum == 0)
        problems_add(check->problems, "/optimizer/nesterov",
                     "Nesterov's momentum needs a momentum above 0");
}

static void check_either(struct check *check)
{
    const struct engine_job *job = check->job;

    check->unlimited = (job->epochs > 0) == (job->updates > 0);
    if (check->unlimited && job->epochs > 0)
        problems_add(check->problems, "/updates",
                     "the run's length is given in epochs already: give one of the two");
    else if (check->unlimited)
        problems_add(check->problems, "/epochs", "give epochs or updates");
    if (job->schedule.warmup_updates > 0 && job->schedule.warmup_epochs > 0)
        problems_add(check->problems, "/schedule/warmup_epochs",
                     "give warmup_updates or warmup_epochs, not both");
}

static void check_init_from(struct check *check)
{
    const struct job_init_from *from = &check->job->init_from;

    if (from->job > 0 && from->upload > 0)
        problems_add(check->problems, "/init_from/upload",
                     "the weights are those of a checkpoint already");
    if (from->job == 0 && from->update > 0)
        problems_add(check->problems, "/init_from/update", "says nothing without a job");
}

/* Whether the place of the job has as many ranks; that there is one was said elsewhere. */
static void check_ranks(struct check *check)
{
    const struct cuda_device *devices;
    int64_t ranks = check->job->world_size;
    struct job_place place;
    struct err err;
    int n;

    if (ranks == 1 || !job_place(&place, check->job) || place.class->vector_data)
        return;
    n = cuda_devices(&devices, NULL);
    if (place.device + ranks > n)
        problems_add(check->problems, "/world_size", "there %s %d GPU%s here from %s on",
                     n - place.device == 1 ? "is" : "are", n - place.device,
                     n - place.device == 1 ? "" : "s", place.name);
    else if (!place.class->communicator)
        problems_add(check->problems, "/world_size", "the device %s computes alone", place.name);
    else if (place.class->communicator->find && place.class->communicator->find(&err))
        problems_add(check->problems, "/world_size", "%s", err.message);
}

/* What does not depend on the dataset. */
static void check_plain(struct check *check)
{
    check_device(check);
    check_ranks(check);
    check_optimizer(check);
    check_either(check);
    check_init_from(check);
}

/* Images are read whole, but those that stay in their files. */
static void check_room(struct check *check, const struct dataset_info *info)
{
    double needed = (double)dataset_bytes(&check->job->dataset, info);
    double present = (double)job_host_memory();

    if (needed > present)
        problems_add(check->problems, "/dataset/path", "takes %.1f GiB of memory; there are %.1f",
                     needed / 0x1p30, present / 0x1p30);
}

static void check_dataset(struct check *check, const struct dataset_info *info)
{
    const struct job_dataset *dataset = &check->job->dataset;
    int side = info->height < info->width ? info->height : info->width;

    if (dataset->train_limit > info->n[SPLIT_TRAIN])
        problems_add(check->problems, "/dataset/train_limit",
                     "there are only %lld training samples", (long long)info->n[SPLIT_TRAIN]);
    if (dataset->augment.crop_padding >= side)
        problems_add(check->problems, "/dataset/augment/crop_padding",
                     "must be below the images' side of %d: a crop could be all padding", side);
    if (dataset->kind == DATASET_IMAGE_FOLDER && dataset->resize < dataset->size)
        problems_add(check->problems, "/dataset/resize", "must be at least size, %lld",
                     (long long)dataset->size);
    check_room(check, info);
}

static void check_warmup(struct check *check, int64_t per_epoch, int64_t updates)
{
    const struct job_schedule *schedule = &check->job->schedule;
    bool epochs = schedule->warmup_epochs > 0;

    if (schedule->warmup_updates < updates && schedule->warmup_epochs <= (updates - 1) / per_epoch)
        return;
    problems_add(check->problems, epochs ? "/schedule/warmup_epochs" : "/schedule/warmup_updates",
                 "the warm-up takes all of the run, which has %lld updates", (long long)updates);
}

static void check_length(struct check *check, int64_t samples)
{
    const struct engine_job *job = check->job;
    int64_t per_epoch = job_updates_per_epoch(job, samples);

    if (job->batch_size > samples)
        problems_add(check->problems, "/batch_size", "there are only %lld training samples",
                     (long long)samples);
    if (job->epochs > UPDATES_MAX / per_epoch)
        problems_add(check->problems, "/epochs",
                     "%lld epochs of %lld updates; a job may have %d updates",
                     (long long)job->epochs, (long long)per_epoch, UPDATES_MAX);
    else if (!check->unlimited)
        check_warmup(check, per_epoch, job_updates(job, samples));
}

/* The samples of the smallest pass over a batch of n, on so many ranks. A piece without samples is
 * no pass; *idle: there is such a piece. */
static int64_t smallest_piece(const struct engine_job *job, int ranks, int64_t n, bool *idle)
{
    int64_t smallest = n;
    struct recipe recipe;

    *idle = false;
    recipe_of(&recipe, &job->method);
    for (int i = 0; i < recipe.n_terms * ranks; i++) {
        struct recipe_rank rank = {i % ranks, ranks};
        struct recipe_piece piece;

        if (!recipe_piece(&piece, &recipe, i / ranks, rank, n))
            continue;
        *idle = *idle || piece.samples == 0;
        if (piece.samples > 0 && piece.samples < smallest)
            smallest = piece.samples;
    }
    return smallest;
}

/* The samples of the smallest pass. */
static int64_t smallest_pass(const struct engine_job *job, int ranks, int64_t samples)
{
    int64_t tail = samples % job->batch_size, full, last;
    bool idle;

    full = smallest_piece(job, ranks, job->batch_size, &idle);
    last = tail > 0 ? smallest_piece(job, ranks, tail, &idle) : full;
    return last < full ? last : full;
}

static bool check_parts(struct check *check, int64_t samples)
{
    const struct engine_job *job = check->job;
    int64_t tail = samples % job->batch_size ? samples % job->batch_size : job->batch_size;
    bool idle;

    smallest_piece(job, (int)job->world_size, job->batch_size, &idle);
    if (tail < job->method.samples)
        problems_add(check->problems, "/method/samples",
                     "the last batch of a pass has %lld sample%s for %lld parts: a part needs one "
                     "at least",
                     (long long)tail, tail == 1 ? "" : "s", (long long)job->method.samples);
    else if (idle)
        problems_add(check->problems, "/world_size",
                     "a batch has not enough samples for all ranks");
    else
        return true;
    return false;
}

/* Whether batch norm has something to average in a pass of one sample. */
static bool check_single(struct check *check, const struct dataset_info *info, int64_t samples)
{
    const struct engine_job *job = check->job;
    struct model_input input = job_model_input(info, 1);
    struct graph *graph;
    struct err err;

    if (model_forward_graph(&graph, &job->model, &input, true, &err)) {
        bool alone = smallest_pass(job, 1, samples) > 1; /* it would do on one rank */

        problems_add(check->problems, alone ? "/world_size" : "/batch_size",
                     "the last batch of a pass has one sample%s, which the last stage sees at 1×1: "
                     "batch norm cannot normalise a single value",
                     alone                     ? " on a rank"
                     : job->method.samples > 1 ? " a part"
                                               : "");
        return false;
    }
    graph_free(graph);
    return true;
}

/* Whether the model can be built for these images. */
static bool check_model(struct check *check, const struct dataset_info *info, int64_t samples)
{
    const struct engine_job *job = check->job;
    struct model_input input = job_model_input(info, 1);
    struct model_problem problem;

    if (!model_fits(&job->model, &input, &problem)) {
        problems_add(check->problems, problem.pointer, "%s", problem.message);
        return false;
    }
    return smallest_pass(job, (int)job->world_size, samples) > 1 ||
           check_single(check, info, samples);
}

/* What training holds at the very least: weights, the optimizer's state and a gradient a term, and
 * for each term that runs at the same time the results of convolutions, linear layers and other
 * products, which its way back needs. `shared`: all ranks hold theirs in one memory. */
static double least_memory(const struct engine_job *job, const struct graph *graph, double real,
                           double activation, bool shared)
{
    double ranks = (double)job->world_size;
    struct recipe recipe;
    int adam = job->optimizer.kind != OPTIMIZER_SGD, gradients = 0;

    recipe_of(&recipe, &job->method);
    for (int t = 0; t < recipe.n_terms; t++)
        gradients += !recipe.term[t].forward_only;
    return real * (double)model_parameters(graph) * (2 + adam + gradients) * (shared ? ranks : 1) +
           activation * model_product_elements(graph) * recipe_width(&recipe) /
               (shared ? 1 : ranks);
}

/* The samples of the largest pass. */
static int64_t largest_pass(const struct engine_job *job, int64_t samples)
{
    int64_t batch = job->batch_size < samples ? job->batch_size : samples, largest = 0;
    struct recipe recipe;

    recipe_of(&recipe, &job->method);
    for (int t = 0; t < recipe.n_terms; t++) {
        int64_t begin, n = recipe_part(&recipe.term[t], batch, &begin);

        largest = n > largest ? n : largest;
    }
    return largest;
}

/* What a GPU holds of activations depends on fusions and types, and is counted to the byte for each
 * job that is submitted (engine_estimate_check). */
static void check_memory(struct check *check, const struct dataset_info *info, int64_t samples)
{
    const struct engine_job *job = check->job;
    struct model_input input = job_model_input(info, largest_pass(job, samples));
    struct graph *graph;
    struct err err;
    struct job_place place;
    double needed, present, real;

    if (!job_place(&place, job))
        return;
    real = (double)real_bytes(place.class->real);
    if (model_forward_graph(&graph, &job->model, &input, true, &err)) {
        problems_add(check->problems, "/model", "%s", err.message);
        return;
    }
    needed = least_memory(job, graph, real, place.gpu ? 0 : real, place.class->vector_data);
    present = (double)place.memory_bytes;
    graph_free(graph);
    if (needed > present)
        problems_add(check->problems, "/model",
                     "needs more than %.1f GiB of memory with this batch size; %s has %.1f: a "
                     "smaller batch_size or model would help",
                     needed / 0x1p30, place.gpu ? place.name : "this machine", present / 0x1p30);
}

void job_first_problem(void *context, const char *pointer, const char *message)
{
    struct first_problem *first = context;

    if (!first->seen)
        err_set(first->err, ERR_INVALID, "%s: %s", pointer, message);
    first->seen = true;
}

void job_check_with(const struct engine_job *job, const struct dataset_info *info,
                    struct problems *problems)
{
    struct check check = {job, problems, false};
    int64_t samples = job_train_samples(job, info);

    check_plain(&check);
    check_dataset(&check, info);
    check_length(&check, samples);
    if (check_parts(&check, samples) && check_model(&check, info, samples))
        check_memory(&check, info, samples);
}

/* Whether there is a dataset; else nothing is known that depends on it. */
static bool find_dataset(const struct engine_job *job, struct dataset_info *info,
                         struct problems *problems)
{
    bool has_path = job->dataset.kind != DATASET_DIGITS;
    struct err err;

    if (has_path && job->dataset.path[0] != '/')
        problems_add(problems, "/dataset/path", "must be an absolute path");
    else if (dataset_describe(info, &job->dataset, &err))
        problems_add(problems,
                     err.code == ERR_UNSUPPORTED ? "/dataset/kind"
                     : has_path                  ? "/dataset/path"
                                                 : "/dataset",
                     "%s", err.message);
    else
        return true;
    return false;
}

void engine_job_check(const struct engine_job *job, struct problems *problems)
{
    struct check check = {job, problems, false};
    struct dataset_info info;

    if (!find_dataset(job, &info, problems)) {
        check_plain(&check);
        return;
    }
    job_check_with(job, &info, problems);
    job_check_probes(job, job_train_samples(job, &info), problems);
}
