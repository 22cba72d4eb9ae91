/* Memory for vectors and activations. Large pieces ask for huge pages: convolutions walk over
 * hundreds of megabytes, and with small pages a good part of that is spent on address look-ups. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "backend/cpu/cpu.h"

#define ALIGN     64
#define HUGE_PAGE ((size_t)2 << 20)

static bool is_large(size_t bytes)
{
    return bytes >= 2 * HUGE_PAGE;
}

static size_t round_up(size_t bytes, size_t multiple)
{
    return (bytes + multiple - 1) / multiple * multiple;
}

/* Whole huge pages; what lies before the first one is given back. */
static void *map_large(size_t bytes)
{
    size_t size = round_up(bytes, HUGE_PAGE), before;
    unsigned char *map = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (map == MAP_FAILED)
        return NULL;
    before = (HUGE_PAGE - (uintptr_t)map % HUGE_PAGE) % HUGE_PAGE;
    if (before > 0)
        munmap(map, before);
    if (before < HUGE_PAGE)
        munmap(map + before + size, HUGE_PAGE - before);
    madvise(map + before, size, MADV_HUGEPAGE); /* a hint: its failure changes nothing */
    return map + before;
}

int cpu_memory_open(struct memory *memory, size_t bytes, struct err *err)
{
    size_t size = round_up(bytes ? bytes : 1, ALIGN);
    void *data = is_large(bytes) ? map_large(bytes) : aligned_alloc(ALIGN, size);

    if (!data)
        return err_no_memory(err);
    if (!is_large(bytes))
        memset(data, 0, size);
    *memory = (struct memory){.data = data, .bytes = bytes};
    return 0;
}

int cpu_memory_grow(struct memory *memory, size_t bytes, struct err *err)
{
    struct memory larger;
    int rc;

    if (memory->data && memory->bytes >= bytes)
        return 0;
    rc = cpu_memory_open(&larger, bytes, err);
    if (rc)
        return rc;
    cpu_memory_close(memory);
    *memory = larger;
    return 0;
}

void cpu_memory_close(struct memory *memory)
{
    if (is_large(memory->bytes))
        munmap(memory->data, round_up(memory->bytes, HUGE_PAGE));
    else
        free(memory->data);
    *memory = (struct memory){0};
}
