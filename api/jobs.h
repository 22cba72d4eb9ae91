#ifndef API_JOBS_H
#define API_JOBS_H

#include "http.h"

/* Appends the job of request->id, with its facts, to the reply. */
int job_reply(struct request *request, struct reply *reply, struct err *err);

#endif
