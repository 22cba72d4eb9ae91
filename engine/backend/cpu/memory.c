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

/* What is mapped or allocated for so many. */
static size_t whole_bytes(size_t bytes)
{
    return round_up(bytes, is_large(bytes) ? HUGE_PAGE : ALIGN);
}

static void *take(size_t bytes)
{
    size_t size = whole_bytes(bytes);
    void *data;

    if (is_large(bytes))
        return map_large(bytes);
    data = aligned_alloc(ALIGN, size);
    if (data)
        memset(data, 0, size);
    return data;
}

int cpu_memory_open(struct cpu_backend *cpu, struct memory *memory, size_t bytes, struct err *err)
{
    struct memory made = {.bytes = bytes ? bytes : 1};

    if (!cpu->base.counts_only) {
        made.data = take(made.bytes);
        if (!made.data)
            return err_no_memory(err);
    }
    *memory = made;
    backend_take(&cpu->base, whole_bytes(made.bytes));
    return 0;
}

int cpu_memory_grow(struct cpu_backend *cpu, struct memory *memory, size_t bytes, struct err *err)
{
    if (memory->bytes > 0 && memory->bytes >= bytes)
        return 0;
    cpu_memory_close(cpu, memory);
    return cpu_memory_open(cpu, memory, bytes, err);
}

void cpu_memory_close(struct cpu_backend *cpu, struct memory *memory)
{
    if (memory->bytes == 0)
        return;
    if (memory->data && is_large(memory->bytes))
        munmap(memory->data, whole_bytes(memory->bytes));
    else
        free(memory->data);
    backend_give(&cpu->base, whole_bytes(memory->bytes));
    *memory = (struct memory){0};
}
