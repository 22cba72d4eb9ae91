/* What db.h keeps opaque. */
#ifndef DB_INSIDE_H
#define DB_INSIDE_H

#include "db/db.h"
#include "folder.h"
#include "writer.h"

/* Uploads are checkpoints of this update, of the job −id. */
#define DB_UPLOAD_UPDATE ((int64_t)1)

struct db {
    struct db_folder folder;
    struct db_queue *queue;
    struct db_writer *writer;
};

/* Half-built ones, too. */
void db_free(struct db *db);

#endif
