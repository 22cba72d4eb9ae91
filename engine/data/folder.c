/* Names are kept once each, in one block of text a split: a listing of ImageNet's 1.3 million files
 * takes some 50 MB. */
#include "data/folder.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "data/file.h"

static const char *const split_names[SPLITS] = {"train", "val"};

/* Strings one behind the other, and where each begins. */
struct names {
    char *text;
    int64_t *start;
    int64_t n, room;
    size_t used, size;
};

struct listing {
    struct names files;
    int32_t *class;
    int64_t class_room;
};

struct image_folder {
    char path[JOB_PATH_MAX + 1];
    struct names classes;
    struct listing split[SPLITS];
};

static bool grow(void *block, int64_t wanted, int64_t *room, size_t each)
{
    int64_t more = *room * 2 > wanted ? *room * 2 : wanted + 64;
    void *grown;

    if (wanted <= *room)
        return true;
    grown = realloc(*(void **)block, (size_t)more * each);
    if (!grown)
        return false;
    *(void **)block = grown;
    *room = more;
    return true;
}

static int add_name(struct names *names, const char *name, struct err *err)
{
    size_t bytes = strlen(name) + 1;
    int64_t size = (int64_t)names->size;

    if (!grow(&names->start, names->n + 1, &names->room, sizeof *names->start) ||
        !grow(&names->text, (int64_t)(names->used + bytes), &size, 1))
        return err_no_memory(err);
    names->size = (size_t)size;
    memcpy(names->text + names->used, name, bytes);
    names->start[names->n++] = (int64_t)names->used;
    names->used += bytes;
    return 0;
}

static const char *name_of(const struct names *names, int64_t i)
{
    return names->text + names->start[i];
}

static void free_names(struct names *names)
{
    free(names->text);
    free(names->start);
    *names = (struct names){0};
}

static int compare(const void *a, const void *b, void *text)
{
    return strcmp((const char *)text + *(const int64_t *)a,
                  (const char *)text + *(const int64_t *)b);
}

static void sort_names(struct names *names)
{
    if (names->n)
        qsort_r(names->start, (size_t)names->n, sizeof *names->start, compare, names->text);
}

static bool is_image(const char *name)
{
    static const char *const ends[] = {".jpg", ".jpeg", ".jpe", ".png"};
    const char *dot = strrchr(name, '.');

    for (size_t i = 0; dot && i < ARRAY_LENGTH(ends); i++)
        if (!strcasecmp(dot, ends[i]))
            return true;
    return false;
}

/* Links count as what they lead to. */
static bool is_folder(DIR *in, const struct dirent *entry)
{
    struct stat status;

    if (entry->d_type != DT_UNKNOWN && entry->d_type != DT_LNK)
        return entry->d_type == DT_DIR;
    return !fstatat(dirfd(in), entry->d_name, &status, 0) && S_ISDIR(status.st_mode);
}

static int too_many(const char *path, struct err *err)
{
    return err_set(err, ERR_INVALID, DATA_NAME ": more than %d files", path, FOLDER_FILES_MAX);
}

/* The images (or, with `folders`, the folders) in a folder, in order. */
static int list(struct names *out, const char *path, bool folders, struct err *err)
{
    const struct dirent *entry;
    DIR *in = opendir(path);
    int rc = 0;

    if (!in)
        return err_errno(err, DATA_NAME, path);
    for (errno = 0; !rc && (entry = readdir(in)); errno = 0) {
        if (entry->d_name[0] == '.' || (!folders && !is_image(entry->d_name)))
            continue;
        if (is_folder(in, entry) == folders)
            rc = add_name(out, entry->d_name, err);
        if (!rc && out->n > FOLDER_FILES_MAX)
            rc = too_many(path, err);
    }
    if (!rc && errno)
        rc = err_errno(err, DATA_NAME, path);
    closedir(in);
    sort_names(out);
    return rc;
}

