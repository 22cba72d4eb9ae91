/* The state folder: made if it is missing (those above it are not), locked so that it has one
 * writer. */
#ifndef DB_FOLDER_H
#define DB_FOLDER_H

#include <limits.h>

struct err;

struct db_folder {
    char path[PATH_MAX]; /* absolute, without symbolic links */
    int lock;            /* file descriptor that holds the lock */
};

/* ERR_IO: cannot be made, is not a folder, cannot be written; ERR_BUSY: somebody else has it. */
int db_folder_open(struct db_folder *folder, const char *path, struct err *err);
void db_folder_close(struct db_folder *folder);

#endif
