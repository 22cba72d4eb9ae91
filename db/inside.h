/* What db.h keeps opaque. */
#ifndef DB_INSIDE_H
#define DB_INSIDE_H

#include "db/db.h"
#include "folder.h"
#include "writer.h"

/* The state in the row of a job that was deleted, until all that it recorded is removed. To whoever
 * asks it is not there: jobs that are have states from 0 on. */
#define DB_JOB_GONE (-1)

/* Whose a checkpoint is from the moment that its first tensor is removed. */
#define DB_REMOVED_JOB INT64_MIN

struct db {
    struct db_folder folder;
    struct db_queue *queue;
    struct db_writer *writer;
};

/* Half-built ones, too. */
void db_free(struct db *db);

/* record.c: how much of a message is kept, without a part of a UTF-8 sequence. */
size_t db_message_bytes(const char *text);

#endif
