/* One table describes the options: it makes getopt's, sets the values and prints the help. */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "engine/job.h"
#include "folder.h"
#include "token.h"

#define DEFAULT_LISTEN       "127.0.0.1:8470"
#define DEFAULT_QUEUE_LIMIT  1000
#define DEFAULT_BODY_BYTES   (1 << 20)
#define DEFAULT_UPLOAD_BYTES (1 << 29)
#define DEFAULT_CONNECTIONS  256

static int set_listen(struct daemon_options *out, const char *source, const char *text,
                      struct err *err)
{
    out->listen_source = source;
    return address_parse(&out->listen, source, text, err);
}

static int set_path(char out[PATH_MAX], const char *source, const char *text, struct err *err)
{
    if (!*text || strlen(text) >= PATH_MAX)
        return err_set(err, ERR_INVALID, "%s: a path of 1 to %d bytes is needed", source,
                       PATH_MAX - 1);
    strcpy(out, text);
    return 0;
}

static int set_state(struct daemon_options *out, const char *source, const char *text,
                     struct err *err)
{
    out->state_source = source;
    return set_path(out->state, source, text, err);
}

static int set_token_file(struct daemon_options *out, const char *source, const char *text,
                          struct err *err)
{
    out->token_source = source;
    return set_path(out->token_file, source, text, err);
}

static int read_number(int64_t *out, const char *source, const char *text, int64_t min, int64_t max,
                       struct err *err)
{
    char *end;
    long long value;

    errno = 0;
    value = strtoll(text, &end, 10);
    if (errno || end == text || *end || value < min || value > max)
        return err_set(err, ERR_INVALID, "%s: '%s' is not a whole number from %lld to %lld", source,
                       text, (long long)min, (long long)max);
    *out = value;
    return 0;
}

static int read_int(int *out, const char *source, const char *text, int min, int max,
                    struct err *err)
{
    int64_t value = 0;
    int rc = read_number(&value, source, text, min, max, err);

    if (!rc)
        *out = (int)value;
    return rc;
}

static int set_workers(struct daemon_options *out, const char *source, const char *text,
                       struct err *err)
{
    return read_int(&out->workers, source, text, 1, 64, err);
}

static int set_threads(struct daemon_options *out, const char *source, const char *text,
                       struct err *err)
{
    return read_int(&out->threads, source, text, 1, 1024, err);
}

static int set_queue_limit(struct daemon_options *out, const char *source, const char *text,
                           struct err *err)
{
    return read_number(&out->queue_limit, source, text, 1, 100000000, err);
}

static int set_body_limit(struct daemon_options *out, const char *source, const char *text,
                          struct err *err)
{
    int64_t value = 0;
    int rc = read_number(&value, source, text, 1024, 1 << 30, err);

    if (!rc)
        out->body_bytes = (size_t)value;
    return rc;
}

static int set_upload_limit(struct daemon_options *out, const char *source, const char *text,
                            struct err *err)
{
    int64_t value = 0;
    int rc = read_number(&value, source, text, 1024, INT64_C(1) << 34, err);

    if (!rc)
        out->upload_bytes = (size_t)value;
    return rc;
}

static int set_connections(struct daemon_options *out, const char *source, const char *text,
                           struct err *err)
{
    return read_int(&out->connections, source, text, 8, 100000, err);
}

static int set_log_level(struct daemon_options *out, const char *source, const char *text,
                         struct err *err)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};

    for (size_t i = 0; i < ARRAY_LENGTH(names); i++)
        if (strcmp(text, names[i]) == 0) {
            out->log_level = (int)i;
            return 0;
        }
    return err_set(err, ERR_INVALID, "%s: '%s' is not one of error, warning, info, debug", source,
                   text);
}

