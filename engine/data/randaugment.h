/* RandAugment (Cubuk et al. 2020) as torchvision does it on PIL images: a number of operations,
 * each drawn from fourteen, all at one strength. To the bit as PIL's arithmetic. */
#ifndef ENGINE_DATA_RANDAUGMENT_H
#define ENGINE_DATA_RANDAUGMENT_H

#include "data/augment.h"
#include "data/image.h"

/* In torchvision's order, which the random numbers choose from. */
enum image_operation {
    OPERATION_IDENTITY,
    OPERATION_SHEAR_X,
    OPERATION_SHEAR_Y,
    OPERATION_TRANSLATE_X,
    OPERATION_TRANSLATE_Y,
    OPERATION_ROTATE,
    OPERATION_BRIGHTNESS,
    OPERATION_COLOR,
    OPERATION_CONTRAST,
    OPERATION_SHARPNESS,
    OPERATION_POSTERIZE,
    OPERATION_SOLARIZE,
    OPERATION_AUTO_CONTRAST,
    OPERATION_EQUALIZE,
    OPERATIONS
};

/* One operation on an image of three channels, in place; `scratch` holds as many bytes. `magnitude`
 * of JOB_RANDAUGMENT_MAX; `negative`: the other way, for operations with two directions. */
void image_operate(const struct image *image, uint8_t *scratch, enum image_operation operation,
                   int magnitude, bool negative);

void randaugment(const struct image *image, uint8_t *scratch, const struct augment_key *key,
                 const struct job_augment *job);

#endif
