/* Whether given vectors are those of the model's parameters, before a probe begins with them. */
#include <string.h>

#include "job/resolve.h"
#include "job/weights.h"

struct check {
    const struct graph *graph;
    const struct tensor *tensors;
    int n;
    struct problems *problems;
};

const struct tensor *weights_find_named(const struct tensor *tensors, int n, const char *prefix,
                                        const char *name)
{
    size_t length = strlen(prefix);

    for (int i = 0; i < n; i++)
        if (!strncmp(tensors[i].name, prefix, length) && !strcmp(tensors[i].name + length, name))
            return &tensors[i];
    return NULL;
}

const char *weights_prefix(const struct graph *graph, const struct tensor *tensors, int n,
                           const char *prefix, bool alone)
{
    bool named = weights_find_named(tensors, n, prefix, graph->params[0].name);

    return alone && !named ? "" : prefix;
}

static void check_one(const struct check *check, const char *prefix,
                      const struct graph_tensor *wanted)
{
    const struct tensor *tensor =
        weights_find_named(check->tensors, check->n, prefix, wanted->name);
    char have[100], want[100];

    if (tensor && weights_fit(tensor, wanted))
        return;
    if (!tensor)
        problems_add(check->problems, "/upload", "%s%s is missing", prefix, wanted->name);
    else if (tensor->type == TENSOR_I64)
        problems_add(check->problems, "/upload", "%s has integers", tensor->name);
    else
        problems_add(check->problems, "/upload", "%s has the shape %s; the parameter's is %s",
                     tensor->name, weights_shape(tensor->rank, tensor->dim, have),
                     weights_shape(wanted->shape.rank, wanted->shape.dim, want));
}

static void check_vector(const struct check *check, const char *prefix, bool alone)
{
    prefix = weights_prefix(check->graph, check->tensors, check->n, prefix, alone);
    for (int p = 0; p < check->graph->n_params; p++)
        check_one(check, prefix, &check->graph->params[p]);
}

int engine_probe_check_vectors(const struct engine_job *job, const struct engine_probe *probe,
                               const struct tensor *tensors, int n, struct problems *problems,
                               struct err *err)
{
    bool x = probe->x.direction == DIRECTION_GIVEN, y = probe->y.direction == DIRECTION_GIVEN;
    struct check check = {.tensors = tensors, .n = n, .problems = problems};
    struct dataset_info info;
    struct model_input input;
    struct graph *graph;
    int rc = dataset_describe(&info, &job->dataset, err);

    if (rc)
        return rc;
    input = job_model_input(&info, 2);
    rc = model_forward_graph(&graph, &job->model, &input, true, err);
    if (rc)
        return rc;
    check.graph = graph;
    if (probe->kind == PROBE_SPECTRUM) {
        check_vector(&check, "start/", true);
    } else {
        if (x)
            check_vector(&check, "x/", !y);
        if (y)
            check_vector(&check, "y/", !x);
    }
    graph_free(graph);
    return 0;
}
