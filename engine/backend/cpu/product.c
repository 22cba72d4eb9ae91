#include "backend/cpu/cpu.h"

int cpu_multiply(const struct product *m, struct err *err)
{
    dnnl_status_t status =
        dnnl_sgemm(m->a_turned ? 'T' : 'N', m->b_turned ? 'T' : 'N', (dnnl_dim_t)m->rows,
                   (dnnl_dim_t)m->columns, (dnnl_dim_t)m->inner, 1, m->a,
                   (dnnl_dim_t)(m->a_turned ? m->rows : m->inner), m->b,
                   (dnnl_dim_t)(m->b_turned ? m->inner : m->columns), m->keep, m->result,
                   (dnnl_dim_t)m->columns);

    return cpu_dnnl_error(err, status, "a product of matrices");
}
