/* What a probe needs: found, checked and named when it is asked for. */
#include "probe.h"

#include <stdlib.h>
#include <string.h>

#include "api/spec_json.h"
#include "find.h"
#include "queue_inside.h"

struct search {
    struct db_reader *reader;
    int64_t id; /* of the job, 0: it is being submitted */
    const struct engine_job *job;
    struct engine_probe *probe;
    struct problems *problems; /* of the probe */
    struct err *err;
};

static void tell_of_weights(void *to, const char *pointer, const char *message)
{
    (void)pointer;
    problems_add(to, "/other", "%s", message);
}

static int find_update(const struct search *s)
{
    struct db_checkpoint found;
    int rc = db_checkpoint_newest(s->reader, s->id, &found, s->err);

    if (rc == ERR_NOT_FOUND)
        return err_set(s->err, ERR_CONFLICT, "job %lld has no checkpoint yet", (long long)s->id);
    if (rc)
        return rc;
    if (s->probe->update == 0)
        s->probe->update = (int64_t)found.update;
    rc = db_checkpoint_get(s->reader, s->id, (uint64_t)s->probe->update, &found, s->err);
    if (rc != ERR_NOT_FOUND)
        return rc;
    problems_add(s->problems, "/update", "job %lld has no checkpoint of update %lld",
                 (long long)s->id, (long long)s->probe->update);
    return 0;
}

/* found->id is 0 for the job's own checkpoint that is still to come. */
static int find_other(const struct search *s, struct db_checkpoint *found)
{
    struct probe_other *other = &s->probe->other;

    *found = (struct db_checkpoint){0};
    if (other->upload)
        return find_upload(s->reader, other->upload, "/other/upload", s->problems, found, s->err);
    if (other->job == 0)
        other->job = s->id;
    if (other->job == 0)
        return 0;
    return find_checkpoint(s->reader, other->job, &other->update, "/other", s->problems, found,
                           s->err);
}

/* Whether the weights at the other end are the model's. */
static int compare(const struct search *s, int64_t checkpoint)
{
    struct problems problems = {.tell = tell_of_weights, .to = s->problems};
    struct tensor *tensors = NULL;
    int n, rc = db_checkpoint_tensors(s->reader, checkpoint, &tensors, &n, s->err);

    if (!rc)
        rc = engine_job_check_weights(s->job, tensors, n, &problems, s->err);
    free(tensors);
    if (rc == ERR_NOT_FOUND)
        rc = err_set(s->err, ERR_CONFLICT, "a checkpoint has just been replaced");
    return rc;
}

/* Whether the given vectors are of the model's parameters. */
static int compare_vectors(const struct search *s, int64_t upload)
{
    struct tensor *tensors = NULL;
    int n, rc = db_checkpoint_tensors(s->reader, upload, &tensors, &n, s->err);

    if (!rc)
        rc = engine_probe_check_vectors(s->job, s->probe, tensors, n, s->problems, s->err);
    free(tensors);
    return rc;
}

/* What else it needs. */
static int find_others(const struct search *s)
{
    const struct engine_probe *probe = s->probe;
    struct db_checkpoint other = {0}, vectors = {0};
    int rc = 0;

    if (engine_probe_needs_other(probe))
        rc = find_other(s, &other);
    if (!rc && other.id)
        rc = compare(s, other.id);
    if (!rc && engine_probe_needs_vectors(probe) && probe->upload)
        rc = find_upload(s->reader, probe->upload, "/upload", s->problems, &vectors, s->err);
    return rc || !vectors.id ? rc : compare_vectors(s, vectors.id);
}

int probe_prepare(struct db *db, int64_t job, struct engine_probe *probe, struct problems *problems,
                  struct err *err)
{
    struct engine_job spec = {0};
    struct search search = {
        .id = job, .job = &spec, .probe = probe, .problems = problems, .err = err};
    struct db_job row;
    int rc = db_reader_open(&search.reader, db, err);

    if (rc)
        return rc;
    rc = db_job_get(search.reader, job, &row, err);
    if (!rc) {
        rc = job_parse_spec(row.spec, &spec, err);
        db_job_free(&row);
    }
    if (!rc)
        rc = find_update(&search);
    if (!rc) {
        engine_probe_resolve(probe);
        engine_probe_check(&spec, probe, problems);
        rc = find_others(&search);
    }
    db_reader_close(search.reader);
    return rc;
}

int probe_prepare_list(struct db *db, struct engine_job *job, struct problems *problems,
                       struct err *err)
{
    struct problems_item item = {.whole = problems, .list = "/probes"};
    struct problems own = {.tell = problems_tell_item, .to = &item};
    struct search search = {.job = job, .problems = &own, .err = err};
    int rc;

    if (job->probes.n == 0)
        return 0;
    rc = db_reader_open(&search.reader, db, err);
    for (int i = 0; !rc && i < job->probes.n; i++) {
        search.probe = &job->probes.item[i];
        item.i = i;
        engine_probe_resolve(search.probe);
        rc = find_others(&search);
    }
    db_reader_close(search.reader);
    return rc;
}

int probe_submit(struct db *db, const struct db_new_probe *limits, const struct engine_probe *probe,
                 const char *request, int64_t *number, bool *existing, struct err *err)
{
    struct db_new_probe row = *limits;
    struct db_reader *reader;
    struct db_job job;
    int rc = db_reader_open(&reader, db, err);

    if (rc)
        return rc;
    rc = db_job_get(reader, row.job, &job, err);
    db_reader_close(reader);
    if (rc)
        return rc;
    row.update = (uint64_t)probe->update;
    row.plan = probe_plan(probe, request, job.priority);
    db_job_free(&job);
    return db_probe_insert(db, &row, number, existing, err);
}
