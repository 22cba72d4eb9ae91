/* What forward mode does with each operation. RX stands for the tangent of X.
 *
 * Most operations are linear in each of the inputs that they follow, so that their tangent is the
 * operation itself, done once an input that moves with the tangent in its place, and added up:
 * R(x·w) = Rx·w + x·Rw. Others are linear in all of them at once, such as a sum. The rest have a
 * rule of their own; the formulas are in the files of the reference backend. */
#include "base/cleanup.h"
#include "graph/tangent.h"

#define ALONE (1u << 0)           /* follows the first input */
#define BOTH  (1u << 0 | 1u << 1) /* the first two */
#define THREE (BOTH | 1u << 2)

static int tangent_of_input(const struct forward *f, const struct node *node, int i)
{
    return f->tangent[node->input[i]];
}

static int append(struct forward *f, enum op op, const struct node *node, const int *inputs, int n)
{
    struct node attr = {.attr = node->attr};

    return graph_node(f->graph, op, inputs, n, &attr);
}

/* To the tangent of a result. */
static void accumulate(struct forward *f, int value, int part)
{
    int *sum = &f->tangent[value];

    if (part >= 0)
        *sum = *sum < 0 ? part : graph_add(f->graph, *sum, part);
}

static void refuse(struct forward *f, const struct node *node, const char *where)
{
    err_set(&f->graph->mistake, ERR_UNSUPPORTED, "no tangent of %s is known%s", op_name(node->op),
            where);
}

/* Whether inputs 0 … n−1 all move; else a mistake. */
static bool all_move(struct forward *f, const struct node *node, int n)
{
    for (int i = 0; i < n; i++)
        if (tangent_of_input(f, node, i) < 0) {
            refuse(f, node, " where only some of its inputs move");
            return false;
        }
    return true;
}

static void unknown(struct forward *f, const struct node *node)
{
    refuse(f, node, "");
}

/* The operation with input i's tangent in its place; a node's outputs are consecutive values. */
static void append_with(struct forward *f, const struct node *node, int i)
{
    struct node changed = *node;
    int first;

    changed.input[i] = tangent_of_input(f, node, i);
    first = append(f, node->op, &changed, changed.input, node->n_inputs);
    for (int slot = 0; slot < node->n_outputs && first >= 0; slot++)
        accumulate(f, node->output[slot], first + slot);
}

static void linear_in_each(struct forward *f, const struct node *node)
{
    unsigned followed = tangent_rule_of(node->op)->follows;

    for (int i = 0; i < node->n_inputs; i++)
        if (followed >> i & 1 && tangent_of_input(f, node, i) >= 0)
            append_with(f, node, i);
}

static void linear_in_all(struct forward *f, const struct node *node)
{
    struct node changed = *node;

    if (!all_move(f, node, node->n_inputs))
        return;
    for (int i = 0; i < node->n_inputs; i++)
        changed.input[i] = tangent_of_input(f, node, i);
    f->tangent[node->output[0]] = append(f, node->op, &changed, changed.input, node->n_inputs);
}

/* a + b, where b may be spread over a: what moves alone is the tangent, if it has the shape. */
static void sum(struct forward *f, const struct node *node)
{
    int ra = tangent_of_input(f, node, 0), rb = tangent_of_input(f, node, 1);

    if (rb < 0)
        f->tangent[node->output[0]] = ra;
    else if (ra < 0 && node->op == OP_ADD)
        f->tangent[node->output[0]] = rb;
    else
        linear_in_all(f, node);
}

/* R(x·wᵀ + b) = Rx·wᵀ + (x·Rwᵀ + Rb) */
static void linear(struct forward *f, const struct node *node)
{
    int x = node->input[0], w = node->input[1], y = node->output[0];
    int rx = tangent_of_input(f, node, 0), rw = tangent_of_input(f, node, 1);
    int rb = node->n_inputs > 2 ? tangent_of_input(f, node, 2) : -1;

    if (rx < 0 && rw < 0)
        refuse(f, node, " where only b moves");
    if (rx >= 0)
        accumulate(f, y, append(f, OP_LINEAR, node, (int[]){rx, w, rb}, rb < 0 || rw >= 0 ? 2 : 3));
    if (rw >= 0)
        accumulate(f, y, append(f, OP_LINEAR, node, (int[]){x, rw, rb}, rb < 0 ? 2 : 3));
}

