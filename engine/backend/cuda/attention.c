/* Attention as one command forward and one backward, in the place of
 *     split_heads → matmul → softmax → matmul → merge_heads
 * and of what reverse mode makes of these five. Each command takes the place of the merge_heads at
 * the end of its five or seven nodes.
 *
 * Only where nothing else reads what the nodes hand each other: not with dropout of probabilities,
 * nor where tangents are taken, whose nodes read all of it. */
#include "backend/cuda/compile.h"

/* One piece of attention; nodes. */
struct piece {
    const struct node *split, *scores, *softmax, *product, *merge;
};

/* And its derivative's. */
struct slope {
    const struct node *split, *dp, *dv, *ds, *dq, *dk, *merge;
};

static int number_of(const struct compiler *c, const struct node *node)
{
    return (int)(node - c->graph->nodes);
}

static const struct node *maker_if(const struct compiler *c, int value, enum op op)
{
    const struct node *node = gpu_maker(c, value);

    return node->op == op ? node : NULL;
}

static bool is_product(const struct node *node, bool transpose_a, bool transpose_b, double scale)
{
    return node && node->op == OP_MATMUL && node->attr.transpose_a == transpose_a &&
           node->attr.transpose_b == transpose_b && node->attr.scale == scale;
}

/* The last node of this kind with these two inputs, or NULL. */
static const struct node *reader_of(const struct compiler *c, enum op op, int first, int second)
{
    for (int i = c->graph->n_nodes - 1; i >= 0; i--) {
        const struct node *node = &c->graph->nodes[i];

        if (node->op == op && node->input[0] == first && node->input[1] == second)
            return node;
    }
    return NULL;
}

/* Whether each of these values is read this often. */
static bool all_read(const struct compiler *c, const int *value, int n, int times)
{
    for (int i = 0; i < n; i++)
        if (c->use[value[i]].count != times)
            return false;
    return true;
}

/* y = softmax(scale·q·kᵀ)·v with q, k and v side by side. */
static bool find_piece(const struct compiler *c, const struct node *merge, struct piece *p)
{
    int parts;

    *p = (struct piece){.merge = merge};
    if (merge->op != OP_MERGE_HEADS || merge->n_inputs != 1)
        return false;
    p->product = maker_if(c, merge->input[0], OP_MATMUL);
    if (!is_product(p->product, false, false, 1))
        return false;
    p->softmax = maker_if(c, p->product->input[0], OP_SOFTMAX);
    p->split = maker_if(c, p->product->input[1], OP_SPLIT_HEADS);
    p->scores = p->softmax ? maker_if(c, p->softmax->input[0], OP_MATMUL) : NULL;
    if (!p->scores || !p->split || p->split->n_outputs != 3 ||
        !is_product(p->scores, false, true, p->scores->attr.scale))
        return false;
    parts = p->split->output[0];
    return p->scores->input[0] == parts && p->scores->input[1] == p->split->output[1] &&
           p->product->input[1] == p->split->output[2] &&
           c->graph->values[parts].shape.dim[3] <= ATTENTION_FEATURES_MAX;
}

/* Whether nobody but the piece's nodes reads what they make; with its derivative, twice each of q,
 * k and v, thrice the probabilities. */
static bool closed(const struct compiler *c, const struct piece *p, bool with_slope)
{
    int inside[] = {p->scores->output[0], p->product->output[0]};

    return all_read(c, inside, 2, 1) && all_read(c, p->split->output, 3, with_slope ? 2 : 1) &&
           all_read(c, p->softmax->output, 1, with_slope ? 3 : 1);
}

static bool slope_closed(const struct compiler *c, const struct slope *s)
{
    int once[] = {s->dp->output[0], s->dv->output[0], s->dq->output[0], s->dk->output[0]};
    int twice[] = {s->split->output[0], s->ds->output[0]};

    return all_read(c, once, 4, 1) && all_read(c, twice, 2, 2);
}

static const struct node *softmax_slope(const struct compiler *c, int probabilities)
{
    for (int i = 0; i < c->graph->n_nodes; i++) {
        const struct node *node = &c->graph->nodes[i];

        if (node->op == OP_SOFTMAX_GRAD && node->input[1] == probabilities)
            return node;
    }
    return NULL;
}

static const struct node *merge_of_three(const struct compiler *c, int first, int second, int third)
{
    const struct node *merge = reader_of(c, OP_MERGE_HEADS, first, second);

    return merge && merge->n_inputs == 3 && merge->input[2] == third ? merge : NULL;
}

