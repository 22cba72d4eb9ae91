/* Members that were set and say nothing, because of what others say: whoever set them expects
 * something else than what would be done.
 *
 * Only new jobs and probes are asked: stored ones have run with such members, and go on. A member
 * counts as set when it is not its default, for what is shown of a job has every default in it and
 * may be sent again. */
#include "job/silent.h"

#include "job/tables.h"

/* 0 says that there is none of it, as the other member does. */
static bool is_set(double member, double plain)
{
    return member != plain && member != 0;
}

void engine_job_check_silent(const struct engine_job *job, bool plain_too,
                             struct problems *problems)
{
    const struct job_augment *augment = &job->dataset.augment, *plain;
    struct engine_job defaults;

    engine_job_defaults(&defaults, job->model.kind, job->dataset.kind, job->method.kind);
    plain = &defaults.dataset.augment;
    if (augment->crop != CROP_RANDOM_RESIZED &&
        (plain_too || is_set(augment->crop_area_min, plain->crop_area_min)))
        problems_add(problems, "/dataset/augment/crop_area_min",
                     "says nothing: it is of the crop \"random_resized\", and crop is another");
    if (augment->randaugment == 0 && (plain_too || is_set((double)augment->randaugment_magnitude,
                                                          (double)plain->randaugment_magnitude)))
        problems_add(problems, "/dataset/augment/randaugment_magnitude",
                     "says nothing: randaugment, the operations an image, is 0");
    if (augment->cutout == 0 &&
        (plain_too || is_set(augment->cutout_probability, plain->cutout_probability)))
        problems_add(problems, "/dataset/augment/cutout_probability",
                     "says nothing: cutout, the side of the square, is 0");
}

void probe_check_silent(const struct engine_probe *probe, struct problems *problems)
{
    static const char says[] = "says nothing: y's direction is \"none\"; give it another one for a "
                               "second axis";
    struct engine_probe plain = {.kind = PROBE_LANDSCAPE, .preset = probe->preset};
    const struct probe_axis *y = &probe->y;

    if (probe->kind != PROBE_LANDSCAPE || y->direction != DIRECTION_NONE)
        return;
    for (int i = 0; i < job_probe_y.n_fields; i++)
        spec_set_default(&job_probe_y.fields[i], (char *)&plain.y + job_probe_y.fields[i].offset);
    engine_probe_resolve(&plain);
    if (y->normalise != plain.y.normalise)
        problems_add(problems, "/y/normalise", "%s", says);
    if (y->from != plain.y.from)
        problems_add(problems, "/y/from", "%s", says);
    if (y->to != plain.y.to)
        problems_add(problems, "/y/to", "%s", says);
    if (y->points != plain.y.points)
        problems_add(problems, "/y/points", "%s", says);
}
