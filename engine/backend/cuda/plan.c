/* Which slots live when, and where in the arena: those that are never alive together share memory.
 */
#include <stdlib.h>

#include "backend/cuda/program.h"
#include "backend/place.h"

#define ALIGN 256

static void find_lifetimes(const struct program *p, struct place_block *blocks)
{
    for (int i = 0; i < p->n_commands; i++) {
        const struct command *command = &p->commands[i];

        for (int k = 0; k < command->n_out; k++)
            place_write(blocks, command->out[k], i);
        for (int k = 0; k < command->n_in; k++)
            place_read(blocks, command->in[k], i);
    }
}

/* A result takes over the memory of an operand that nobody reads afterwards. */
static void share_in_place(const struct program *p, struct place_block *blocks)
{
    for (int i = 0; i < p->n_commands; i++) {
        const struct command *command = &p->commands[i];
        int out = command->in_place < 0 ? -1 : command->out[command->in_place];

        if (out < 0 || p->slots[out].place != PLACE_ARENA)
            continue;
        for (int k = 0; k < command->in_place_of; k++) {
            const struct slot *in = command->in[k] < 0 ? NULL : &p->slots[command->in[k]];

            if (!in || in->place != PLACE_ARENA || blocks[command->in[k]].last != i ||
                in->order == ORDER_BYTES || in->bytes != p->slots[out].bytes ||
                in->type != p->slots[out].type)
                continue;
            place_take_over(&blocks[out], &blocks[command->in[k]]);
            break;
        }
    }
}

static int place_slots(struct program *p, struct err *err)
{
    struct place_block *blocks = malloc(((size_t)p->n_slots + 1) * sizeof *blocks);
    int rc;

    if (!blocks)
        return err_no_memory(err);
    for (int i = 0; i < p->n_slots; i++)
        blocks[i] =
            (struct place_block){.bytes = p->slots[i].place == PLACE_ARENA ? p->slots[i].bytes : 0,
                                 .first = -1,
                                 .last = -1};
    find_lifetimes(p, blocks);
    share_in_place(p, blocks);
    rc = place_blocks(blocks, p->n_slots, ALIGN, &p->arena_bytes, err);
    for (int i = 0; i < p->n_slots; i++)
        p->slots[i].offset = blocks[i].offset;
    free(blocks);
    return rc;
}

static bool writes_to(const struct program *p, const struct command *command, enum place place)
{
    for (int k = 0; k < command->n_out; k++)
        if (command->out[k] >= 0 && p->slots[command->out[k]].place == place)
            return true;
    return false;
}

static bool writes_needed(const struct command *command, const bool *needed)
{
    for (int k = 0; k < command->n_out; k++)
        if (command->out[k] >= 0 && needed[command->out[k]])
            return true;
    return false;
}

static void need_operands(const struct command *command, bool *needed)
{
    for (int k = 0; k < command->n_in; k++)
        if (command->in[k] >= 0)
            needed[command->in[k]] = true;
}

/* Marks what outputs and statistics depend on, and what products do. */
static int find_needed(struct program *p, struct err *err)
{
    bool *output = calloc((size_t)p->n_slots + 1, sizeof *output);
    bool *product = calloc((size_t)p->n_slots + 1, sizeof *product);
    int rc = output && product ? 0 : err_no_memory(err);

    for (int i = p->n_commands - 1; i >= 0 && !rc; i--) {
        struct command *command = &p->commands[i];

        command->for_outputs = command->moments >= 0 || writes_to(p, command, PLACE_OUTPUT) ||
                               writes_needed(command, output);
        command->for_products =
            writes_to(p, command, PLACE_PRODUCT) || writes_needed(command, product);
        if (command->for_outputs)
            need_operands(command, output);
        if (command->for_products)
            need_operands(command, product);
    }
    free(output);
    free(product);
    return rc;
}

/* Marks what depends on a direction. */
static int find_directed(struct program *p, struct err *err)
{
    bool *directed = calloc((size_t)p->n_slots + 1, sizeof *directed);

    if (!directed)
        return err_no_memory(err);
    for (int i = 0; i < p->n_slots; i++)
        directed[i] = p->slots[i].place == PLACE_DIRECTION;
    for (int i = 0; i < p->n_commands; i++) {
        struct command *command = &p->commands[i];

        for (int k = 0; k < command->n_in; k++)
            if (command->in[k] >= 0 && directed[command->in[k]])
                command->directed = true;
        for (int k = 0; k < command->n_out; k++)
            if (command->out[k] >= 0 && command->directed)
                directed[command->out[k]] = true;
    }
    free(directed);
    return 0;
}

int cuda_plan(struct program *p, struct err *err)
{
    int rc = place_slots(p, err);

    for (int i = 0; i < p->n_commands; i++)
        if (p->commands[i].workspace_bytes > p->workspace_bytes)
            p->workspace_bytes = p->commands[i].workspace_bytes;
    if (!rc)
        rc = find_directed(p, err);
    return rc ? rc : find_needed(p, err);
}
