#include "folder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int join(char out[PATH_MAX], const char *folder, const char *rest, struct err *err)
{
    if (snprintf(out, PATH_MAX, "%s%s", folder, rest) >= PATH_MAX)
        return err_set(err, ERR_INVALID, "the path %.64s… is too long", folder);
    return 0;
}

static const char *variable(const char *name)
{
    const char *value = getenv(name);

    return value && *value ? value : NULL;
}

int folder_default(char out[PATH_MAX], const char **source, struct err *err)
{
    const char *given = variable("RWPD_STATE");
    const char *service = variable("STATE_DIRECTORY");
    const char *xdg = variable("XDG_STATE_HOME"), *home = variable("HOME");

    *source = given ? "RWPD_STATE" : service ? "STATE_DIRECTORY" : "--state";
    if (given)
        return join(out, given, "", err);
    if (service) { /* several are separated by colons */
        int rc = join(out, service, "", err);

        out[strcspn(out, ":")] = '\0';
        return rc;
    }
    if (geteuid() == 0)
        return join(out, "/var/lib/rwpd", "", err);
    if (xdg)
        return join(out, xdg, "/rwpd", err);
    if (home)
        return join(out, home, "/.local/state/rwpd", err);
    return err_set(err, ERR_INVALID, "--state: no folder given, and HOME is not set");
}

int folder_make_parents(const char *path, struct err *err)
{
    char part[PATH_MAX];
    int rc = join(part, path, "", err);

    if (rc)
        return rc;
    for (char *slash = strchr(part + 1, '/'); slash && slash[1]; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0700) && errno != EEXIST)
            return err_errno(err, "cannot make the folder %s", part);
        *slash = '/';
    }
    return 0;
}

/* The nearest folder above that exists decides whether the rest can be made. */
int folder_check(const char *path, const char *source, struct err *err)
{
    char part[PATH_MAX];
    struct stat about;
    int rc = join(part, path, "", err);

    if (rc)
        return rc;
    while (stat(part, &about) && errno == ENOENT) {
        char *slash = strrchr(part, '/');

        if (!slash || slash == part)
            strcpy(part, slash ? "/" : ".");
        else
            *slash = '\0';
    }
    if (stat(part, &about))
        return err_errno(err, "%s: %s", source, part);
    if (!S_ISDIR(about.st_mode))
        return err_set(err, ERR_INVALID, "%s: %s is not a folder", source, part);
    if (access(part, W_OK | X_OK))
        return err_errno(err, "%s: cannot write in %s", source, part);
    return 0;
}

static int write_file(const char *path, const char *text, struct err *err)
{
    FILE *file = fopen(path, "we");
    bool written;

    if (!file)
        return err_errno(err, "cannot write %s", path);
    written = fprintf(file, "%s\n", text) > 0;
    written = fclose(file) == 0 && written;
    return written ? 0 : err_errno(err, "cannot write %s", path);
}

int folder_write_listen(const char *path, const char *address, struct err *err)
{
    char temporary[PATH_MAX], final[PATH_MAX];
    int rc = join(temporary, path, "/listen.new", err);

    if (!rc)
        rc = join(final, path, "/listen", err);
    if (!rc)
        rc = write_file(temporary, address, err);
    if (!rc && rename(temporary, final))
        rc = err_errno(err, "cannot write %s", final);
    return rc;
}

void folder_remove_listen(const char *path)
{
    char file[PATH_MAX];

    if (!join(file, path, "/listen", NULL))
        unlink(file);
}
