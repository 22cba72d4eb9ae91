/* See folder.h. The lock is flock(2)'s: the kernel lets go of it whenever its holder ends, so a
 * killed daemon never leaves a stale one. The file's text is only for whoever reads it. */
#include "folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"

/* err_errno, but what is missing here is no "not found" of the kind that a client asked for. */
static int refuse(struct err *err, const char *what, const char *path)
{
    int code = err_errno(err, "%s %s", what, path);

    if (code != ERR_NOT_FOUND)
        return code;
    if (err)
        err->code = ERR_IO;
    return ERR_IO;
}

/* Puts the folder's own name on disk, too. */
static int sync_parent(const char *path, struct err *err)
{
    char parent[PATH_MAX];
    char *slash;
    int directory, code = 0;

    strcpy(parent, path);
    slash = strrchr(parent, '/');
    slash[slash == parent ? 1 : 0] = '\0';
    directory = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* A parent that may be passed through but not read cannot be synchronised by us. */
    if (directory < 0)
        return errno == EACCES ? 0 : refuse(err, "cannot open the folder", parent);
    if (fsync(directory) != 0 && errno != EINVAL && errno != EROFS)
        code = refuse(err, "cannot write the folder", parent);
    close(directory);
    return code;
}

static int take_lock(struct db_folder *folder, struct err *err)
{
    char path[PATH_MAX + 8], holder[32] = "";

    snprintf(path, sizeof path, "%s/lock", folder->path);
    folder->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (folder->lock < 0)
        return refuse(err, "cannot write the state folder:", path);
    if (flock(folder->lock, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK)
            return refuse(err, "cannot lock", path);
        if (read(folder->lock, holder, sizeof holder - 1) < 0)
            holder[0] = '\0';
        holder[strcspn(holder, "\n")] = '\0';
        return err_set(err, ERR_BUSY, "%.300s is in use by another rwpd (process %s)", folder->path,
                       holder);
    }
    /* Nothing depends on this text, so a full disk does not matter here. */
    if (ftruncate(folder->lock, 0) == 0)
        dprintf(folder->lock, "%ld\n", (long)getpid());
    return 0;
}

int db_folder_open(struct db_folder *folder, const char *path, struct err *err)
{
    struct stat status;
    int code;

    folder->lock = -1;
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return refuse(err, "cannot create the state folder", path);
    if (!realpath(path, folder->path) || stat(folder->path, &status) != 0)
        return refuse(err, "cannot find the state folder", path);
    if (!S_ISDIR(status.st_mode))
        return err_set(err, ERR_IO, "%.300s is not a folder", folder->path);
    code = sync_parent(folder->path, err);
    if (!code)
        code = take_lock(folder, err);
    if (code)
        db_folder_close(folder);
    return code;
}

void db_folder_close(struct db_folder *folder)
{
    if (folder->lock >= 0)
        close(folder->lock);
    folder->lock = -1;
}
