/* What the handlers that take something in share. */
#ifndef API_SUBMIT_H
#define API_SUBMIT_H

#include "api/spec_json.h"
#include "db/db.h"
#include "http.h"

/* False: the reply says what is wrong with the Idempotency-Key. */
bool submit_check_key(struct request *request, struct reply *reply);

struct submit_problems {
    struct spec_problems *problems;
    int n_values; /* of them, those of single values */
};

/* Tells a struct submit_problems. A value that is wrong by itself stands at its default, so
 * nothing more is said of it. */
void submit_add_problem(void *to, const char *pointer, const char *message);

/* Makes what reply->problems holds, if anything, the answer: 422. */
void submit_tell_problems(struct reply *reply, const char *thing);

/* Adds what is wrong with the combination of a job's values to what is wrong with single ones. */
void submit_check_job(const struct api *api, const void *job, struct spec_problems *problems);
/* The settings that say nothing because of others, as api_service.check_silent. */
void submit_check_silent(const struct api *api, const void *job, bool plain_too,
                         struct spec_problems *problems);

/* Fills in what only the service knows; adds what is named and not there. */
int submit_prepare_job(const struct api *api, void *job, struct spec_problems *problems,
                       struct err *err);

/* How often a submission is tried when what a job begins with is replaced meanwhile. */
#define SUBMIT_TRIES 8

/* Whether this request, with this fingerprint, came before, and what it has become. Asked before it
 * is looked at what it begins with, which may be gone by now. Without a key nothing is known. */
int submit_known(const struct request *request, struct db_key *key, int64_t *id, bool *known,
                 struct err *err);

/* A handler between the service's look_begin and look_end. */
int submit_looking(struct request *request, struct reply *reply,
                   int (*handler)(struct request *, struct reply *, struct err *), struct err *err);

/* SHA-256 in hexadecimal. Equal jobs have equal ones, however their JSON was written. */
void submit_fingerprint(const char *spec, char out[65]);

#endif
