#include "data/randaugment.h"

#include "data/image_colour.h"
#include "data/image_move.h"

/* What a magnitude of m means to each operation, rounded as torch.linspace rounds: counted from the
 * nearer end, in single precision, the product and the sum at once. */
static double strength(double most, int m)
{
    float end = (float)most, step = end / JOB_RANDAUGMENT_MAX;

    if (m < (JOB_RANDAUGMENT_MAX + 1) / 2)
        return (float)((double)step * m);
    return (float)((double)end - (double)step * (JOB_RANDAUGMENT_MAX - m));
}

static void move(const struct image *image, uint8_t *scratch, enum image_operation operation, int m,
                 double sign)
{
    double share = 150.0 / 331;

    switch (operation) {
    case OPERATION_SHEAR_X:
        image_shear(image, scratch, sign * strength(0.3, m), 0);
        break;
    case OPERATION_SHEAR_Y:
        image_shear(image, scratch, 0, sign * strength(0.3, m));
        break;
    case OPERATION_TRANSLATE_X:
        image_translate(image, scratch, (int)(sign * strength(share * image->width, m)), 0);
        break;
    case OPERATION_TRANSLATE_Y:
        image_translate(image, scratch, 0, (int)(sign * strength(share * image->height, m)));
        break;
    default:
        image_rotate(image, scratch, sign * strength(30, m));
        break;
    }
}

void image_operate(const struct image *image, uint8_t *scratch, enum image_operation operation,
                   int magnitude, bool negative)
{
    double sign = negative ? -1 : 1, factor = 1 + sign * strength(0.9, magnitude);

    switch (operation) {
    case OPERATION_BRIGHTNESS:
        image_brightness(image, factor);
        break;
    case OPERATION_COLOR:
        image_colour(image, factor);
        break;
    case OPERATION_CONTRAST:
        image_contrast(image, factor);
        break;
    case OPERATION_SHARPNESS:
        image_sharpness(image, scratch, factor);
        break;
    case OPERATION_POSTERIZE: /* keeps 8 bits to 4; no magnitude lies halfway */
        image_posterize(image, 8 - (int)(magnitude / (JOB_RANDAUGMENT_MAX / 4.0) + 0.5));
        break;
    case OPERATION_SOLARIZE:
        image_solarize(image, 255 - 8.5 * magnitude);
        break;
    case OPERATION_AUTO_CONTRAST:
        image_auto_contrast(image);
        break;
    case OPERATION_EQUALIZE:
        image_equalize(image);
        break;
    case OPERATION_IDENTITY:
    case OPERATIONS:
        break;
    default:
        move(image, scratch, operation, magnitude, sign);
        break;
    }
}

void randaugment(const struct image *image, uint8_t *scratch, const struct augment_key *key,
                 const struct job_augment *job)
{
    for (int place = 0; place < job->randaugment; place++) {
        struct augment_operation drawn = augment_operation(key, place, OPERATIONS);

        image_operate(image, scratch, (enum image_operation)drawn.operation,
                      (int)job->randaugment_magnitude, drawn.negative);
    }
}
