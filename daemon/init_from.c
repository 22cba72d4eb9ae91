#include "init_from.h"

#include <stdlib.h>

#include "base/cleanup.h"

struct search {
    struct db_reader *reader;
    struct engine_job *job;
    struct problems *problems;
    struct err *err;
};

static int keep_last(void *context, const struct db_checkpoint *checkpoint)
{
    *(struct db_checkpoint *)context = *checkpoint;
    return 0;
}

/* *found is not touched when there is none, and the problem is told. */
static int find_checkpoint(const struct search *s, struct db_checkpoint *found)
{
    struct job_init_from *from = &s->job->init_from;
    struct db_job source;
    int rc = db_job_get(s->reader, from->job, &source, s->err);

    if (rc == ERR_NOT_FOUND) {
        problems_add(s->problems, "/init_from/job", "there is no job %lld", (long long)from->job);
        return 0;
    }
    if (rc)
        return rc;
    db_job_free(&source);
    if (from->update == 0) {
        rc = db_checkpoints_each(s->reader, from->job, keep_last, found, s->err);
        from->update = (int64_t)found->update;
        if (!rc && !found->id)
            problems_add(s->problems, "/init_from/job", "job %lld has no checkpoint yet",
                         (long long)from->job);
        return rc;
    }
    rc = db_checkpoint_get(s->reader, from->job, (uint64_t)from->update, found, s->err);
    if (rc != ERR_NOT_FOUND)
        return rc;
    problems_add(s->problems, "/init_from/update", "job %lld has no checkpoint of update %lld",
                 (long long)from->job, (long long)from->update);
    return 0;
}

static int find_upload(const struct search *s, struct db_checkpoint *found)
{
    int64_t id = s->job->init_from.upload;
    int rc = db_checkpoint_get(s->reader, -id, DB_UPLOAD_UPDATE, found, s->err);

    if (rc != ERR_NOT_FOUND)
        return rc;
    problems_add(s->problems, "/init_from/upload", "there is no upload %lld", (long long)id);
    return 0;
}

static int compare(const struct search *s, int64_t checkpoint)
{
    struct tensor *tensors = NULL;
    int n, rc = db_checkpoint_tensors(s->reader, checkpoint, &tensors, &n, s->err);

    if (!rc)
        rc = engine_job_check_weights(s->job, tensors, n, s->problems, s->err);
    free(tensors);
    /* It was removed since it was found: the next try finds another one, or none. */
    if (rc == ERR_NOT_FOUND)
        rc = err_set(s->err, ERR_CONFLICT, "the checkpoint has just been replaced");
    return rc;
}

int init_from_prepare(struct db *db, struct engine_job *job, struct problems *problems,
                      struct err *err)
{
    struct search search = {.job = job, .problems = problems, .err = err};
    struct db_checkpoint found = {0};
    int rc;

    if (job->init_from.job == 0 && job->init_from.upload == 0)
        return 0;
    rc = db_reader_open(&search.reader, db, err);
    if (rc)
        return rc;
    rc = job->init_from.upload ? find_upload(&search, &found) : find_checkpoint(&search, &found);
    if (!rc && found.id)
        rc = compare(&search, found.id);
    db_reader_close(search.reader);
    return rc;
}

int init_from_load(struct db_reader *reader, const struct engine_job *job, struct engine_run *run,
                   struct err *err)
{
    const struct job_init_from *from = &job->init_from;
    struct checkpoint *checkpoint;
    struct err cause = {0};
    int rc;

    if (from->job == 0 && from->upload == 0)
        return 0;
    rc = db_checkpoint_load(reader, from->upload ? -from->upload : from->job,
                            from->upload ? DB_UPLOAD_UPDATE : (uint64_t)from->update, &checkpoint,
                            &cause);
    if (!rc) {
        rc = engine_run_begin_from(run, checkpoint, &cause);
        db_checkpoint_free(checkpoint);
    }
    if (rc && from->upload)
        err_set(err, rc, "cannot begin with upload %lld: %s", (long long)from->upload,
                cause.message);
    else if (rc)
        err_set(err, rc, "cannot begin with the checkpoint of update %lld of job %lld: %s",
                (long long)from->update, (long long)from->job, cause.message);
    return rc;
}
