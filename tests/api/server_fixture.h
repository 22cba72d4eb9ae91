/* A database with one job that has ended, and a server over it. */
#ifndef TESTS_SERVER_FIXTURE_H
#define TESTS_SERVER_FIXTURE_H

#include <pthread.h>

#include "api/api.h"

#define FIXTURE_UPDATES 200
#define FIXTURE_NAN     50
#define FIXTURE_WEIGHTS 6

struct fixture {
    char folder[64];
    struct db *db;
    struct api *api;
    int port;
};

extern struct fixture fixture;
extern const struct api_service fixture_service;
/* Cancelling, pausing and resuming wait for it. */
extern pthread_mutex_t fixture_control_lock;
extern const float fixture_weights[FIXTURE_WEIGHTS];

/* For cmocka's group; print what went wrong and return non-zero. */
int fixture_open(void **state);
int fixture_close(void **state);

#endif
