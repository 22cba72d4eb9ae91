/* The handlers, one a route. Each fills the reply, or returns an error that becomes a problem. */
#ifndef API_ROUTES_H
#define API_ROUTES_H

#include "http.h"

#define HANDLER(name) int name(struct request *request, struct reply *reply, struct err *err)

HANDLER(login_post);
HANDLER(job_post);
HANDLER(job_list);
HANDLER(job_get);
HANDLER(job_cancel);
HANDLER(job_pause);
HANDLER(job_resume);
HANDLER(job_delete);
HANDLER(losses_get);
HANDLER(epochs_get);
HANDLER(telemetry_get);
HANDLER(job_events);
HANDLER(all_events);
HANDLER(message_list);
HANDLER(checkpoint_list);
HANDLER(checkpoint_get);
HANDLER(probe_post);
HANDLER(probe_list);
HANDLER(probe_get);
HANDLER(probe_cancel);
HANDLER(probe_table_get);
HANDLER(probe_vectors_get);
HANDLER(probe_kinds_get);
HANDLER(sweep_post);
HANDLER(sweep_list);
HANDLER(sweep_get);
HANDLER(sweep_cancel);
HANDLER(sweep_pause);
HANDLER(sweep_resume);
HANDLER(sweep_delete);
HANDLER(upload_post);
HANDLER(upload_list);
HANDLER(upload_get);
HANDLER(upload_delete);
HANDLER(models_get);
HANDLER(datasets_get);
HANDLER(methods_get);
HANDLER(optimizers_get);
HANDLER(schedules_get);
HANDLER(devices_get);
HANDLER(index_get);
HANDLER(livez_get);
HANDLER(readyz_get);
HANDLER(metrics_get);
HANDLER(openapi_get);

/* Places of the parameters in the routes' tables. */
enum { LIST_STATE, LIST_LIMIT, LIST_CURSOR, LIST_SWEEP };
enum { SWEEPS_LIMIT, SWEEPS_CURSOR };
enum { SWEEP_FORMAT };
enum { SERIES_AFTER, SERIES_LIMIT, SERIES_POINTS, SERIES_FORMAT };
enum { EVENTS_LAST };
enum { CHECKPOINT_STATE };
enum { UPLOAD_NAME, UPLOAD_SHA256 };
enum { TABLE_AFTER, TABLE_LIMIT, TABLE_FORMAT };

#endif
