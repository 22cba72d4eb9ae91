/* Order of variations, as the methods' reference code and torchvision's training scripts have it:
 * crop of a photograph, flip, crop of a padded image; RandAugment; then, on numbers, cutout. */
#include "data/sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/folder.h"
#include "data/picture.h"
#include "data/randaugment.h"
#include "data/resample.h"

struct sample_maker {
    const struct dataset *dataset;
    uint8_t *scratch;        /* an image */
    struct picture *picture; /* of files only */
    struct resampler *resampler;
};

int sample_maker_open(struct sample_maker **out, const struct dataset *dataset, struct err *err)
{
    struct sample_maker *maker = calloc(1, sizeof *maker);
    int rc = 0;

    if (!maker)
        return err_no_memory(err);
    maker->dataset = dataset;
    maker->scratch = malloc((size_t)dataset_image_bytes(dataset));
    if (!maker->scratch)
        rc = err_no_memory(err);
    if (!rc && dataset->folder)
        rc = picture_new(&maker->picture, err);
    if (!rc && dataset->folder)
        rc = resampler_new(&maker->resampler, err);
    if (rc) {
        sample_maker_close(maker);
        return rc;
    }
    *out = maker;
    return 0;
}

void sample_maker_close(struct sample_maker *maker)
{
    if (!maker)
        return;
    picture_free(maker->picture);
    resampler_free(maker->resampler);
    free(maker->scratch);
    free(maker);
}

bool sample_is_costly(const struct dataset *dataset)
{
    return dataset->job.kind == DATASET_IMAGE_FOLDER || dataset->job.augment.randaugment > 0;
}

static void mirror(const struct image *image)
{
    size_t pixel = (size_t)image->channels;

    for (int y = 0; y < image->height; y++) {
        uint8_t *row = image->pixels + (size_t)y * (size_t)image->width * pixel;

        for (int x = 0; x < image->width / 2; x++)
            for (size_t c = 0; c < pixel; c++) {
                uint8_t *left = row + (size_t)x * pixel + c;
                uint8_t *right = row + (size_t)(image->width - 1 - x) * pixel + c, kept = *left;

                *left = *right;
                *right = kept;
            }
    }
}

/* Pixel (y, x) becomes the one at (y + down, x + right), black where that is outside. */
static void shift(const struct image *image, uint8_t *scratch, int down, int right)
{
    size_t pixel = (size_t)image->channels, stride = (size_t)image->width * pixel;
    int begin = right < 0 ? -right : 0;
    int end = right > 0 ? image->width - right : image->width;

    memcpy(scratch, image->pixels, (size_t)image->height * stride);
    memset(image->pixels, 0, (size_t)image->height * stride);
    for (int y = 0; y < image->height; y++)
        if (y + down >= 0 && y + down < image->height && begin < end)
            memcpy(image->pixels + (size_t)y * stride + (size_t)begin * pixel,
                   scratch + (size_t)(y + down) * stride + (size_t)(begin + right) * pixel,
                   (size_t)(end - begin) * pixel);
}

static void vary(const struct sample_maker *maker, const struct augment_key *key,
                 const struct image *image)
{
    const struct job_augment *job = &maker->dataset->job.augment;
    int padding = (int)job->crop_padding, top, left;

    if (job->flip && augment_flip(key))
        mirror(image);
    if (padding > 0) {
        augment_corner(key, 2 * padding + 1, 2 * padding + 1, &top, &left);
        shift(image, maker->scratch, top - padding, left - padding);
    }
    if (job->randaugment > 0)
        randaugment(image, maker->scratch, key, job);
}

/* The whole picture, its shorter side scaled to `resize`, and a square of `size` out of it: with
 * `key` at a random place, else in the middle. */
static struct resample_plan plan_square(const struct job_dataset *job,
                                        const struct augment_key *key, int height, int width)
{
    int shorter = height < width ? height : width, longer = height < width ? width : height;
    int scaled = (int)((double)job->resize * longer / shorter), size = (int)job->size;
    struct resample_plan plan = {.box = {.height = height, .width = width},
                                 .height = height <= width ? (int)job->resize : scaled,
                                 .width = height <= width ? scaled : (int)job->resize,
                                 .out_height = size,
                                 .out_width = size};

    if (key) {
        augment_corner(key, plan.height - size + 1, plan.width - size + 1, &plan.top, &plan.left);
    } else {
        plan.top = (int)rint((plan.height - size) / 2.0);
        plan.left = (int)rint((plan.width - size) / 2.0);
    }
    return plan;
}

/* `key`: NULL for evaluation. */
static struct resample_plan plan_crop(const struct job_dataset *job, const struct augment_key *key,
                                      int height, int width)
{
    int size = (int)job->size;

    if (key && job->augment.crop == CROP_RANDOM_RESIZED)
        return (struct resample_plan){
            .box = augment_resized(key, job->augment.crop_area_min, height, width),
            .height = size,
            .width = size,
            .out_height = size,
            .out_width = size};
    return plan_square(job, job->augment.crop == CROP_RANDOM ? key : NULL, height, width);
}

static int read_picture(struct sample_maker *maker, enum split split, int64_t sample,
                        const struct augment_key *key, uint8_t *pixels, struct err *err)
{
    const struct dataset *dataset = maker->dataset;
    int64_t item = dataset->split[split].item[sample];
    int height, width, first, n, rc;
    struct resample_plan plan;
    char path[PATH_MAX];

    if (!image_folder_path(dataset->folder, split, item, path))
        return err_set(err, ERR_CORRUPT, "%.300s…: the path is too long", path);
    rc = picture_open(maker->picture, path, &height, &width, err);
    if (rc)
        return rc;
    plan = plan_crop(&dataset->job, key, height, width);
    rc = resampler_begin(maker->resampler, &plan, &first, &n, err);
    if (!rc)
        rc = picture_rows(maker->picture, first, n, resampler_row, maker->resampler, err);
    if (!rc)
        resampler_end(maker->resampler, pixels);
    return rc;
}

int sample_make(struct sample_maker *maker, enum split split, int64_t sample, int64_t as,
                uint64_t pass, uint8_t *pixels, struct window *cutout, struct err *err)
{
    const struct dataset *dataset = maker->dataset;
    struct augment_key key = {.seed = dataset->seed, .pass = pass, .sample = as};
    struct image image = {dataset->height, dataset->width, dataset->channels, pixels};
    bool training = split == SPLIT_TRAIN;
    size_t bytes = (size_t)dataset_image_bytes(dataset);

    *cutout = (struct window){0};
    if (dataset->folder) {
        int rc = read_picture(maker, split, sample, training ? &key : NULL, pixels, err);

        if (rc)
            return rc;
    } else {
        memcpy(pixels, dataset->split[split].pixels + (size_t)sample * bytes, bytes);
    }
    if (training) {
        vary(maker, &key, &image);
        *cutout = augment_cutout(&key, &dataset->job.augment, dataset->height, dataset->width);
    }
    return 0;
}
