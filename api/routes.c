/* The table of routes: what dispatches, what is described, what tests walk. */
#include "routes.h"

#include "base/cleanup.h"

#define QUERY(table)   .query = (table), .n_query = ARRAY_LENGTH(table)
#define ANSWERS(table) .answers = (table), .n_answers = ARRAY_LENGTH(table)
#define JSON           "application/json"

static const char *const states[] = {"queued", "running",   "paused", "succeeded",
                                     "failed", "cancelled", NULL};
static const char *const probe_states[] = {"queued", "running",   "succeeded",
                                           "failed", "cancelled", NULL};
static const char *const formats[] = {"json", "csv", NULL};
static const char *const parts[] = {"model", "full", NULL};

static const struct query_parameter list_query[] = {
    [LIST_STATE] = {"state", "Only jobs in this state.", QUERY_CHOICE, .choices = states},
    [LIST_LIMIT] = {"limit", "Most jobs in the answer.", QUERY_INT, 1, 200, 50},
    [LIST_CURSOR] = {"cursor", "Where the previous page ended; from its `next`.", QUERY_TEXT},
    [LIST_SWEEP] = {"sweep", "Only jobs of this sweep.", QUERY_INT, 1, 9007199254740991, 0},
};
static const struct query_parameter sweeps_query[] = {
    [SWEEPS_LIMIT] = {"limit", "Most sweeps in the answer.", QUERY_INT, 1, 50, 20},
    [SWEEPS_CURSOR] = {"cursor", "Where the previous page ended; from its `next`.", QUERY_TEXT},
};
static const struct query_parameter sweep_query[] = {
    [SWEEP_FORMAT] = {"format", "Goes before the Accept header.", QUERY_CHOICE, .choices = formats},
};
static const struct query_parameter probes_query[] = {
    [LIST_STATE] = {"state", "Only probes in this state.", QUERY_CHOICE, .choices = probe_states},
    [LIST_LIMIT] = {"limit", "Most probes in the answer.", QUERY_INT, 1, 200, 50},
    [LIST_CURSOR] = {"cursor", "Where the previous page ended; from its `next`.", QUERY_TEXT},
};
static const struct query_parameter table_query[] = {
    [TABLE_AFTER] = {"after", "Only rows after this one; the first is 0.", QUERY_INT, -1,
                     9007199254740991, -1},
    [TABLE_LIMIT] = {"limit", "Most rows in the answer; all when not given.", QUERY_INT, 1,
                     9007199254740991, 9007199254740991},
    [TABLE_FORMAT] = {"format", "Goes before the Accept header.", QUERY_CHOICE, .choices = formats},
};
static const struct query_parameter series_query[] = {
    [SERIES_AFTER] = {"after", "Only what comes after this update or, of epochs, this epoch.",
                      QUERY_INT, 0, 9007199254740991, 0},
    [SERIES_LIMIT] = {"limit", "Most rows that are read; all when not given.", QUERY_INT, 1,
                      9007199254740991, 9007199254740991},
    [SERIES_POINTS] =
        {"points",
         "Thins to about so many rows: of each stretch the rows with the lowest and "
         "the highest loss (of telemetry the perturbed one, if there is one; NaN counts as "
         "highest), and the last row of all.",
         QUERY_INT, 4, 100000, 0},
    [SERIES_FORMAT] = {"format", "Goes before the Accept header.", QUERY_CHOICE,
                       .choices = formats},
};
static const struct query_parameter events_query[] = {
    [EVENTS_LAST] = {"last_event_id", "As the header Last-Event-ID, which goes before it.",
                     QUERY_INT, 0, 9007199254740991, 0},
};
static const struct query_parameter checkpoint_query[] = {
    [CHECKPOINT_STATE] = {"state",
                          "model: what load_state_dict takes; full: momentum., squares., "
                          "fisher. and progress. too.",
                          QUERY_CHOICE, .choices = parts},
};

static const struct query_parameter upload_query[] = {
    [UPLOAD_NAME] = {"name", "For people; at most 200 bytes.", QUERY_TEXT},
    [UPLOAD_SHA256] = {"sha256",
                       "SHA-256 of the body in hexadecimal; a body with another one is refused.",
                       QUERY_TEXT},
};

static const struct answer job_created[] = {
    {201, "Job", "Created and on disk."},
    {200, "Job", "The Idempotency-Key and the job are known: nothing was created."}};
