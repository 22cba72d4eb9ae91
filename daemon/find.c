#include "find.h"

#include <stdio.h>

int find_checkpoint(struct db_reader *reader, int64_t job, int64_t *update, const char *place,
                    struct problems *problems, struct db_checkpoint *found, struct err *err)
{
    char pointer[64];
    struct db_job row;
    int rc = db_job_get(reader, job, &row, err);

    *found = (struct db_checkpoint){0};
    snprintf(pointer, sizeof pointer, "%s/%s", place, rc || *update == 0 ? "job" : "update");
    if (rc == ERR_NOT_FOUND)
        problems_add(problems, pointer, "there is no job %lld", (long long)job);
    if (rc)
        return rc == ERR_NOT_FOUND ? 0 : rc;
    db_job_free(&row);
    if (*update == 0) {
        rc = db_checkpoint_newest(reader, job, found, err);
        if (rc == ERR_NOT_FOUND)
            problems_add(problems, pointer, "job %lld has no checkpoint yet", (long long)job);
        *update = (int64_t)found->update;
    } else {
        rc = db_checkpoint_get(reader, job, (uint64_t)*update, found, err);
        if (rc == ERR_NOT_FOUND)
            problems_add(problems, pointer, "job %lld has no checkpoint of update %lld",
                         (long long)job, (long long)*update);
    }
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

int find_upload(struct db_reader *reader, int64_t upload, const char *pointer,
                struct problems *problems, struct db_checkpoint *found, struct err *err)
{
    int rc = db_checkpoint_get(reader, -upload, DB_UPLOAD_UPDATE, found, err);

    if (rc != ERR_NOT_FOUND)
        return rc;
    *found = (struct db_checkpoint){0};
    problems_add(problems, pointer, "there is no upload %lld", (long long)upload);
    return 0;
}
