/* JPEG and PNG files: decoded and scaled as PIL does it, and everything that may be wrong with one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "data/picture.h"
#include "data/resample.h"
#include "data/resample_kernels.h"
#include "data/sample.h"
#include "data_folder.h"
#include "golden.h"

#define PIXELS_MAX 65536

struct pixels {
    uint8_t byte[PIXELS_MAX * 3];
    size_t n;
    int width;
};

static void keep_row(void *context, const uint8_t *row)
{
    struct pixels *to = context;

    for (int x = 0; x < to->width; x++)
        for (int c = 0; c < 3; c++)
            to->byte[to->n++] = row[x * PICTURE_PIXEL_BYTES + c];
}

static void pictures_are_decoded_as_pil_does(void **state)
{
    static struct pixels pixels;
    FILE *file = golden_open("images.txt");
    char folder[JOB_PATH_MAX + 1], path[JOB_PATH_MAX + 1], *line;
    struct picture *picture;
    int lines = 0;

    (void)state;
    data_folder_make(folder);
    assert_int_equal(picture_new(&picture, NULL), 0);
    for (; (line = golden_next(file, "decoded")); lines++) {
        char *name = golden_word(&line);
        int height, width;
        struct err err;

        data_folder_join(path, folder, name);
        data_folder_picture(folder, name, name);
        if (picture_open(picture, path, &height, &width, &err))
            fail_msg("%s", err.message);
        assert_int_equal(height, golden_integer(&line));
        assert_int_equal(width, golden_integer(&line));
        pixels.n = 0;
        pixels.width = width;
        if (picture_rows(picture, 0, height, keep_row, &pixels, &err))
            fail_msg("%s", err.message);
        if (hash_bytes(pixels.byte, pixels.n) != golden_integer(&line))
            fail_msg("%s differs", name);
    }
    assert_int_equal(lines, 15);
    picture_free(picture);
    data_folder_remove(folder);
    fclose(file);
}

/* Rows that are skipped or never read must not show in those that are. */
static void any_rows_are_those_of_the_whole(void **state)
{
    static const char *const names[] = {"plain.jpg", "half.jpg", "progressive.jpg", "colour.png",
                                        "interlaced.png"};
    static struct pixels whole, part;
    char folder[JOB_PATH_MAX + 1], path[JOB_PATH_MAX + 1];
    struct picture *picture;

    (void)state;
    data_folder_make(folder);
    assert_int_equal(picture_new(&picture, NULL), 0);
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        int height, width;

        data_folder_join(path, folder, names[i]);
        data_folder_picture(folder, names[i], names[i]);
        assert_int_equal(picture_open(picture, path, &height, &width, NULL), 0);
        whole.n = 0;
        whole.width = part.width = width;
        assert_int_equal(picture_rows(picture, 0, height, keep_row, &whole, NULL), 0);
        for (int first = 0; first < height; first++)
            for (int n = 1; first + n <= height; n += 5) {
                part.n = 0;
                assert_int_equal(picture_open(picture, path, &height, &width, NULL), 0);
                assert_int_equal(picture_rows(picture, first, n, keep_row, &part, NULL), 0);
                assert_memory_equal(part.byte, whole.byte + first * width * 3, part.n);
            }
    }
    picture_free(picture);
    data_folder_remove(folder);
}

static struct window read_window(char **line)
{
    struct window out;

    out.top = (int)golden_integer(line);
    out.left = (int)golden_integer(line);
    out.height = (int)golden_integer(line);
    out.width = (int)golden_integer(line);
    return out;
}

static void pictures_are_scaled_as_pil_does(void **state)
{
    FILE *file = golden_open("images.txt");
    char folder[JOB_PATH_MAX + 1], path[JOB_PATH_MAX + 1], *line;
    struct resampler *resampler;
    struct picture *picture;
    int lines = 0;

    (void)state;
    data_folder_make(folder);
    assert_int_equal(picture_new(&picture, NULL), 0);
    assert_int_equal(resampler_new(&resampler, NULL), 0);
    for (; (line = golden_next(file, "scaled")); lines++) {
        char name[64];
        uint8_t out[64 * 64 * 3];
        struct resample_plan plan = {0};
        struct window part;
        int height, width, first, n;

        strcpy(name, golden_word(&line));
        plan.box = read_window(&line);
        plan.height = (int)golden_integer(&line);
        plan.width = (int)golden_integer(&line);
        part = read_window(&line);
        plan.top = part.top;
        plan.left = part.left;
        plan.out_height = part.height;
        plan.out_width = part.width;
        data_folder_join(path, folder, name);
        data_folder_picture(folder, name, name);
        assert_int_equal(picture_open(picture, path, &height, &width, NULL), 0);
        assert_int_equal(resampler_begin(resampler, &plan, &first, &n, NULL), 0);
        assert_int_equal(picture_rows(picture, first, n, resampler_row, resampler, NULL), 0);
        resampler_end(resampler, out);
        if (hash_bytes(out, (size_t)(part.height * part.width * 3)) != golden_integer(&line))
            fail_msg("line %d, %s, differs", lines, name);
    }
    assert_int_equal(lines, 10);
    resampler_free(resampler);
    picture_free(picture);
    data_folder_remove(folder);
    fclose(file);
}

