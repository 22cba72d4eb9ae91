#include "backend/cpu/cpu.h"

int cpu_dnnl_error(struct err *err, dnnl_status_t status, const char *what)
{
    switch (status) {
    case dnnl_success:
        return 0;
    case dnnl_out_of_memory:
        return err_set(err, ERR_NO_MEMORY, "out of memory in %s", what);
    case dnnl_unimplemented:
        return err_set(err, ERR_UNSUPPORTED, "%s: oneDNN offers no such operation here", what);
    default:
        return err_set(err, ERR_DEVICE, "%s: oneDNN says error %d", what, (int)status);
    }
}