static const struct row {
    const char *name, *argument; /* name: with its two dashes */
    const char *doc;             /* further lines are indented by the printer */
    /* `source`: the option or variable that has given the text; static. */
    int (*set)(struct daemon_options *out, const char *source, const char *text, struct err *err);
    enum daemon_task task; /* of a row without `set` */
} rows[] = {
    {"--listen", "ADDR:PORT",
     "Where to listen; port 0 takes any free one (default " DEFAULT_LISTEN ").\n"
     "Any address but the loopback needs a token.",
     set_listen, 0},
    {"--state", "FOLDER",
     "Where jobs, histories and checkpoints are kept (default: /var/lib/rwpd for\n"
     "root, else $XDG_STATE_HOME/rwpd or ~/.local/state/rwpd). FOLDER/listen holds\n"
     "the address while the daemon listens.",
     set_state, 0},
    {"--token-file", "FILE",
     "Its one line must come with each request as 'Authorization: Bearer …'.", set_token_file, 0},
    {"--workers", "N", "Jobs that train at the same time (default: one a GPU).", set_workers, 0},
    {"--threads", "N",
     "CPU threads of all workers together (default: the cores this process may\n"
     "use); each worker gets an equal share.",
     set_threads, 0},
    {"--queue-limit", "N", "Jobs that may wait, and probes (default 1000); more are refused.",
     set_queue_limit, 0},
    {"--body-limit", "BYTES", "Most of a request's body (default 1048576).", set_body_limit, 0},
    {"--upload-limit", "BYTES",
     "Most of a file of weights that is uploaded (default 536870912); it is held in\n"
     "memory while it is read, and must come at 64 KiB a second or more.",
     set_upload_limit, 0},
    {"--connections", "N", "Most open connections (default 256).", set_connections, 0},
    {"--log-level", "LEVEL", "error, warning, info (default) or debug.", set_log_level, 0},
    {"--check-config", NULL, "Say what these options come to, and end.", NULL, DAEMON_CHECK_CONFIG},
    {"--version", NULL, "Print the version, and end.", NULL, DAEMON_SHOW_VERSION},
    {"--help", NULL, "Print this, and end.", NULL, DAEMON_SHOW_HELP},
};

#define N_ROWS ((int)ARRAY_LENGTH(rows))

static int parse_arguments(struct daemon_options *out, int argc, char **argv, struct err *err)
{
    struct option table[N_ROWS + 1];
    int at, rc = 0;

    memset(table, 0, sizeof table);
    for (int i = 0; i < N_ROWS; i++)
        table[i] = (struct option){rows[i].name + 2, rows[i].argument != NULL, NULL, i + 1};
    opterr = 0;
    while (!rc && (at = getopt_long(argc, argv, ":", table, NULL)) != -1) {
        if (at == '?' || at == ':')
            return err_set(err, ERR_INVALID, "%s: %s", argv[optind - 1],
                           at == ':' ? "a value must follow"
                                     : "there is no such option (see --help)");
        if (rows[at - 1].set)
            rc = rows[at - 1].set(out, rows[at - 1].name, optarg, err);
        else if (rows[at - 1].task > out->task)
            out->task = rows[at - 1].task;
    }
    if (!rc && optind < argc)
        rc = err_set(err, ERR_INVALID,
                     "takes no arguments, only options; '%s' was given (see --help)", argv[optind]);
    return rc;
}

static const char *variable(const char *name)
{
    const char *value = getenv(name);

    return value && *value ? value : NULL;
}

/* systemd's LoadCredential=token:… puts it there. */
static void find_credential(struct daemon_options *out)
{
    const char *folder = variable("CREDENTIALS_DIRECTORY");
    char path[PATH_MAX];

    if (folder && snprintf(path, sizeof path, "%s/token", folder) < (int)sizeof path &&
        access(path, F_OK) == 0) {
        strcpy(out->token_file, path);
        out->token_source = "CREDENTIALS_DIRECTORY";
    }
}

