/* A compiled graph: a copy of it, a buffer a value, and the walk over its nodes.
 *
 * Invariant: `read[v]` is where value v is read from. For what a node computes it is the node's
 * buffer, for good; for inputs, parameters, states and directions it is set anew by each pass. */
#include <stdlib.h>
#include <string.h>

#include "backend/check.h"
#include "backend/reference/reference.h"
#include "graph/uses.h"

struct program {
    struct backend *backend;
    struct graph *graph;
    const struct layout *params, *states;
    size_t bytes;    /* of memory, weights and scratch together */
    double *memory;  /* the buffers of all computed values */
    double **buffer; /* of each value; NULL for sources */
    const void **read;
    double *weights; /* perturbed weights, of params->size */
    double *scratch;
    bool *directed; /* of each value: whether it depends on a direction */
    bool keep_primal, kept;
};

static size_t buffer_elements(const struct graph *graph, int value)
{
    const struct node *node = &graph->nodes[graph->values[value].node];

    return node->n_inputs ? (size_t)shape_elements(&graph->values[value].shape) : 0;
}

static int check_ops(const struct graph *graph, struct err *err)
{
    for (int i = 0; i < graph->n_nodes; i++)
        if (graph->nodes[i].n_inputs && !reference_op_of(graph->nodes[i].op))
            return err_set(err, ERR_UNSUPPORTED, "the reference backend has no operation %s",
                           op_name(graph->nodes[i].op));
    return 0;
}

static int allocate(struct program *p, struct err *err)
{
    const struct graph *graph = p->graph;
    size_t n = (size_t)graph->n_values, elements = 0, scratch = 0;

    for (int i = 0; i < graph->n_values; i++)
        elements += buffer_elements(graph, i);
    for (int i = 0; i < graph->n_nodes; i++) {
        size_t needed = reference_scratch(graph, &graph->nodes[i]);
        scratch = needed > scratch ? needed : scratch;
    }
    p->bytes = (elements + scratch + p->params->size) * sizeof *p->memory;
    backend_take(p->backend, p->bytes);
    if (p->backend->counts_only)
        return 0;
    p->memory = malloc((elements + 1) * sizeof *p->memory);
    p->scratch = malloc((scratch + 1) * sizeof *p->scratch);
    p->weights = calloc(p->params->size + 1, sizeof *p->weights);
    p->buffer = calloc(n + 1, sizeof *p->buffer);
    p->read = calloc(n + 1, sizeof *p->read);
    p->directed = calloc(n + 1, sizeof *p->directed);
    if (!p->memory || !p->scratch || !p->weights || !p->buffer || !p->read || !p->directed)
        return err_no_memory(err);
    elements = 0;
    for (int i = 0; i < graph->n_values; i++) {
        size_t size = buffer_elements(graph, i);
        if (size > 0)
            p->read[i] = p->buffer[i] = p->memory + elements;
        elements += size;
    }
    return 0;
}

int reference_program_open(struct backend *backend, const struct graph *graph,
                           const struct layout *params, const struct layout *states,
                           const struct program_options *options, struct program **out,
                           struct err *err)
{
    struct program *p;
    int code = backend_check_program(graph, params, states, err);

    if (code == 0)
        code = check_ops(graph, err);
    if (code)
        return code;
    p = calloc(1, sizeof *p);
    if (!p)
        return err_no_memory(err);
    p->backend = backend;
    p->params = params;
    p->states = states;
    p->keep_primal = options->keep_primal; /* the rest: always exact, one pass after the other */
    p->graph = graph_copy(graph);
    code = p->graph ? allocate(p, err) : err_no_memory(err);
    if (code) {
        reference_program_close(p);
        return code;
    }
    if (!backend->counts_only)
        graph_directed(p->graph, p->directed);
    *out = p;
    return 0;
}

void reference_program_close(struct program *p)
{
    if (!p)
        return;
    backend_give(p->backend, p->bytes);
    graph_free(p->graph);
    free(p->memory);
    free(p->scratch);
    free(p->weights);
    free(p->buffer);
    free(p->read);
    free(p->directed);
    free(p);
}

int64_t reference_samples(const struct program *p)
{
    return p->graph->values[p->graph->inputs[0]].shape.dim[0];
}

const struct layout *reference_params(const struct program *p)
{
    return p->params;
}

const struct layout *reference_states(const struct program *p)
{
    return p->states;
}

static int check_pass(const struct pass *pass, struct err *err)
{
    const struct program *p = pass->program;

    if (pass->primal_kept && !p->kept)
        return err_set(err, ERR_INVALID, "pass: the program has kept nothing of an earlier pass");
    return backend_check_pass(pass, &(struct checked_program){p->graph, p->params, p->states}, err);
}

