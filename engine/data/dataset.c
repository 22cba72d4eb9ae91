/* Opens a dataset: what its format reads, then the training split's limit and wrong labels. */
#include "data/dataset.h"

#include <stdlib.h>
#include <string.h>

#include "data/folder.h"
#include "data/formats.h"
#include "data/label_noise.h"
#include "data/look.h"
#include "data/subset.h"

static const struct dataset_format *const formats[] = {
    [DATASET_DIGITS] = &format_idx,          [DATASET_IDX] = &format_idx,
    [DATASET_CIFAR10] = &format_cifar,       [DATASET_CIFAR100] = &format_cifar,
    [DATASET_IMAGE_FOLDER] = &format_folder,
};

int dataset_describe(struct dataset_info *out, const struct job_dataset *job, struct err *err)
{
    int rc;

    if (look_known(job, out))
        return 0;
    rc = formats[job->kind]->describe(out, job, err);
    if (!rc)
        look_note(job, out);
    return rc;
}

void format_normalise(struct dataset *dataset, const double mean[3], const double deviation[3])
{
    dataset->scale = 1.0 / 255;
    for (int c = 0; c < 3; c++) {
        dataset->mean[c] = mean[c];
        dataset->deviation[c] = deviation[c];
    }
}

/* Copies the chosen samples' pixels. */
static int keep_pixels(struct dataset *dataset, const int64_t *chosen, int64_t n, struct err *err)
{
    struct samples *train = &dataset->split[SPLIT_TRAIN];
    size_t image = (size_t)dataset_image_bytes(dataset);
    uint8_t *pixels = malloc((size_t)n * image);

    if (!pixels)
        return err_no_memory(err);
    for (int64_t i = 0; i < n; i++)
        memcpy(pixels + (size_t)i * image, train->pixels + (size_t)chosen[i] * image, image);
    free(dataset->own_pixels[SPLIT_TRAIN]);
    train->pixels = dataset->own_pixels[SPLIT_TRAIN] = pixels;
    return 0;
}

/* `chosen` ascends, so numbers and labels, which are copies already, just move up. */
static void move_up(struct dataset *dataset, const int64_t *chosen, int64_t n)
{
    int32_t *labels = dataset->own_labels[SPLIT_TRAIN];
    int64_t *item = dataset->own_item[SPLIT_TRAIN];

    for (int64_t i = 0; i < n; i++) {
        labels[i] = labels[chosen[i]];
        if (item)
            item[i] = item[chosen[i]];
    }
    dataset->split[SPLIT_TRAIN].n = n;
}

static int limit_training(struct dataset *dataset, int64_t limit, struct err *err)
{
    struct samples *train = &dataset->split[SPLIT_TRAIN];
    int64_t *chosen;
    int rc = subset_choose(&chosen, train->n, limit, dataset->seed, err);

    if (rc)
        return rc;
    if (train->pixels)
        rc = keep_pixels(dataset, chosen, limit, err);
    if (!rc)
        move_up(dataset, chosen, limit);
    free(chosen);
    return rc;
}

static int restrict_training(struct dataset *dataset, struct err *err)
{
    const struct samples *train = &dataset->split[SPLIT_TRAIN];
    int64_t limit = dataset->job.train_limit;

    if (limit > train->n)
        return err_set(err, ERR_INVALID, "train_limit %lld: there are only %lld training samples",
                       (long long)limit, (long long)train->n);
    if (limit > 0 && limit < train->n) {
        int rc = limit_training(dataset, limit, err);

        if (rc)
            return rc;
    }
    return label_noise_apply(dataset->own_labels[SPLIT_TRAIN], train->n, dataset->classes,
                             dataset->job.label_noise, dataset->seed, err);
}

int dataset_open(struct dataset **out, const struct job_dataset *job, uint64_t seed,
                 struct err *err)
{
    struct dataset *dataset = calloc(1, sizeof *dataset);
    int rc;

    if (!dataset)
        return err_no_memory(err);
    dataset->job = *job;
    dataset->seed = seed;
    rc = formats[job->kind]->load(dataset, job, err);
    if (!rc)
        rc = restrict_training(dataset, err);
    if (rc) {
        dataset_close(dataset);
        return rc;
    }
    *out = dataset;
    return 0;
}

static int64_t limited(const struct job_dataset *job, const struct dataset_info *info)
{
    int64_t n = info->n[SPLIT_TRAIN];

    return job->train_limit > 0 && job->train_limit < n ? job->train_limit : n;
}

/* Labels and items keep the room of the whole file. The pixels of `digits` are in the program, but
 * for those that are chosen. */
int64_t dataset_bytes(const struct job_dataset *job, const struct dataset_info *info)
{
    int64_t n = info->n[SPLIT_TRAIN] + info->n[SPLIT_TEST], train = limited(job, info);
    int64_t image = (int64_t)info->channels * info->height * info->width;
    int64_t labels = n * (int64_t)sizeof(int32_t);

    if (job->kind == DATASET_IMAGE_FOLDER)
        return info->listing_bytes + labels + n * (int64_t)sizeof(int64_t);
    if (job->kind == DATASET_DIGITS)
        return labels + (train < info->n[SPLIT_TRAIN] ? train * image : 0);
    return labels + (train + info->n[SPLIT_TEST]) * image;
}

int dataset_outline(struct dataset **out, const struct job_dataset *job,
                    const struct dataset_info *info, struct err *err)
{
    struct dataset *dataset = calloc(1, sizeof *dataset);

    if (!dataset)
        return err_no_memory(err);
    dataset->job = *job;
    dataset->classes = info->classes;
    dataset->channels = info->channels;
    dataset->height = info->height;
    dataset->width = info->width;
    dataset->scale = 1.0 / 255;
    for (int c = 0; c < DATASET_CHANNELS_MAX; c++)
        dataset->deviation[c] = 1;
    dataset->split[SPLIT_TRAIN].n = limited(job, info);
    dataset->split[SPLIT_TEST].n = info->n[SPLIT_TEST];
    *out = dataset;
    return 0;
}

void dataset_close(struct dataset *dataset)
{
    if (!dataset)
        return;
    image_folder_close(dataset->folder);
    for (int s = 0; s < SPLITS; s++) {
        free(dataset->own_pixels[s]);
        free(dataset->own_item[s]);
        free(dataset->own_labels[s]);
    }
    free(dataset);
}
