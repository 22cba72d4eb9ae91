/* What a probe needs: found, checked and named when it is asked for. */
#include "probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/spec_json.h"
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

static int keep_last(void *context, const struct db_checkpoint *checkpoint)
{
    *(struct db_checkpoint *)context = *checkpoint;
    return 0;
}

/* found->id stays 0 where there is none. */
static int find_newest(const struct search *s, int64_t job, struct db_checkpoint *found)
{
    *found = (struct db_checkpoint){0};
    return db_checkpoints_each(s->reader, job, keep_last, found, s->err);
}

static int find_update(const struct search *s)
{
    struct db_checkpoint found;
    int rc = find_newest(s, s->id, &found);

    if (rc)
        return rc;
    if (!found.id)
        return err_set(s->err, ERR_CONFLICT, "job %lld has no checkpoint yet", (long long)s->id);
    if (s->probe->update == 0)
        s->probe->update = (int64_t)found.update;
    rc = db_checkpoint_get(s->reader, s->id, (uint64_t)s->probe->update, &found, s->err);
    if (rc != ERR_NOT_FOUND)
        return rc;
    problems_add(s->problems, "/update", "job %lld has no checkpoint of update %lld",
                 (long long)s->id, (long long)s->probe->update);
    return 0;
}

/* *out is 0 when there is no such upload, and the problem is told. */
static int find_upload(const struct search *s, int64_t upload, const char *pointer, int64_t *out)
{
    struct db_checkpoint found = {0};
    int rc = db_checkpoint_get(s->reader, -upload, DB_UPLOAD_UPDATE, &found, s->err);

    *out = rc ? 0 : found.id;
    if (rc != ERR_NOT_FOUND)
        return rc;
    problems_add(s->problems, pointer, "there is no upload %lld", (long long)upload);
    return 0;
}

static int find_other_checkpoint(const struct search *s, int64_t *out)
{
    struct probe_other *other = &s->probe->other;
    struct db_checkpoint found;
    struct db_job job;
    int rc;

    *out = 0;
    if (other->job == 0)
        other->job = s->id;
    if (other->job == 0)
        return 0; /* the job's own, later */
    rc = db_job_get(s->reader, other->job, &job, s->err);
    if (rc == ERR_NOT_FOUND) {
        problems_add(s->problems, "/other/job", "there is no job %lld", (long long)other->job);
        return 0;
    }
    if (rc)
        return rc;
    db_job_free(&job);
    if (other->update == 0) {
        rc = find_newest(s, other->job, &found);
        if (!rc && !found.id)
            problems_add(s->problems, "/other/job", "job %lld has no checkpoint yet",
                         (long long)other->job);
        other->update = (int64_t)found.update;
    } else {
        rc = db_checkpoint_get(s->reader, other->job, (uint64_t)other->update, &found, s->err);
        if (rc == ERR_NOT_FOUND) {
            problems_add(s->problems, "/other/update", "job %lld has no checkpoint of update %lld",
                         (long long)other->job, (long long)other->update);
            return 0;
        }
    }
    *out = rc ? 0 : found.id;
    return rc;
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
    int64_t checkpoint = 0, vectors = 0;
    int rc = 0;

    if (engine_probe_needs_other(probe))
        rc = probe->other.upload ? find_upload(s, probe->other.upload, "/other/upload", &checkpoint)
                                 : find_other_checkpoint(s, &checkpoint);
    if (!rc && checkpoint)
        rc = compare(s, checkpoint);
    if (!rc && engine_probe_needs_vectors(probe) && probe->upload)
        rc = find_upload(s, probe->upload, "/upload", &vectors);
    return rc || !vectors ? rc : compare_vectors(s, vectors);
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

/* What is wrong with one of a list is told with its place in front. */
struct within {
    int i;
    struct problems *problems;
};

static void tell_of_one(void *to, const char *pointer, const char *message)
{
    const struct within *within = to;
    char whole[96];

    snprintf(whole, sizeof whole, "/probes/%d%s", within->i, pointer);
    problems_add(within->problems, whole, "%s", message);
}

int probe_prepare_list(struct db *db, struct engine_job *job, struct problems *problems,
                       struct err *err)
{
    struct within within = {.problems = problems};
    struct problems own = {.tell = tell_of_one, .to = &within};
    struct search search = {.job = job, .problems = &own, .err = err};
    int rc;

    if (job->probes.n == 0)
        return 0;
    rc = db_reader_open(&search.reader, db, err);
    for (int i = 0; !rc && i < job->probes.n; i++) {
        search.probe = &job->probes.item[i];
        within.i = i;
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
