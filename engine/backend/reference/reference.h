/* Inside the reference backend: what its files share. */
#ifndef ENGINE_BACKEND_REFERENCE_REFERENCE_H
#define ENGINE_BACKEND_REFERENCE_REFERENCE_H

#include "backend/backend.h"

struct vector {
    size_t n;
    struct backend *backend;
    double data[]; /* not there where memory is only counted */
};

/* What an operation works on. Arrays are dense and row-major. */
struct operands {
    const struct node *node;
    const double *in[NODE_INPUTS_MAX]; /* NULL in the place of labels */
    const int32_t *labels;             /* NULL if it takes none */
    const struct shape *in_shape[NODE_INPUTS_MAX];
    double *out[NODE_OUTPUTS_MAX]; /* overwritten; apart from the inputs */
    const struct shape *out_shape[NODE_OUTPUTS_MAX];
    double *scratch; /* reference_scratch elements */
    const struct pass_draws *draws;
};

/* Does an operation; NULL for those that this backend lacks. */
typedef void (*reference_op)(const struct operands *o);
reference_op reference_op_of(enum op op);

/* Elements of scratch memory that a node of `graph` needs. */
size_t reference_scratch(const struct graph *graph, const struct node *node);

size_t reference_conv_scratch(const struct node *node, const struct shape *x, const struct shape *w,
                              const struct shape *y);
void reference_conv(const struct operands *o);
void reference_conv_grad_x(const struct operands *o);
void reference_conv_grad_w(const struct operands *o);
void reference_max_pool(const struct operands *o);
void reference_max_pool_grad(const struct operands *o);
void reference_max_pool_tangent(const struct operands *o);
void reference_dropout(const struct operands *o);
void reference_batch_norm(const struct operands *o);
void reference_batch_norm_eval(const struct operands *o);
void reference_batch_norm_grad(const struct operands *o);
void reference_batch_norm_scale(const struct operands *o);
void reference_batch_norm_eval_grad(const struct operands *o);
void reference_batch_norm_dot(const struct operands *o);

/* norm_tangent.c */
void reference_batch_norm_tangent(const struct operands *o);
void reference_batch_norm_grad_tangent(const struct operands *o);
void reference_layer_norm_tangent(const struct operands *o);
void reference_layer_norm_grad_tangent(const struct operands *o);

/* tokens.c */
void reference_patches(const struct operands *o);
void reference_patches_grad(const struct operands *o);
void reference_prepend(const struct operands *o);
void reference_drop_first(const struct operands *o);
void reference_token(const struct operands *o);
void reference_token_grad(const struct operands *o);
void reference_add_each(const struct operands *o);
void reference_sum_each(const struct operands *o);
void reference_layer_norm(const struct operands *o);
void reference_layer_norm_grad(const struct operands *o);
void reference_gelu(const struct operands *o);
void reference_gelu_grad(const struct operands *o);
void reference_gelu_curve(const struct operands *o);
void reference_softmax(const struct operands *o);
void reference_softmax_grad(const struct operands *o);
void reference_softmax_curve(const struct operands *o);
void reference_split_heads(const struct operands *o);
void reference_merge_heads(const struct operands *o);
void reference_matmul(const struct operands *o);

/* Writes w ⊕ perturbation to `out`, of layout->size. Expects a perturbation that is complete. */
void reference_materialise(const struct layout *layout, const struct vector *weights,
                           const struct perturbation *perturbation, double *out);

/* Members of `backend_reference`. */
int reference_program_open(struct backend *backend, const struct graph *graph,
                           const struct layout *params, const struct layout *states,
                           const struct program_options *options, struct program **out,
                           struct err *err);
void reference_program_close(struct program *program);
/* Samples of a batch. */
int64_t reference_samples(const struct program *program);
const struct layout *reference_params(const struct program *program);
const struct layout *reference_states(const struct program *program);
int reference_execute(struct backend *backend, const struct pass *passes, int n, struct err *err);
int reference_time_pass(struct backend *backend, const struct pass_sample *sample,
                        struct pass_seconds *out, struct err *err);
int reference_step(struct backend *backend, const struct step *step, struct err *err);

#endif
