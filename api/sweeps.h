#ifndef API_SWEEPS_H
#define API_SWEEPS_H

#include "http.h"

/* Appends the sweep of request->id, with its table, to the reply. */
int sweep_reply(struct request *request, struct reply *reply, struct err *err);

#endif
