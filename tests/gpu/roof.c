/* How fast an update could be: of each product and convolution the larger of the time that its
 * multiply-adds and the time that its operands' bytes take; of the rest its bytes, where what is
 * made element by element costs nothing beside a norm: a batch norm reads its input twice and
 * writes once, back it reads two tensors twice and writes one; a sum of two branches is made by
 * whoever writes the one, and reads the other. The change of the weights is 24 bytes a parameter
 * with two gradients, 18 with one. */
#include "bench.h"
#include "graph/graph.h"
#include "method/recipe.h"
#include "multiply_adds.h"

static double elements(const struct graph *g, int value)
{
    return (double)shape_elements(&g->values[value].shape);
}

/* Tensors of the size of input 0 that a node that is no product moves. */
static double tensors_moved(enum op op)
{
    switch (op) {
    case OP_ADD:
        return 1;
    case OP_BATCH_NORM:
        return 3;
    case OP_BATCH_NORM_GRAD:
        return 5;
    case OP_LAYER_NORM:
    case OP_SOFTMAX:
    case OP_MAX_POOL:
        return 2;
    case OP_LAYER_NORM_GRAD:
    case OP_SOFTMAX_GRAD:
    case OP_MAX_POOL_GRAD:
        return 3;
    default:
        return 0;
    }
}

static void add_node(struct roof *roof, const struct graph *g, const struct node *node,
                     double element_bytes, const struct bench_words *words)
{
    double work = 2e-9 * multiply_adds(g, node), bytes = 0, computing, moving;

    if (work > 0) {
        for (int i = 0; i < node->n_inputs; i++)
            bytes += elements(g, node->input[i]);
        bytes += elements(g, node->output[0]);
    } else if (node->n_inputs > 0) {
        bytes = tensors_moved(node->op) * elements(g, node->input[0]);
    }
    bytes *= element_bytes * 1e-9;
    roof->gflop += work;
    roof->gbyte += bytes;
    if (words->tflops <= 0 || words->gbps <= 0)
        return;
    computing = work / words->tflops * 1e-3;
    moving = bytes / words->gbps;
    roof->seconds += computing > moving ? computing : moving;
}

int roof_of(const struct bench_words *words, const struct engine_job *job, struct roof *out,
            struct err *err)
{
    struct model_input input = {words->batch, 3, words->side, words->side, (int)words->classes};
    double element_bytes = job->precision == PRECISION_BF16 ? 2 : 4, step, times;
    struct recipe recipe;
    struct graph *g;
    int rc = model_graph(&g, &job->model, &input, true, err);

    *out = (struct roof){0};
    if (rc)
        return rc;
    recipe_of(&recipe, &job->method);
    times = recipe_gradients(&recipe);
    for (int i = 0; i < g->n_nodes; i++)
        add_node(out, g, &g->nodes[i], element_bytes, words);
    step = (times > 1 ? 24e-9 : 18e-9) * (double)model_parameters(g);
    graph_free(g);
    out->gflop *= times;
    out->gbyte = out->gbyte * times + step;
    if (words->gbps > 0 && words->tflops > 0)
        out->seconds = out->seconds * times + step / words->gbps;
    return 0;
}
