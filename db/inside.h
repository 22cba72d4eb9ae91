/* What db.h keeps opaque. */
#ifndef DB_INSIDE_H
#define DB_INSIDE_H

#include "db/db.h"
#include "folder.h"
#include "writer.h"

struct db {
    struct db_folder folder;
    struct db_queue *queue;
    struct db_writer *writer;
};

/* Half-built ones, too. */
void db_free(struct db *db);

#endif
