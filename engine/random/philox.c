#include "random/philox.h"

#include <math.h>

void random_normal4_f64(struct philox draw, double out[4])
{
    for (int pair = 0; pair < 2; pair++) {
        double r = sqrt(-2.0 * log(random_unit(draw.word[2 * pair])));
        double angle = 2.0 * M_PI * ((double)(draw.word[2 * pair + 1] >> 8) * 0x1p-24);
        out[2 * pair] = r * cos(angle);
        out[2 * pair + 1] = r * sin(angle);
    }
}
