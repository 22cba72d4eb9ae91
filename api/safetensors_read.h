/* Reading a safetensors file. */
#ifndef API_SAFETENSORS_READ_H
#define API_SAFETENSORS_READ_H

#include "base/err.h"
#include "base/tensor.h"

/* The tensors of a file in memory, without those that only this daemon's own checkpoints have
 * ("momentum.", …). Their data points into `bytes`, at any alignment; the caller frees
 * out->tensors. Each byte of the file is a tensor's, and all numbers are finite. ERR_INVALID says
 * what is wrong; ERR_UNSUPPORTED names a type that is none of F32, F64 and I64. */
int safetensors_read(const void *bytes, size_t n, struct checkpoint *out, struct err *err);

#endif
