/* The schemas of what is answered, as compact tables: "name:type" a member. Types: i integer,
 * n number or "NaN"/"Infinity"/"-Infinity", s string, b boolean, t time, ? in front: or null,
 * [X] a list of X, @X another schema. */
#include <string.h>

#include "base/cleanup.h"
#include "base/device.h"
#include "db/db.h"
#include "db/probe.h"
#include "json_write.h"
#include "openapi.h"

static const struct {
    const char *name, *members;
} schemas[] = {
    {"Job", "id:i name:s state:@JobState wish:?s reason:?s priority:i sweep:?@JobSweep progress:n "
            "updates:i updates_done:i "
            "updates_per_second:?n eta_seconds:?n created_at:?t started_at:?t finished_at:?t "
            "seconds:n gradient_evaluations:i threads:i starts:i loss:?n perturbed_loss:?n epoch:i "
            "train_loss:?n train_top1:?n test_loss:?n test_top1:?n test_top5:?n best_top1:?n "
            "best_epoch:?i checkpoint_update:?i parameters:i *estimate:@Estimate "
            "measured:@Measured *facts:@Facts spec:@JobSpec "
            "links:@Links"},
    {"Estimate", "memory_bytes:i device_memory_bytes:?i seconds_per_update:?n "
                 "evaluation_seconds:?n seconds:?n basis:?s"},
    {"Measured",
     "device:?s precision:?s memory_bytes:?i device_memory_bytes:?i seconds_per_update:?n"},
    {"Facts", "parameters:i train_samples:i test_samples:i classes:i updates_per_epoch:i "
              "updates:i gradients_per_update:i device:s precision:s"},
    {"Links", "self:s losses:s epochs:s telemetry:s events:s messages:s checkpoints:s probes:s"},
    {"JobSweep", "id:i point:i"},
    {"JobList", "jobs:[Job] counts:@JobCounts next:?s"},
    {"Control", "result:s job:@Job"},
    {"Loss", "update:i epoch:i loss:n perturbed_loss:?n lr:n sigma:n seconds:n"},
    {"Losses", "job:i losses:[Loss] thinned:b of:i next_after:?i"},
    {"Epoch", "epoch:i update:i train_loss:n train_top1:n test_loss:?n test_top1:?n test_top5:?n "
              "gradient_evaluations:i seconds:n at:?t"},
    {"Epochs", "job:i epochs:[Epoch] thinned:b of:i next_after:?i"},
    {"Telemetry", "update:i epoch:i clean_loss:?n perturbed_loss:?n perturbation_norm:?n "
                  "gradient_norm:?n perturbed_gradient_norm:?n cosine:?n fisher_scale_min:?n "
                  "fisher_scale_median:?n fisher_scale_max:?n"},
    {"TelemetryList", "job:i telemetry:[Telemetry] thinned:b of:i next_after:?i"},
    {"Message", "at:?t text:s"},
    {"MessageList", "messages:[Message]"},
    {"Checkpoint", "update:i bytes:i final:b created_at:?t sha256:?s url:s"},
    {"CheckpointList", "checkpoints:[Checkpoint]"},
    {"Sweep",
     "id:i name:s state:@JobState max_running:i points:i jobs:@JobCounts progress:n created_at:?t "
     "finished_at:?t seconds:n gradient_evaluations:i links:@SweepLinks "
     "probes:@ProbeCounts spec:x rows:[SweepRow]"},
    {"SweepSummary",
     "id:i name:s state:@JobState max_running:i points:i jobs:@JobCounts progress:n "
     "created_at:?t finished_at:?t seconds:n gradient_evaluations:i "
     "links:@SweepLinks"},
    {"SweepList", "sweeps:[SweepSummary] next:?s"},
    {"SweepControl", "result:s sweep:@Sweep"},
    {"SweepLinks", "self:s jobs:s"},
    {"SweepRow", "label:s values:x seeds:i succeeded:i failed:i cancelled:i jobs:x "
                 "train_loss:@Statistic train_top1:@Statistic test_top1:@Statistic "
                 "best_top1:@Statistic generalization_gap:@Statistic "
                 "gradient_evaluations:@Statistic seconds:@Statistic probes:x"},
    {"Statistic", "mean:?n std:?n n:i"},
    {"ProbeCounts", "queued:i running:i succeeded:i failed:i cancelled:i"},
    {"JobCounts", "queued:i running:i paused:i succeeded:i failed:i cancelled:i"},
    {"Probe",
     "job:i number:i kind:s update:i planned:b state:@ProbeState wish:?s reason:?s message:?s "
     "progress:n priority:i threads:i starts:i created_at:?t started_at:?t finished_at:?t "
     "summary:x tables:[ProbeTableSize] vectors:?s request:@ProbeSpec url:s"},
    {"ProbeTableSize", "name:s rows:i url:s"},
    {"ProbeList", "probes:[Probe] next:?s"},
    {"ProbeControl", "result:s probe:@Probe"},
    {"ProbeTable", "job:i probe:i table:s rows:x of:i next_after:?i"},
    {"ProbeColumn", "name:s doc:?s integer:b"},
    {"ProbeTableKind", "name:s doc:?s columns:[ProbeColumn]"},
    {"ProbeKind", "kind:s doc:?s parameters:[Parameter] tables:[ProbeTableKind]"},
    {"ProbeKinds", "probes:[ProbeKind]"},
    {"Upload", "id:i name:s sha256:s bytes:i tensors:i created_at:?t"},
    {"UploadList", "uploads:[Upload]"},
    {"Parameter", "name:s type:s doc:?s required:b default:x *min:n *max:n *above_min:b "
                  "*below_max:b *max_length:i *choices:x *parameters:[Parameter]"},
    {"Kind", "kind:s doc:?s parameters:[Parameter]"},
    {"Kinds", "*models:[Kind] *datasets:[Kind] *methods:[Kind] *optimizers:[Kind] "
              "*schedules:[Kind]"},
    {"Device", "name:s doc:?s description:?s cores:i memory_bytes:i precisions:x "
               "*uuid:s *state:@DeviceState *reason:?s *memory_used_bytes:?i *utilisation:?n "
               "*temperature_celsius:?i *processes:?i *others:[DeviceProcess]"},
    {"DeviceProcess", "pid:i name:?s memory_bytes:?i"},
    {"DeviceList", "devices:[Device] workers:i"},
    {"IndexRoute", "method:s path:s summary:s"},
    {"Index", "name:s version:s routes:[IndexRoute]"},
    {"Health", "status:s"},
    {"FieldError", "*pointer:s *parameter:s *header:s detail:s"},
    {"Problem", "type:s title:s status:i detail:s code:s *errors:[FieldError] *more_errors:i"},
    {"StartEvent", "sequence:i"},
    {"StateEvent", "job:i at:?t state:@JobState reason:?s from_update:i"},
    {"UpdateEvent", "job:i at:?t loss:@Loss"},
    {"EpochEvent", "job:i at:?t epoch:@Epoch"},
    {"CheckpointEvent", "job:i at:?t update:i"},
    {"TelemetryEvent", "job:i at:?t telemetry:@Telemetry"},
    {"ProbeEvent", "job:i at:?t number:i kind:s update:i state:@ProbeState reason:?s"},
    {"ProbeProgressEvent", "job:i at:?t number:i kind:s progress:n"},
    {"MessageEvent", "job:i at:?t text:s"},
    {"DeletedEvent", "job:i at:?t"},
    {"OpenAPI", "openapi:s info:x paths:x components:x security:x"},
};

