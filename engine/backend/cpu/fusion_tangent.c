/* What of a tangent is done together. Tangents are sums where derivatives are products, and each
 * sum that is not written by itself saves a walk through memory:
 *
 *     a, b → add, where b's operation can add to what is there: the second of two convolutions,
 *         linear layers, products of matrices
 *     sums of up to AFFINE_TERMS values, some of them normalised on the way [→ relu_grad]
 *     [sums →] [relu_grad →] batch_norm_eval_grad, batch_norm_scale and, in a tangent, what the
 *         motion of the normalisation's input and of its gamma add to both: struct sweep */
#include "backend/cpu/compile.h"

static const struct node *node_at(const struct compiler *c, int number)
{
    return &c->graph->nodes[number];
}

static int number_of(const struct compiler *c, const struct node *node)
{
    return (int)(node - c->graph->nodes);
}

static bool is_image(const struct compiler *c, int value)
{
    return c->graph->values[value].shape.rank == 4;
}

/* Whether the node's command can add to what its result holds. */
static bool can_add(const struct compiler *c, const struct node *node)
{
    switch (node->op) {
    case OP_CONV:
    case OP_CONV_GRAD_W:
    case OP_LINEAR:
    case OP_LINEAR_GRAD_X:
    case OP_LINEAR_GRAD_W:
    case OP_MATMUL:
        return true;
    case OP_CONV_GRAD_X:
        return c->program->by_image || compile_turns(c, node);
    default:
        return false;
    }
}

/* The node that does this sum with its own work: the later one of two of a kind; or -1. */
static int adding_node(const struct compiler *c, const struct node *add)
{
    int a = c->graph->values[add->input[0]].node, b = c->graph->values[add->input[1]].node;
    int later = a > b ? a : b;

    if (!c->varies[add->output[0]] || !c->varies[add->input[0]] || !c->varies[add->input[1]] ||
        a == b || node_at(c, a)->op != node_at(c, b)->op || !can_add(c, node_at(c, later)))
        return -1;
    for (int i = 0; i < 2; i++)
        if (compile_only_reader(c, add->input[i]) != add)
            return -1;
    return later;
}

/* Whether the sum is made of others' results by one command: none of its terms adds to another. */
static bool is_open_sum(const struct compiler *c, int value)
{
    const struct node *maker = compile_maker(c, value);

    return maker->op == OP_ADD && c->varies[value] && is_image(c, value) &&
           adding_node(c, maker) < 0 && !c->early[number_of(c, maker)];
}

static bool can_wait(const struct compiler *c, int value)
{
    return is_open_sum(c, value) && compile_only_reader(c, value);
}

/* Values that a sum has when all sums in it that can wait do. */
static int count_terms(const struct compiler *c, int value)
{
    const struct node *maker = compile_maker(c, value);
    int n = 0;

    for (int i = 0; i < 2; i++)
        n += can_wait(c, maker->input[i]) ? count_terms(c, maker->input[i]) : 1;
    return n;
}

/* The sum that this one is a part of at the end, or the sum itself. */
static int whole_sum(const struct compiler *c, int value)
{
    const struct node *reader = compile_only_reader(c, value);

    while (reader && reader->op == OP_ADD && is_open_sum(c, reader->output[0])) {
        value = reader->output[0];
        reader = compile_only_reader(c, value);
    }
    return value;
}

bool compile_relu_grad_swept(const struct compiler *c, const struct node *node)
{
    int d = node->output[0], first = c->use[d].first;
    const struct node *reader = first < 0 ? NULL : node_at(c, first);

    return reader && reader->op == OP_BATCH_NORM_EVAL_GRAD && reader->input[0] == d &&
           reader->input[1] != d && is_image(c, d);
}

/* Whether an add is left to the sum that reads it, or to what masks the sum. */
static bool sum_absorbed(const struct compiler *c, const struct node *add)
{
    int y = add->output[0], whole;
    const struct node *reader = compile_only_reader(c, y);

    if (!reader || !is_open_sum(c, y))
        return false;
    whole = whole_sum(c, y);
    if (count_terms(c, whole) > AFFINE_TERMS)
        return false;
    return whole != y || (reader->op == OP_RELU_GRAD && reader->input[0] == y);
}

int compile_terms(const struct compiler *c, int value, int *out)
{
    const struct node *maker = compile_maker(c, value);
    int n = 0;

    out[0] = value;
    if (!is_open_sum(c, value) || count_terms(c, value) > AFFINE_TERMS)
        return 1;
    for (int i = 0; i < 2; i++) {
        int term = maker->input[i];

        if (compile_maker(c, term)->op == OP_ADD && compile_is_absorbed(c, term))
            n += compile_terms(c, term, out + n);
        else
            out[n++] = term;
    }
    return n;
}

