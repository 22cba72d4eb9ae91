#include "host_late.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LATE_MAX = 4000 };

static _Thread_local struct {
    bool lazy;
    struct kept {
        struct late late;
        struct launch launch;
        void *work;
    } kept[LATE_MAX];
    int n, done;
} queue;

void late_begin(bool lazy)
{
    assert_int_equal(queue.done, queue.n);
    queue.lazy = lazy;
}

bool late_keep(const struct late *late)
{
    struct kept *kept = &queue.kept[queue.n];

    if (!queue.lazy)
        return false;
    assert_true(queue.n < LATE_MAX);
    *kept = (struct kept){.late = *late};
    if (late->kind == LATE_LAUNCH) {
        kept->launch = *late->launch;
        kept->work = malloc(kept->launch.work_bytes);
        assert_non_null(kept->work);
        memcpy(kept->work, kept->launch.work, kept->launch.work_bytes);
        kept->launch.work = kept->work;
        kept->late.launch = &kept->launch;
    }
    queue.n++;
    return true;
}

const struct late *late_next(int end)
{
    if (queue.done > 0) {
        free(queue.kept[queue.done - 1].work);
        queue.kept[queue.done - 1].work = NULL;
    }
    if (queue.done == queue.n)
        queue.done = queue.n = 0;
    return queue.done < end && queue.done < queue.n ? &queue.kept[queue.done++].late : NULL;
}

int late_end(void)
{
    return queue.n;
}

int late_end_of(const struct CUevent_st *event)
{
    int end = 0;

    for (int i = queue.done; i < queue.n; i++)
        if (queue.kept[i].late.kind == LATE_RECORD && queue.kept[i].late.event == event)
            end = i + 1;
    return end;
}

bool late_has(const struct CUgraphExec_st *graph)
{
    for (int i = queue.done; i < queue.n; i++)
        if (queue.kept[i].late.kind == LATE_REPLAY && queue.kept[i].late.graph == graph)
            return true;
    return false;
}
