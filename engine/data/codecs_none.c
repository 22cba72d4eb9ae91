/* Without libjpeg-turbo and libpng. */
#include <stddef.h>

#include "data/picture.h"

const struct picture_codec *const picture_codecs[] = {NULL};
