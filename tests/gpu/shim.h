/* The module's backend, told to do otherwise by this program alone: the linker puts shim.c before
 * `cuda_module` (--wrap). */
#ifndef TESTS_GPU_SHIM_H
#define TESTS_GPU_SHIM_H

#include <stdbool.h>

/* From now on passes that could run side by side are given one by one, so that all of them go to
 * the first stream. */
void shim_one_stream(bool one);
/* How many waves were taken apart so, from the program's start. */
int shim_parted(void);

#endif
