/* Which commands vary, which slots live when, and where: those that are never alive together share
 * memory. */
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/program.h"
#include "backend/place.h"
#include "base/cleanup.h"

#define ALIGN 64

/* A part of the product may be there without a direction: zeros. It varies all the same, since not
 * every pass has room for it. */
static bool varies(const struct program *p, const struct command *command)
{
    for (int k = 0; k < command->n_in; k++)
        if (command->in[k] >= 0 && p->slots[command->in[k]].varies)
            return true;
    for (int k = 0; k < command->n_out; k++)
        if (command->out[k] >= 0 && p->slots[command->out[k]].place == PLACE_PRODUCT)
            return true;
    return false;
}

static bool reads(const struct command *command, int slot)
{
    for (int k = 0; k < command->n_in; k++)
        if (command->in[k] == slot)
            return true;
    return false;
}

/* A varying command that changes what the primal wrote would find it changed the next time. */
static int find_varying(struct program *p, struct err *err)
{
    for (int i = 0; i < p->n_slots; i++)
        p->slots[i].varies = p->slots[i].place == PLACE_DIRECTION;
    for (int i = 0; i < p->n_commands; i++) {
        struct command *command = &p->commands[i];

        command->varies = varies(p, command);
        for (int k = 0; k < command->n_out; k++) {
            struct slot *slot = command->out[k] < 0 ? NULL : &p->slots[command->out[k]];

            if (slot && command->varies && slot->primal && reads(command, command->out[k]))
                return err_set(err, ERR_INTERNAL, "%s changes what does not depend on a direction",
                               command->what);
            if (slot && command->varies)
                slot->varies = true;
            else if (slot)
                slot->primal = true;
        }
    }
    return 0;
}

/* The primal first, each half in its order. */
static int put_primal_first(struct program *p, struct err *err)
{
    struct command *sorted = malloc(((size_t)p->n_commands + 1) * sizeof *sorted);
    int n = 0;

    if (!sorted)
        return err_no_memory(err);
    for (int varies = 0; varies < 2; varies++)
        for (int i = 0; i < p->n_commands; i++)
            if (p->commands[i].varies == varies)
                sorted[n++] = p->commands[i];
    free(p->commands);
    p->commands = sorted;
    return 0;
}

/* What varying commands read of a primal that is kept stays to the end. */
static void find_lifetimes(const struct program *p, struct place_block *blocks)
{
    for (int i = 0; i < p->n_commands; i++) {
        const struct command *command = &p->commands[i];

        for (int k = 0; k < command->n_out; k++)
            place_write(blocks, command->out[k], i);
        for (int k = 0; k < command->n_in; k++) {
            int in = command->in[k];
            bool stays = p->keep && command->varies && in >= 0 && p->slots[in].primal;

            place_read(blocks, in, stays ? p->n_commands : i);
        }
    }
    for (int i = 0; i < p->graph->n_outputs; i++)
        place_read(blocks, p->outputs[i], p->n_commands);
    for (int i = 0; i < p->graph->n_moments; i++) {
        place_read(blocks, p->moments[i].mean, p->n_commands);
        place_read(blocks, p->moments[i].var, p->n_commands);
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
        for (int k = 0; k < command->n_in; k++) {
            int in = command->in[k];

            if (in < 0 || p->slots[in].place != PLACE_ARENA || blocks[in].last != i ||
                p->slots[in].form != p->slots[out].form ||
                p->slots[in].bytes != p->slots[out].bytes)
                continue;
            place_take_over(&blocks[out], &blocks[in]);
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

/* Walks back from the slots that are `wanted`; returns in it all that they need. */
static void walk_back(struct program *p, bool *wanted, bool (*mark)(struct command *command))
{
    for (int i = p->n_commands - 1; i >= 0; i--) {
        struct command *command = &p->commands[i];
        bool needed = false;

        for (int k = 0; k < command->n_out; k++)
            needed = needed || (command->out[k] >= 0 && wanted[command->out[k]]);
        for (int k = 0; needed && mark(command) && k < command->n_in; k++)
            if (command->in[k] >= 0)
                wanted[command->in[k]] = true;
    }
}

static bool mark_result(struct command *command)
{
    return command->for_result = true;
}

static bool mark_gradient(struct command *command)
{
    return command->for_gradient = true;
}

static bool mark_product(struct command *command)
{
    return command->for_product = true;
}

/* What each command is for: a pass runs those that it wants something of. */
static int find_needs(struct program *p, struct err *err)
{
    static const struct {
        enum place place;
        bool (*mark)(struct command *command);
    } kinds[] = {{PLACE_GRADIENT, mark_gradient}, {PLACE_PRODUCT, mark_product}};
    bool *wanted = calloc((size_t)p->n_slots + 1, sizeof *wanted);

    if (!wanted)
        return err_no_memory(err);
    for (int i = 0; i < p->graph->n_outputs; i++)
        wanted[p->outputs[i]] = true;
    for (int i = 0; i < p->graph->n_moments; i++)
        wanted[p->moments[i].mean] = wanted[p->moments[i].var] = true;
    walk_back(p, wanted, mark_result);
    for (size_t k = 0; k < ARRAY_LENGTH(kinds); k++) {
        for (int i = 0; i < p->n_slots; i++)
            wanted[i] = p->slots[i].place == kinds[k].place;
        walk_back(p, wanted, kinds[k].mark);
    }
    free(wanted);
    for (int i = 0; i < p->n_commands; i++)
        for (int k = 0; k < p->commands[i].n_out; k++) {
            const struct command *c = &p->commands[i];

            if (c->out[k] >= 0 && (c->for_result || c->for_product) &&
                p->slots[c->out[k]].place == PLACE_GRADIENT)
                p->spares = true;
        }
    return 0;
}

int cpu_plan(struct program *p, struct err *err)
{
    int rc = find_varying(p, err);

    if (!rc && p->keep)
        rc = put_primal_first(p, err);
    if (!rc)
        rc = place_slots(p, err);
    return rc ? rc : find_needs(p, err);
}