/* y = φ(x) element by element, or row by row with a symmetric Jacobian: what takes dy to dx takes
 * Rx to Ry. */
static void as_derivative(struct forward *f, const struct node *node)
{
    int x = node->input[0], y = node->output[0], rx = tangent_of_input(f, node, 0);

    switch (node->op) {
    case OP_RELU:
        f->tangent[y] = append(f, OP_RELU_GRAD, node, (int[]){rx, y}, 2);
        break;
    case OP_SOFTMAX:
        f->tangent[y] = append(f, OP_SOFTMAX_GRAD, node, (int[]){rx, y}, 2);
        break;
    case OP_GELU:
        f->tangent[y] = append(f, OP_GELU_GRAD, node, (int[]){rx, x}, 2);
        break;
    default:
        f->tangent[y] = append(f, OP_MAX_POOL_TANGENT, node, (int[]){rx, x}, 2);
    }
}

/* GELU_GRAD and SOFTMAX_GRAD: linear in dy, curved in the other. */
static void curved(struct forward *f, const struct node *node)
{
    enum op curve = node->op == OP_GELU_GRAD ? OP_GELU_CURVE : OP_SOFTMAX_CURVE;
    int dy = node->input[0], other = node->input[1], moved = tangent_of_input(f, node, 1);

    if (tangent_of_input(f, node, 0) >= 0)
        append_with(f, node, 0);
    if (moved >= 0)
        accumulate(f, node->output[0], append(f, curve, node, (int[]){dy, other, moved}, 3));
}

static void cross_entropy_grad(struct forward *f, const struct node *node)
{
    int inputs[] = {node->input[0], tangent_of_input(f, node, 0)};

    f->tangent[node->output[0]] = append(f, OP_CROSS_ENTROPY_CURVE, node, inputs, 2);
}

/* BATCH_NORM and LAYER_NORM. */
static void norm(struct forward *f, const struct node *node)
{
    enum op op = node->op == OP_BATCH_NORM ? OP_BATCH_NORM_TANGENT : OP_LAYER_NORM_TANGENT;
    int inputs[] = {node->input[0],
                    tangent_of_input(f, node, 0),
                    node->input[1],
                    tangent_of_input(f, node, 1),
                    tangent_of_input(f, node, 2),
                    node->output[1],
                    node->output[2]};

    if (all_move(f, node, 3))
        f->tangent[node->output[0]] = append(f, op, node, inputs, ARRAY_LENGTH(inputs));
}

static void norm_grad(struct forward *f, const struct node *node)
{
    enum op op =
        node->op == OP_BATCH_NORM_GRAD ? OP_BATCH_NORM_GRAD_TANGENT : OP_LAYER_NORM_GRAD_TANGENT;
    int inputs[NODE_INPUTS_MAX] = {[6] = node->input[3], [7] = node->input[4]}, first;

    if (!all_move(f, node, 3))
        return;
    for (int i = 0; i < 3; i++) {
        inputs[2 * i] = node->input[i];
        inputs[2 * i + 1] = tangent_of_input(f, node, i);
    }
    first = append(f, op, node, inputs, NODE_INPUTS_MAX);
    for (int slot = 0; slot < node->n_outputs && first >= 0; slot++)
        f->tangent[node->output[slot]] = first + slot;
}

/* With given statistics: Ry = Rx·gamma/√(var + eps) + (Rgamma·x̂ + Rbeta). */
static void batch_norm_eval(struct forward *f, const struct node *node)
{
    int y = node->output[0], mean = node->input[3], var = node->input[4];
    int rx = tangent_of_input(f, node, 0), rgamma = tangent_of_input(f, node, 1);
    int rbeta = tangent_of_input(f, node, 2);
    int part[] = {node->input[0], rgamma, rbeta, mean, var};

    if ((rgamma < 0) != (rbeta < 0))
        refuse(f, node, " where only one of gamma and beta moves");
    if (rx >= 0)
        accumulate(f, y, append(f, OP_BATCH_NORM_SCALE, node, (int[]){rx, node->input[1], var}, 3));
    if (rgamma >= 0)
        accumulate(f, y, append(f, OP_BATCH_NORM_EVAL, node, part, ARRAY_LENGTH(part)));
}

