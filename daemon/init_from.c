#include "init_from.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "find.h"

static int compare(struct db_reader *reader, const struct engine_job *job, int64_t checkpoint,
                   struct problems *problems, struct err *err)
{
    struct tensor *tensors = NULL;
    int n, rc = db_checkpoint_tensors(reader, checkpoint, &tensors, &n, err);

    if (!rc)
        rc = engine_job_check_weights(job, tensors, n, problems, err);
    free(tensors);
    /* It was removed since it was found: the next try finds another one, or none. */
    if (rc == ERR_NOT_FOUND)
        rc = err_set(err, ERR_CONFLICT, "the checkpoint has just been replaced");
    return rc;
}

int init_from_prepare(struct db *db, struct engine_job *job, struct problems *problems,
                      struct err *err)
{
    struct job_init_from *from = &job->init_from;
    struct db_checkpoint found;
    struct db_reader *reader;
    int rc;

    if (from->job == 0 && from->upload == 0)
        return 0;
    rc = db_reader_open(&reader, db, err);
    if (rc)
        return rc;
    if (from->upload)
        rc = find_upload(reader, from->upload, "/init_from/upload", problems, &found, err);
    else
        rc = find_checkpoint(reader, from->job, &from->update, "/init_from", problems, &found, err);
    if (!rc && found.id)
        rc = compare(reader, job, found.id, problems, err);
    db_reader_close(reader);
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
