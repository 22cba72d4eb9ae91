/* Products of matrices by cuBLASLt. It counts rows along the inner dimension, so that what is
 * row-major here is turned there: outᵀ = bᵀ·aᵀ, and the operands change places. The algorithm is
 * its heuristics' first, which is the same every time. */
#include <stdlib.h>

#include "backend/cuda/libraries_inside.h"
#include "backend/cuda/runtime.h"

struct product {
    struct libraries *libraries;
    float scale;
    cublasLtMatmulDesc_t operation;
    cublasLtMatrixLayout_t a, b, out; /* as this file's head has them: a is the second factor */
    cublasLtMatmulAlgo_t algorithm;
    size_t workspace_bytes;
};

static int failed(cublasStatus_t status, const char *what, struct err *err)
{
    if (status == CUBLAS_STATUS_SUCCESS)
        return 0;
    if (status == CUBLAS_STATUS_ALLOC_FAILED)
        return cuda_failed(CUDA_OUT_OF_MEMORY, what, err);
    if ((status == CUBLAS_STATUS_EXECUTION_FAILED || status == CUBLAS_STATUS_INTERNAL_ERROR) &&
        cuda_lasting(err))
        return ERR_DEVICE_LOST;
    return err_set(err, ERR_DEVICE, "cuBLASLt: %s: %s", what, cublasLtGetStatusString(status));
}

/* [rows][columns] row-major, `batch` of them. */
static int open_layout(cublasLtMatrixLayout_t *out, cudaDataType_t type, int64_t rows,
                       int64_t columns, int64_t batch, struct err *err)
{
    int32_t count = (int32_t)batch;
    int64_t stride = rows * columns;
    cublasStatus_t status =
        cublasLtMatrixLayoutCreate(out, type, (uint64_t)columns, (uint64_t)rows, columns);

    if (!status)
        status = cublasLtMatrixLayoutSetAttribute(*out, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count,
                                                  sizeof count);
    if (!status)
        status = cublasLtMatrixLayoutSetAttribute(*out, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                                  &stride, sizeof stride);
    return failed(status, "a layout", err);
}

static int open_layouts(struct product *product, const struct product_shape *s, struct err *err)
{
    cudaDataType_t type = product->libraries->compute == COMPUTE_BF16 ? CUDA_R_16BF : CUDA_R_32F;
    int rc = open_layout(&product->a, type, s->a_turned ? s->depth : s->rows,
                         s->a_turned ? s->rows : s->depth, s->batch, err);

    if (!rc)
        rc = open_layout(&product->b, type, s->b_turned ? s->columns : s->depth,
                         s->b_turned ? s->depth : s->columns, s->batch, err);
    if (!rc)
        rc = open_layout(&product->out, s->out_f32 ? CUDA_R_32F : type, s->rows, s->columns,
                         s->batch, err);
    return rc;
}

static int open_operation(struct product *product, const struct product_shape *s, struct err *err)
{
    cublasComputeType_t compute = product->libraries->compute == COMPUTE_TF32
                                      ? CUBLAS_COMPUTE_32F_FAST_TF32
                                      : CUBLAS_COMPUTE_32F;
    cublasOperation_t first = s->b_turned ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasOperation_t second = s->a_turned ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasStatus_t status = cublasLtMatmulDescCreate(&product->operation, compute, CUDA_R_32F);

    if (!status)
        status = cublasLtMatmulDescSetAttribute(product->operation, CUBLASLT_MATMUL_DESC_TRANSA,
                                                &first, sizeof first);
    if (!status)
        status = cublasLtMatmulDescSetAttribute(product->operation, CUBLASLT_MATMUL_DESC_TRANSB,
                                                &second, sizeof second);
    return failed(status, "an operation", err);
}

/* Sums are made in one place and one order: no halves that are added up as they come. */
static int choose(struct product *product, struct err *err)
{
    uint32_t reduction = CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    size_t workspace = WORKSPACE_MAX;
    cublasLtMatmulPreference_t preference = NULL;
    cublasLtMatmulHeuristicResult_t found;
    int n = 0;
    cublasStatus_t status = cublasLtMatmulPreferenceCreate(&preference);

    if (!status)
        status = cublasLtMatmulPreferenceSetAttribute(
            preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace);
    if (!status)
        status = cublasLtMatmulPreferenceSetAttribute(
            preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reduction, sizeof reduction);
    if (!status)
        status = cublasLtMatmulAlgoGetHeuristic(product->libraries->lt, product->operation,
                                                product->b, product->a, product->out, product->out,
                                                preference, 1, &found, &n);
    if (preference)
        cublasLtMatmulPreferenceDestroy(preference);
    if (status || n == 0)
        return failed(status ? status : CUBLAS_STATUS_NOT_SUPPORTED, "an algorithm", err);
    product->algorithm = found.algo;
    product->workspace_bytes = found.workspaceSize;
    return 0;
}

int product_open(struct product **out, struct libraries *libraries,
                 const struct product_shape *shape, struct err *err)
{
    struct product *product = calloc(1, sizeof *product);
    int rc;

    if (!product)
        return err_no_memory(err);
    product->libraries = libraries;
    product->scale = shape->scale;
    rc = open_operation(product, shape, err);
    if (!rc)
        rc = open_layouts(product, shape, err);
    if (!rc)
        rc = choose(product, err);
    if (rc) {
        product_close(product);
        return rc;
    }
    *out = product;
    return 0;
}

void product_close(struct product *product)
{
    if (!product)
        return;
    if (product->a)
        cublasLtMatrixLayoutDestroy(product->a);
    if (product->b)
        cublasLtMatrixLayoutDestroy(product->b);
    if (product->out)
        cublasLtMatrixLayoutDestroy(product->out);
    if (product->operation)
        cublasLtMatmulDescDestroy(product->operation);
    free(product);
}

size_t product_workspace_bytes(const struct product *product)
{
    return product->workspace_bytes;
}

int product_run(const struct product *product, const struct lane *lane, const void *a,
                const void *b, void *out, struct err *err)
{
    float zero = 0;

    return failed(cublasLtMatmul(product->libraries->lt, product->operation, &product->scale, b,
                                 product->b, a, product->a, &zero, out, product->out, out,
                                 product->out, &product->algorithm, lane->workspace,
                                 product->workspace_bytes, lane->stream),
                  "a product", err);
}