static const struct answer job_answer[] = {{200, "Job", "The job."}};
static const struct answer list_answer[] = {{200, "JobList", "A page of jobs, newest first."}};
static const struct answer control_answer[] = {{200, "Control", "What happened."}};
static const struct answer losses_answer[] = {{200, "Losses", "A row an update."}};
static const struct answer epochs_answer[] = {{200, "Epochs", "A row an epoch."}};
static const struct answer telemetry_answer[] = {
    {200, "TelemetryList", "A row a measurement; null where the method has no such value."}};
static const struct answer events_answer[] = {
    {200, NULL,
     "Server-sent events with ids. What `data` is, by `event`: start StartEvent, job Job (where a "
     "new client begins), state StateEvent, update UpdateEvent, epoch EpochEvent, telemetry "
     "TelemetryEvent, checkpoint CheckpointEvent, probe ProbeEvent, probe_progress "
     "ProbeProgressEvent (of each probe the last one is kept), message MessageEvent, deleted "
     "DeletedEvent (there is nothing more of the job). A comment comes when nothing else does."},
    {204, NULL, "The job and its probes have ended and everything was sent: do not come back."}};
static const struct answer messages_answer[] = {
    {200, "MessageList", "The newest 50, newest first."}};
static const struct answer checkpoints_answer[] = {{200, "CheckpointList", "Oldest first."}};
static const struct answer checkpoint_answer[] = {{200, NULL, "The file."},
                                                  {206, NULL, "The range that was asked for."},
                                                  {304, NULL, "It is what the client has."}};
static const struct answer probe_created[] = {
    {201, "Probe", "Created and on disk."},
    {200, "Probe", "The Idempotency-Key and the probe are known: nothing was created."}};
static const struct answer probe_answer[] = {{200, "Probe", "The probe."}};
static const struct answer probes_answer[] = {
    {200, "ProbeList", "A page of probes, newest first."}};
static const struct answer probe_control_answer[] = {{200, "ProbeControl", "What happened."}};
static const struct answer table_answer[] = {
    {200, "ProbeTable", "The rows that there are so far, in their order."}};
static const struct answer vectors_answer[] = {{200, NULL, "The file."},
                                               {206, NULL, "The range that was asked for."},
                                               {304, NULL, "It is what the client has."}};
static const struct answer probe_kinds_answer[] = {
    {200, "ProbeKinds", "Each kind with its parameters and what it results in."}};
static const struct answer sweep_created[] = {
    {201, "Sweep", "The sweep and all of its jobs are created and on disk."},
    {200, "Sweep", "The Idempotency-Key and the sweep are known: nothing was created."}};
static const struct answer sweep_answer[] = {
    {200, "Sweep", "The sweep with its table; as CSV the table alone, a line a row."}};
static const struct answer sweeps_answer[] = {
    {200, "SweepList", "A page of sweeps, newest first."}};
static const struct answer sweep_control_answer[] = {{200, "SweepControl", "What happened."}};
static const struct answer upload_created[] = {
    {201, "Upload", "Stored and on disk."},
    {200, "Upload", "These bytes were uploaded before: nothing was stored."}};
static const struct answer upload_answer[] = {{200, "Upload", "The upload."}};
static const struct answer uploads_answer[] = {{200, "UploadList", "Oldest first."}};
static const struct answer deleted_answer[] = {{204, NULL, "It is gone."}};
static const struct answer kinds_answer[] = {{200, "Kinds", "Each kind with its parameters."}};
static const struct answer devices_answer[] = {{200, "DeviceList", "Best first."}};
static const struct answer index_answer[] = {{200, "Index", "What there is."}};
static const struct answer health_answer[] = {{200, "Health", "All is well."}};
static const struct answer text_answer[] = {{200, NULL, "Text."}};
static const struct answer any_answer[] = {{200, "OpenAPI", "This description."}};
static const struct answer login_answer[] = {{303, NULL, "Logged in; the cookie is set."},
                                             {401, NULL, "Not the token; the form again."}};

