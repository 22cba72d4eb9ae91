/* Rounds as graphs: the first time that a round comes it is given to the lanes as it is (libraries
 * load their kernels then), the second time it is captured, from then on replayed.
 *
 * What a captured round depends on stands in its key: programs, places in memory, and the numbers
 * that launches carry. What changes with each update stands in device memory. */
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/nccl.h"
#include "backend/cuda/pass.h"

enum { CAPTURED_MAX = 32 };

/* Keys have no padding between members, or zeros there, so that they compare as bytes. */
struct pass_key {
    const struct program *program;
    const float *weights, *fisher, *direction, *states, *gradient;
    const float *along, *product;
    const struct device_data *data;
    int64_t batch, begin;
    uint64_t noise_seed, draw_seed, staged_at;
    double eta, rho, momentum;
    uint32_t kind, noise_term, draw_term, move_statistics;
    uint32_t wave, has_casts, feed, record_at;
};

struct step_key {
    const struct layout *layout; /* with `n` and `size`, of which tables are made */
    const float *weights, *momentum_vector, *squares, *fisher;
    const float *gradient[UPDATE_TERMS_MAX];
    double weight[UPDATE_TERMS_MAX], feeds[UPDATE_TERMS_MAX];
    double momentum, weight_decay, clip_norm, beta1, beta2, eps, beta;
    const struct program *clean, *noisy, *like;
    uint64_t n, size;
    uint32_t there, rule, nesterov, n_terms; /* what the noise is drawn with stands in its pass's */
};

struct exchange_key {
    const struct communicator *communicator;
    const float *vector;
    double share;
    int64_t n, from, wave;
};

struct key {
    struct pass_key pass[PASSES_MAX];
    struct exchange_key exchange[EXCHANGES_MAX];
    struct step_key step;
    uint64_t n;
};

struct captured {
    struct captured *next;
    struct key key;
    struct CUgraphExec_st *graph; /* NULL: seen once */
};

static const float *data_of(const struct vector *vector)
{
    return vector ? vector->data : NULL;
}

static void make_pass_key(struct pass_key *key, const struct given *given)
{
    const struct pass *pass = &given->pass;
    const struct perturbation *p = &pass->perturbation;
    bool noise = p->kind == PERTURB_NOISE, direction = perturb_needs_direction(p->kind);

    key->program = pass->program;
    key->weights = data_of(pass->weights);
    key->states = data_of(pass->states);
    key->gradient = data_of(pass->gradient);
    key->data = pass->batch.data;
    key->batch = pass->batch.number;
    key->begin = pass->batch.begin;
    key->along = data_of(pass->direction);
    key->product = data_of(pass->product);
    key->kind = p->kind;
    key->wave = (uint32_t)given->wave;
    key->has_casts = given->has_casts;
    key->feed = given->feed;
    key->staged_at = given->staged_at;
    key->record_at = (uint32_t)given->record_at;
    if (noise || direction)
        key->eta = p->eta;
    if (noise) {
        key->noise_seed = p->seed;
        key->noise_term = p->term;
        key->fisher = p->eta != 0 ? data_of(p->fisher) : NULL;
    }
    if (direction) {
        key->rho = p->rho;
        key->direction = data_of(p->direction);
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

static void make_step_key(struct step_key *key, const struct step *s, const struct next_casts *next)
{
    key->there = 1;
    key->rule = s->rule;
    key->layout = s->layout;
    key->n = (uint64_t)s->layout->n;
    key->size = s->layout->size;
    key->weights = data_of(s->weights);
    key->momentum_vector = data_of(s->momentum_vector);
    key->squares = data_of(s->squares);
    key->fisher = data_of(s->fisher);
    key->nesterov = s->nesterov;
    key->momentum = s->momentum;
    key->weight_decay = s->weight_decay;
    key->clip_norm = s->clip_norm;
    key->beta1 = s->beta1;
    key->beta2 = s->beta2;
    key->eps = s->eps;
    key->beta = s->beta;
    key->n_terms = (uint32_t)s->n_terms;
    for (int k = 0; k < s->n_terms; k++) {
        key->gradient[k] = data_of(s->terms[k].gradient);
        key->weight[k] = s->terms[k].weight;
        key->feeds[k] = s->terms[k].feeds_fisher;
    }
    key->clean = next->clean;
    key->noisy = next->noisy;
    key->like = next->like;
}

static void make_exchange_keys(struct exchange_key *key, const struct update *update)
{
    for (int i = 0; i < update->n_exchanges; i++) {
        const struct exchange *e = &update->exchanges[i];

        key[i] = (struct exchange_key){update->communicator, e->vector->data, e->share,
                                       (int64_t)e->n,        e->from,         e->wave};
    }
}

static void make_key(struct key *key, const struct round *round)
{
    memset(key, 0, sizeof *key);
    key->n = (uint64_t)round->n;
    for (int i = 0; i < round->n; i++)
        make_pass_key(&key->pass[i], &round->given[i]);
    if (round->step) {
        make_step_key(&key->step, round->step, &round->next);
        make_exchange_keys(key->exchange, round->update);
    }
}

static struct captured *find(struct cuda_backend *cuda, const struct key *key)
{
    struct captured *at = cuda->captured;

    while (at && memcmp(&at->key, key, sizeof *key) != 0)
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

static int remember(struct cuda_backend *cuda, const struct key *key, struct err *err)
{
    struct captured *captured;

    if (count(cuda) == CAPTURED_MAX) {
        int rc = runtime_cuda.wait(cuda->lanes[0].stream, err); /* one may be under way */

        if (rc)
            return rc;
        cuda_graphs_forget(cuda);
    }
    captured = calloc(1, sizeof *captured);
    if (!captured)
        return err_no_memory(err);
    captured->key = *key;
    captured->next = cuda->captured;
    cuda->captured = captured;
    return 0;
}

static int capture(struct cuda_backend *cuda, const struct round *round, struct captured *captured,
                   struct err *err)
{
    struct CUstream_st *stream = cuda->lanes[0].stream;
    struct CUgraphExec_st *graph = NULL;
    int rc = runtime_cuda.capture_begin(stream, err), end;

    if (rc)
        return rc;
    rc = cuda_give(cuda, round, err);
    end = runtime_cuda.capture_end(stream, &graph, rc ? NULL : err);
    if (rc && !end)
        runtime_cuda.graph_close(graph);
    if (!rc && !end)
        captured->graph = graph;
    return rc ? rc : end;
}

/* What was captured of a communicator is there until it is aborted. */
static int replay(struct cuda_backend *cuda, const struct round *round,
                  struct CUgraphExec_st *graph, struct err *err)
{
    const struct update *update = round->update;
    int rc;

    if (!update || !update->communicator)
        return runtime_cuda.replay(graph, cuda->lanes[0].stream, err);
    rc = nccl_enter(update->communicator, update->rank, err);
    if (rc)
        return rc;
    rc = runtime_cuda.replay(graph, cuda->lanes[0].stream, err);
    nccl_leave(update->communicator, update->rank);
    return rc;
}

int cuda_graphs_run(struct cuda_backend *cuda, const struct round *round, struct err *err)
{
    struct captured *captured;
    struct key key;
    int rc;

    make_key(&key, round);
    captured = find(cuda, &key);
    if (!captured) {
        rc = cuda_give(cuda, round, err);
        return rc ? rc : remember(cuda, &key, err);
    }
    rc = captured->graph ? 0 : capture(cuda, round, captured, err);
    return rc ? rc : replay(cuda, round, captured->graph, err);
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
