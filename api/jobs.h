#ifndef API_JOBS_H
#define API_JOBS_H

#include "http.h"

/* Appends the job of request->id, with its facts, to the reply. */
int job_reply(struct request *request, struct reply *reply, struct err *err);

/* The body of a control request is empty, or an object without members; false: it is not, and the
 * reply says so. */
bool body_is_empty(struct request *request, struct reply *reply);

/* Answers a control request: what came of it, and under `key` what `show` appends, the thing as it
 * is now. */
int control_reply(struct request *request, struct reply *reply, const char *what, const char *key,
                  int (*show)(struct request *request, struct reply *reply, struct err *err),
                  struct err *err);

/* submit.c: the body as `spec` describes it, into *out. False: it is no JSON, and the reply says
 * so. What is wrong with its values is noted in reply->problems. */
bool body_parse(struct request *request, struct reply *reply, const struct spec_object *spec,
                void *out);

#endif
