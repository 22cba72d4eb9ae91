/* The exact Hessian-vector product of the reference backend against PyTorch's double backward. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "golden_hessian.h"

static void hessians_of_nets(void **state)
{
    (void)state;
    golden_hessians_check(&backend_reference, NULL, 1e-10);
}

static void hessians_with_a_kept_primal(void **state)
{
    struct support_options options = {.keep_primal = true};

    (void)state;
    golden_hessians_check(&backend_reference, &options, 1e-10);
}

static void products_of_models(void **state)
{
    struct support_options options = {.keep_primal = true};

    (void)state;
    golden_products_check(&backend_reference, &options, 1e-9, 1e-10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hessians_of_nets),
        cmocka_unit_test(hessians_with_a_kept_primal),
        cmocka_unit_test(products_of_models),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
