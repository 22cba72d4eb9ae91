/* What ranks make of their vectors together. A rank is a thread with a backend of its own; several
 * of them compute one update (method/recipe.h).
 *
 * Every rank makes the same exchanges in the same order, each from its own thread and with a vector
 * of its own, all of one size. Sums are made in one order, so that all ranks get the same bits, and
 * a run that is repeated gets them again.
 *
 * When a rank fails, somebody says `abort`: from then on exchanges fail on all ranks, and those
 * that wait in one for a rank that does not come return. */
#ifndef ENGINE_COMMUNICATOR_COMMUNICATOR_H
#define ENGINE_COMMUNICATOR_COMMUNICATOR_H

#include <stddef.h>

#include "base/err.h"

struct vector;
struct backend_class;
struct communicator_class;

enum { COMMUNICATOR_RANKS_MAX = 8 };

struct exchange {
    int wave;              /* of an update: it comes after the passes of this wave */
    struct vector *vector; /* this rank's: read and written */
    size_t n;              /* its elements */
    int from;              /* the rank whose vector all get; −1: all get the sum */
    double share;          /* of a sum: the rank's vector counts times this; 0: not at all */
};

/* All implementations begin with this. */
struct communicator {
    const struct communicator_class *class;
    int ranks;
};

struct communicator_class {
    /* 0, or why none can be opened on this machine. NULL: there is nothing to look for. */
    int (*find)(struct err *err);
    /* For `ranks` backends of this class; those of GPUs on devices `device`, `device` + 1, … One
     * thread opens it for all, another or the same closes it, when no rank uses it any more. */
    int (*open)(struct communicator **out, const struct backend_class *class, int ranks, int device,
                struct err *err);
    void (*close)(struct communicator *communicator);

    /* In the order of what the vector's backend was given before; it may return before it is done,
     * as that backend's functions do. */
    int (*exchange)(struct communicator *communicator, int rank, const struct exchange *exchange,
                    struct err *err);

    /* From any thread, as often as one likes. */
    void (*abort)(struct communicator *communicator);
};

/* host.c: for backends whose vectors lie in the host's memory (`vector_data`). */
extern const struct communicator_class communicator_host;

#endif
