/* A process that is to be killed while it writes: the test's own program, run again. It tells the
 * test down a pipe how far it is. */
#ifndef TESTS_DB_VICTIM_H
#define TESTS_DB_VICTIM_H

#include <stdio.h>
#include <unistd.h>

#include "support.h"

struct victim {
    pid_t pid;
    int from; /* what it tells, also after its death, up to an end of file */
};

/* `work` is what the victim does; what it returns is its exit status, and the test's failure. To be
 * called at the beginning of main: returns only in the test, not in its victim. */
void victim_main(int argc, char **argv, int (*work)(const char *folder, int pipe));

/* Starts it on place->state. It may not have begun: what it tells first says that it has. */
void victim_start(struct victim *victim, const struct place *place);
/* With SIGKILL, which it has to die of; any error of its own fails the test. */
void victim_kill(struct victim *victim);
/* After victim_kill. */
void victim_close(struct victim *victim);

/* In the victim: a call that must succeed, or it ends with an error of its own. */
#define must(call)                                                                                 \
    do {                                                                                           \
        struct err must_err = {0};                                                                 \
        struct err *err = &must_err;                                                               \
        if ((call) != 0) {                                                                         \
            fprintf(stderr, "%s: %s\n", #call, err->message);                                      \
            _exit(3);                                                                              \
        }                                                                                          \
    } while (0)

#endif
