/* Vectors to be taken away, as tensors of the model's shapes: "<vector>/<parameter>". */
#include <stdio.h>
#include <stdlib.h>

#include "probe/state.h"

static void describe(const struct engine_probe_run *run, const struct probe_vector *vector, int p,
                     struct tensor *out)
{
    const struct graph_tensor *param = &run->graph->params[p];

    *out = (struct tensor){.role = TENSOR_PARAMETER,
                           .type = TENSOR_F32,
                           .rank = param->shape.rank,
                           .data = vector->data + run->params->tensor[p].offset};
    snprintf(out->name, sizeof out->name, "%s/%.100s", vector->name, param->name);
    for (int d = 0; d < out->rank; d++)
        out->dim[d] = param->shape.dim[d];
}

int probe_give(struct engine_probe_run *run, const struct probe_vector *vectors, int n,
               struct err *err)
{
    int params = run->graph->n_params, rc;
    struct checkpoint out = {.n_tensors = n * params};

    if (!run->sink.vectors)
        return 0;
    out.tensors = calloc((size_t)(n * params) + 1, sizeof *out.tensors);
    if (!out.tensors)
        return err_no_memory(err);
    for (int v = 0; v < n; v++)
        for (int p = 0; p < params; p++)
            describe(run, &vectors[v], p, &out.tensors[v * params + p]);
    rc = run->sink.vectors(run->sink.context, &out, err);
    free(out.tensors);
    return rc;
}
