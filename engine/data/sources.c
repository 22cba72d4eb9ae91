/* Where a dataset's bytes are: in the program or in a folder with MNIST's file names. */
#include "data/sources.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* digits.S */
extern const uint8_t digits_train_images[], digits_train_labels[];
extern const uint8_t digits_test_images[], digits_test_labels[];
extern const int64_t digits_train_images_bytes, digits_train_labels_bytes;
extern const int64_t digits_test_images_bytes, digits_test_labels_bytes;

static void use_digits(struct sources *sources)
{
    data_file_memory(&sources->images[SPLIT_TRAIN], "digits: training images", digits_train_images,
                     digits_train_images_bytes);
    data_file_memory(&sources->labels[SPLIT_TRAIN], "digits: training labels", digits_train_labels,
                     digits_train_labels_bytes);
    data_file_memory(&sources->images[SPLIT_TEST], "digits: test images", digits_test_images,
                     digits_test_images_bytes);
    data_file_memory(&sources->labels[SPLIT_TEST], "digits: test labels", digits_test_labels,
                     digits_test_labels_bytes);
}

static int open_folder(struct sources *sources, const char *folder, struct err *err)
{
    static const char *const images[SPLITS] = {"train-images", "t10k-images"};
    static const char *const labels[SPLITS] = {"train-labels", "t10k-labels"};
    int rc = 0;

    for (int s = 0; s < SPLITS && !rc; s++) {
        rc = idx_open(&sources->images[s], folder, images[s], "idx3-ubyte", err);
        if (!rc)
            rc = idx_open(&sources->labels[s], folder, labels[s], "idx1-ubyte", err);
    }
    return rc;
}

/* The training labels say how many classes there are. */
static int add_class(struct sources *sources, int s, int64_t sample, int label, struct err *err)
{
    if (s != SPLIT_TRAIN)
        return err_set(err, ERR_CORRUPT,
                       DATA_NAME ": sample %lld has label %d; the training labels have %d classes",
                       sources->labels[s].name, (long long)sample, label, sources->classes);
    sources->classes = label + 1;
    return 0;
}

static int take_labels(struct sources *sources, int s, int64_t offset, struct err *err)
{
    int64_t n = sources->header[s].n;
    cleanup_free uint8_t *bytes = malloc((size_t)n);
    int rc;

    sources->label[s] = calloc((size_t)n, sizeof *sources->label[s]);
    if (!bytes || !sources->label[s])
        return err_no_memory(err);
    rc = data_file_read(&sources->labels[s], offset, n, bytes, err);
    for (int64_t i = 0; i < n && !rc; i++) {
        sources->label[s][i] = bytes[i];
        if (bytes[i] >= sources->classes)
            rc = add_class(sources, s, i, bytes[i], err);
    }
    return rc;
}

static int read_labels(struct sources *sources, int s, struct err *err)
{
    const struct data_file *source = &sources->labels[s];
    int64_t n = sources->header[s].n;
    struct idx_header header;
    int rc = idx_header_read(&header, source, false, err);

    if (rc)
        return rc;
    if (header.n != n)
        return err_set(err, ERR_CORRUPT, "%.200s: %lld labels for the %lld images of %.200s",
                       source->name, (long long)header.n, (long long)n, sources->images[s].name);
    rc = take_labels(sources, s, header.data_offset, err);
    if (!rc && sources->classes < 2)
        rc = err_set(err, ERR_CORRUPT, DATA_NAME ": there is one class only", source->name);
    return rc;
}

static int check_splits(const struct sources *sources, struct err *err)
{
    const struct idx_header *train = &sources->header[SPLIT_TRAIN];
    const struct idx_header *test = &sources->header[SPLIT_TEST];

    if (train->height != test->height || train->width != test->width)
        return err_set(err, ERR_CORRUPT, "%.380s: images of %lld×%lld, training has %lld×%lld",
                       sources->images[SPLIT_TEST].name, (long long)test->height,
                       (long long)test->width, (long long)train->height, (long long)train->width);
    return 0;
}

int sources_open(struct sources *out, const struct job_dataset *job, struct err *err)
{
    int rc = 0;

    memset(out, 0, sizeof *out);
    for (int s = 0; s < SPLITS; s++)
        out->images[s].fd = out->labels[s].fd = -1;
    if (job->kind == DATASET_DIGITS)
        use_digits(out);
    else
        rc = open_folder(out, job->path, err);
    for (int s = 0; s < SPLITS && !rc; s++) {
        rc = idx_header_read(&out->header[s], &out->images[s], true, err);
        if (!rc)
            rc = read_labels(out, s, err);
    }
    return rc ? rc : check_splits(out, err);
}

void sources_close(struct sources *sources)
{
    for (int s = 0; s < SPLITS; s++) {
        data_file_close(&sources->images[s]);
        data_file_close(&sources->labels[s]);
        free(sources->label[s]);
    }
}
