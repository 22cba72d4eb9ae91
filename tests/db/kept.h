/* The files of a state folder, kept to compare them and to bring them back. */
#ifndef TESTS_DB_KEPT_H
#define TESTS_DB_KEPT_H

#include "support.h"

#define KEPT_FILES_MAX 8

/* All files but the lock, whose text says who has it. */
struct kept {
    struct kept_file {
        char name[NAME_MAX + 1];
        char *bytes;
        size_t n;
    } file[KEPT_FILES_MAX];
    int n;
};

void kept_read(struct place *place, struct kept *kept);
void kept_drop(struct kept *kept);
/* NULL if there was none. */
const struct kept_file *kept_find(const struct kept *kept, const char *name);

/* The folder has these files, with these bytes, and no other. */
void assert_kept(struct place *place, const struct kept *before);

/* Makes the folder so. */
void kept_put_back(struct place *place, const struct kept *kept);

/* A file of the state folder, anew. */
void place_write(struct place *place, const char *name, const void *bytes, size_t n);

#endif
