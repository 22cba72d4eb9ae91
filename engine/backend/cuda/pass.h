/* What is given to the lanes as one: the passes of a wave, or a whole update. */
#ifndef ENGINE_BACKEND_CUDA_PASS_H
#define ENGINE_BACKEND_CUDA_PASS_H

#include "backend/cuda/program.h"

enum { PASSES_MAX = 12, EXCHANGES_MAX = 2 * PASSES_MAX };

/* Where a pass has its inputs from. */
enum feed {
    FEED_SENT,   /* they were sent to the program before the round */
    FEED_KEPT,   /* the program's pass before it had the same */
    FEED_STAGED, /* they were sent elsewhere, since the program has another pass before */
    FEED_NONE    /* they are data on the device */
};

struct given {
    struct pass pass;
    int wave;
    bool has_casts; /* the program's casts are the pass's weights already */
    enum feed feed;
    size_t staged_at; /* where in `staged`, for FEED_STAGED */
    int record_at;    /* of its first output in the update's row */
};

/* What a change of the weights makes beside them: the casts that the next update's first passes
 * compute with. `like` has their forms. */
struct next_casts {
    struct program *clean, *noisy;    /* either may be NULL */
    const struct program *like;       /* NULL: none are made */
    const struct perturbation *noise; /* of this update */
    const struct turn *turn;          /* of the next one, on the device */
};

struct round {
    int n;
    struct given given[PASSES_MAX];
    /* An update's. NULL: passes alone, which have their turns from their programs and leave their
     * outputs there. */
    const struct step *step;
    const struct update *update; /* likewise; for what ranks exchange */
    struct next_casts next;
};

/* pass.c: what is wrong with a pass; room for a second lane's activations if that is its `place` in
 * its wave. */
int cuda_pass_prepare(struct cuda_backend *cuda, const struct pass *pass, int place,
                      struct err *err);
/* Bytes of input i of a program. */
size_t cuda_input_bytes(const struct program *program, int i);
/* The same where it lies in a stage, with what is between it and the next one. */
static inline size_t cuda_staged_bytes(size_t bytes)
{
    return (bytes + 255) / 256 * 256;
}
/* Gives the work of a round to the lanes; lane 0 ends after all of it. */
int cuda_give(struct cuda_backend *cuda, const struct round *round, struct err *err);

/* graphs.c: the same as it was captured, if the same round was given before. */
int cuda_graphs_run(struct cuda_backend *cuda, const struct round *round, struct err *err);

/* casts.c: which passes find their weights made, and which of them are made with the step. Programs
 * know from then on what their casts are, and vectors that they are written, as if the round were
 * done; where it fails, what is known is to be forgotten. */
void cuda_casts_plan(struct round *round, double next_sigma);
void cuda_casts_forget(const struct round *round);

/* step.c: what is wrong with a step; tables that it needs. */
int cuda_step_prepare(struct cuda_backend *cuda, const struct step *step, struct err *err);
/* Its rates, rounded once. */
struct turn cuda_step_turn(const struct step *step);
/* Enqueues it, with its turn on the device, and `next` of the turn after it. */
int cuda_step_give(struct cuda_backend *cuda, const struct step *step, const struct turn *turn,
                   const struct next_casts *next, struct err *err);
/* Its vectors are changed. */
void cuda_step_written(const struct step *step);

/* data.c: of a pass with a batch of data on the device. What it is refused for; where its batch
 * stands, which its program's draw_turn has to say; the launch that writes the images, as the
 * program's commands read them, and the labels. */
int cuda_data_check(const struct pass *pass, struct err *err);
void cuda_data_turn(const struct data_batch *batch, struct turn *turn);
int cuda_data_give(const struct pass *pass, void *images, const struct lane *lane, struct err *err);

#endif