/* What no option has set. */
static int fill_in(struct daemon_options *out, struct err *err)
{
    const char *listen = variable("RWPD_LISTEN"), *token = variable("RWPD_TOKEN_FILE");
    int n, rc = 0;

    if (!*out->listen.host)
        rc = set_listen(out, listen ? "RWPD_LISTEN" : "--listen", listen ? listen : DEFAULT_LISTEN,
                        err);
    if (!rc && !*out->state)
        rc = folder_default(out->state, &out->state_source, err);
    if (!rc && !*out->token_file && token)
        rc = set_token_file(out, "RWPD_TOKEN_FILE", token, err);
    if (!*out->token_file)
        find_credential(out);
    if (!out->workers)
        out->workers = engine_gpus(NULL) > 1 ? engine_gpus(NULL) : 1;
    if (!out->threads)
        out->threads = engine_devices(&n)[0].cores;
    return rc;
}

static int check_reach(const struct daemon_options *out, struct err *err)
{
    if (out->token || address_is_loopback(&out->listen))
        return 0;
    return err_set(err, ERR_INVALID,
                   "%s: %s can be reached from other machines, so a token is required: give "
                   "--token-file, or listen on 127.0.0.1",
                   out->listen_source, out->listen.host);
}

int options_read(struct daemon_options *out, int argc, char **argv, struct err *err)
{
    struct daemon_options options = {.queue_limit = DEFAULT_QUEUE_LIMIT,
                                     .body_bytes = DEFAULT_BODY_BYTES,
                                     .upload_bytes = DEFAULT_UPLOAD_BYTES,
                                     .connections = DEFAULT_CONNECTIONS,
                                     .log_level = LOG_LEVEL_INFO};
    int rc = parse_arguments(&options, argc, argv, err);

    if (!rc && options.task < DAEMON_SHOW_VERSION) {
        rc = fill_in(&options, err);
        if (!rc && *options.token_file)
            rc = token_read(&options.token, options.token_source, options.token_file, err);
        if (!rc)
            rc = check_reach(&options, err);
    }
    if (rc) {
        options_free(&options);
        return rc;
    }
    *out = options;
    return 0;
}

void options_free(struct daemon_options *options)
{
    free(options->token);
    options->token = NULL;
}

static void print_row(const struct row *row)
{
    const char *line = row->doc;
    char left[40];

    snprintf(left, sizeof left, "%s%s%s", row->name, row->argument ? " " : "",
             row->argument ? row->argument : "");
    printf("  %-20s ", left);
    for (const char *end; (end = strchr(line, '\n')); line = end + 1)
        printf("%.*s\n%23s", (int)(end - line), line, "");
    puts(line);
}

void options_print_help(void)
{
    puts("usage: rwpd [options]\n\n"
         "Trains the jobs that are posted to it, one after the other or several at a time,\n"
         "keeps everything in its state folder, and serves it as JSON, events and pages.\n");
    for (int i = 0; i < N_ROWS; i++)
        print_row(&rows[i]);
    puts("\nEnvironment, where the option is not given: RWPD_LISTEN, RWPD_STATE (then systemd's\n"
         "STATE_DIRECTORY), RWPD_TOKEN_FILE (then the file 'token' in systemd's\n"
         "CREDENTIALS_DIRECTORY).\n"
         "For GPUs: RWPD_CUDA_MODULE names another module than the one that was installed,\n"
         "RWPD_CUDA_DRIVER, RWPD_NCCL and RWPD_NVML another libcuda.so.1, libnccl.so.2 and\n"
         "libnvidia-ml.so.1, RWPD_CUDA_CACHE the folder in which the choice of algorithms is kept\n"
         "(then systemd's CACHE_DIRECTORY, $XDG_CACHE_HOME/rwpd, ~/.cache/rwpd).\n\n"
         "Signals: SIGTERM and SIGINT let each running job write a checkpoint and stop; the next\n"
         "start goes on from there. A second one ends the process at once, and nothing that was\n"
         "recorded is lost by that either.\n\n"
         "Exit codes: 0 stopped as asked, 2 wrong option, variable or token file, 3 cannot listen\n"
         "at the address, 4 the database is damaged, 5 another process uses the state folder,\n"
         "6 no space left, 7 the database was written by a newer version, 75 a GPU was lost to\n"
         "this process: start it again, and the jobs go on; 128 + n ended by a second signal n,\n"
         "1 anything else.");
}
