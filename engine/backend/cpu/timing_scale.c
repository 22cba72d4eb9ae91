/* Which commands are alike, how much work each is, and what follows for the whole batch from what
 * was measured on a part of it. */
#include <string.h>

#include "backend/cpu/algorithm.h"
#include "backend/cpu/timing.h"

/* What this processor is taken to do before it is measured, a thread: multiply-adds and bytes a
 * second. They only say how large a part can be, and how a sum of two kinds of work divides. */
#define MULTIPLY_ADDS_PER_LANE 4.5e9
#define BYTES                  12e9

/* ---- Which commands do the same ---- */

static bool same_shapes(const struct graph *g, const struct node *a, const struct node *b)
{
    for (int i = 0; i < a->n_inputs; i++)
        if (!shape_equal(&g->values[a->input[i]].shape, &g->values[b->input[i]].shape))
            return false;
    for (int i = 0; i < a->n_outputs; i++)
        if (!shape_equal(&g->values[a->output[i]].shape, &g->values[b->output[i]].shape))
            return false;
    return true;
}

static bool same_node(const struct graph *g, const struct node *a, const struct node *b)
{
    return a->op == b->op && a->n_inputs == b->n_inputs && a->n_outputs == b->n_outputs &&
           a->attr.stride == b->attr.stride && a->attr.pad == b->attr.pad &&
           a->attr.k == b->attr.k && a->attr.parts == b->attr.parts &&
           a->attr.transpose_a == b->attr.transpose_a &&
           a->attr.transpose_b == b->attr.transpose_b && same_shapes(g, a, b);
}

static bool same_slot(const struct program *p, int a, int b)
{
    const struct slot *x = &p->slots[a < 0 ? 0 : a], *y = &p->slots[b < 0 ? 0 : b];

    return (a < 0) == (b < 0) && x->form == y->form && x->bytes == y->bytes;
}

static bool same_algorithm(const struct command *a, const struct command *b)
{
    const char *x = cpu_command_algorithm(a), *y = cpu_command_algorithm(b);

    return x && y ? !strcmp(x, y) : x == y;
}

static bool same_work(const struct program *p, const struct command *a, const struct command *b)
{
    const struct graph *g = p->graph;
    bool same = a->run == b->run && a->n_in == b->n_in && a->n_out == b->n_out &&
                a->relu == b->relu && a->residual == b->residual && a->mask == b->mask &&
                a->rows == b->rows && a->columns == b->columns && a->inner == b->inner &&
                same_algorithm(a, b);

    for (int i = 0; i < a->n_in && same; i++)
        same = same_slot(p, a->in[i], b->in[i]);
    for (int i = 0; i < a->n_out && same; i++)
        same = same_slot(p, a->out[i], b->out[i]);
    return same && same_node(g, &g->nodes[a->node], &g->nodes[b->node]);
}

void cpu_timing_kinds(const struct program *p, int *kind)
{
    for (int i = 0; i < p->n_commands; i++) {
        kind[i] = i;
        for (int j = 0; j < i && kind[i] == i; j++)
            if (kind[j] == j && same_work(p, &p->commands[j], &p->commands[i]))
                kind[i] = j;
    }
}

/* ---- How much work a command is ---- */

static double elements(const struct program *p, int value)
{
    return (double)shape_elements(&p->graph->values[value].shape);
}

/* Products of a row of weights, for each number of what they are multiplied with or make. */
static double weighed(const struct program *p, int rows, int weights)
{
    return elements(p, rows) * elements(p, weights) /
           (double)p->graph->values[weights].shape.dim[0];
}

/* Multiply-adds of the commands that mostly do such; 0 for the others. */
static double multiply_adds(const struct program *p, const struct command *c)
{
    const struct node *node = &p->graph->nodes[c->node];
    bool conv = cpu_command_algorithm(c) || c->direct || c->run == cpu_run_rows_grad_w;
    const struct matrices *m = &c->matrices;

    if (c->run == cpu_run_matmul)
        return (double)(m->outer * m->inner) * (double)(m->rows * m->columns) * (double)m->depth;
    if (conv && node->op == OP_CONV)
        return weighed(p, node->output[0], node->input[1]);
    if (conv)
        return node->op == OP_CONV_GRAD_X ? weighed(p, node->input[0], node->input[1])
                                          : weighed(p, node->input[1], node->output[0]);
    if (c->run == cpu_run_linear)
        return weighed(p, node->output[0], node->input[1]);
    if (c->run == cpu_run_linear_grad_x)
        return weighed(p, node->input[0], node->input[1]);
    return c->run == cpu_run_linear_grad_w ? weighed(p, node->input[1], node->output[0]) : 0;
}

/* Of its operands, whose number is the same in the part and in the whole. */
struct traffic {
    double fixed, part, whole; /* bytes: of those that no sample adds to, of the others in each */
};