/* dP = dO·vᵀ, dv = Pᵀ·dO, dS by softmax, dq = scale·dS·k, dk = scale·dSᵀ·q. */
static bool find_slope(const struct compiler *c, const struct piece *p, struct slope *s)
{
    int q = p->split->output[0], k = p->split->output[1], v = p->split->output[2];
    int probabilities = p->softmax->output[0], dy;
    double scale = p->scores->attr.scale;

    *s = (struct slope){.ds = softmax_slope(c, probabilities)};
    s->dp = s->ds ? maker_if(c, s->ds->input[0], OP_MATMUL) : NULL;
    if (!is_product(s->dp, false, true, 1) || s->dp->input[1] != v)
        return false;
    dy = s->dp->input[0];
    s->split = maker_if(c, dy, OP_SPLIT_HEADS);
    s->dv = reader_of(c, OP_MATMUL, probabilities, dy);
    s->dq = reader_of(c, OP_MATMUL, s->ds->output[0], k);
    s->dk = reader_of(c, OP_MATMUL, s->ds->output[0], q);
    if (!s->split || s->split->n_outputs != 1 || !is_product(s->dv, true, false, 1) ||
        !is_product(s->dq, false, false, scale) || !is_product(s->dk, true, false, scale))
        return false;
    s->merge = merge_of_three(c, s->dq->output[0], s->dk->output[0], s->dv->output[0]);
    return s->merge && slope_closed(c, s);
}

static void absorb(struct compiler *c, const struct node *const *nodes, int n)
{
    for (int i = 0; i < n; i++)
        c->absorbed[number_of(c, nodes[i])] = true;
}

void gpu_attention_fusions(struct compiler *c)
{
    for (int i = 0; i < c->graph->n_nodes; i++) {
        struct piece p;
        struct slope s;

        if (!find_piece(c, &c->graph->nodes[i], &p))
            continue;
        if (closed(c, &p, true) && find_slope(c, &p, &s)) {
            const struct node *nodes[] = {s.split, s.dp, s.dv, s.ds, s.dq, s.dk};

            absorb(c, nodes, 6);
            c->attention[number_of(c, s.merge)] = (struct attention_of){i, -1};
        } else if (!closed(c, &p, false))
            continue;
        absorb(c, (const struct node *const[]){p.split, p.scores, p.softmax, p.product}, 4);
        c->attention[i] = (struct attention_of){i, -1};
    }
}

static struct command new_command(const struct compiler *c, const struct piece *p, command_run *run,
                                  const char *what)
{
    const struct shape *part = &c->graph->values[p->split->output[0]].shape;
    struct command command = gpu_command(p->merge, run);

    command.what = what;
    command.u.attention = (struct attention){.type = c->program->type,
                                             .tf32 = c->program->cuda->compute == COMPUTE_TF32,
                                             .n = part->dim[0],
                                             .t = part->dim[2],
                                             .heads = part->dim[1],
                                             .d = part->dim[3],
                                             .scale = (float)p->scores->attr.scale};
    return command;
}

/* Whether the gradient of the piece that ends with this node is one command, too. */
static bool has_slope(const struct compiler *c, int merge)
{
    for (int i = merge + 1; i < c->graph->n_nodes; i++)
        if (c->attention[i].forward == merge)
            return true;
    return false;
}

static void forward(struct compiler *c, const struct piece *p)
{
    struct command command = new_command(c, p, cuda_run_attention, "attention");
    int merge = number_of(c, p->merge);
    size_t sums = attention_grad_workspace(&command.u.attention);

    command.n_in = 1;
    command.in[0] = gpu_rows(c, p->split->input[0]);
    command.out[command.n_out++] = gpu_write(c, p->merge->output[0], ORDER_DENSE, c->program->type);
    if (has_slope(c, merge)) {
        c->attention[merge].log_sums = gpu_bytes(c, sums * sizeof(float));
        command.out[command.n_out++] = c->attention[merge].log_sums;
    }
    gpu_emit(c, &command);
}

static void backward(struct compiler *c, const struct piece *p, const struct node *merge)
{
    struct command command = new_command(c, p, cuda_run_attention_grad, "attention_grad");
    struct slope s;

    find_slope(c, p, &s);
    command.n_in = 4;
    command.in[0] = gpu_rows(c, s.split->input[0]);
    command.in[1] = gpu_rows(c, p->split->input[0]);
    command.in[2] = gpu_rows(c, p->merge->output[0]);
    command.in[3] = c->attention[number_of(c, p->merge)].log_sums;
    command.n_out = 1;
    command.out[0] = gpu_write(c, merge->output[0], ORDER_DENSE, c->program->type);
    command.workspace_bytes = attention_grad_workspace(&command.u.attention) * sizeof(float);
    gpu_emit(c, &command);
}

bool gpu_attention(struct compiler *c, const struct node *node)
{
    int first = c->attention[number_of(c, node)].forward;
    struct piece p;

    if (first < 0)
        return false;
    find_piece(c, &c->graph->nodes[first], &p);
    if (p.merge == node)
        forward(c, &p);
    else
        backward(c, &p, node);
    return true;
}
