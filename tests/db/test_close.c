/* Closing on a disk that stays full: ten seconds, not for ever. A program of its own, because it
 * takes them. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "support.h"

static void closing_on_a_full_disk_takes_ten_seconds(void **state)
{
    struct rlimit limit;
    struct place *place = *state;
    struct db_health health;
    double start;
    int64_t job;

    signal(SIGXFSZ, SIG_IGN);
    place_open(place, NULL);
    job = start_job(place);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = 64 * 1024;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    add_losses(place, job, 1, 5000);
    wait_for_health(place, false, &health);
    start = clock_seconds();
    place_close(place);
    assert_true(clock_seconds() - start > 9);
    assert_true(clock_seconds() - start < 60);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_FSIZE, &limit);
    place_open(place, NULL);
    place_check(place);
    assert_losses(place, job, 0); /* the group went in whole or, as here, not at all */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(closing_on_a_full_disk_takes_ten_seconds, place_setup,
                                        place_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
