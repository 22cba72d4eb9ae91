/* The hash is no defence against somebody who wants two datasets to look the same. */
#include "data/digest.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "data/file.h"
#include "data/folder.h"

#define SIZES_MAX 8192 /* files a split whose sizes are looked at: a call to the system each */

/* For a given word one hash becomes one other: two texts that differ in a single word never have
 * the same. */
static void add_word(uint64_t *hash, uint64_t word)
{
    *hash = (*hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    *hash ^= *hash >> 32;
}

static void add_bytes(uint64_t *hash, const void *bytes, size_t n)
{
    const char *at = bytes;
    uint64_t word;

    add_word(hash, n);
    for (; n >= sizeof word; n -= sizeof word, at += sizeof word) {
        memcpy(&word, at, sizeof word);
        add_word(hash, word);
    }
    word = 0;
    memcpy(&word, at, n);
    add_word(hash, word);
}

static void add_text(uint64_t *hash, const char *text)
{
    add_bytes(hash, text, strlen(text));
}

static int add_files(uint64_t *hash, const struct dataset *dataset, enum split split,
                     struct err *err)
{
    const struct samples *samples = &dataset->split[split];
    int64_t every = (samples->n + SIZES_MAX - 1) / SIZES_MAX;
    size_t within = strlen(dataset->job.path);
    char path[PATH_MAX];

    for (int64_t i = 0; i < samples->n; i++) {
        bool short_enough = image_folder_path(dataset->folder, split, samples->item[i], path);
        struct stat status;

        add_text(hash, path + within);
        if (i % every || !short_enough) /* a path that is too long is a broken image */
            continue;
        if (stat(path, &status))
            return err_errno(err, DATA_NAME, path);
        add_word(hash, (uint64_t)status.st_size);
    }
    return 0;
}

static int digest_split(const struct dataset *dataset, enum split split, int64_t *out,
                        struct err *err)
{
    const struct samples *samples = &dataset->split[split];
    int sizes[] = {dataset->channels, dataset->height, dataset->width};
    uint64_t hash = 0;
    int rc = 0;

    add_bytes(&hash, sizes, sizeof sizes);
    add_bytes(&hash, dataset->mean, sizeof dataset->mean);
    add_bytes(&hash, dataset->deviation, sizeof dataset->deviation);
    add_bytes(&hash, samples->labels, (size_t)samples->n * sizeof *samples->labels);
    if (dataset->folder)
        rc = add_files(&hash, dataset, split, err);
    else
        add_bytes(&hash, samples->pixels,
                  (size_t)(samples->n * dataset_image_bytes(dataset)) * sizeof *samples->pixels);
    memcpy(out, &hash, sizeof *out);
    return rc;
}

int dataset_digest(const struct dataset *dataset, struct dataset_digest *out, struct err *err)
{
    uint64_t names = 0;
    int rc = 0;

    for (int c = 0; dataset->folder && c < dataset->classes; c++)
        add_text(&names, image_folder_class_name(dataset->folder, c));
    *out = (struct dataset_digest){.classes = dataset->classes};
    memcpy(&out->class_names, &names, sizeof names);
    for (int s = 0; s < SPLITS && !rc; s++) {
        out->n[s] = dataset->split[s].n;
        rc = digest_split(dataset, (enum split)s, &out->content[s], err);
    }
    return rc;
}

struct changes {
    char text[300];
    size_t used;
};

__attribute__((format(printf, 2, 3))) static void add_change(struct changes *changes,
                                                             const char *format, ...)
{
    va_list arguments;

    changes->used +=
        (size_t)snprintf(changes->text + changes->used, sizeof changes->text - changes->used, "%s",
                         changes->used ? "; " : "");
    va_start(arguments, format);
    changes->used += (size_t)vsnprintf(changes->text + changes->used,
                                       sizeof changes->text - changes->used, format, arguments);
    va_end(arguments);
}

/* What is named follows from few numbers, and fits. */
static void find_changes(struct changes *out, const struct dataset_digest *before,
                         const struct dataset_digest *now)
{
    static const char *const names[SPLITS] = {"training", "test"};
    bool files = now->class_names != 0, counted;

    if (now->classes != before->classes)
        add_change(out, "it has %lld classes, not %lld", (long long)now->classes,
                   (long long)before->classes);
    else if (now->class_names != before->class_names)
        add_change(out, "its classes have other names");
    for (int s = 0; s < SPLITS; s++)
        if (now->n[s] != before->n[s])
            add_change(out, "it has %lld %s samples, not %lld", (long long)now->n[s], names[s],
                       (long long)before->n[s]);
    counted = out->used > 0;
    for (int s = 0; s < SPLITS && !counted; s++)
        if (now->content[s] != before->content[s])
            add_change(out, "its content (%s%s)", names[s],
                       files ? " files: names or sizes" : " samples or labels");
}

int dataset_digest_check(const struct dataset_digest *dataset, const struct checkpoint *checkpoint,
                         struct err *err)
{
    struct changes changes = {0};
    struct dataset_digest before;

    for (int i = 0; i < checkpoint->n_tensors; i++) {
        const struct tensor *tensor = &checkpoint->tensors[i];

        if (tensor->role != TENSOR_PROGRESS || strcmp(tensor->name, DATASET_DIGEST_NAME) != 0 ||
            tensor->type != TENSOR_I64 || tensor_bytes(tensor) != sizeof before)
            continue;
        memcpy(&before, tensor->data, sizeof before);
        find_changes(&changes, &before, dataset);
    }
    if (!changes.used)
        return 0;
    return err_set(err, ERR_CONFLICT, "the dataset has changed since the job began: %s",
                   changes.text);
}
