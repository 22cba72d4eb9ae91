/* Dropout (Srivastava et al., 2014), the inverted kind: what is kept grows, so that evaluation does
 * nothing. On a derivative it is its own derivative. */
#include "backend/reference/reference.h"
#include "random/philox.h"

void reference_dropout(const struct operands *o)
{
    double rate = o->node->attr.rate, scale = 1 / (1 - rate);
    int64_t n = shape_elements(o->out_shape[0]);
    uint32_t stream = random_stream(RANDOM_DROPOUT, o->draws->term, (uint32_t)o->node->attr.index);

    for (int64_t e = 0; e < n; e += 4) {
        struct philox draw = philox(o->draws->seed, (uint32_t)(e / 4), stream, o->draws->update);
        for (int64_t i = 0; i < 4 && e + i < n; i++)
            o->out[0][e + i] = random_keeps(draw.word[i], rate) ? o->in[0][e + i] * scale : 0;
    }
}