/* The number of a class, −1 where there is none of that name. */
static int find_class(const struct image_folder *folder, const char *name)
{
    int64_t low = 0, high = folder->classes.n;

    while (low < high) {
        int64_t middle = (low + high) / 2;

        if (strcmp(name_of(&folder->classes, middle), name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < folder->classes.n && !strcmp(name_of(&folder->classes, low), name) ? (int)low : -1;
}

static int add_files(struct listing *to, const struct names *files, int class, struct err *err)
{
    int rc = 0;

    if (!grow(&to->class, to->files.n + files->n, &to->class_room, sizeof *to->class))
        return err_no_memory(err);
    for (int64_t i = 0; i < files->n && !rc; i++) {
        to->class[to->files.n] = class;
        rc = add_name(&to->files, name_of(files, i), err);
    }
    return rc;
}

static int list_class(struct image_folder *folder, enum split split, const char *name,
                      struct err *err)
{
    int class = find_class(folder, name);
    struct names files = {0};
    char path[PATH_MAX];
    int rc;

    snprintf(path, sizeof path, "%s/%s/%s", folder->path, split_names[split], name);
    if (class < 0)
        return err_set(err, ERR_INVALID, DATA_NAME ": there is no such class in train", path);
    rc = list(&files, path, false, err);
    if (!rc && !files.n)
        rc = err_set(err, ERR_INVALID,
                     DATA_NAME ": a class without images (names that end in .jpg, .jpeg or .png)",
                     path);
    if (!rc && folder->split[split].files.n + files.n > FOLDER_FILES_MAX)
        rc = too_many(path, err);
    if (!rc)
        rc = add_files(&folder->split[split], &files, class, err);
    free_names(&files);
    return rc;
}

static int list_split(struct image_folder *folder, enum split split, struct err *err)
{
    struct names classes = {0};
    char path[PATH_MAX];
    int rc;

    snprintf(path, sizeof path, "%s/%s", folder->path, split_names[split]);
    rc = list(&classes, path, true, err);
    if (!rc && classes.n < (split == SPLIT_TRAIN ? 2 : 1))
        rc = err_set(err, ERR_INVALID, DATA_NAME ": %s", path,
                     classes.n ? "there is one class only" : "holds no folders of classes");
    if (!rc && classes.n > FOLDER_CLASSES_MAX)
        rc =
            err_set(err, ERR_INVALID, DATA_NAME ": more than %d classes", path, FOLDER_CLASSES_MAX);
    if (split == SPLIT_TRAIN) {
        folder->classes = classes;
        classes = (struct names){0};
    }
    for (int64_t i = 0; !rc && i < (split == SPLIT_TRAIN ? folder->classes.n : classes.n); i++)
        rc = list_class(folder, split,
                        name_of(split == SPLIT_TRAIN ? &folder->classes : &classes, i), err);
    free_names(&classes);
    return rc;
}

int image_folder_open(struct image_folder **out, const char *path, struct err *err)
{
    struct image_folder *folder = calloc(1, sizeof *folder);
    int rc;

    if (!folder)
        return err_no_memory(err);
    snprintf(folder->path, sizeof folder->path, "%s", path);
    rc = data_folder_check(path, err);
    for (int s = 0; s < SPLITS && !rc; s++)
        rc = list_split(folder, (enum split)s, err);
    if (rc) {
        image_folder_close(folder);
        return rc;
    }
    *out = folder;
    return 0;
}

void image_folder_close(struct image_folder *folder)
{
    if (!folder)
        return;
    free_names(&folder->classes);
    for (int s = 0; s < SPLITS; s++) {
        free_names(&folder->split[s].files);
        free(folder->split[s].class);
    }
    free(folder);
}

static int64_t names_bytes(const struct names *names)
{
    return (int64_t)names->size + names->room * (int64_t)sizeof *names->start;
}

int64_t image_folder_bytes(const struct image_folder *folder)
{
    int64_t bytes = names_bytes(&folder->classes);

    for (int s = 0; s < SPLITS; s++)
        bytes += names_bytes(&folder->split[s].files) +
                 folder->split[s].class_room * (int64_t)sizeof *folder->split[s].class;
    return bytes;
}

int image_folder_classes(const struct image_folder *folder)
{
    return (int)folder->classes.n;
}

const char *image_folder_class_name(const struct image_folder *folder, int class)
{
    return name_of(&folder->classes, class);
}

/* Files are in the order of their classes. */
int image_folder_lacking(const struct image_folder *folder, enum split split, int first[], int n)
{
    const struct listing *listing = &folder->split[split];
    int64_t at = 0;
    int lacking = 0;

    for (int class = 0; class < (int)folder->classes.n; class ++) {
        int64_t begin = at;

        while (at < listing->files.n && listing->class[at] == class)
            at++;
        if (at > begin)
            continue;
        if (lacking < n)
            first[lacking] = class;
        lacking++;
    }
    return lacking;
}

int64_t image_folder_files(const struct image_folder *folder, enum split split)
{
    return folder->split[split].files.n;
}

int image_folder_class(const struct image_folder *folder, enum split split, int64_t item)
{
    return folder->split[split].class[item];
}

bool image_folder_path(const struct image_folder *folder, enum split split, int64_t item,
                       char out[PATH_MAX])
{
    const struct listing *listing = &folder->split[split];
    int length =
        snprintf(out, PATH_MAX, "%s/%s/%s/%s", folder->path, split_names[split],
                 name_of(&folder->classes, listing->class[item]), name_of(&listing->files, item));

    return length > 0 && length < PATH_MAX;
}
