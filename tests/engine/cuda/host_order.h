/* What is in order with what, by vector clocks (Fidge, Mattern): each stream knows how far it has
 * seen each other stream. Two accesses to the same memory, one of them a write, must be in order;
 * else the running test fails. */
#ifndef TESTS_ENGINE_CUDA_HOST_ORDER_H
#define TESTS_ENGINE_CUDA_HOST_ORDER_H

#include "backend/cuda/runtime.h"

void order_reset(void);
void order_access(const char *what, int stream, const struct use *uses, int n);
void order_record(int event, int stream);
void order_follow(int stream, int event);
/* The host goes on when the stream has done all; what is given later comes after it. */
void order_wait(int stream);
/* Memory that was closed. Whoever still uses it is told of. */
void order_forget(const void *at, size_t bytes);

#endif
