/* What follows from a job without running it. */
#include "job/resolve.h"
#include "method/recipe.h"

static int count_parameters(int64_t *out, const struct engine_job *job,
                            const struct dataset_info *info, struct err *err)
{
    struct model_input input = job_model_input(info, 1);
    struct graph *graph;
    int rc = model_forward_graph(&graph, &job->model, &input, false, err);

    if (rc)
        return rc;
    *out = model_parameters(graph);
    graph_free(graph);
    return 0;
}

int engine_job_facts(const struct engine_job *job, struct engine_job_facts *out, struct err *err)
{
    struct job_place place;
    struct dataset_info info;
    struct recipe recipe;
    int64_t samples;
    int rc;

    if (!job_place(&place, job))
        return err_set(err, ERR_INVALID,
                       "there is no such device here, or it lacks this precision");
    rc = dataset_describe(&info, &job->dataset, err);
    if (rc)
        return rc;
    recipe_of(&recipe, &job->method);
    samples = job_train_samples(job, &info);
    *out = (struct engine_job_facts){.train_samples = samples,
                                     .test_samples = info.n[SPLIT_TEST],
                                     .classes = info.classes,
                                     .channels = info.channels,
                                     .height = info.height,
                                     .width = info.width,
                                     .gradients_per_update = recipe_gradients(&recipe),
                                     .device = place.name,
                                     .precision = place.precision};
    out->updates_per_epoch = job_updates_per_epoch(job, samples);
    out->updates = job_updates(job, samples);
    return count_parameters(&out->parameters, job, &info, err);
}
