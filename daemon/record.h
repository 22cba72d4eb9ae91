/* The sink that writes what a run says into the database. */
#ifndef DAEMON_RECORD_H
#define DAEMON_RECORD_H

#include "db/db.h"
#include "engine/run.h"
#include "rate.h"

struct recorder {
    struct db *db;
    int64_t job;
    const struct engine_job *spec;
    const struct engine_job_facts *facts;
    void (*wake)(void *context); /* when a checkpoint has brought probes */
    void *wake_context;
    double seconds; /* of training so far, over all starts: the sum of the updates' */
    struct rate *rate;
    bool failed; /* the database took something not: that is why the run ended */
};

/* *recorder must outlive the run. */
struct engine_sink record_sink(struct recorder *recorder);

#endif
