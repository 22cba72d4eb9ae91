/* What is in order with what, by vector clocks (Fidge, Mattern): each stream knows how far it has
 * seen each other stream. Two accesses to the same memory, one of them a write, must be in order;
 * else the running test fails. */
#ifndef TESTS_ENGINE_CUDA_HOST_ORDER_H
#define TESTS_ENGINE_CUDA_HOST_ORDER_H

#include "backend/cuda/runtime.h"

void order_reset(void);
void order_access(const char *what, int stream, const struct use *uses, int n);
/* What the stream was given last reads this host memory, which has to stay as it is until the host
 * has waited for it, and open. */
void order_host_read(int stream, const void *from, size_t bytes);
void order_host_forget(const void *at, size_t bytes);
void order_record(int event, int stream);
void order_follow(int stream, int event);
/* The host goes on when the stream has done all; what is given later comes after it. */
void order_wait(int stream);
/* The same of what was given before the event. */
void order_await(int event);
/* Memory that was closed. Whoever still uses it is told of. */
void order_forget(const void *at, size_t bytes);

#endif
