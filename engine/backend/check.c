/* See check.h. */
#include "backend/check.h"

static int check_layout(const struct layout *layout, const struct graph_tensor *tensors, int n,
                        struct err *err)
{
    bool fits = layout->n == n;

    for (int i = 0; fits && i < n; i++)
        fits = layout->tensor[i].size == (size_t)shape_elements(&tensors[i].shape);
    return fits ? 0 : err_set(err, ERR_INVALID, "program: the layout is another graph's");
}

int backend_check_program(const struct graph *graph, const struct layout *params,
                          const struct layout *states, struct err *err)
{
    int rc = graph_check(graph, err);

    if (!rc)
        rc = check_layout(params, graph->params, graph->n_params, err);
    return rc ? rc : check_layout(states, graph->states, graph->n_states, err);
}

static bool has_size(const struct vector *vector, size_t n)
{
    return vector && vector_elements(vector) == n;
}

static int check_vector(const struct vector *vector, size_t n, const char *what, struct err *err)
{
    if (has_size(vector, n))
        return 0;
    return err_set(err, ERR_INVALID,
                   vector ? "pass: %s of %zu elements instead of %zu" : "pass: %s are missing",
                   what, vector ? vector_elements(vector) : 0, n);
}

static bool has_directions(const struct graph *graph)
{
    for (int i = 0; i < graph->n_params; i++)
        if (graph->params[i].direction >= 0)
            return true;
    return false;
}

static int check_direction(const struct pass *pass, const struct checked_program *p,
                           struct err *err)
{
    int rc;

    if (!pass->direction && !pass->product)
        return 0;
    if (!has_directions(p->graph))
        return err_set(err, ERR_INVALID, "pass: the program has no products with the Hessian");
    rc = check_vector(pass->direction, p->params->size, "directions", err);
    return rc ? rc : check_vector(pass->product, p->params->size, "products", err);
}

int backend_check_pass(const struct pass *pass, const struct checked_program *p, struct err *err)
{
    const struct perturbation *perturbation = &pass->perturbation;
    int rc = check_vector(pass->weights, p->params->size, "weights", err);

    if (!rc && p->graph->n_states > 0)
        rc = check_vector(pass->states, p->states->size, "states", err);
    if (!rc && pass->gradient)
        rc = check_vector(pass->gradient, p->params->size, "gradients", err);
    if (!rc && perturbation->kind == PERTURB_NOISE && perturbation->eta != 0)
        rc = check_vector(perturbation->fisher, p->params->fisher_size, "Fisher numbers", err);
    if (!rc && perturb_needs_direction(perturbation->kind))
        rc = check_vector(perturbation->direction, p->params->size, "directions", err);
    return rc ? rc : check_direction(pass, p, err);
}

int backend_check_labels(const struct pass *pass, const struct graph *graph, struct err *err)
{
    for (int i = 0; i < graph->n_nodes; i++) {
        const struct node *node = &graph->nodes[i], *source;
        const struct shape *logits;
        const int32_t *labels;

        if (node->n_inputs != 2 || graph->values[node->input[1]].type != VALUE_INDEX)
            continue;
        source = &graph->nodes[graph->values[node->input[1]].node];
        logits = &graph->values[node->input[0]].shape;
        labels = pass->inputs[source->attr.index];
        for (int64_t n = 0; n < logits->dim[0]; n++)
            if (labels[n] < 0 || labels[n] >= logits->dim[1])
                return err_set(err, ERR_INVALID, "pass: label %d of sample %lld; %lld classes",
                               labels[n], (long long)n, (long long)logits->dim[1]);
    }
    return 0;
}

int backend_check_step(const struct step *s, struct err *err)
{
    size_t size = s->layout->size;
    bool fits = has_size(s->weights, size) && has_size(s->momentum_vector, size) &&
                (!step_has_squares(s->rule) || has_size(s->squares, size)) &&
                (!s->fisher || has_size(s->fisher, s->layout->fisher_size));

    for (int k = 0; k < s->n_terms; k++) {
        fits = fits && has_size(s->terms[k].gradient, size);
        if (s->terms[k].feeds_fisher != 0 && !s->fisher)
            return err_set(err, ERR_INVALID, "step: term %d feeds an accumulator that is missing",
                           k);
    }
    return fits ? 0 : err_set(err, ERR_INVALID, "step: a vector does not have the layout's size");
}

int backend_check_materialise(const struct layout *layout, const struct vector *weights,
                              const struct vector *to, struct err *err)
{
    if (has_size(weights, layout->size) && has_size(to, layout->size))
        return 0;
    return err_set(err, ERR_INVALID, "materialise: a vector does not have the layout's size");
}

int backend_check_range(const struct backend *backend, const struct vector *vector, size_t offset,
                        size_t n, struct err *err)
{
    size_t size = vector_elements(vector);

    if (backend->counts_only)
        return err_set(err, ERR_INTERNAL, "a vector that is only counted holds nothing");
    if (offset <= size && n <= size - offset)
        return 0;
    return err_set(err, ERR_INVALID, "vector: %zu elements from %zu on, of %zu", n, offset, size);
}
