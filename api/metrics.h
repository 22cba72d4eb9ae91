/* What is counted, and how it is shown to Prometheus. */
#ifndef API_METRICS_H
#define API_METRICS_H

#include "base/err.h"

struct api_service;
struct metrics;
struct route;
struct text;

int metrics_open(struct metrics **out, struct err *err);
void metrics_close(struct metrics *metrics);
void metrics_begin(struct metrics *metrics);
/* The end of a request; route NULL: none matched. */
void metrics_request(struct metrics *metrics, const struct route *route, int status,
                     double seconds);
/* Requests under way. */
int metrics_active(const struct metrics *metrics);

/* metrics_devices.c: GPUs. */
void metrics_put_devices(struct text *out, const struct api_service *service);

#endif
