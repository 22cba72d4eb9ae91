/* Probes as the database keeps them: those that are asked for, and those that a job's own list
 * makes due. */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

#include "api/spec_json.h"
#include "probe.h"

static struct spec_field field;

static void fill_field(void)
{
    field = (struct spec_field){.name = "probe",
                                .doc = "A measurement of the loss surface at a checkpoint.",
                                .type = SPEC_VARIANT,
                                .required = true};
    field.kinds = engine_probe_kinds(&field.n_kinds);
}

const struct spec_field *probe_field(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, fill_field);
    return &field;
}

struct db_probe_plan probe_plan(const struct engine_probe *probe, const char *request,
                                int64_t priority)
{
    struct db_probe_plan plan = {
        .kind = probe_field()->kinds[probe->kind].name, .request = request, .priority = priority};

    if (engine_probe_needs_other(probe) && !probe->other.upload) {
        plan.other_job = probe->other.job;
        plan.other_update = probe->other.update;
    }
    if (engine_probe_needs_other(probe) && probe->other.upload)
        plan.upload = probe->other.upload;
    if (engine_probe_needs_vectors(probe))
        plan.upload = probe->upload;
    return plan;
}

int probe_due(int64_t id, const struct engine_job *job, const struct engine_job_facts *facts,
              uint64_t update, struct db_due *due, int *n, struct err *err)
{
    int rc = 0;

    *n = 0;
    for (int i = 0; !rc && i < job->probes.n; i++) {
        struct engine_probe probe = job->probes.item[i];
        char *request = NULL;

        if (!engine_job_probe_due(job, i, facts->updates_per_epoch, facts->updates, update))
            continue;
        probe.update = (int64_t)update;
        if (probe.other.job == 0 && probe.other.update > 0)
            probe.other.job = id;
        rc = spec_json_write_variant(probe_field(), &probe, &request, err);
        due[*n] = (struct db_due){.place = i, .plan = probe_plan(&probe, request, job->priority)};
        *n += !rc;
    }
    if (rc)
        probe_due_free(due, *n);
    return rc;
}

void probe_due_free(struct db_due *due, int n)
{
    for (int i = 0; i < n; i++)
        free((char *)(uintptr_t)due[i].plan.request);
}
