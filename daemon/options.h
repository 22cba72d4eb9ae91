/* What the command line and the environment ask for, checked and with every default filled in. */
#ifndef DAEMON_OPTIONS_H
#define DAEMON_OPTIONS_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "address.h"
#include "base/err.h"

enum daemon_task { DAEMON_RUN, DAEMON_CHECK_CONFIG, DAEMON_SHOW_VERSION, DAEMON_SHOW_HELP };

struct daemon_options {
    enum daemon_task task;
    /* The option or variable that each of the three is of, for messages. Static. */
    const char *listen_source, *state_source, *token_source;
    struct address listen;
    char state[PATH_MAX];
    char token_file[PATH_MAX]; /* "": none */
    char *token;               /* what it holds; NULL: none */
    int workers;
    int threads; /* CPU threads of all workers together */
    int64_t queue_limit;
    size_t body_bytes, upload_bytes;
    int connections;
    int log_level; /* enum log_level */
};

/* ERR_INVALID names the option or variable and says what would be right. For version and help
 * nothing else is looked at. */
int options_read(struct daemon_options *out, int argc, char **argv, struct err *err);
void options_free(struct daemon_options *options);

/* The text of --help; ends with the exit codes. */
void options_print_help(void);

#endif
