/* A sink that keeps everything that a run says, and can stop it or refuse on the way. */
#ifndef TESTS_ENGINE_RECORD_H
#define TESTS_ENGINE_RECORD_H

#include "base/err.h"
#include "engine/run.h"

#define RECORD_UPDATES_MAX   4096
#define RECORD_EPOCHS_MAX    256
#define RECORD_TELEMETRY_MAX 256

struct record {
    int n_updates, n_epochs, n_checkpoints, n_messages;
    struct engine_update update[RECORD_UPDATES_MAX];
    struct engine_epoch epoch[RECORD_EPOCHS_MAX];
    int n_telemetry;
    struct telemetry telemetry[RECORD_TELEMETRY_MAX];
    struct checkpoint checkpoint; /* a copy of the newest one */
    bool final;                   /* whether the run called it so */

    atomic_int request; /* what the run is given */
    uint64_t ask_at;    /* update at which `request` becomes `ask`; 0: never */
    int ask;
    uint64_t nap_at; /* update after which the sink sleeps for a good second; 0: never */
    int refuse_update, refuse_epoch, refuse_checkpoint; /* the call, from 1, that fails */
};

/* Big: not for the stack. */
struct record *record_new(void);
void record_free(struct record *record);
/* Forgets what was said and asked, but keeps the checkpoint. */
void record_rewind(struct record *record);

struct engine_sink record_sink(struct record *record);

void checkpoint_copy(struct checkpoint *out, const struct checkpoint *in);
void checkpoint_clear(struct checkpoint *checkpoint);
/* The first tensor of this role and name; fails the test where there is none. */
const struct tensor *checkpoint_find(const struct checkpoint *checkpoint, enum tensor_role role,
                                     const char *name);
/* The same tensors in the same order with the same bits, and the same update. */
void assert_checkpoints_equal(const struct checkpoint *a, const struct checkpoint *b);

/* A job of seconds at most: 50 digits in batches of 16 (so the tail has 2), 3 epochs = 12 updates,
 * a ResNet of 4 and 8 channels. */
enum { TINY_SAMPLES = 50, TINY_PER_EPOCH = 4, TINY_EPOCHS = 3, TINY_UPDATES = 12 };
struct engine_job tiny_job(int method, int device);
/* A smaller one in fp32 for a GPU that the host takes the place of: 26 digits in batches of 8, 8, 8
 * and 2 (what is made for one size is wanted for another), which the last epoch alone evaluates. */
struct engine_job emulated_job(int method);

/* Opens, restores from `from` unless it is NULL, trains, closes. Returns what training returned. */
int record_run(struct record *record, const struct engine_job *job, const struct checkpoint *from,
               enum engine_outcome *outcome, struct err *err);
/* The same where nothing may go wrong. */
enum engine_outcome record_run_well(struct record *record, const struct engine_job *job,
                                    const struct checkpoint *from);

/* Begins with the weights of `source` and stops before the first update. */
void record_begin(struct record *record, const struct engine_job *job,
                  const struct checkpoint *source);
/* That such a run has the source's parameters and statistics, of whatever precision and with
 * whatever method it was trained, and nothing of its past. `exact`: nothing was rounded. */
void assert_begun(const struct checkpoint *own, const struct checkpoint *source, bool exact);

#endif
