/* Operations element by element: a thread has eight neighbours, which are a byte of the mask. */
#include "backend/cuda/kernels/device.h"

enum operation {
    DO_RELU,
    DO_RELU_GRAD_MASK,
    DO_RELU_GRAD_Y,
    DO_ADD,
    DO_ADD_RELU,
    DO_GELU,
    DO_GELU_GRAD,
    DO_GELU_CURVE
};

template <int OPERATION> static __device__ inline float operate(float a, float b, float c, bool set)
{
    switch (OPERATION) {
    case DO_RELU:
        return relu(a);
    case DO_RELU_GRAD_MASK:
        return set ? a : 0;
    case DO_RELU_GRAD_Y:
        return b > 0 ? a : 0;
    case DO_ADD:
        return a + b;
    case DO_ADD_RELU:
        return relu(a + b);
    case DO_GELU:
        return gelu(a);
    case DO_GELU_GRAD:
        return a * gelu_slope(b);
    default:
        return a * c * gelu_curve(b);
    }
}

template <class T, int OPERATION>
static __global__ void __launch_bounds__(BLOCK) elementwise_kernel(struct elementwise e)
{
    const bool two = OPERATION == DO_ADD || OPERATION == DO_ADD_RELU ||
                     OPERATION == DO_RELU_GRAD_Y || OPERATION == DO_GELU_GRAD ||
                     OPERATION == DO_GELU_CURVE;
    const bool makes_mask = OPERATION == DO_RELU || OPERATION == DO_ADD_RELU;
    int64_t vector = (int64_t)blockIdx.x * BLOCK + threadIdx.x, first = vector * VECTOR;
    int count = e.n - first < VECTOR ? (int)(e.n - first) : VECTOR;
    float a[VECTOR], b[VECTOR] = {0}, c[VECTOR] = {0}, y[VECTOR];
    unsigned mask = 0, positive = 0;

    if (count <= 0)
        return;
    load_some((const T *)e.a + first, count, a);
    if (two)
        load_some((const T *)e.b + first, count, b);
    if (OPERATION == DO_GELU_CURVE)
        load_some((const T *)e.c + first, count, c);
    if (OPERATION == DO_RELU_GRAD_MASK)
        mask = e.mask[vector];
    for (int i = 0; i < VECTOR; i++) {
        y[i] = operate<OPERATION>(a[i], b[i], c[i], mask >> i & 1);
        positive |= (unsigned)(y[i] > 0) << i;
    }
    store_some(y, count, (T *)e.y + first);
    if (makes_mask && e.mask)
        e.mask[vector] = (uint8_t)positive;
}

template <int OPERATION> static int launch(struct CUstream_st *stream, const struct elementwise *e)
{
    unsigned blocks = (unsigned)divide_up(divide_up(e->n, VECTOR), BLOCK);

    if (e->type == ELEMENT_F32)
        return LAUNCH((elementwise_kernel<float, OPERATION>), blocks, BLOCK, 0, stream, *e);
    return LAUNCH((elementwise_kernel<bf16, OPERATION>), blocks, BLOCK, 0, stream, *e);
}

int launch_relu(struct CUstream_st *stream, const struct elementwise *e)
{
    return launch<DO_RELU>(stream, e);
}

int launch_relu_grad(struct CUstream_st *stream, const struct elementwise *e)
{
    return e->mask ? launch<DO_RELU_GRAD_MASK>(stream, e) : launch<DO_RELU_GRAD_Y>(stream, e);
}

int launch_add(struct CUstream_st *stream, const struct elementwise *e)
{
    return e->relu ? launch<DO_ADD_RELU>(stream, e) : launch<DO_ADD>(stream, e);
}

int launch_gelu(struct CUstream_st *stream, const struct elementwise *e)
{
    return launch<DO_GELU>(stream, e);
}

int launch_gelu_grad(struct CUstream_st *stream, const struct elementwise *e)
{
    return launch<DO_GELU_GRAD>(stream, e);
}

int launch_gelu_curve(struct CUstream_st *stream, const struct elementwise *e)
{
    return launch<DO_GELU_CURVE>(stream, e);
}

template <class FROM, class TO>
static __global__ void __launch_bounds__(BLOCK) cast_kernel(const FROM *from, TO *to, int64_t n)
{
    int64_t first = ((int64_t)blockIdx.x * BLOCK + threadIdx.x) * VECTOR;
    int count = n - first < VECTOR ? (int)(n - first) : VECTOR;
    float x[VECTOR];

    if (count <= 0)
        return;
    load_some(from + first, count, x);
    store_some(x, count, to + first);
}

template <class FROM>
static int launch_cast_from(struct CUstream_st *stream, const FROM *from, enum element to_type,
                            void *to, int64_t n)
{
    unsigned blocks = (unsigned)divide_up(divide_up(n, VECTOR), BLOCK);

    if (to_type == ELEMENT_F32)
        return LAUNCH((cast_kernel<FROM, float>), blocks, BLOCK, 0, stream, from, (float *)to, n);
    return LAUNCH((cast_kernel<FROM, bf16>), blocks, BLOCK, 0, stream, from, (bf16 *)to, n);
}

int launch_cast(struct CUstream_st *stream, enum element from_type, const void *from,
                enum element to_type, void *to, int64_t n)
{
    if (from_type == ELEMENT_F32)
        return launch_cast_from(stream, (const float *)from, to_type, to, n);
    return launch_cast_from(stream, (const bf16 *)from, to_type, to, n);
}

/* A thread has V columns of ROWS_EACH rows, so that b is read once for all of them. */
#define ROWS_EACH 4

template <class T, int V>
static __global__ void __launch_bounds__(BLOCK) add_row_kernel(struct add_row a)
{
    uint32_t vectors = (uint32_t)(a.c / V), at = thread_number();
    int64_t column = at % vectors * V, row = (int64_t)(at / vectors) * ROWS_EACH;
    float b[V];

    if (row >= a.rows)
        return;
    load_floats<V>(a.b + column, b);
    for (int64_t end = row + ROWS_EACH; row < end && row < a.rows; row++) {
        int64_t place = row * a.c + column;
        float x[V];

        load<V>((const T *)a.x + place, x);
        for (int i = 0; i < V; i++)
            x[i] += b[i];
        store<V>(x, (T *)a.y + place);
    }
}

template <class T> static int add_row_of(struct CUstream_st *stream, const struct add_row *a)
{
    bool whole = a->c % VECTOR == 0;
    int64_t threads = a->c / (whole ? VECTOR : 1) * divide_up(a->rows, ROWS_EACH);
    unsigned blocks = (unsigned)divide_up(threads, BLOCK);

    if (whole)
        return LAUNCH((add_row_kernel<T, VECTOR>), blocks, BLOCK, 0, stream, *a);
    return LAUNCH((add_row_kernel<T, 1>), blocks, BLOCK, 0, stream, *a);
}

int launch_add_row(struct CUstream_st *stream, const struct add_row *a)
{
    return BY_TYPE(a->type, add_row_of, stream, a);
}