/* As a processor without wide vectors has it. */
static void vectors_do_not_show(void **state)
{
    enum { WIDTH = 301, TAPS = 9, OUT = 77 };
    static uint8_t from[TAPS * WIDTH * PICTURE_PIXEL_BYTES], to[2][WIDTH * PICTURE_PIXEL_BYTES];
    int first[OUT];
    int32_t weight[OUT * TAPS];
    struct axis axis = {.n = OUT, .taps = TAPS, .first = first, .weight = weight};
    unsigned draw = 1;

    (void)state;
    for (int i = 0; i < TAPS * WIDTH * PICTURE_PIXEL_BYTES; i++) /* half of them are white */
        from[i] = (draw = draw * 1103515245u + 12345u) >> 31 ? 255 : (uint8_t)(draw >> 16);
    for (int i = 0; i < OUT; i++) {
        first[i] = i * 3;
        for (int t = 0; t < TAPS; t++) /* they sum to a little more than 1 */
            weight[i * TAPS + t] = t <= i % TAPS ? (1 << RESAMPLE_BITS) / (i % TAPS + 1) + 3 : 0;
    }
    resample_kernels()->across(&axis, from, to[0]);
    resample_kernels_plain.across(&axis, from, to[1]);
    assert_memory_equal(to[0], to[1], OUT * PICTURE_PIXEL_BYTES);
    for (int y = 0; y < OUT; y++) {
        resample_kernels()->down(&axis, y, from, WIDTH, to[0]);
        resample_kernels_plain.down(&axis, y, from, WIDTH, to[1]);
        assert_memory_equal(to[0], to[1], WIDTH * 3);
    }
}

static void make_photo_dataset(struct dataset **dataset, const struct job_dataset *like,
                               const char *picture, uint64_t seed)
{
    struct job_dataset job = *like;
    struct err err;

    data_folder_make(job.path);
    data_folder_picture(job.path, "train/a/1", picture); /* no ending: not listed */
    data_folder_picture(job.path, "train/a/2.JPEG", picture);
    data_folder_picture(job.path, "train/b/1.png", picture);
    data_folder_picture(job.path, "val/a/1.jpg", picture);
    if (dataset_open(dataset, &job, seed, &err))
        fail_msg("%s", err.message);
}

static void photographs_become_what_torchvision_makes(void **state)
{
    FILE *file = golden_open("images.txt");
    int lines = 0;
    char *line;

    (void)state;
    for (; (line = golden_next(file, "photo")); lines++) {
        struct job_dataset job = {.kind = DATASET_IMAGE_FOLDER};
        uint8_t pixels[64 * 64 * 3];
        struct sample_maker *maker;
        struct dataset *dataset;
        struct window cutout;
        char name[64];
        uint64_t seed, pass;
        int64_t sample;
        int crop, split;

        strcpy(name, golden_word(&line));
        seed = golden_integer(&line);
        pass = golden_integer(&line);
        sample = (int64_t)golden_integer(&line);
        job.size = (int64_t)golden_integer(&line);
        job.resize = (int64_t)golden_integer(&line);
        crop = (int)golden_number(&line);
        split = crop < 0 ? SPLIT_TEST : SPLIT_TRAIN;
        job.augment.crop = crop < 0 ? CROP_RANDOM : crop;
        job.augment.crop_area_min = golden_number(&line);
        job.augment.randaugment = (int64_t)golden_integer(&line);
        job.augment.randaugment_magnitude = (int64_t)golden_integer(&line);
        job.augment.flip = true;
        make_photo_dataset(&dataset, &job, name, seed);
        assert_int_equal(dataset->split[SPLIT_TRAIN].n, 2);
        assert_int_equal(sample_maker_open(&maker, dataset, NULL), 0);
        assert_int_equal(
            sample_make(maker, (enum split)split, 0, sample, pass, pixels, &cutout, NULL), 0);
        if (hash_bytes(pixels, (size_t)(job.size * job.size * 3)) != golden_integer(&line))
            fail_msg("photo %d, %s, differs", lines, name);
        sample_maker_close(maker);
        data_folder_remove(dataset->job.path);
        dataset_close(dataset);
    }
    assert_int_equal(lines, 30);
    fclose(file);
}

