/* A database with one job that has ended, and a server over it. */
#ifndef TESTS_SERVER_FIXTURE_H
#define TESTS_SERVER_FIXTURE_H

#include <pthread.h>
#include <stdatomic.h>

#include "api/api.h"

#define FIXTURE_UPDATES 200
#define FIXTURE_NAN     50
#define FIXTURE_WEIGHTS 6
#define FIXTURE_ROWS    2000 /* of the table "rows" of its probe */

struct fixture {
    char folder[64];
    struct db *db;
    struct api *api;
    int port;
    atomic_int anew;       /* checks outside of a look, which list a dataset's folder each */
    atomic_int controlled; /* requests to cancel, pause or resume that have come so far */
    atomic_int refuse;     /* an err_code that submissions are answered with; 0: none */
};

extern struct fixture fixture;
extern const struct api_service fixture_service;
/* Cancelling, pausing and resuming wait for it. */
extern pthread_mutex_t fixture_control_lock;
extern const float fixture_weights[FIXTURE_WEIGHTS];

/* A running job that has recorded nothing yet. */
int64_t fixture_run(void);
/* Losses `first` to `last` of it, each its number. */
void fixture_losses(int64_t job, uint64_t first, uint64_t last);

/* Another server over the same database, at 127.0.0.1 with these options. Fails the running test
 * where it does not open; close it with api_close. */
struct api *fixture_serve(struct api_options options);

/* For cmocka's group; print what went wrong and return non-zero. */
int fixture_open(void **state);
int fixture_close(void **state);

#endif
