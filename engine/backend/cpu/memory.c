/* Memory for vectors and activations. Large pieces ask for huge pages: convolutions walk over
 * hundreds of megabytes, and with small pages a good part of that is spent on address look-ups. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "backend/cpu/cpu.h"

#define SMALL_ALIGN 64
#define HUGE_PAGE   ((size_t)2 << 20)

void *cpu_memory_open(size_t bytes)
{
    size_t align = bytes >= 2 * HUGE_PAGE ? HUGE_PAGE : SMALL_ALIGN;
    size_t size = (bytes + align - 1) / align * align;
    void *memory = aligned_alloc(align, size ? size : align);

    if (!memory)
        return NULL;
    if (align == HUGE_PAGE)
        madvise(memory, size, MADV_HUGEPAGE); /* a hint: its failure changes nothing */
    memset(memory, 0, size);
    return memory;
}

void cpu_memory_close(void *memory)
{
    free(memory);
}
