#include "data/picture.h"

extern const struct picture_codec picture_jpeg, picture_png;

const struct picture_codec *const picture_codecs[] = {&picture_jpeg, &picture_png, NULL};
