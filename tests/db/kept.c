#include "kept.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void keep_file(struct place *place, struct kept_file *file, const char *name)
{
    struct stat status;
    int from = open(place_file(place, name), O_RDONLY);

    assert_true(from >= 0);
    assert_int_equal(fstat(from, &status), 0);
    snprintf(file->name, sizeof file->name, "%s", name);
    file->n = (size_t)status.st_size;
    file->bytes = malloc(file->n + 1);
    assert_non_null(file->bytes);
    assert_int_equal(read(from, file->bytes, file->n), file->n);
    close(from);
}

void kept_read(struct place *place, struct kept *kept)
{
    DIR *folder = opendir(place->state);
    struct dirent *entry;

    assert_non_null(folder);
    kept->n = 0;
    while ((entry = readdir(folder))) {
        if (entry->d_name[0] == '.' || strcmp(entry->d_name, "lock") == 0)
            continue;
        assert_true(kept->n < KEPT_FILES_MAX);
        keep_file(place, &kept->file[kept->n++], entry->d_name);
    }
    closedir(folder);
}

void kept_drop(struct kept *kept)
{
    for (int i = 0; i < kept->n; i++)
        free(kept->file[i].bytes);
    kept->n = 0;
}

const struct kept_file *kept_find(const struct kept *kept, const char *name)
{
    for (int i = 0; i < kept->n; i++)
        if (strcmp(kept->file[i].name, name) == 0)
            return &kept->file[i];
    return NULL;
}

void assert_kept(struct place *place, const struct kept *before)
{
    struct kept after;

    kept_read(place, &after);
    for (int i = 0; i < after.n; i++) {
        const struct kept_file *now = &after.file[i], *was = kept_find(before, now->name);

        if (!was)
            fail_msg("%s is new", now->name);
        if (now->n != was->n || memcmp(now->bytes, was->bytes, now->n) != 0)
            fail_msg("%s was changed: %zu bytes, were %zu", now->name, now->n, was->n);
    }
    assert_int_equal(after.n, before->n);
    kept_drop(&after);
}

void place_write(struct place *place, const char *name, const void *bytes, size_t n)
{
    int to = open(place_file(place, name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(to >= 0);
    assert_int_equal(write(to, bytes, n), n);
    close(to);
}

void kept_put_back(struct place *place, const struct kept *kept)
{
    struct kept now;

    kept_read(place, &now);
    for (int i = 0; i < now.n; i++)
        unlink(place_file(place, now.file[i].name));
    kept_drop(&now);
    for (int i = 0; i < kept->n; i++)
        place_write(place, kept->file[i].name, kept->file[i].bytes, kept->file[i].n);
}
