/* Tokens, heads, softmax. */
#include "backend/cuda/run_inside.h"

RUN_COMMAND(softmax, softmax, softmax, launch_softmax(STREAM, &a), a.x = IN(0); a.y = OUT(0))
RUN_COMMAND(softmax_grad, softmax, softmax, launch_softmax_grad(STREAM, &a), a.dy = IN(0);
            a.x = IN(1); a.y = OUT(0))
RUN_COMMAND(softmax_curve, softmax, softmax, launch_softmax_curve(STREAM, &a), a.dy = IN(0);
            a.x = IN(1); a.ry = IN(2); a.y = OUT(0))
RUN_COMMAND(patches, patches, patches, launch_patches(STREAM, &a), a.from = IN(0); a.to = OUT(0))
RUN_COMMAND(patches_grad, patches, patches, launch_patches_grad(STREAM, &a), a.from = IN(0);
            a.to = OUT(0))

#define MOVE(name)                                                                                 \
    RUN_COMMAND(name, token_move, token_move, launch_##name(STREAM, &a), a.from = IN(0);           \
                a.token = IN(1); a.to = OUT(0))

MOVE(prepend)
MOVE(drop_first)
MOVE(token)
MOVE(token_grad)

RUN_COMMAND(split_heads, heads, heads, launch_split_heads(STREAM, &a), a.merged = IN(0);
            for (int i = 0; i < a.parts; i++) a.part[i] = OUT(i))
RUN_COMMAND(merge_heads, heads, heads, launch_merge_heads(STREAM, &a), a.merged = OUT(0);
            for (int i = 0; i < a.parts; i++) a.part[i] = IN(i))

RUN_COMMAND(attention, attention, attention, launch_attention(STREAM, &a), a.qkv = IN(0);
            a.y = OUT(0); a.log_sums = OUT(1))
RUN_COMMAND(attention_grad, attention, attention, launch_attention_grad(STREAM, &a), a.dy = IN(0);
            a.qkv = IN(1); a.y = IN(2); a.log_sums = IN(3); a.dqkv = OUT(0);
            a.workspace = WORKSPACE)
