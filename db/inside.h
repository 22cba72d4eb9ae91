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

/* record.c: how much of a message is kept, without a part of a UTF-8 sequence. */
size_t db_message_bytes(const char *text);

#endif
