#include "host_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host_device.h"
#include "host_late.h"
#include "host_order.h"

enum { MEMORY_MAX = 4000 };

struct memory {
    unsigned char *at, *written; /* a byte a byte */
    size_t bytes;
};

/* A thread has devices of its own, as ranks have. */
static _Thread_local struct {
    struct memory memory[MEMORY_MAX];
    int n_memory, fail_after;
    size_t left;
} host = {.fail_after = -1, .left = PLENTY};

static struct memory *find_memory(const void *at, size_t bytes)
{
    const unsigned char *begin = at;

    for (int i = 0; i < host.n_memory; i++) {
        struct memory *m = &host.memory[i];

        if (m->at && begin >= m->at && begin + bytes <= m->at + m->bytes)
            return m;
    }
    return NULL;
}

void memory_mark_written(const void *at, size_t bytes)
{
    struct memory *m = find_memory(at, bytes);

    if (!m)
        fail_msg("%zu bytes are written where no memory is open", bytes);
    memset(m->written + ((const unsigned char *)at - m->at), 1, bytes);
}

void memory_check_written(const char *what, int number, const void *at, size_t bytes)
{
    const struct memory *m = find_memory(at, bytes);
    const unsigned char *byte;

    if (!m)
        fail_msg("%s: use %d of %zu bytes lies in no open memory", what, number, bytes);
    byte = memchr(m->written + ((const unsigned char *)at - m->at), 0, bytes);
    if (byte)
        fail_msg("%s: use %d reads %zu bytes, of which byte %zd was not written", what, number,
                 bytes, byte - (m->written + ((const unsigned char *)at - m->at)));
}

void host_device_poison(const void *at, size_t bytes)
{
    struct memory *m = find_memory(at, bytes);

    if (!m)
        fail_msg("poison of %zu bytes where no memory is open", bytes);
    memset(m->written + ((const unsigned char *)at - m->at), 0, bytes);
    memset(m->at + ((const unsigned char *)at - m->at), 0xff, bytes);
}

static struct memory *free_memory(void)
{
    for (int i = 0; i < host.n_memory; i++)
        if (!host.memory[i].at)
            return &host.memory[i];
    assert_true(host.n_memory < MEMORY_MAX);
    return &host.memory[host.n_memory++];
}

int memory_open(void **out, size_t bytes, struct err *err)
{
    struct memory *m = free_memory();

    if (host.fail_after == 0) {
        host.fail_after = -1;
        return err_set(err, ERR_NO_MEMORY, "the GPU's memory is at its end");
    }
    if (host.fail_after > 0)
        host.fail_after--;
    m->bytes = bytes ? bytes : 1;
    if (posix_memalign((void **)&m->at, 256, (m->bytes + 255) / 256 * 256))
        fail_msg("out of memory");
    m->written = calloc(1, m->bytes);
    assert_non_null(m->written);
    memset(m->at, 0xff, m->bytes);
    *out = m->at;
    return 0;
}

size_t memory_close(void *at)
{
    struct memory *m = find_memory(at, 1);
    size_t bytes;

    if (!m || m->at != at)
        fail_msg("memory is closed that is not open");
    if (late_end() > 0)
        fail_msg("memory is closed while a device may be busy");
    order_forget(m->at, m->bytes);
    bytes = m->bytes;
    free(m->at);
    free(m->written);
    *m = (struct memory){0};
    return bytes;
}

int memory_left(size_t *out, struct err *err)
{
    (void)err;
    *out = host.left;
    return 0;
}

/* Before host memory that the device reads stands how long it is. */
enum { HOST_HEAD = 64 };

int memory_host_open(void **out, size_t bytes, struct err *err)
{
    char *memory = calloc(1, HOST_HEAD + bytes);

    if (!memory)
        return err_no_memory(err);
    memcpy(memory, &bytes, sizeof bytes);
    *out = memory + HOST_HEAD;
    return 0;
}

void memory_host_close(void *memory)
{
    size_t bytes;

    memcpy(&bytes, (char *)memory - HOST_HEAD, sizeof bytes);
    order_host_forget(memory, bytes);
    memset(memory, 0xff, bytes); /* for whoever still reads it */
    free((char *)memory - HOST_HEAD);
}

void host_device_fail_after(int n)
{
    host.fail_after = n;
}

void host_device_left(size_t bytes)
{
    host.left = bytes;
}
