/* The processors that control groups leave: folders as the kernel shows them. */
#include <limits.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "engine/job.h"
#include "job/cores.h"

static char place[] = "/tmp/rwpd-test-cores-XXXXXX";

static const char *in(const char *name)
{
    static char path[PATH_MAX];

    snprintf(path, sizeof path, "%s/%s", place, name);
    return path;
}

static void put(const char *name, const char *text)
{
    FILE *file = fopen(in(name), "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int cores(const char *membership)
{
    char self[PATH_MAX], mount[PATH_MAX];

    put("self", membership);
    snprintf(self, sizeof self, "%s", in("self"));
    snprintf(mount, sizeof mount, "%s", in("mount"));
    return cores_of_groups(self, mount);
}

static int setup(void **state)
{
    (void)state;
    return !mkdtemp(place) || mkdir(in("mount"), 0700) || mkdir(in("mount/a.slice"), 0700) ||
           mkdir(in("mount/a.slice/b.service"), 0700);
}

static int teardown(void **state)
{
    char command[sizeof place + 16];

    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", place);
    return system(command);
}

static void a_quota_is_rounded_up(void **state)
{
    static const struct {
        const char *text;
        int cores;
    } table[] = {
        {"max 100000\n", 0},    {"100000 100000\n", 1}, {"150000 100000\n", 2},
        {"1000 100000\n", 1},   {"400000 100000\n", 4}, {"", 0},
        {"100000\n", 0},        {"100000 0\n", 0},      {"-1 100000\n", 0},
        {"nonsense 100000", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        put("mount/a.slice/b.service/cpu.max", table[i].text);
        assert_int_equal(cores("0::/a.slice/b.service\n"), table[i].cores);
    }
    remove(in("mount/a.slice/b.service/cpu.max"));
}

static void the_smallest_one_above_counts(void **state)
{
    (void)state;
    put("mount/a.slice/b.service/cpu.max", "300000 100000\n");
    put("mount/a.slice/cpu.max", "200000 100000\n");
    assert_int_equal(cores("0::/a.slice/b.service\n"), 2);
    put("mount/a.slice/cpu.max", "max 100000\n");
    assert_int_equal(cores("0::/a.slice/b.service\n"), 3);
    /* In a container the root of what it sees has one, too. */
    put("mount/cpu.max", "100000 100000\n");
    assert_int_equal(cores("0::/a.slice/b.service\n"), 1);
    assert_int_equal(cores("0::/\n"), 1);
    /* A path from outside the container leads nowhere but to the root. */
    assert_int_equal(cores("0::/docker/0123\n"), 1);
    assert_int_equal(cores("4:cpu,cpuacct:/a.slice\n0::/a.slice\n"), 1);
    remove(in("mount/cpu.max"));
}

static void without_groups_there_is_no_limit(void **state)
{
    (void)state;
    assert_int_equal(cores(""), 0);
    assert_int_equal(cores("1:cpu:/a.slice\n"), 0);
    assert_int_equal(cores_of_groups(in("nowhere"), place), 0);
}

static void the_devices_have_what_is_usable(void **state)
{
    cpu_set_t set;
    int n;
    const struct engine_device *devices = engine_devices(&n);

    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
    assert_in_range(cores_usable(), 1, CPU_COUNT(&set));
    for (int i = 0; i < n; i++)
        assert_int_equal(devices[i].cores, cores_usable());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quota_is_rounded_up),
        cmocka_unit_test(the_smallest_one_above_counts),
        cmocka_unit_test(without_groups_there_is_no_limit),
        cmocka_unit_test(the_devices_have_what_is_usable),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
