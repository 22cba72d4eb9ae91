#include "dataset_refused.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "data/dataset.h"

void assert_dataset_refused(const struct job_dataset *job, int code, const char *names,
                            const char *says)
{
    struct dataset *dataset = NULL;
    struct dataset_info info;
    struct err err = {0};

    assert_int_equal(dataset_describe(&info, job, &err), code);
    if (!strstr(err.message, says) || !strstr(err.message, names))
        fail_msg("\"%s\" does not say \"%s\" of %s", err.message, says, names);
    assert_int_equal(dataset_open(&dataset, job, 1, &err), code);
    assert_null(dataset);
}
