/* What the API asks of the daemon, answered by the engine and the queue. */
#ifndef DAEMON_SERVICE_H
#define DAEMON_SERVICE_H

#include "api/api.h"
#include "queue.h"

/* *out refers to `queue` and to static data. */
void service_fill(struct api_service *out, struct queue *queue, int workers);

#endif
