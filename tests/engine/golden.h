/* Lines of the files in tests/golden, which the numpy and PyTorch twins write (their format stands
 * at the top of tests/torch/make_golden.py). Any mistake fails the running cmocka test. */
#ifndef TESTS_ENGINE_GOLDEN_H
#define TESTS_ENGINE_GOLDEN_H

#include <stdint.h>
#include <stdio.h>

/* Opens tests/golden/NAME; the caller closes it. */
FILE *golden_open(const char *name);

/* What follows the first word of the next line that begins with `kind`, NULL at the file's end.
 * The text lives until the next call. */
char *golden_next(FILE *file, const char *kind);

/* The next word of a line as a number; moves *line behind it. */
uint64_t golden_integer(char **line);
double golden_number(char **line);

/* The next word itself, ended in place; moves *line behind it. */
char *golden_word(char **line);

#endif