/* --- what is wrong with a file -----------------------------------------------------------------
 */

/* Opens and, if that goes well, reads a picture. */
static int try_picture(struct picture *picture, const char *path, struct err *err)
{
    static struct pixels pixels;
    int height, width, rc = picture_open(picture, path, &height, &width, err);

    if (rc || height * (int64_t)width > PIXELS_MAX)
        return rc;
    pixels.n = 0;
    pixels.width = width;
    return picture_rows(picture, 0, height, keep_row, &pixels, err);
}

static void assert_code(struct picture *picture, const char *folder, const char *name, int code,
                        const char *says)
{
    char path[JOB_PATH_MAX + 1];
    struct err err = {0};

    data_folder_join(path, folder, name);
    assert_int_equal(try_picture(picture, path, &err), code);
    assert_int_equal(err.code, code);
    if (!strstr(err.message, name) || !strstr(err.message, says))
        fail_msg("\"%s\" does not say \"%s\" of %s", err.message, says, name);
}

static void assert_bad(struct picture *picture, const char *folder, const char *name,
                       const char *says)
{
    assert_code(picture, folder, name, ERR_CORRUPT, says);
}

static void put_changed(const char *folder, const char *name, const char *picture, size_t at,
                        const char *bytes, size_t n)
{
    size_t size;
    const uint8_t *golden = golden_picture(picture, &size);
    cleanup_free uint8_t *copy = malloc(size);

    assert_non_null(copy);
    memcpy(copy, golden, size);
    memcpy(copy + at, bytes, n);
    data_folder_put(folder, name, copy, size);
}

static size_t find(const char *picture, const char *bytes, size_t n)
{
    size_t size;
    const uint8_t *golden = golden_picture(picture, &size);
    const uint8_t *at = memmem(golden, size, bytes, n);

    assert_non_null(at);
    return (size_t)(at - golden);
}

static void what_is_no_picture_is_named(void **state)
{
    char folder[JOB_PATH_MAX + 1], path[JOB_PATH_MAX + 1];
    struct picture *picture;
    size_t frame;

    (void)state;
    data_folder_make(folder);
    assert_int_equal(picture_new(&picture, NULL), 0);
    assert_code(picture, folder, "missing.jpg", ERR_IO, "No such file"); /* not its fault */
    data_folder_put(folder, "empty.jpg", "", 0);
    assert_bad(picture, folder, "empty.jpg", "an empty file");
    data_folder_put(folder, "text.jpg", "hello, world", 12);
    assert_bad(picture, folder, "text.jpg", "neither JPEG nor PNG");
    data_folder_put(folder, "short.png", "\x89PNG\r\n\x1a", 7);
    assert_bad(picture, folder, "short.png", "neither");
    data_folder_put(folder, "header.png", "\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", 16);
    assert_bad(picture, folder, "header.png", "truncated");
    data_folder_put(folder, "start.jpg", "\xff\xd8\xff", 3);
    assert_bad(picture, folder, "start.jpg", "");
    data_folder_put(folder, "folder.jpg/x", "x", 1);
    assert_bad(picture, folder, "folder.jpg", "not a regular file");
    data_folder_join(path, folder, "fifo.jpg");
    assert_int_equal(mkfifo(path, 0600), 0); /* opening it must not wait */
    assert_bad(picture, folder, "fifo.jpg", "not a regular file");
    data_folder_join(path, folder, "loop.jpg");
    assert_int_equal(symlink("loop.jpg", path), 0);
    assert_code(picture, folder, "loop.jpg", ERR_IO, "symbolic links");
    if (geteuid()) { /* root may read everything */
        data_folder_put(folder, "secret.jpg", "x", 1);
        data_folder_join(path, folder, "secret.jpg");
        assert_int_equal(chmod(path, 0), 0);
        assert_code(picture, folder, "secret.jpg", ERR_IO, "Permission denied");
    }
    /* A few bytes that claim four gigapixels. */
    frame = find("plain.jpg", "\xff\xc0\x00\x11\x08", 5);
    put_changed(folder, "bomb.jpg", "plain.jpg", frame + 5, "\xff\xdc\xff\xdc", 4);
    assert_bad(picture, folder, "bomb.jpg", "65500×65500 pixels");
    put_changed(folder, "flat.jpg", "plain.jpg", frame + 5, "\0\0", 2);
    assert_bad(picture, folder, "flat.jpg", "");
    put_changed(folder, "check.png", "colour.png", 18, "\x01\x00", 2);
    assert_bad(picture, folder, "check.png", "CRC");
    picture_free(picture);
    data_folder_remove(folder);
}