/* Rdgamma = Σ Rdy·x̂ + Σ dy·Rx/√(var + eps), Rdbeta = Σ Rdy. */
static void batch_norm_eval_grad(struct forward *f, const struct node *node)
{
    int dy = node->input[0], var = node->input[3], rx = tangent_of_input(f, node, 1);

    if (tangent_of_input(f, node, 0) >= 0)
        append_with(f, node, 0);
    if (rx >= 0)
        accumulate(f, node->output[0], append(f, OP_BATCH_NORM_DOT, node, (int[]){dy, rx, var}, 3));
}

const struct tangent_rule *tangent_rule_of(enum op op)
{
    static const struct tangent_rule none = {~0u, unknown};
    static const struct tangent_rule rules[OP_COUNT] = {
        [OP_CONV] = {BOTH, linear_in_each},
        [OP_BATCH_NORM] = {THREE, norm},
        [OP_BATCH_NORM_EVAL] = {THREE, batch_norm_eval},
        [OP_RELU] = {ALONE, as_derivative},
        [OP_ADD] = {BOTH, sum},
        [OP_GLOBAL_AVG_POOL] = {ALONE, linear_in_each},
        [OP_BIAS] = {BOTH, sum},
        [OP_MAX_POOL] = {ALONE, as_derivative},
        [OP_DROPOUT] = {ALONE, linear_in_each},
        [OP_LINEAR] = {THREE, linear},
        [OP_PATCHES] = {ALONE, linear_in_each},
        [OP_PREPEND] = {BOTH, linear_in_all},
        [OP_TOKEN] = {ALONE, linear_in_each},
        [OP_ADD_EACH] = {BOTH, sum},
        [OP_LAYER_NORM] = {THREE, norm},
        [OP_GELU] = {ALONE, as_derivative},
        [OP_SOFTMAX] = {ALONE, as_derivative},
        [OP_SPLIT_HEADS] = {ALONE, linear_in_each},
        [OP_MERGE_HEADS] = {THREE, linear_in_all},
        [OP_MATMUL] = {BOTH, linear_in_each},
        [OP_CONV_GRAD_X] = {BOTH, linear_in_each},
        [OP_CONV_GRAD_W] = {BOTH, linear_in_each},
        [OP_BATCH_NORM_GRAD] = {THREE, norm_grad},
        [OP_RELU_GRAD] = {ALONE, linear_in_each},
        [OP_GLOBAL_AVG_POOL_GRAD] = {ALONE, linear_in_each},
        [OP_SUM_CHANNELS] = {ALONE, linear_in_each},
        [OP_MAX_POOL_GRAD] = {ALONE, linear_in_each},
        [OP_LINEAR_GRAD_X] = {BOTH, linear_in_each},
        [OP_LINEAR_GRAD_W] = {BOTH, linear_in_each},
        [OP_SUM_ROWS] = {ALONE, linear_in_each},
        [OP_PATCHES_GRAD] = {ALONE, linear_in_each},
        [OP_DROP_FIRST] = {ALONE, linear_in_each},
        [OP_TOKEN_GRAD] = {ALONE, linear_in_each},
        [OP_SUM_EACH] = {ALONE, linear_in_each},
        [OP_LAYER_NORM_GRAD] = {THREE, norm_grad},
        [OP_GELU_GRAD] = {BOTH, curved},
        [OP_SOFTMAX_GRAD] = {BOTH, curved},
        [OP_CROSS_ENTROPY_GRAD] = {ALONE, cross_entropy_grad},
        [OP_BATCH_NORM_SCALE] = {BOTH, linear_in_each},
        [OP_BATCH_NORM_EVAL_GRAD] = {BOTH, batch_norm_eval_grad},
    };

    return (unsigned)op < OP_COUNT && rules[op].append ? &rules[op] : &none;
}
