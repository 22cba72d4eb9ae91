#include "golden_images.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "idx_folder.h"
#include "random/philox.h"

#define SEED 0x5EED

static uint8_t noise_byte(size_t e, uint32_t stream)
{
    return (uint8_t)(philox(SEED, (uint32_t)(e / 4), stream, 0).word[e % 4] >> 24);
}

static void write_split(const struct job_dataset *job, const struct golden_images *images,
                        uint32_t split)
{
    static const char *const stems[] = {"train", "t10k"};
    size_t n = images->n[split], pixels = n * images->size * images->size;
    uint8_t n1 = (uint8_t)n, size = (uint8_t)images->size, *bytes = malloc(16 + pixels);
    const uint8_t image_head[16] = {0, 0, 8, 3, 0, 0, 0, n1, 0, 0, 0, size, 0, 0, 0, size};
    const uint8_t label_head[8] = {0, 0, 8, 1, 0, 0, 0, n1};
    char name[64];

    assert_non_null(bytes);
    memcpy(bytes, image_head, sizeof image_head);
    for (size_t e = 0; e < pixels; e++)
        bytes[16 + e] = noise_byte(e, 2 * split);
    snprintf(name, sizeof name, "%s-images-idx3-ubyte", stems[split]);
    idx_folder_write(job, name, bytes, 16 + pixels);
    memcpy(bytes, label_head, sizeof label_head);
    for (size_t e = 0; e < n; e++)
        bytes[8 + e] = noise_byte(e, 2 * split + 1) % 10;
    snprintf(name, sizeof name, "%s-labels-idx1-ubyte", stems[split]);
    idx_folder_write(job, name, bytes, 8 + n);
    free(bytes);
}

void golden_images_make(struct job_dataset *job, const struct golden_images *images)
{
    const char *parent = getenv("TMPDIR");

    assert_true(images->size < 256 && images->n[0] < 256 && images->n[1] < 256);
    job->kind = DATASET_IDX;
    snprintf(job->path, sizeof job->path, "%s/rwpd-noise-XXXXXX", parent ? parent : "/tmp");
    assert_non_null(mkdtemp(job->path));
    for (uint32_t split = 0; split < 2; split++)
        write_split(job, images, split);
}