/* The node that scales derivative d by this variance, after node `after`; or -1. */
static int scale_of(const struct compiler *c, int d, int var, double eps, int after)
{
    for (int i = after + 1; i < c->graph->n_nodes; i++) {
        const struct node *node = node_at(c, i);

        if (node->op == OP_BATCH_NORM_SCALE && node->input[0] == d && node->input[2] == var &&
            node->attr.eps == eps)
            return i;
    }
    return -1;
}

/* The other side of the add that alone reads `value`, if a node `op` makes it for that alone;
 * *add is the add. */
static const struct node *partner(const struct compiler *c, int value, enum op op, int *add)
{
    const struct node *reader = compile_only_reader(c, value), *other;

    if (!reader || reader->op != OP_ADD)
        return NULL;
    *add = number_of(c, reader);
    other = compile_maker(c, reader->input[reader->input[0] == value ? 1 : 0]);
    return other->op == op && compile_only_reader(c, other->output[0]) == reader ? other : NULL;
}

static bool made_before(const struct compiler *c, int value, int node)
{
    return c->graph->values[value].node < node || compile_maker(c, value)->n_inputs == 0;
}

/* A value that is or will be there as it is when `node` is compiled. */
static bool at_hand(const struct compiler *c, int value, int node)
{
    const struct node *maker = compile_maker(c, value);

    return made_before(c, value, node) &&
           (!compile_is_absorbed(c, value) || maker->op == OP_RELU_GRAD) &&
           (!c->early[number_of(c, maker)] || maker->op == OP_ADD);
}

/* What the tangent adds: other·Rgamma/σ to dx, Σ other·Rx/σ to dgamma, for one and the same
 * `other`. */
static void find_moving(const struct compiler *c, struct sweep *s, int number)
{
    const struct node *node = node_at(c, number), *other = NULL, *dot;
    int var = node->input[3], add = -1;

    if (s->scale >= 0)
        other = partner(c, node_at(c, s->scale)->output[0], OP_BATCH_NORM_SCALE, &add);
    if (other && other->input[2] == var && other->attr.eps == node->attr.eps &&
        at_hand(c, other->input[0], number) && made_before(c, other->input[1], number) &&
        add > number) {
        s->other = number_of(c, other);
        s->sum = add;
    }
    dot = partner(c, node->output[0], OP_BATCH_NORM_DOT, &add);
    if (dot && dot->input[2] == var && dot->attr.eps == node->attr.eps &&
        at_hand(c, dot->input[0], number) && at_hand(c, dot->input[1], number) &&
        (s->other < 0 || node_at(c, s->other)->input[0] == dot->input[0])) {
        s->dot = number_of(c, dot);
        s->total = add;
    }
}

/* The add that takes in the sweep's dx, where its other side is there before. */
static int sum_after(const struct compiler *c, const struct sweep *s, int number)
{
    int last = s->sum >= 0 ? s->sum : s->scale, other, value;
    const struct node *add;

    if (last < 0)
        return -1;
    value = node_at(c, last)->output[0];
    add = compile_only_reader(c, value);
    if (!add || add->op != OP_ADD || add->input[0] == add->input[1])
        return -1;
    other = add->input[add->input[0] == value ? 1 : 0];
    return at_hand(c, other, number) && !compile_is_absorbed(c, other) ? number_of(c, add) : -1;
}

static void find_sweep(struct compiler *c, int number)
{
    const struct node *node = node_at(c, number);
    struct sweep s = {true, -1, -1, -1, -1, -1, -1};

    s.scale = scale_of(c, node->input[0], node->input[3], node->attr.eps, number);
    if (s.scale >= 0 && !made_before(c, node_at(c, s.scale)->input[1], number))
        s.scale = -1;
    find_moving(c, &s, number);
    s.plus = sum_after(c, &s, number);
    c->sweep[number] = s;
    for (const int *done = &s.scale; done <= &s.plus; done++)
        if (*done >= 0)
            c->early[*done] = true;
}

void compile_tangent_fusions(struct compiler *c, int number)
{
    const struct node *node = node_at(c, number), *reader;
    int adding;

    if (c->early[number])
        return;
    if (node->op == OP_BATCH_NORM_EVAL_GRAD) {
        find_sweep(c, number);
    } else if (node->op == OP_BATCH_NORM_SCALE) {
        reader = compile_only_reader(c, node->output[0]);
        c->absorbed[number] = reader && reader->op == OP_ADD && c->varies[reader->output[0]];
    } else if (node->op == OP_RELU_GRAD && compile_relu_grad_swept(c, node)) {
        c->absorbed[number] = true;
    } else if (node->op == OP_ADD) {
        adding = adding_node(c, node);
        if (adding >= 0) {
            c->onto[adding] = number;
            c->early[number] = true;
        } else {
            c->absorbed[number] = c->absorbed[number] || sum_absorbed(c, node);
        }
    }
}
