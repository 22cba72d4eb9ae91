/* What the tests of probes share. */
#ifndef TESTS_DB_PROBE_SUPPORT_H
#define TESTS_DB_PROBE_SUPPORT_H

#include "db/probe.h"
#include "support.h"

/* Opens the place; a running job with a checkpoint of update 10. */
int64_t open_with_checkpoint(struct place *place);
/* A small one, of which the job keeps the newest `keep`. */
void add_checkpoint(struct place *place, int64_t job, uint64_t update, int64_t keep);

extern const char probe_request[];
/* A spectrum of a job's checkpoint, as probe_request asks for it; not inserted yet. */
struct db_new_probe probe_of(int64_t job, uint64_t update);
/* Inserts such a one. Its number. */
int64_t add_probe(struct place *place, int64_t job, uint64_t update, int64_t priority);

/* db_probe_get; free it with db_probe_free. */
struct db_probe get_probe(struct place *place, int64_t job, int64_t number);
enum probe_state state_of_probe(struct place *place, int64_t job, int64_t number);

/* Claims the next one; what the claim points to is freed already. */
struct db_probe_claim claim_probe(struct place *place);

#endif