static void add_operand(struct traffic *t, const struct timing *timing, int in_part, int in_whole)
{
    const struct slot *a = in_part < 0 ? NULL : &timing->part->slots[in_part];
    const struct slot *b = in_whole < 0 ? NULL : &timing->whole->slots[in_whole];

    if (!a || !b || a->form == FORM_SCRATCH)
        return;
    if (a->bytes == b->bytes) {
        t->fixed += (double)a->bytes;
    } else {
        t->part += (double)a->bytes;
        t->whole += (double)b->bytes;
    }
}

static struct traffic traffic_of(const struct timing *timing, int i)
{
    const struct command *part = &timing->part->commands[i], *whole = &timing->whole->commands[i];
    struct traffic t = {0};

    for (int k = 0; k < part->n_in; k++)
        add_operand(&t, timing, part->in[k], whole->in[k]);
    for (int k = 0; k < part->n_out; k++)
        add_operand(&t, timing, part->out[k], whole->out[k]);
    return t;
}

static bool is_winograd(const struct command *c)
{
    const char *algorithm = cpu_command_algorithm(c);

    return algorithm && strstr(algorithm, "wino");
}

/* What the rule by which Winograd's algorithm is chosen says of its time, over that of the direct
 * one, for a batch of `samples`: its transform of the weights takes as long however many there are.
 */
static double winograd_share(const struct program *p, const struct command *c, int64_t samples)
{
    const struct node *node = &p->graph->nodes[c->node];
    bool forward = node->op == OP_CONV, by_x = node->op == OP_CONV_GRAD_X;
    int x = by_x ? node->output[0] : node->input[0];
    int y = forward ? node->output[0] : by_x ? node->input[0] : node->input[1];
    int w = forward || by_x ? node->input[1] : node->output[0];
    const struct shape *xs = &p->graph->values[x].shape, *ys = &p->graph->values[y].shape;
    const struct shape *ws = &p->graph->values[w].shape;
    struct convolution_shape s = {samples,    xs->dim[1],        xs->dim[2],     xs->dim[3],
                                  ws->dim[0], ws->dim[2],        ws->dim[3],     ys->dim[2],
                                  ys->dim[3], node->attr.stride, node->attr.pad, false};

    return cpu_winograd_share(forward ? FORWARD
                              : by_x  ? GRAD_X
                                      : GRAD_W,
                              &s, p->cpu->kernels->lanes);
}

/* The seconds that a command would take by what the processor is taken to do. */
double cpu_timing_supposed(const struct program *p, const struct command *c)
{
    double rate = MULTIPLY_ADDS_PER_LANE * (double)p->cpu->kernels->lanes * p->threads;
    double share = is_winograd(c) ? winograd_share(p, c, p->samples) : 1, bytes = 0;

    for (int k = 0; k < c->n_in; k++)
        bytes += c->in[k] < 0 ? 0 : (double)p->slots[c->in[k]].bytes;
    for (int k = 0; k < c->n_out; k++)
        bytes += c->out[k] < 0 ? 0 : (double)p->slots[c->out[k]].bytes;
    return share * multiply_adds(p, c) / rate + bytes / (BYTES * p->threads);
}

/* ---- From the part to the whole ---- */

static double in_whole(const struct timing *timing, int i, double seconds)
{
    const struct command *c = &timing->part->commands[i];
    struct traffic t = traffic_of(timing, i);
    double fixed = t.fixed / (BYTES * timing->part->threads), factor;

    if (t.part == 0)
        return seconds;
    factor = t.whole / t.part;
    if (is_winograd(c))
        return seconds * factor * winograd_share(timing->part, c, timing->whole->samples) /
               winograd_share(timing->part, c, timing->part->samples);
    fixed = fixed < seconds / 2 ? fixed : seconds / 2;
    return fixed + (seconds - fixed) * factor;
}

/* Measured seconds over supposed ones: what holds for what was not run. */
static double pace(const struct timing *timing)
{
    double measured = 0, would = 0;

    for (int i = 0; i < timing->part->n_commands; i++)
        if (timing->seconds[i] > 0) {
            measured += timing->seconds[i];
            would += cpu_timing_supposed(timing->part, &timing->part->commands[i]);
        }
    return would > 0 ? measured / would : 1;
}

struct pass_seconds cpu_timing_sum(const struct timing *timing)
{
    const struct program *p = timing->part;
    struct pass_seconds out = {.beside = p->beside};
    double otherwise = pace(timing);

    for (int i = 0; i < p->n_commands; i++) {
        double seconds = timing->seconds[timing->kind[i]];

        if (seconds == 0)
            seconds = otherwise * cpu_timing_supposed(p, &p->commands[i]);
        seconds = in_whole(timing, i, seconds);
        out.all += seconds;
        out.forward += p->commands[i].for_result ? seconds : 0;
    }
    return out;
}