static void set_sources(const struct pass *pass)
{
    struct program *p = pass->program;
    const struct graph *graph = p->graph;
    const double *weights = pass->weights->data;

    if (pass->perturbation.kind != PERTURB_NONE) {
        reference_materialise(p->params, pass->weights, &pass->perturbation, p->weights);
        weights = p->weights;
    }
    for (int i = 0; i < graph->n_inputs; i++)
        p->read[graph->inputs[i]] = pass->inputs[i];
    for (int i = 0; i < graph->n_params; i++)
        p->read[graph->params[i].value] = weights + p->params->tensor[i].offset;
    for (int i = 0; i < graph->n_states; i++)
        p->read[graph->states[i].value] = pass->states->data + p->states->tensor[i].offset;
    for (int i = 0; pass->direction && i < graph->n_params; i++)
        if (graph->params[i].direction >= 0)
            p->read[graph->params[i].direction] =
                pass->direction->data + p->params->tensor[i].offset;
}

static void run_node(const struct pass *pass, const struct node *node)
{
    const struct program *p = pass->program;
    const struct value *values = p->graph->values;
    struct operands o = {.node = node, .scratch = p->scratch, .draws = &pass->draws};

    for (int i = 0; i < node->n_inputs; i++) {
        o.in_shape[i] = &values[node->input[i]].shape;
        if (values[node->input[i]].type == VALUE_INDEX)
            o.labels = p->read[node->input[i]];
        else
            o.in[i] = p->read[node->input[i]];
    }
    for (int i = 0; i < node->n_outputs; i++) {
        o.out_shape[i] = &values[node->output[i]].shape;
        o.out[i] = p->buffer[node->output[i]];
    }
    reference_op_of(node->op)(&o);
}

/* running ← (1 − m)·running + m·batch, with the unbiased variance. */
static void move_statistics(const struct pass *pass)
{
    const struct program *p = pass->program;
    double m = pass->statistics_momentum;

    for (int i = 0; i < p->graph->n_moments; i++) {
        const struct graph_moments *moments = &p->graph->moments[i];
        const double *mean = p->read[moments->mean], *var = p->read[moments->var];
        const struct layout_tensor *to_mean = &p->states->tensor[moments->running_mean];
        const struct layout_tensor *to_var = &p->states->tensor[moments->running_var];
        double *running_mean = pass->states->data + to_mean->offset;
        double *running_var = pass->states->data + to_var->offset;
        double unbiased = (double)moments->count / (double)(moments->count - 1);
        for (size_t c = 0; c < to_mean->size; c++) {
            running_mean[c] = (1 - m) * running_mean[c] + m * mean[c];
            running_var[c] = (1 - m) * running_var[c] + m * var[c] * unbiased;
        }
    }
}

/* A value to where parameter `i` lies; zeros where there is none. */
static void give(const struct program *p, int i, int value, struct vector *to)
{
    const struct layout_tensor *t = &p->params->tensor[i];

    if (value < 0)
        memset(to->data + t->offset, 0, t->size * sizeof *to->data);
    else
        memcpy(to->data + t->offset, p->read[value], t->size * sizeof *to->data);
}

static void give_results(const struct pass *pass)
{
    const struct program *p = pass->program;
    const struct graph *graph = p->graph;

    for (int i = 0; i < graph->n_params; i++) {
        if (pass->gradient)
            give(p, i, graph->params[i].gradient, pass->gradient);
        if (pass->product)
            give(p, i, graph->params[i].product, pass->product);
    }
    for (int i = 0; i < graph->n_outputs; i++) {
        int value = graph->outputs[i];
        if (pass->direction || !p->directed[value])
            memcpy(pass->outputs[i], p->read[value],
                   (size_t)shape_elements(&graph->values[value].shape) * sizeof(double));
    }
}

/* Of the primal, all or nothing; what depends on a direction only where there is one. */
static bool wanted(const struct pass *pass, const struct node *node)
{
    if (pass->program->directed[node->output[0]])
        return pass->direction;
    return !pass->primal_kept;
}

static int run_pass(const struct pass *pass, struct err *err)
{
    struct program *p = pass->program;
    const struct graph *graph = p->graph;
    int code = check_pass(pass, err);

    if (code == 0 && p->backend->counts_only)
        return 0;
    if (code == 0)
        code = backend_check_labels(pass, graph, err);
    p->kept = code == 0 && p->keep_primal;
    if (code)
        return code;
    set_sources(pass);
    for (int i = 0; i < graph->n_nodes; i++)
        if (graph->nodes[i].n_inputs && wanted(pass, &graph->nodes[i]))
            run_node(pass, &graph->nodes[i]);
    give_results(pass);
    if (pass->move_statistics)
        move_statistics(pass);
    return 0;
}

int reference_execute(struct backend *backend, const struct pass *passes, int n, struct err *err)
{
    int code = 0;

    (void)backend;
    for (int i = 0; i < n && code == 0; i++)
        code = run_pass(&passes[i], err);
    return code;
}
