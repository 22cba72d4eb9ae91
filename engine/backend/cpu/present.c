/* The CPU backend is in this build; absent.c stands here where it is not. */
#include "backend/backend.h"

const struct backend_class *backend_of_cpu(void)
{
    return &backend_cpu;
}
