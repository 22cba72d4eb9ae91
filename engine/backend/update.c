/* An update on a backend that does one thing after the other. */
#include <limits.h>

#include "backend/backend.h"

int update_at_once(struct backend *backend, const struct update *update, struct err *err)
{
    int next = 0, rc = 0;

    for (int first = 0, end; first < update->n_passes && !rc; first = end) {
        end = update_wave_end(update, first);
        rc = update_exchange(update, &next, update->wave[first], err);
        if (!rc)
            rc = backend->class->execute(backend, update->passes + first, end - first, err);
    }
    if (!rc)
        rc = update_exchange(update, &next, INT_MAX, err);
    return rc ? rc : backend->class->step(backend, update->step, err);
}

int settle_at_once(struct backend *backend, int in_flight, int *left, struct err *err)
{
    (void)backend;
    (void)in_flight;
    (void)err;
    *left = 0;
    return 0;
}
