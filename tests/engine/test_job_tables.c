/* The tables of a job: consistent with themselves and with engine/job.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "close.h"
#include "engine/job.h"

static size_t member_bytes(const struct spec_field *field)
{
    static const size_t bytes[] = {
        [SPEC_INT] = sizeof(int64_t),
        [SPEC_REAL] = sizeof(double),
        [SPEC_BOOL] = sizeof(bool),
        [SPEC_CHOICE] = sizeof(int),
        [SPEC_INT_LIST] = sizeof(struct spec_int_list),
    };

    return field->type == SPEC_STRING ? field->max_length + 1 : bytes[field->type];
}

static bool in_range(const struct spec_field *field, double value)
{
    return (field->above_min ? value > field->min : value >= field->min) &&
           (field->below_max ? value < field->max : value <= field->max);
}

static void check_default(const struct spec_field *field)
{
    int n = 0;

    switch (field->type) {
    case SPEC_INT:
    case SPEC_REAL:
        assert_true(field->min < field->max);
        assert_true(in_range(field, field->number));
        break;
    case SPEC_CHOICE:
        while (field->choices[n])
            n++;
        assert_in_range(field->number, 0, n - 1);
        break;
    case SPEC_INT_LIST:
        assert_in_range(field->list.n, 1, field->max_length);
        assert_true(field->max_length <= SPEC_LIST_MAX);
        for (int i = 0; i < field->list.n; i++)
            assert_true(in_range(field, (double)field->list.item[i]));
        break;
    default:
        break;
    }
}

static void check_object(const struct spec_object *object, size_t size, size_t first);

static size_t variant_bytes(const char *name)
{
    static const struct {
        const char *name;
        size_t bytes;
    } sizes[] = {{"model", sizeof(struct job_model)},
                 {"dataset", sizeof(struct job_dataset)},
                 {"augment", sizeof(struct job_augment)},
                 {"method", sizeof(struct job_method)},
                 {"optimizer", sizeof(struct job_optimizer)},
                 {"schedule", sizeof(struct job_schedule)},
                 {"batch_norm", sizeof(struct job_batch_norm)},
                 {"checkpoint", sizeof(struct job_checkpoint)},
                 {"evaluate", sizeof(struct job_evaluate)},
                 {"telemetry", sizeof(struct job_telemetry)},
                 {"init_from", sizeof(struct job_init_from)},
                 {"probe", sizeof(struct engine_probe)},
                 {"probes", sizeof(struct engine_probe)},
                 {"x", sizeof(struct probe_axis)},
                 {"y", sizeof(struct probe_axis)},
                 {"other", sizeof(struct probe_other)}};

    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++)
        if (!strcmp(sizes[i].name, name))
            return sizes[i].bytes;
    fail_msg("no struct for %s", name);
    return 0;
}

static void check_field(const struct spec_field *field, size_t size, size_t first)
{
    assert_non_null(field->doc);
    assert_true(field->doc[strlen(field->doc) - 1] == '.');
    assert_true(field->offset >= first);
    if (field->type == SPEC_OBJECT) {
        check_object(field->object, variant_bytes(field->name), 0);
    } else if (field->type == SPEC_VARIANT || field->type == SPEC_VARIANT_LIST) {
        size_t items = field->type == SPEC_VARIANT ? 1 : field->max_length;

        assert_true(field->n_kinds > 0);
        assert_in_range(field->default_kind, 0, field->n_kinds - 1);
        if (field->type == SPEC_VARIANT_LIST)
            assert_int_equal(field->item_bytes, variant_bytes(field->name));
        assert_true(field->offset + field->item_offset + items * variant_bytes(field->name) <=
                    size);
        for (int k = 0; k < field->n_kinds; k++) {
            assert_non_null(field->kinds[k].name);
            check_object(&field->kinds[k], variant_bytes(field->name), sizeof(int));
        }
    } else {
        assert_true(field->offset + member_bytes(field) <= size);
        check_default(field);
    }
}

static void check_object(const struct spec_object *object, size_t size, size_t first)
{
    assert_non_null(object->doc);
    for (int i = 0; i < object->n_fields; i++) {
        check_field(&object->fields[i], size, first);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(object->fields[i].name, object->fields[j].name);
    }
}

static void tables_are_consistent(void **state)
{
    (void)state;
    check_object(engine_job_spec(), sizeof(struct engine_job), 0);
}

static void probes_kinds_are_at_their_enums_places(void **state)
{
    int n;
    const struct spec_object *kinds = engine_probe_kinds(&n);
    const struct spec_object *of_jobs = engine_job_probe_kinds(&n);

    (void)state;
    assert_int_equal(n, PROBE_KINDS);
    assert_string_equal(kinds[PROBE_SPECTRUM].name, "spectrum");
    assert_string_equal(kinds[PROBE_LANDSCAPE].name, "landscape");
    assert_string_equal(kinds[PROBE_RADIUS].name, "radius");
    assert_string_equal(kinds[PROBE_SHARPNESS].name, "sharpness");
    for (int i = 0; i < n; i++) {
        check_object(&kinds[i], sizeof(struct engine_probe), sizeof(int));
        assert_string_equal(of_jobs[i].name, kinds[i].name);
    }
}

static const struct spec_field *field_of(const struct spec_object *object, const char *name)
{
    for (int i = 0; i < object->n_fields; i++)
        if (!strcmp(object->fields[i].name, name))
            return &object->fields[i];
    fail_msg("no field %s", name);
    return NULL;
}

static void kinds_are_at_their_enums_places(void **state)
{
    const struct spec_object *job = engine_job_spec();
    const struct spec_field *model = field_of(job, "model");
    const struct spec_field *method = field_of(job, "method");
    const struct spec_field *schedule = field_of(job, "schedule");
    const struct spec_field *dataset = field_of(job, "dataset");
    const struct spec_object *augment;

    (void)state;
    assert_string_equal(model->kinds[MODEL_RESNET].name, "resnet");
    assert_string_equal(model->kinds[MODEL_RESNET18].name, "resnet18");
    assert_string_equal(model->kinds[MODEL_RESNET34].name, "resnet34");
    assert_string_equal(model->kinds[MODEL_RESNET50].name, "resnet50");
    assert_string_equal(model->kinds[MODEL_RESNET101].name, "resnet101");
    assert_string_equal(model->kinds[MODEL_PRERESNET].name, "preresnet");
    assert_string_equal(model->kinds[MODEL_PRERESNET164].name, "preresnet164");
    assert_string_equal(model->kinds[MODEL_VGG16_BN].name, "vgg16_bn");
    assert_string_equal(model->kinds[MODEL_VGG19_BN].name, "vgg19_bn");
    assert_string_equal(model->kinds[MODEL_WRN].name, "wrn");
    assert_string_equal(model->kinds[MODEL_WRN16_8].name, "wrn16_8");
    assert_string_equal(model->kinds[MODEL_WRN28_10].name, "wrn28_10");
    assert_string_equal(model->kinds[MODEL_WRN22_8].name, "wrn22_8");
    assert_string_equal(model->kinds[MODEL_WRN34_10].name, "wrn34_10");
    assert_string_equal(model->kinds[MODEL_VIT].name, "vit");
    assert_string_equal(model->kinds[MODEL_VIT_S32].name, "vit_s32");
    assert_string_equal(model->kinds[MODEL_VIT_S16].name, "vit_s16");
    assert_string_equal(model->kinds[MODEL_VIT_B16].name, "vit_b16");
    assert_int_equal(model->n_kinds, MODEL_KINDS);
    assert_string_equal(field_of(&model->kinds[MODEL_RESNET], "stem")->choices[STEM_IMAGENET],
                        "imagenet");
    assert_string_equal(dataset->kinds[DATASET_DIGITS].name, "digits");
    assert_string_equal(dataset->kinds[DATASET_IDX].name, "idx");
    assert_string_equal(dataset->kinds[DATASET_CIFAR10].name, "cifar10");
    assert_string_equal(dataset->kinds[DATASET_CIFAR100].name, "cifar100");
    assert_string_equal(dataset->kinds[DATASET_IMAGE_FOLDER].name, "image_folder");
    augment = field_of(&dataset->kinds[DATASET_IMAGE_FOLDER], "augment")->object;
    assert_string_equal(field_of(augment, "crop")->choices[CROP_RANDOM], "random");
    assert_string_equal(field_of(augment, "crop")->choices[CROP_RANDOM_RESIZED], "random_resized");
    assert_string_equal(method->kinds[METHOD_SGD].name, "sgd");
    assert_string_equal(method->kinds[METHOD_SAM].name, "sam");
    assert_string_equal(method->kinds[METHOD_RWP].name, "rwp");
    assert_string_equal(method->kinds[METHOD_ARWP].name, "arwp");
    assert_string_equal(method->kinds[METHOD_M_RWP].name, "m-rwp");
    assert_string_equal(method->kinds[METHOD_M_ARWP].name, "m-arwp");
    assert_string_equal(method->kinds[METHOD_ASAM].name, "asam");
    assert_string_equal(schedule->kinds[SCHEDULE_COSINE].name, "cosine");
    assert_string_equal(schedule->kinds[SCHEDULE_STEP].name, "step");
    assert_string_equal(schedule->kinds[SCHEDULE_CONSTANT].name, "constant");
    assert_string_equal(field_of(job, "optimizer")->kinds[OPTIMIZER_SGD].name, "sgd");
    assert_string_equal(field_of(job, "optimizer")->kinds[OPTIMIZER_ADAM].name, "adam");
    assert_string_equal(field_of(job, "optimizer")->kinds[OPTIMIZER_ADAMW].name, "adamw");
    assert_string_equal(field_of(job, "device")->choices[DEVICE_REFERENCE], "reference");
    assert_string_equal(field_of(job, "precision")->choices[PRECISION_FP64], "fp64");
}

static void defaults_are_the_scripts(void **state)
{
    struct engine_job job;

    (void)state;
    engine_job_defaults(&job, MODEL_RESNET34, DATASET_DIGITS, METHOD_M_ARWP);
    assert_close(job.method.sigma, 0.015, 0);
    assert_close(job.method.lambda, 0.5, 0);
    assert_close(job.method.ramp, 0, 0);
    assert_close(job.method.eta, 0.1, 0);
    assert_close(job.method.beta, 0.99, 0);
    assert_close(job.optimizer.lr, 0.1, 0);
    assert_close(job.optimizer.momentum, 0.9, 0);
    assert_close(job.optimizer.weight_decay, 0.001, 0);
    assert_int_equal(job.schedule.kind, SCHEDULE_COSINE);
    assert_int_equal(job.model.blocks.n, 4);
    assert_int_equal(job.model.blocks.item[2], 6);
    assert_int_equal(job.batch_size, 128);
    assert_int_equal(job.checkpoint.every_seconds, 300);
    engine_job_defaults(&job, MODEL_RESNET18, DATASET_DIGITS, METHOD_RWP);
    assert_close(job.method.sigma, 0.001, 0);
    assert_close(job.method.ramp, 10, 0);
    assert_close(job.method.eta, 0, 0);
    assert_close(job.method.lambda, 0, 0);
    assert_int_equal(job.model.blocks.item[2], 2);
    engine_job_defaults(&job, MODEL_RESNET18, DATASET_DIGITS, METHOD_SAM);
    assert_close(job.method.rho, 0.05, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_are_consistent),
        cmocka_unit_test(kinds_are_at_their_enums_places),
        cmocka_unit_test(probes_kinds_are_at_their_enums_places),
        cmocka_unit_test(defaults_are_the_scripts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
