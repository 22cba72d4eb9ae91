#include "job/weights.h"

#include <stdio.h>
#include <string.h>

#include "job/resolve.h"

bool weights_counts(const struct tensor *tensor)
{
    static const char tracked[] = "num_batches_tracked";
    size_t n = strlen(tensor->name), suffix = strlen(tracked);

    if (tensor->role != TENSOR_PARAMETER && tensor->role != TENSOR_BUFFER)
        return false;
    return n < suffix || strcmp(tensor->name + n - suffix, tracked) != 0;
}

const struct tensor *weights_find(const struct tensor *tensors, int n,
                                  const struct graph_tensor *wanted)
{
    for (int i = 0; i < n; i++)
        if (weights_counts(&tensors[i]) && strcmp(tensors[i].name, wanted->name) == 0)
            return &tensors[i];
    return NULL;
}

bool weights_fit(const struct tensor *tensor, const struct graph_tensor *wanted)
{
    bool fit = tensor->rank == wanted->shape.rank && tensor->type != TENSOR_I64;

    for (int d = 0; fit && d < tensor->rank; d++)
        fit = tensor->dim[d] == wanted->shape.dim[d];
    return fit;
}

const char *weights_shape(int rank, const int64_t *dim, char out[100])
{
    size_t used = 0;

    for (int d = 0; d < rank; d++)
        used +=
            (size_t)snprintf(out + used, 100 - used, "%c%lld", d ? ',' : '[', (long long)dim[d]);
    snprintf(out + used, 100 - used, rank ? "]" : "[]");
    return out;
}

static void compare_one(struct problems *problems, const struct tensor *tensors, int n,
                        const struct graph_tensor *wanted)
{
    const struct tensor *tensor = weights_find(tensors, n, wanted);
    char have[100], want[100];

    if (!tensor)
        problems_add(problems, "/init_from", "%s is missing", wanted->name);
    else if (tensor->type == TENSOR_I64)
        problems_add(problems, "/init_from", "%s has integers", wanted->name);
    else if (!weights_fit(tensor, wanted))
        problems_add(problems, "/init_from", "%s has the shape %s; the model's has %s",
                     wanted->name, weights_shape(tensor->rank, tensor->dim, have),
                     weights_shape(wanted->shape.rank, wanted->shape.dim, want));
}

static bool is_models(const struct graph *graph, const struct tensor *tensor)
{
    for (int i = 0; i < graph->n_params; i++)
        if (strcmp(graph->params[i].name, tensor->name) == 0)
            return true;
    for (int i = 0; i < graph->n_states; i++)
        if (strcmp(graph->states[i].name, tensor->name) == 0)
            return true;
    return false;
}

void weights_compare(const struct graph *graph, const struct tensor *tensors, int n,
                     struct problems *problems)
{
    for (int i = 0; i < graph->n_params; i++)
        compare_one(problems, tensors, n, &graph->params[i]);
    for (int i = 0; i < graph->n_states; i++)
        compare_one(problems, tensors, n, &graph->states[i]);
    for (int i = 0; i < n; i++)
        if (weights_counts(&tensors[i]) && !is_models(graph, &tensors[i]))
            problems_add(problems, "/init_from", "%s is none of the model's", tensors[i].name);
}

int engine_job_check_weights(const struct engine_job *job, const struct tensor *tensors, int n,
                             struct problems *problems, struct err *err)
{
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
    weights_compare(graph, tensors, n, problems);
    graph_free(graph);
    return 0;
}
