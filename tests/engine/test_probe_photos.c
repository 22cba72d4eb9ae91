/* Probes of what is read file by file: it takes long, so that one can stop it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "data_folder.h"
#include "engine/probe.h"
#include "probe/tables.h"
#include "probe_record.h"
#include "record.h"
#include "support.h"

static int messages;

static void count_message(void *context, const char *text)
{
    (void)context;
    messages += strstr(text, "could not be used") != NULL;
}

/* A picture that is broken is told of once all are read: not by opening, nor once somebody has
 * asked to stop. */
static void reading_can_be_stopped(void **state)
{
    struct engine_job job = tiny_job(METHOD_SGD, DEVICE_REFERENCE);
    struct engine_probe probe = probe_defaults(PROBE_SHARPNESS);
    struct engine_probe_sink sink = {.message = count_message};
    struct checkpoint weights;
    struct engine_probe_start start = {.weights = &weights};
    struct engine_probe_run *run = NULL;
    enum engine_outcome outcome;
    atomic_int request = ENGINE_STOP;

    (void)state;
    photo_folder_make(&job.dataset);
    job.model.width = 2;
    job.batch_size = 5;
    job.epochs = 1;
    data_folder_put(job.dataset.path, "train/ant/00-plain.jpg", "x", 1);
    train_checkpoint(&job, &weights);
    probe.samples = 0;
    probe.draws = 1;
    assert_ok(engine_probe_open(&run, &job, &probe, 1, &start, &sink, err));
    assert_ok(engine_probe_measure(run, &request, &outcome, err));
    assert_int_equal(outcome, ENGINE_STOPPED);
    assert_int_equal(messages, 0);
    atomic_store(&request, ENGINE_CONTINUE);
    assert_ok(engine_probe_measure(run, &request, &outcome, err));
    assert_int_equal(outcome, ENGINE_FINISHED);
    assert_int_equal(messages, 1);
    engine_probe_close(run);
    checkpoint_clear(&weights);
    data_folder_remove(job.dataset.path);
}

/* As of a run: no other picture stands in for one that is not there. */
static void a_missing_file_ends_it(void **state)
{
    struct engine_job job = tiny_job(METHOD_SGD, DEVICE_REFERENCE);
    struct engine_probe probe = probe_defaults(PROBE_SHARPNESS);
    struct engine_probe_sink sink = {.message = count_message};
    struct checkpoint weights;
    struct engine_probe_start start = {.weights = &weights};
    struct engine_probe_run *run = NULL;
    enum engine_outcome outcome;
    atomic_int request = ENGINE_CONTINUE;
    char path[JOB_PATH_MAX + 1];

    (void)state;
    messages = 0;
    photo_folder_make(&job.dataset);
    job.model.width = 2;
    job.batch_size = 5;
    job.epochs = 1;
    train_checkpoint(&job, &weights);
    probe.samples = 0;
    probe.draws = 1;
    assert_ok(engine_probe_open(&run, &job, &probe, 1, &start, &sink, err));
    data_folder_join(path, job.dataset.path, "train/ant/00-plain.jpg");
    assert_int_equal(remove(path), 0);
    assert_refused(engine_probe_measure(run, &request, &outcome, err), ERR_IO,
                   "train/ant/00-plain.jpg: No such file");
    assert_int_equal(messages, 0);
    engine_probe_close(run);
    assert_refused(engine_probe_open(&run, &job, &probe, 1, &start, &sink, err), ERR_CONFLICT,
                   "14 training samples, not 15"); /* nor is it measured with other data */
    checkpoint_clear(&weights);
    data_folder_remove(job.dataset.path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reading_can_be_stopped),
        cmocka_unit_test(a_missing_file_ends_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
