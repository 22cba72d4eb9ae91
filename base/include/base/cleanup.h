/* Automatic release of locals, for functions with many ways out. */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

#include <stdlib.h>

static inline void cleanup_free_at(void *pointer)
{
    free(*(void **)pointer);
}

/* `cleanup_free char *text = malloc(n);` frees `text` when it goes out of scope. */
#define cleanup_free __attribute__((cleanup(cleanup_free_at)))

#define ARRAY_LENGTH(array) (sizeof(array) / sizeof((array)[0]))

#endif
