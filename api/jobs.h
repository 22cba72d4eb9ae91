#ifndef API_JOBS_H
#define API_JOBS_H

#include "http.h"

/* Appends the job of request->id, with its facts, to the reply. */
int job_reply(struct request *request, struct reply *reply, struct err *err);

/* Answers with an object whose one member, `key`, is a list of something that the job of
 * request->id has; `put` appends its items to the reply. */
int job_list_reply(struct request *request, struct reply *reply, const char *key,
                   int (*put)(struct request *request, struct reply *reply,
                              struct db_reader *reader, struct err *err),
                   struct err *err);

/* Something that can be controlled, the one that a request names. */
struct controlled {
    const char *key; /* under which the answer has it */
    /* Asks for the action; *what says what came of it. */
    int (*ask)(const struct request *request, enum api_action action, const char **what,
               struct err *err);
    /* Appends it as it is now. */
    int (*show)(struct request *request, struct reply *reply, struct err *err);
};

/* Answers a control request, whose body is empty or an object without members. */
int control_reply(struct request *request, struct reply *reply, const struct controlled *of,
                  enum api_action action, struct err *err);

/* submit.c: the body as `spec` describes it, into *out. False: it is no JSON, and the reply says
 * so. What is wrong with its values is noted in reply->problems. */
bool body_parse(struct request *request, struct reply *reply, const struct spec_object *spec,
                void *out);

#endif
