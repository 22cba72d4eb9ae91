#include "backend/backend.h"

const struct backend_class *backend_of_cpu(void)
{
    return &backend_cpu;
}