/* What a member's name does not say, in whatever schema it stands. */
static const struct {
    const char *member, *doc;
} notes[] = {
    {"of",
     "Recorded rows behind `after` when the request came, whatever `limit` and `points` leave "
     "of them."},
    {"thinned", "Rows that were read are left out for `points`."},
    {"next_after", "`after` for what `limit` has cut off; null: nothing."},
    {"counts", "Of all jobs, whatever the query asks for."},
    {"next", "The next page's path; null: there is none."},
    {"progress", "0 to 1."},
    {"point",
     "Its place in the sweep, from 1, in the order of the grid, whose last list varies fastest."},
    {"rows", "One for each combination of values but the seed's."},
    {"values", "By the pointers of the grid."},
    {"mean", "Over the jobs that have succeeded; null: none has."},
    {"std",
     "The sample's standard deviation, divided by n - 1; null: fewer than two have succeeded."},
    {"generalization_gap", "Training accuracy less test accuracy, of the last epoch."},
    {"wish", "pause or cancel: asked of a running job, not yet done."},
    {"seconds", "Of training; in an estimate, of the whole run with its evaluations."},
    {"facts", "What follows from the spec; not in lists, nor when the dataset is not to be had."},
    {"estimate", "What it takes with its threads to itself, as forecast when it was submitted."},
    {"measured", "What its runs took."},
    {"device_memory_bytes", "What of memory_bytes is a GPU's; null: the job is on none."},
    {"others", "Processes beside this one, of whomever, that compute on the GPU."},
    {"basis", "timed, or an earlier run: where the times come from; null where none are known."},
    {"evaluation_seconds", "Of the whole test set, once."},
    {"sha256", "Of the file; of a checkpoint with ?state=model, null until it was asked for."},
    {"planned", "One of the job's own list."},
    {"summary", "The first table's row as an object; null, also in it: not known yet."},
    {"message", "How the results came about, a line each."},
    {"more_errors", "How many more there are than `errors` lists."},
    {"code", "Short and stable, for programs."},
};

static const char *note_of(const char *member, size_t n)
{
    for (size_t i = 0; i < ARRAY_LENGTH(notes); i++)
        if (strlen(notes[i].member) == n && strncmp(notes[i].member, member, n) == 0)
            return notes[i].doc;
    return NULL;
}

