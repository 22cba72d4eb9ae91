/* Waves of passes as graphs: the first time that a wave comes it is given to the lanes as it is
 * (libraries load their kernels then), the second time it is captured, from then on replayed.
 *
 * What a captured wave depends on stands in its key: programs, vectors, and the numbers that
 * launches carry. What changes with each update stands in device memory. */
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/pass.h"

enum { PASSES_MAX = 12, CAPTURED_MAX = 32 };

struct pass_key {
    const struct program *program;
    const struct vector *weights, *fisher, *direction, *states, *gradient;
    const struct vector *along, *product;
    uint64_t noise_seed, draw_seed;
    double eta, rho, momentum;
    uint32_t kind, noise_term, draw_term, move_statistics;
};

struct captured {
    struct captured *next;
    int n;
    struct pass_key key[PASSES_MAX];
    struct CUgraphExec_st *graph; /* NULL: seen once */
};

/* Without padding between members, so that keys compare as bytes. */
static void make_key(struct pass_key *key, const struct pass *pass)
{
    const struct perturbation *p = &pass->perturbation;
    bool noise = p->kind == PERTURB_NOISE, direction = perturb_needs_direction(p->kind);

    memset(key, 0, sizeof *key);
    key->program = pass->program;
    key->weights = pass->weights;
    key->states = pass->states;
    key->gradient = pass->gradient;
    key->along = pass->direction;
    key->product = pass->product;
    key->kind = p->kind;
    if (noise || direction)
        key->eta = p->eta;
    if (noise) {
        key->noise_seed = p->seed;
        key->noise_term = p->term;
        key->fisher = p->eta != 0 ? p->fisher : NULL;
    }
    if (direction) {
        key->rho = p->rho;
        key->direction = p->direction;
    }
    if (pass->program->graph->n_dropouts > 0) {
        key->draw_seed = pass->draws.seed;
        key->draw_term = pass->draws.term;
    }
    if (pass->move_statistics) {
        key->move_statistics = 1;
        key->momentum = pass->statistics_momentum;
    }
}

static struct captured *find(struct cuda_backend *cuda, const struct pass_key *key, int n)
{
    struct captured *at = cuda->captured;

    while (at && (at->n != n || memcmp(at->key, key, (size_t)n * sizeof *key) != 0))
        at = at->next;
    return at;
}

static int count(const struct cuda_backend *cuda)
{
    int n = 0;

    for (const struct captured *at = cuda->captured; at; at = at->next)
        n++;
    return n;
}

static int remember(struct cuda_backend *cuda, const struct pass_key *key, int n, struct err *err)
{
    struct captured *captured;

    if (count(cuda) == CAPTURED_MAX)
        cuda_graphs_forget(cuda);
    captured = calloc(1, sizeof *captured);
    if (!captured)
        return err_no_memory(err);
    captured->n = n;
    memcpy(captured->key, key, (size_t)n * sizeof *key);
    captured->next = cuda->captured;
    cuda->captured = captured;
    return 0;
}

static int capture(struct cuda_backend *cuda, const struct pass *passes, int n,
                   struct captured *captured, struct err *err)
{
    struct CUstream_st *stream = cuda->lanes[0].stream;
    struct CUgraphExec_st *graph = NULL;
    int rc = runtime_cuda.capture_begin(stream, err), end;

    if (rc)
        return rc;
    rc = cuda_give_passes(cuda, passes, n, err);
    end = runtime_cuda.capture_end(stream, &graph, rc ? NULL : err);
    if (rc && !end)
        runtime_cuda.graph_close(graph);
    if (!rc && !end)
        captured->graph = graph;
    return rc ? rc : end;
}

int cuda_graphs_run(struct cuda_backend *cuda, const struct pass *passes, int n, struct err *err)
{
    struct pass_key key[PASSES_MAX];
    struct captured *captured;
    int rc;

    if (n > PASSES_MAX)
        return cuda_give_passes(cuda, passes, n, err);
    for (int i = 0; i < n; i++)
        make_key(&key[i], &passes[i]);
    captured = find(cuda, key, n);
    if (!captured) {
        rc = cuda_give_passes(cuda, passes, n, err);
        return rc ? rc : remember(cuda, key, n, err);
    }
    rc = captured->graph ? 0 : capture(cuda, passes, n, captured, err);
    return rc ? rc : runtime_cuda.replay(captured->graph, cuda->lanes[0].stream, err);
}

void cuda_graphs_forget(struct cuda_backend *cuda)
{
    while (cuda->captured) {
        struct captured *next = cuda->captured->next;

        if (cuda->captured->graph)
            runtime_cuda.graph_close(cuda->captured->graph);
        free(cuda->captured);
        cuda->captured = next;
    }
}