static const struct route table[] = {
    {"GET", "/v1", "getIndex", "What there is", "discovery", index_get, .type = JSON,
     ANSWERS(index_answer)},
    {"POST", "/v1/jobs", "submitJob", "Submit a job", "jobs", job_post,
     ROUTE_WORK | ROUTE_JSON_BODY, .body = "JobSpec", .type = JSON, ANSWERS(job_created)},
    {"GET", "/v1/jobs", "listJobs", "Jobs, newest first", "jobs", job_list, QUERY(list_query),
     .type = JSON, ANSWERS(list_answer)},
    {"GET", "/v1/jobs/{id}", "getJob", "One job", "jobs", job_get, .type = JSON,
     ANSWERS(job_answer)},
    {"POST", "/v1/jobs/{id}/cancel", "cancelJob", "Cancel a job", "jobs", job_cancel, ROUTE_WORK,
     .type = JSON, ANSWERS(control_answer)},
    {"POST", "/v1/jobs/{id}/pause", "pauseJob", "Write a checkpoint and free the worker", "jobs",
     job_pause, ROUTE_WORK, .type = JSON, ANSWERS(control_answer)},
    {"POST", "/v1/jobs/{id}/resume", "resumeJob",
     "Queue a paused or failed job again; it goes on from its latest checkpoint", "jobs",
     job_resume, ROUTE_WORK, .type = JSON, ANSWERS(control_answer)},
    {"DELETE", "/v1/jobs/{id}", "deleteJob",
     "Delete a job that has ended, with all that it recorded; refused while another job is to "
     "begin "
     "with a checkpoint of it or a probe needs one, and for a sweep's job",
     "jobs", job_delete, ROUTE_WORK, .type = JSON, ANSWERS(deleted_answer)},
    {"GET", "/v1/jobs/{id}/losses", "getLosses", "The loss of each update", "series", losses_get,
     QUERY(series_query), .type = JSON, .other_type = "text/csv", ANSWERS(losses_answer)},
    {"GET", "/v1/jobs/{id}/epochs", "getEpochs", "Training and evaluation by epoch", "series",
     epochs_get, QUERY(series_query), .type = JSON, .other_type = "text/csv",
     ANSWERS(epochs_answer)},
    {"GET", "/v1/jobs/{id}/telemetry", "getTelemetry", "What was measured of the perturbation",
     "series", telemetry_get, QUERY(series_query), .type = JSON, .other_type = "text/csv",
     ANSWERS(telemetry_answer)},
    {"GET", "/v1/jobs/{id}/events", "followJob", "One job, live", "events", job_events,
     ROUTE_STREAM, QUERY(events_query), .type = "text/event-stream", ANSWERS(events_answer)},
    {"GET", "/v1/events", "followAll", "All jobs, live, without their losses and telemetry",
     "events", all_events, ROUTE_STREAM, QUERY(events_query), .type = "text/event-stream",
     ANSWERS(events_answer)},
    {"GET", "/v1/jobs/{id}/messages", "listMessages", "What the runs of a job said in words",
     "jobs", message_list, .type = JSON, ANSWERS(messages_answer)},
    {"GET", "/v1/jobs/{id}/checkpoints", "listCheckpoints", "Checkpoints of a job", "checkpoints",
     checkpoint_list, .type = JSON, ANSWERS(checkpoints_answer)},
    {"GET", "/v1/jobs/{id}/checkpoints/{update}", "getCheckpoint",
     "A checkpoint as safetensors; `latest` for the newest", "checkpoints", checkpoint_get,
     ROUTE_WORK, QUERY(checkpoint_query), .type = "application/octet-stream",
     ANSWERS(checkpoint_answer)},
    {"POST", "/v1/jobs/{id}/probes", "askProbe", "Ask for a measurement at a checkpoint of the job",
     "probes", probe_post, ROUTE_WORK | ROUTE_JSON_BODY, .type = JSON, ANSWERS(probe_created),
     .body = "ProbeSpec"},
    {"GET", "/v1/jobs/{id}/probes", "listProbes", "Probes of a job, newest first", "probes",
     probe_list, QUERY(probes_query), .type = JSON, ANSWERS(probes_answer)},
    {"GET", "/v1/jobs/{id}/probes/{number}", "getProbe", "One probe", "probes", probe_get,
     .type = JSON, ANSWERS(probe_answer)},
    {"POST", "/v1/jobs/{id}/probes/{number}/cancel", "cancelProbe", "Cancel a probe", "probes",
     probe_cancel, ROUTE_WORK, .type = JSON, ANSWERS(probe_control_answer)},
    {"GET", "/v1/jobs/{id}/probes/{number}/tables/{table}", "getProbeTable",
     "A table of a probe's results", "probes", probe_table_get, QUERY(table_query), .type = JSON,
     .other_type = "text/csv", ANSWERS(table_answer)},
    {"GET", "/v1/jobs/{id}/probes/{number}/vectors", "getProbeVectors",
     "The vectors that a probe was asked to give, as safetensors: VECTOR/PARAMETER", "probes",
     probe_vectors_get, ROUTE_WORK, .type = "application/octet-stream", ANSWERS(vectors_answer)},
    {"POST", "/v1/sweeps", "submitSweep", "Submit a base job with a grid of changes", "sweeps",
     sweep_post, ROUTE_WORK | ROUTE_JSON_BODY, .body = "SweepSpec", .type = JSON,
     ANSWERS(sweep_created)},
    {"GET", "/v1/sweeps", "listSweeps", "Sweeps, newest first", "sweeps", sweep_list,
     QUERY(sweeps_query), .type = JSON, ANSWERS(sweeps_answer)},
    {"GET", "/v1/sweeps/{id}", "getSweep",
     "One sweep: how far it is, and mean and deviation over its seeds", "sweeps", sweep_get,
     QUERY(sweep_query), .type = JSON, .other_type = "text/csv", ANSWERS(sweep_answer)},
    {"POST", "/v1/sweeps/{id}/cancel", "cancelSweep", "Cancel all of its jobs", "sweeps",
     sweep_cancel, ROUTE_WORK, .type = JSON, ANSWERS(sweep_control_answer)},
    {"POST", "/v1/sweeps/{id}/pause", "pauseSweep", "Pause all of its jobs", "sweeps", sweep_pause,
     ROUTE_WORK, .type = JSON, ANSWERS(sweep_control_answer)},
    {"POST", "/v1/sweeps/{id}/resume", "resumeSweep",
     "Queue its paused jobs again, not those that have failed", "sweeps", sweep_resume, ROUTE_WORK,
     .type = JSON, ANSWERS(sweep_control_answer)},
    {"DELETE", "/v1/sweeps/{id}", "deleteSweep",
     "Delete a sweep whose jobs have all ended, with them; refused as for a job", "sweeps",
     sweep_delete, ROUTE_WORK, .type = JSON, ANSWERS(deleted_answer)},
    {"POST", "/v1/uploads", "uploadWeights",
     "Store weights, a safetensors file with the names of the model's state_dict, for "
     "init_from, or vectors for a probe; tensors named momentum., squares., fisher. and progress. "
     "are left out",
     "uploads", upload_post, ROUTE_WORK | ROUTE_FILE_BODY, QUERY(upload_query), .type = JSON,
     ANSWERS(upload_created)},
    {"GET", "/v1/uploads", "listUploads", "Uploaded weights", "uploads", upload_list, .type = JSON,
     ANSWERS(uploads_answer)},
    {"GET", "/v1/uploads/{id}", "getUpload", "One upload", "uploads", upload_get, .type = JSON,
     ANSWERS(upload_answer)},
    {"DELETE", "/v1/uploads/{id}", "deleteUpload",
     "Delete an upload; refused while a job is to begin with it or a probe needs it", "uploads",
     upload_delete, ROUTE_WORK, .type = JSON, ANSWERS(deleted_answer)},
    {"GET", "/v1/models", "listModels", "Models", "discovery", models_get, .type = JSON,
     ANSWERS(kinds_answer)},
    {"GET", "/v1/datasets", "listDatasets", "Datasets", "discovery", datasets_get, .type = JSON,
     ANSWERS(kinds_answer)},
    {"GET", "/v1/methods", "listMethods", "Methods", "discovery", methods_get, .type = JSON,
     ANSWERS(kinds_answer)},
    {"GET", "/v1/optimizers", "listOptimizers", "Optimizers", "discovery", optimizers_get,
     .type = JSON, ANSWERS(kinds_answer)},
    {"GET", "/v1/schedules", "listSchedules", "Schedules", "discovery", schedules_get, .type = JSON,
     ANSWERS(kinds_answer)},
    {"GET", "/v1/probes", "listProbeKinds", "Probes that can be asked for", "discovery",
     probe_kinds_get, .type = JSON, ANSWERS(probe_kinds_answer)},
    {"GET", "/v1/devices", "listDevices", "Devices of this machine", "discovery", devices_get,
     .type = JSON, ANSWERS(devices_answer)},
    {"GET", "/livez", "getLive", "Whether the process answers", "health", livez_get, ROUTE_OPEN,
     .type = JSON, ANSWERS(health_answer)},
    {"GET", "/readyz", "getReady", "Whether what is recorded reaches the disk", "health",
     readyz_get, .type = JSON, ANSWERS(health_answer)},
    {"GET", "/metrics", "getMetrics", "For Prometheus", "health", metrics_get, .type = "text/plain",
     ANSWERS(text_answer)},
    {"GET", "/openapi.json", "getDescription", "This description", "discovery", openapi_get,
     .type = JSON, ANSWERS(any_answer)},
    {"POST", "/login", "logIn", "A browser's login: form field `token`", "health", login_post,
     ROUTE_OPEN | ROUTE_FORM_BODY, .type = "text/html", ANSWERS(login_answer)},
};

const struct route *routes(int *n)
{
    *n = ARRAY_LENGTH(table);
    return table;
}