static void put_ref(struct text *out, const char *name, size_t n)
{
    text_append(out, "{\"$ref\":\"#/components/schemas/%.*s\"}", (int)n, name);
}

static void put_type(struct text *out, const char *type, size_t n)
{
    static const struct {
        char letter;
        const char *plain, *nullable;
    } simple[] = {
        {'i', "{\"type\":\"integer\"}", "{\"type\":[\"integer\",\"null\"]}"},
        {'s', "{\"type\":\"string\"}", "{\"type\":[\"string\",\"null\"]}"},
        {'b', "{\"type\":\"boolean\"}", "{\"type\":[\"boolean\",\"null\"]}"},
        {'t', "{\"type\":\"string\",\"format\":\"date-time\"}",
         "{\"type\":[\"string\",\"null\"],\"format\":\"date-time\"}"},
        {'n', "{\"$ref\":\"#/components/schemas/Number\"}",
         "{\"anyOf\":[{\"$ref\":\"#/components/schemas/Number\"},{\"type\":\"null\"}]}"},
        {'x', "{}", "{}"},
    };
    bool nullable = *type == '?';

    type += nullable;
    n -= nullable;
    if (*type == '@' && nullable) {
        text_append(out, "{\"anyOf\":[");
        put_ref(out, type + 1, n - 1);
        text_append(out, ",{\"type\":\"null\"}]}");
    } else if (*type == '@') {
        put_ref(out, type + 1, n - 1);
    } else if (*type == '[') {
        text_append(out, "{\"type\":\"array\",\"items\":");
        put_ref(out, type + 1, n - 2);
        text_append(out, "}");
    }
    for (size_t i = 0; i < ARRAY_LENGTH(simple); i++)
        if (simple[i].letter == *type)
            text_append(out, "%s", nullable ? simple[i].nullable : simple[i].plain);
}

static void put_member(struct text *out, const char *name, size_t n, const char *type,
                       size_t n_type)
{
    const char *note = note_of(name, n);
    struct text schema = {0};

    put_type(&schema, type, n_type);
    text_append(out, "\"%.*s\":", (int)n, name);
    if (note && schema.data) {
        text_append(out, "{\"description\":");
        json_string(out, note);
        text_append(out, "%s%s", schema.length > 2 ? "," : "", schema.data + 1);
    } else {
        text_append_bytes(out, schema.data ? schema.data : "", schema.length);
    }
    out->failed = out->failed || schema.failed;
    text_free(&schema);
}

static void put_schema(struct text *out, const char *members)
{
    struct text required = {0};

    text_append(out, "{\"type\":\"object\",\"properties\":{");
    for (const char *at = members; *at;) {
        bool optional = *at == '*';
        const char *name = at + optional, *type = strchr(name, ':');
        size_t n = strcspn(type + 1, " ");

        text_append(out, "%s", at == members ? "" : ",");
        put_member(out, name, (size_t)(type - name), type + 1, n);
        if (!optional)
            text_append(&required, "%s\"%.*s\"", required.length ? "," : "", (int)(type - name),
                        name);
        at = type + 1 + n;
        at += *at == ' ';
    }
    text_append(out, "},\"required\":[%s],\"additionalProperties\":false}",
                required.data ? required.data : "");
    out->failed = out->failed || required.failed;
    text_free(&required);
}

static const char *job_state(int i)
{
    return job_state_name((enum job_state)i);
}

static const char *probe_state(int i)
{
    return probe_state_name((enum probe_state)i);
}

static const char *device_state(int i)
{
    return device_state_name((enum device_state)i);
}

static const struct {
    const char *name;
    const char *(*value)(int i);
    int n;
} enums[] = {
    {"JobState", job_state, JOB_STATES},
    {"ProbeState", probe_state, PROBE_STATES},
    {"DeviceState", device_state, DEVICE_STATES},
};

static void put_enum(struct text *out, const char *(*value)(int i), int n)
{
    json_open(out, '{');
    json_put_string(out, "type", "string");
    json_key(out, "enum");
    json_open(out, '[');
    for (int i = 0; i < n; i++)
        json_string(out, value(i));
    json_close(out, ']');
    json_close(out, '}');
}

void openapi_answers(struct text *out)
{
    json_key(out, "Number");
    text_append(out, "{\"description\":\"A number; what JSON has no number for is a string.\","
                     "\"anyOf\":[{\"type\":\"number\"},{\"enum\":[\"NaN\",\"Infinity\","
                     "\"-Infinity\"]}]}");
    for (size_t i = 0; i < ARRAY_LENGTH(enums); i++) {
        json_key(out, enums[i].name);
        put_enum(out, enums[i].value, enums[i].n);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(schemas); i++) {
        json_key(out, schemas[i].name);
        put_schema(out, schemas[i].members);
    }
}
