/* A folder of images as a dataset. Labels come from the folders' names; pixels stay in the files.
 */
#include <stdlib.h>

#include "data/folder.h"
#include "data/formats.h"
#include "data/picture.h"

static int open_folder(struct image_folder **out, const struct job_dataset *job, struct err *err)
{
    if (!picture_codecs[0])
        return err_set(err, ERR_UNSUPPORTED,
                       "this build reads no JPEG and PNG files: libjpeg-turbo and libpng were "
                       "missing when it was made");
    return image_folder_open(out, job->path, err);
}

static int describe(struct dataset_info *out, const struct job_dataset *job, struct err *err)
{
    struct image_folder *folder;
    int rc = open_folder(&folder, job, err);

    if (rc)
        return rc;
    *out = (struct dataset_info){
        .classes = image_folder_classes(folder),
        .channels = 3,
        .height = (int)job->size,
        .width = (int)job->size,
        .n = {image_folder_files(folder, SPLIT_TRAIN), image_folder_files(folder, SPLIT_TEST)},
        .listing_bytes = image_folder_bytes(folder)};
    image_folder_close(folder);
    return 0;
}

static int list_samples(struct dataset *dataset, enum split split, struct err *err)
{
    int64_t n = image_folder_files(dataset->folder, split);
    struct samples *samples = &dataset->split[split];
    int64_t *item = calloc((size_t)n, sizeof *item);
    int32_t *labels = calloc((size_t)n, sizeof *labels);

    samples->n = n;
    samples->item = dataset->own_item[split] = item;
    samples->labels = dataset->own_labels[split] = labels;
    if (!item || !labels)
        return err_no_memory(err);
    for (int64_t i = 0; i < n; i++) {
        item[i] = i;
        labels[i] = image_folder_class(dataset->folder, split, i);
    }
    return 0;
}

static int load(struct dataset *dataset, const struct job_dataset *job, struct err *err)
{
    static const double mean[] = {.485, .456, .406}, deviation[] = {.229, .224, .225};
    int rc = open_folder(&dataset->folder, job, err);

    if (rc)
        return rc;
    dataset->classes = image_folder_classes(dataset->folder);
    dataset->channels = 3;
    dataset->height = dataset->width = (int)job->size;
    format_normalise(dataset, mean, deviation);
    for (int s = 0; s < SPLITS && !rc; s++)
        rc = list_samples(dataset, (enum split)s, err);
    return rc;
}

const struct dataset_format format_folder = {.describe = describe, .load = load};
