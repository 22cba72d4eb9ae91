#include "harness.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/module.h"
#include "base/clock.h"
#include "base/text.h"
#include "stand_in/cmocka.h"

static struct {
    FILE *report;
    int passed, failed, device;
    jmp_buf end;
    char message[600];
    double error, tolerance;
} harness;

void harness_fail(const char *file, int line, const char *format, ...)
{
    const char *name = strrchr(file, '/');
    va_list arguments;
    int n =
        snprintf(harness.message, sizeof harness.message, "%s:%d: ", name ? name + 1 : file, line);

    va_start(arguments, format);
    vsnprintf(harness.message + n, sizeof harness.message - (size_t)n, format, arguments);
    va_end(arguments);
    longjmp(harness.end, 1);
}

static int open_with(enum compute compute, bool timed, struct backend **out,
                     const struct backend_options *options, struct err *err)
{
    const struct cuda_module *module = cuda_module(err);
    struct backend_options with = *options;

    if (!module)
        return ERR_DEVICE;
    with.device = harness.device;
    with.compute = compute;
    with.deterministic = !timed;
    return module->class->open(out, &with, err);
}

/* `open` of a class is told neither. */
#define OPENER(name, compute, timed)                                                               \
    static int name(struct backend **out, const struct backend_options *options, struct err *err)  \
    {                                                                                              \
        return open_with(compute, timed, out, options, err);                                       \
    }
OPENER(open_f32, COMPUTE_F32, false)
OPENER(open_tf32, COMPUTE_TF32, false)
OPENER(open_bf16, COMPUTE_BF16, false)
OPENER(open_f32_timed, COMPUTE_F32, true)
OPENER(open_tf32_timed, COMPUTE_TF32, true)
OPENER(open_bf16_timed, COMPUTE_BF16, true)

static const struct backend_class *class_of(enum compute compute, bool timed)
{
    static int (*const open[2][3])(struct backend **, const struct backend_options *,
                                   struct err *) = {
        {open_f32, open_tf32, open_bf16}, {open_f32_timed, open_tf32_timed, open_bf16_timed}};
    static struct backend_class classes[2][3];
    struct backend_class *class = &classes[timed][compute];

    *class = *cuda_module(NULL)->class;
    class->open = open[timed][compute];
    return class;
}

const struct backend_class *gpu_backend(enum compute compute)
{
    return class_of(compute, false);
}

const struct backend_class *gpu_backend_timed(enum compute compute)
{
    return class_of(compute, true);
}

const char *compute_name(enum compute compute)
{
    static const char *const names[] = {"fp32", "tf32", "bf16"};

    return names[compute];
}

static void put_text(const char *text)
{
    fputc('"', harness.report);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', harness.report);
        fputc((unsigned char)*text < ' ' ? ' ' : *text, harness.report);
    }
    fputc('"', harness.report);
}

/* JSON has no number that is none. */
static void put_number(double x)
{
    char text[TEXT_NUMBER_BYTES];

    text_number(x, text);
    fprintf(harness.report, isfinite(x) ? "%s" : "\"%s\"", text);
}

/* A device's own description, to take the place of tests/engine/cuda/h200.json and its like; a line
 * of its own, whatever cuDNN puts between its members. */
static void put_properties(int device)
{
    const struct cuda_module *module = cuda_module(NULL);
    char *json;

    if (!module->library_version)
        return;
    fprintf(harness.report, "{\"cudnn\": %zu}\n", module->library_version());
    if (!module->properties || module->properties(device, &json, NULL))
        return;
    for (char *at = json; *at; at++)
        if (*at == '\n' || *at == '\r')
            *at = ' ';
    fprintf(harness.report, "{\"properties\": %s}\n", json);
    free(json);
}

int harness_open(const char *report, int device, struct err *err)
{
    const struct cuda_device *devices;
    int n = cuda_devices(&devices, err);

    if (n == 0)
        return ERR_DEVICE;
    if (device >= n)
        return err_set(err, ERR_NOT_FOUND, "there is no GPU %d, but %d", device, n);
    harness.device = device;
    harness.report = fopen(report, "we");
    if (!harness.report)
        return err_errno(err, "%s", report);
    fputs("{\"device\": ", harness.report);
    put_text(devices[device].name);
    fprintf(harness.report,
            ", \"uuid\": \"%s\", \"memory_bytes\": %lld, \"multiprocessors\": %d, "
            "\"capability\": %d, \"rwpd\": \"%s\"}\n",
            devices[device].uuid, (long long)devices[device].memory_bytes,
            devices[device].multiprocessors, devices[device].capability, RWPD_VERSION);
    put_properties(device);
    fflush(harness.report);
    return 0;
}

int harness_close(void)
{
    fprintf(harness.report, "{\"passed\": %d, \"failed\": %d}\n", harness.passed, harness.failed);
    if (fclose(harness.report))
        harness.failed++;
    printf("%d passed, %d failed\n", harness.passed, harness.failed);
    return harness.failed;
}

void harness_error(double error, double tolerance)
{
    harness.error = error;
    harness.tolerance = tolerance;
    if (!(error <= tolerance))
        harness_fail("", 0, "relative error %.3g, allowed %.3g", error, tolerance);
}

void harness_case(const char *group, const char *name, void (*run)(void *context), void *context)
{
    double start = clock_seconds();
    volatile bool ok = false;

    harness.message[0] = 0;
    harness.error = harness.tolerance = 0;
    if (!setjmp(harness.end)) {
        run(context);
        ok = true;
    }
    harness.passed += ok;
    harness.failed += !ok;
    fprintf(harness.report, "{\"group\": \"%s\", \"name\": ", group);
    put_text(name);
    fprintf(harness.report, ", \"ok\": %s, \"seconds\": %.3f", ok ? "true" : "false",
            clock_seconds() - start);
    if (harness.tolerance > 0) {
        fputs(", \"error\": ", harness.report);
        put_number(harness.error);
        fprintf(harness.report, ", \"allowed\": %g", harness.tolerance);
    }
    if (!ok) {
        fputs(", \"message\": ", harness.report);
        put_text(harness.message);
        printf("FAIL %s: %s: %s\n", group, name, harness.message);
    }
    fputs("}\n", harness.report);
    fflush(harness.report);
}