/* One row more than is decoded, in a PNG whose header is right in every other way. */
static void a_png_that_claims_too_much_is_refused(void **state)
{
    static const uint8_t bomb[] = "\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x40\x01\0\0\x10\x00\x08"
                                  "\x02\0\0\0\xea\xbd\x05\x5a\0\0\0\x10IDAT";
    char folder[JOB_PATH_MAX + 1];
    struct picture *picture;

    (void)state;
    data_folder_make(folder);
    assert_int_equal(picture_new(&picture, NULL), 0);
    data_folder_put(folder, "bomb.png", bomb, sizeof bomb - 1);
    assert_bad(picture, folder, "bomb.png", "16385×4096 pixels");
    picture_free(picture);
    data_folder_remove(folder);
}

/* However it is cut, a JPEG that lacks rows is told from a whole one; so is a PNG. */
static void truncated_pictures_are_told(void **state)
{
    static const char *const names[] = {"plain.jpg", "progressive.jpg", "grey.jpg", "colour.png",
                                        "interlaced.png"};
    char folder[JOB_PATH_MAX + 1], path[JOB_PATH_MAX + 1];
    struct picture *picture;

    (void)state;
    data_folder_make(folder);
    data_folder_join(path, folder, "cut");
    assert_int_equal(picture_new(&picture, NULL), 0);
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        size_t n;
        const uint8_t *bytes = golden_picture(names[i], &n);

        /* 24 bytes at the end: a PNG's last chunk and checksum, a JPEG's end and last code words.
         */
        for (size_t cut = 0; cut < n - 24; cut += 1 + cut / 50) {
            data_folder_put(folder, "cut", bytes, cut);
            if (try_picture(picture, path, NULL) != ERR_CORRUPT)
                fail_msg("%s of %zu bytes passes with %zu", names[i], n, cut);
        }
    }
    picture_free(picture);
    data_folder_remove(folder);
}

/* Whatever a byte is changed to: no crash, no leak, no hang. The sanitizers look on. */
static void changed_bytes_do_no_harm(void **state)
{
    static const char *const names[] = {"plain.jpg",   "progressive.jpg", "cmyk.jpg",
                                        "palette.png", "interlaced.png",  "deep.png"};
    char folder[JOB_PATH_MAX + 1], path[JOB_PATH_MAX + 1];
    struct picture *picture;
    unsigned draw = 1;

    (void)state;
    data_folder_make(folder);
    data_folder_join(path, folder, "changed");
    assert_int_equal(picture_new(&picture, NULL), 0);
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        size_t n;

        golden_picture(names[i], &n);
        for (size_t at = 2; at < n; at++) {
            char byte = (char)((draw = draw * 1103515245u + 12345u) >> 16);
            int rc;

            put_changed(folder, "changed", names[i], at, &byte, 1);
            rc = try_picture(picture, path, NULL);
            assert_true(rc == 0 || rc == ERR_CORRUPT);
        }
    }
    picture_free(picture);
    data_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_are_decoded_as_pil_does),
        cmocka_unit_test(any_rows_are_those_of_the_whole),
        cmocka_unit_test(pictures_are_scaled_as_pil_does),
        cmocka_unit_test(vectors_do_not_show),
        cmocka_unit_test(photographs_become_what_torchvision_makes),
        cmocka_unit_test(what_is_no_picture_is_named),
        cmocka_unit_test(a_png_that_claims_too_much_is_refused),
        cmocka_unit_test(truncated_pictures_are_told),
        cmocka_unit_test(changed_bytes_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
